"use strict";
// Tables sort by any column; a click on a row shows the timeline of its build.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const [m, n] = [Number(x), Number(y)];
        const numbers = x !== "" && y !== "" && !Number.isNaN(m) && !Number.isNaN(n);
        if (x === "" || y === "") return (x === "") - (y === "");
        return (up ? 1 : -1) * (numbers ? m - n : x.localeCompare(y));
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}

const data = document.getElementById("timelines");
if (data) {
  const { phases, names, variants, commits, builds } = JSON.parse(data.textContent);
  const section = document.getElementById("timeline-chosen");
  const make = (tag, text, parent) => {
    const element = document.createElement(tag);
    if (text !== null) element.textContent = text;
    parent.append(element);
    return element;
  };
  const form = make("div", null, section);
  form.className = "choose";
  const key = make("div", null, section);
  key.className = "key";
  const about = make("p", null, section);
  const wide = make("div", null, section);
  wide.className = "wide";
  phases.forEach((phase, number) => {
    const entry = make("span", null, key);
    make("i", null, entry).style.background = `var(--phase-${number})`;
    entry.append(phase);
  });
  const fields = [
    ["strategy", (build) => build.v, (value) => variants[value]],
    ["commit", (build) => build.c, (value) => `${value + 1} ${commits[value]}`],
    ["round", (build) => build.r, (value) => String(value + 1)],
    ["target", (build) => build.t, (value) => value ?? "last stage"],
  ];
  const chosen = { ...builds[0] };
  const letters = ["v", "c", "r", "t"];
  const matching = (upTo) =>
    builds.filter((build) => letters.slice(0, upTo).every((l) => build[l] === chosen[l]));

  const show = () => {
    form.replaceChildren();
    fields.forEach(([name, get, say], place) => {
      const values = [...new Set(matching(place).map(get))];
      if (!values.includes(chosen[letters[place]])) chosen[letters[place]] = values[0];
      const label = make("label", name, form);
      const select = make("select", null, label);
      values.forEach((value, number) => {
        const option = make("option", say(value), select);
        option.value = String(number);
        option.selected = value === chosen[letters[place]];
      });
      select.addEventListener("change", () => {
        chosen[letters[place]] = values[Number(select.value)];
        show();
      });
    });
    draw(matching(4)[0]);
  };

  const draw = (build) => {
    const ends = build.rows.flatMap(([, , bars]) => bars.map((bar) => bar[2]));
    const end = Math.max(build.w, ...ends, 1);
    about.textContent = `Wall time ${(build.w / 1000).toFixed(2)} s. ✓ marks cached steps.`;
    const gantt = document.createElement("div");
    gantt.className = "gantt";
    for (const [name, cached, bars] of build.rows) {
      const row = make("div", null, gantt);
      row.className = cached ? "row cached" : "row";
      const label = make("span", (cached ? "✓ " : "") + names[name], row);
      label.title = names[name];
      const line = make("div", null, row);
      line.className = "bars";
      for (const [phase, from, to] of bars) {
        const bar = make("i", null, line);
        bar.style.left = `${(100 * from) / end}%`;
        bar.style.width = `${(100 * (to - from)) / end}%`;
        bar.style.background = `var(--phase-${phase})`;
        bar.title = `${phases[phase]}: ${((to - from) / 1000).toFixed(3)} s from ${(from / 1000).toFixed(3)} s`;
      }
    }
    const scale = make("div", null, gantt);
    scale.className = "scale";
    make("span", "seconds since the build began", scale);
    const ticks = make("div", null, scale);
    for (let tick = 0; tick <= 5; tick += 1) make("span", ((end * tick) / 5000).toFixed(2), ticks);
    wide.replaceChildren(gantt);
  };

  const choose = (row) => {
    chosen.v = Number(row.dataset.variant);
    chosen.c = Number(row.dataset.commit);
    show();
    section.scrollIntoView({ behavior: "smooth", block: "start" });
  };
  for (const row of document.querySelectorAll("tr[data-variant]")) {
    const [v, c] = [Number(row.dataset.variant), Number(row.dataset.commit)];
    if (!builds.some((build) => build.v === v && build.c === c)) continue;
    row.classList.add("pick");
    row.tabIndex = 0;
    row.title = "show the timeline of its builds";
    row.addEventListener("click", () => choose(row));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") choose(row);
    });
  }
  show();
}
