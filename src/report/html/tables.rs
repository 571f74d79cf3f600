//! The tables of the page. A cell's `data-value` is what its column sorts by.

use super::super::markdown::{
    averaged, numbered as listed, numbers, overall_numbers, with_interval,
};
use super::super::paint::escape;
use super::super::view::{Variant, Verdict, View};
use super::super::words::{bytes, percent, seconds};

/// More rows than this make a page slow; the rest is in `report.json`.
const MOST_ROWS: usize = 2_000;

struct Table {
    text: String,
}

impl Table {
    /// Columns whose name starts with a space hold words, the others numbers.
    fn new(columns: &[&str]) -> Self {
        let mut text = String::from("<div class=\"wide\"><table class=\"sortable\"><thead><tr>");
        for column in columns {
            let class = if column.starts_with(' ') { " class=\"name\"" } else { "" };
            text.push_str(&format!("<th scope=\"col\"{class}>{}</th>", column.trim()));
        }
        text.push_str("</tr></thead><tbody>\n");
        Self { text }
    }

    fn row(&mut self, attributes: &str) {
        self.text.push_str(&format!("<tr{attributes}>"));
    }

    fn words(&mut self, words: &str) {
        self.text.push_str(&format!("<td class=\"name\">{}</td>", escape(words)));
    }

    fn numbered(&mut self, number: usize, words: &str) {
        let words = escape(words);
        self.text.push_str(&format!("<td class=\"name\" data-value=\"{number}\">{words}</td>"));
    }

    fn number(&mut self, shown: &str, value: Option<f64>) {
        let value = value.map_or(String::new(), |value| value.to_string());
        self.text.push_str(&format!("<td data-value=\"{value}\">{}</td>", escape(shown)));
    }

    fn end(&mut self) {
        self.text.push_str("</tr>\n");
    }

    fn finish(mut self) -> String {
        self.text.push_str("</tbody></table></div>\n");
        self.text
    }
}

/// One sentence and one row a strategy.
pub fn verdicts(view: &View) -> String {
    let judged = || view.variants.iter().filter_map(|v| Some((v, v.verdict.as_ref()?)));
    if judged().next().is_none() {
        return String::new();
    }
    let mut text = String::from("<ul class=\"says\">\n");
    for (_, verdict) in judged() {
        text.push_str(&format!("<li>{}</li>\n", escape(&verdict.sentence)));
    }
    text.push_str("</ul>\n");
    let mut table = Table::new(&[
        " strategy",
        "saved a commit",
        "vs cold",
        "step time avoided",
        "import",
        "pull",
        "push",
        "export",
        "hit rate",
        "pays from a hit rate of",
        "pays from a bandwidth of",
        "in the registry",
    ]);
    for (place, (variant, verdict)) in judged().enumerate() {
        table.row("");
        table.numbered(place, &variant.name);
        verdict_numbers(&mut table, variant, verdict);
        table.end();
    }
    text.push_str(&table.finish());
    let of = if view.without_first() { "Per commit after the first" } else { "Of the only commit" };
    text.push_str(&format!(
        "<p class=\"muted\">{of}, medians over rounds. Import, pull, push and \
         export are what the cache cost; step time avoided is what it gave.</p>\n"
    ));
    text
}

fn verdict_numbers(table: &mut Table, variant: &Variant, verdict: &Verdict) {
    let dash = || "–".to_owned();
    let saving = verdict.saving_seconds;
    let shown = saving.map_or_else(dash, |saving| with_interval(saving, seconds));
    table.number(&shown, saving.map(|saving| saving.median));
    let ratio = verdict.times_faster;
    let times = |ratio: f64| format!("{ratio:.2}×");
    let shown = ratio.map_or_else(dash, |ratio| with_interval(ratio, times));
    table.number(&shown, ratio.map(|ratio| ratio.median));
    let times = [
        verdict.avoided_seconds,
        verdict.import_seconds,
        verdict.pull_seconds,
        verdict.push_seconds,
        verdict.export_seconds,
    ];
    for time in times {
        let time = saving.map(|_| time);
        table.number(&time.map_or_else(dash, seconds), time);
    }
    let shown = verdict.hit_rate.map_or_else(dash, percent);
    table.number(&shown, verdict.hit_rate);
    table.number(&verdict.break_even_hit_rate, verdict.break_even_hit_share);
    table.number(&verdict.break_even_bandwidth, verdict.break_even_bytes_per_second);
    let stored = variant.stored_bytes.iter().any(Option::is_some).then_some(verdict.storage_bytes);
    table.number(&stored.map_or_else(dash, bytes), stored.map(|bytes| bytes as f64));
}

/// One row a strategy: time, reuse, bytes and storage over all commits. Nothing where there is only
/// one to show.
pub fn overall(view: &View) -> String {
    let Some((commits, measured)) = view.side_by_side() else { return String::new() };
    let mut table = Table::new(&[
        " strategy",
        "rounds",
        "wall time a commit",
        "steps reused",
        "pulled a commit",
        "pushed a commit",
        "in the registry",
    ]);
    for (place, (variant, overall)) in measured.into_iter().enumerate() {
        table.row("");
        table.numbered(place, &variant.name);
        table.number(&overall.rounds.to_string(), Some(overall.rounds as f64));
        let [wall, reused, pulled, pushed, stored] = overall_numbers(overall);
        table.number(&wall, overall.wall_seconds.map(|wall| wall.median));
        table.number(&reused, overall.reused);
        table.number(&pulled, Some(overall.pulled_bytes as f64));
        table.number(&pushed, Some(overall.pushed_bytes as f64));
        table.number(&stored, Some(overall.stored_bytes as f64));
        table.end();
    }
    let mut text = table.finish();
    let of = averaged(view, commits);
    let them = if commits == 1 { "it" } else { "them all" };
    text.push_str(&format!(
        "<p class=\"muted\">{of}, medians over the rounds that built {them}; the registry's size is \
         that after the last commit.</p>\n"
    ));
    text
}

/// One row a cause, step and strategy.
pub fn causes(view: &View) -> String {
    if view.causes.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "step time a round",
        " strategy",
        " step",
        " cause",
        " commits",
        "trials",
        "steps rebuilt",
    ]);
    for row in view.causes.iter().take(MOST_ROWS) {
        table.row("");
        table.number(&seconds(row.seconds), Some(row.seconds));
        let name = view.variants.get(row.variant).map_or("", |variant| &variant.name);
        table.numbered(row.variant, name);
        table.words(&row.step);
        table.words(&row.sentence);
        table.words(&listed(&row.commits));
        table.number(&row.trials.to_string(), Some(row.trials as f64));
        table.number(&row.steps.to_string(), Some(row.steps as f64));
        table.end();
    }
    let mut text = table.finish();
    text.push_str(&rest(view.causes.len()));
    text.push_str(
        "<p class=\"muted\">Step time is that of the step and of all that was rebuilt below it, summed over \
         commits, a mean of the rounds; trials and steps are counted over all rounds. First builds and strategies that read no cache are left out. \
         <code>cachefrom explain</code> shows every trial.</p>\n",
    );
    text
}

/// One row a commit and strategy.
pub fn cells(view: &View) -> String {
    if view.cells.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        " commit",
        " strategy",
        "rounds",
        "wall time",
        "vs cold",
        "steps reused",
        "step time avoided",
        "layers kept",
        "pulled",
        "pushed",
    ]);
    let mut by_commit: Vec<_> = view.cells.iter().collect();
    by_commit.sort_by_key(|cell| (cell.commit, cell.variant));
    for cell in by_commit.iter().take(MOST_ROWS) {
        let message = view.commits.get(cell.commit).map_or("", |commit| &commit.message);
        table.row(&format!(" data-variant=\"{}\" data-commit=\"{}\"", cell.variant, cell.commit));
        table.numbered(cell.commit, &format!("{} {message}", cell.commit + 1));
        table.numbered(cell.variant, &view.variants[cell.variant].name);
        let rounds = match cell.failed {
            0 => cell.built.to_string(),
            failed => format!("{} ({failed} failed)", cell.built),
        };
        table.number(&rounds, Some(cell.built as f64));
        let [wall, ratio, reused, pulled, pushed] = numbers(cell);
        let built = |value: f64| (cell.built > 0).then_some(value);
        table.number(&wall, cell.wall_seconds.map(|wall| wall.median));
        table.number(&ratio, cell.times_faster.map(|ratio| ratio.median));
        let share = cell.steps_cached as f64 / cell.steps.max(1) as f64;
        table.number(&reused, built(share));
        let avoided = cell.avoided_seconds.map(|avoided| avoided.median);
        table.number(&avoided.map_or("–".into(), seconds), avoided);
        let layers = cell.layer_bytes_shared.zip(cell.layer_bytes);
        let share = layers.map(|(shared, all)| shared as f64 / all.max(1) as f64);
        table.number(&share.map_or("–".into(), percent), share);
        table.number(&pulled, built(cell.pulled_bytes as f64));
        table.number(&pushed, built(cell.pushed_bytes as f64));
        table.end();
    }
    let mut text = table.finish();
    text.push_str(&rest(by_commit.len()));
    text
}

/// Says that a table of so many rows was cut.
fn rest(rows: usize) -> String {
    match rows.checked_sub(MOST_ROWS) {
        None | Some(0) => String::new(),
        Some(rest) => format!("<p class=\"muted\">{rest} more rows are in report.json.</p>\n"),
    }
}

/// What the commits' numbers in charts mean.
pub fn commits(view: &View) -> String {
    if view.commits.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["number", " message", " branch", " id", "parent"]);
    for (number, commit) in view.commits.iter().enumerate().take(MOST_ROWS) {
        table.row("");
        table.number(&(number + 1).to_string(), Some(number as f64));
        table.words(&commit.message);
        table.words(&commit.branch);
        table.words(&commit.id.chars().take(12).collect::<String>());
        let parent = commit.parent.map(|parent| parent.saturating_add(1));
        let shown = parent.map_or("–".into(), |parent| parent.to_string());
        table.number(&shown, parent.map(|parent| parent as f64));
        table.end();
    }
    let mut text = table.finish();
    text.push_str(&rest(view.commits.len()));
    text
}

/// What may vary between machines, and what the strategies are.
pub fn environment(view: &View) -> String {
    if view.environment.is_empty() && view.variants.is_empty() {
        return String::new();
    }
    let mut text = String::from("<dl>\n");
    let facts = view.environment.iter().map(|fact| (&fact.name, &fact.value));
    let strategies = view.variants.iter().map(|variant| (&variant.name, &variant.description));
    for (name, value) in facts.chain(strategies.filter(|(_, about)| !about.is_empty())) {
        text.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value)));
    }
    text.push_str("</dl>\n");
    text
}
