//! Which steps a cache served: steps × commits, a panel a strategy.

use super::frame::{Entry, MARGIN, Sign, WIDTH, head};
use super::labels::apart;
use super::panels::{commit_names, commit_numbers};
use crate::report::scene::{Scene, Shape, Style};
use crate::report::theme::Ink;
use crate::report::view::{State, Variant, View};

const ROW: f64 = 16.0;
/// Below a panel's last line of heading.
const HEADING: f64 = 22.0;
/// From one line of a heading to the next.
const LINE: f64 = 15.0;
/// Headings widen panels up to this much.
const HEADING_ROOM: f64 = 110.0;
const BELOW: f64 = 26.0;
const GAP: f64 = 14.0;
/// Steps get at most this much for their names, where panels need the rest.
const NAMES: f64 = 260.0;
/// What they get where that puts more panels side by side.
const NARROW_NAMES: f64 = 200.0;
/// More steps than this are not legible in one picture.
const MOST_STEPS: usize = 60;

pub fn reuse(view: &View) -> Option<Scene> {
    let variants = view.shown_variants();
    if variants.is_empty() || view.steps.is_empty() {
        return None;
    }
    let steps = view.steps.len().min(MOST_STEPS);
    let title = format!("{}: which steps a cache served, by strategy and commit", view.scenario);
    let mut scene = Scene::new(WIDTH, title);
    let mut explanation =
        "A row is a step, a column a commit. Lazily cached layers were never fetched, because \
         nothing needed them."
            .to_owned();
    if steps < view.steps.len() {
        explanation.push_str(&format!(" The first {steps} of {} steps.", view.steps.len()));
    }
    let mut legend = vec![
        Entry { label: "cached".into(), sign: Sign::Box(Ink::Cached) },
        Entry { label: "lazily cached".into(), sign: Sign::Dotted(Ink::Lazy, Ink::Text) },
        Entry { label: "rebuilt".into(), sign: Sign::Box(Ink::Rebuilt) },
        Entry { label: "absent".into(), sign: Sign::Box(Ink::Absent) },
    ];
    let varies = |cell: &crate::report::view::Cell| {
        cell.step_states.iter().any(|step| step.state == State::Varies)
    };
    if view.built().any(varies) {
        let label = "differs between rounds".to_owned();
        legend.push(Entry { label, sign: Sign::Split(Ink::Cached, Ink::Rebuilt) });
    }
    let top = head(&mut scene, &explanation, &legend);

    let widest = view.steps.iter().take(steps).map(|step| Style::LABEL.width(step));
    let widest = widest.fold(0.0, f64::max);
    let headings = headings(view, &variants);
    let parts = headings.iter().flatten();
    let heading = parts.map(|line| Style::HEADING.width(line)).fold(0.0, f64::max);
    let heading = heading.min(HEADING_ROOM);
    let layout = |names: f64| Layout::new(names, variants.len(), view.commits.len(), heading);
    let (wide, narrow) = (layout(widest.min(NAMES)), layout(widest.min(NARROW_NAMES)));
    let fewer_rows = |a: &Layout, b: &Layout| {
        variants.len().div_ceil(a.columns) < variants.len().div_ceil(b.columns)
    };
    let Layout { names, left, slot, pitch, columns } =
        if fewer_rows(&narrow, &wide) { narrow } else { wide };
    let (room, panel) = (WIDTH - MARGIN - left, slot * view.commits.len() as f64);
    let height = steps as f64 * ROW;
    let all: Vec<&str> = view.steps.iter().take(steps).map(String::as_str).collect();
    let labels = apart(&all, Style::LABEL, names);
    let heading_room = if columns == 1 { room } else { pitch - 8.0 };
    let headings: Vec<Vec<String>> =
        headings.iter().map(|line| apart(line, Style::HEADING, heading_room)).collect();
    let heading = HEADING + LINE * (headings.len() - 1) as f64;
    for (number, &variant) in variants.iter().enumerate() {
        let (row, column) = (number / columns, number % columns);
        let x = left + column as f64 * pitch;
        let y = top + row as f64 * (heading + height + BELOW);
        for (place, line) in headings.iter().enumerate() {
            scene.text(x, y + 8.0 + place as f64 * LINE, &*line[number], Style::HEADING);
        }
        let y = y + heading;
        if column == 0 {
            for (place, label) in labels.iter().enumerate() {
                let middle = y + (place as f64 + 0.5) * ROW;
                scene.text(MARGIN, middle, &**label, Style::LABEL);
            }
        }
        scene.rect((x, y), (panel, height), Ink::Absent);
        for commit in 0..view.commits.len() {
            let Some(cell) = view.cell(variant, commit) else { continue };
            for step in cell.step_states.iter().filter(|step| step.step < steps) {
                let at = (x + commit as f64 * slot, y + step.step as f64 * ROW);
                square(&mut scene, at, slot, step.state);
            }
        }
        grid(&mut scene, (x, y), (slot, view.commits.len()), steps);
        commit_numbers(&mut scene, (x, y + height + 10.0), slot, view.commits.len());
    }
    let rows = variants.len().div_ceil(columns) as f64;
    let bottom = top + rows * (heading + height + BELOW);
    scene.height = commit_names(&mut scene, view, bottom + 8.0) + MARGIN - 4.0;
    Some(scene)
}

/// What stands above each panel, line by line: a name, or the strategy above its link where names
/// are longer than a panel.
fn headings<'a>(view: &'a View, variants: &[usize]) -> Vec<Vec<&'a str>> {
    let shown: Vec<&Variant> = variants.iter().map(|place| &view.variants[*place]).collect();
    let link = |variant: &&'a Variant| variant.name.strip_prefix(&variant.strategy).unwrap_or("");
    let names: Vec<&str> = shown.iter().map(|variant| variant.name.as_str()).collect();
    let fit = names.iter().all(|name| Style::HEADING.width(name) <= HEADING_ROOM);
    if fit || shown.iter().all(|variant| link(variant).is_empty()) {
        return vec![names];
    }
    let links = shown.iter().map(|variant| link(variant).trim_start()).collect();
    vec![shown.iter().map(|variant| variant.strategy.as_str()).collect(), links]
}

/// How panels share the width.
struct Layout {
    /// The room for steps' names.
    names: f64,
    /// Where the first panel begins.
    left: f64,
    /// The width of a commit.
    slot: f64,
    /// From one panel to the next.
    pitch: f64,
    columns: usize,
}

impl Layout {
    fn new(names: f64, panels: usize, commits: usize, heading: f64) -> Self {
        let left = MARGIN + names + 12.0;
        let room = WIDTH - MARGIN - left;
        let commits = commits.max(1) as f64;
        // Columns as wide as lets all panels stand side by side, within what is legible.
        let count = panels as f64;
        let least = if commits > 12.0 { 8.0 } else { 14.0 };
        let slot = ((room - GAP * (count - 1.0)) / (count * commits)).clamp(least, 26.0);
        let slot = slot.min(room / commits);
        let pitch = (slot * commits).max(heading) + GAP;
        // What is exactly as wide as its room must not fail for a rounding error.
        let columns = (((room + GAP) / pitch + 1e-6) as usize).clamp(1, panels.max(1));
        // Rows of panels are as even as can be.
        let columns = panels.max(1).div_ceil(panels.max(1).div_ceil(columns));
        // What is left over makes few columns wider.
        let share = (room + GAP) / columns as f64 - GAP;
        let slot = if panels > columns { (share / commits).clamp(slot, 26.0) } else { slot };
        Self { names, left, slot, pitch: (slot * commits).max(heading) + GAP, columns }
    }
}

fn square(scene: &mut Scene, (x, y): (f64, f64), slot: f64, state: State) {
    match state {
        State::Cached => scene.rect((x, y), (slot, ROW), Ink::Cached),
        State::Lazy => {
            scene.rect((x, y), (slot, ROW), Ink::Lazy);
            let radius = (slot / 5.0).clamp(0.5, 2.5);
            scene.dot((x + slot / 2.0, y + ROW / 2.0), radius, Shape::Circle, Ink::Text);
        }
        State::Rebuilt => scene.rect((x, y), (slot, ROW), Ink::Rebuilt),
        State::Varies => {
            scene.rect((x, y), (slot / 2.0, ROW), Ink::Cached);
            scene.rect((x + slot / 2.0, y), (slot / 2.0, ROW), Ink::Rebuilt);
        }
    }
}

/// Lines of paper between squares.
fn grid(scene: &mut Scene, (x, y): (f64, f64), (slot, columns): (f64, usize), rows: usize) {
    let (width, height) = (slot * columns as f64, ROW * rows as f64);
    let thick = if slot > 6.0 { 2.0 } else { 0.5 };
    for column in 1..columns {
        let x = x + column as f64 * slot - thick / 2.0;
        scene.rect((x, y), (thick, height), Ink::Paper);
    }
    for row in 1..rows {
        scene.rect((x, y + row as f64 * ROW - 1.0), (width, 2.0), Ink::Paper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{Size, example};
    use crate::report::scene::Mark;

    #[test]
    fn no_two_panels_and_no_two_steps_are_called_the_same() {
        let mut view = example(Size::Links);
        for (place, step) in view.steps.iter_mut().enumerate() {
            *step = format!("[builder 2/7] RUN apt-get update && apt-get install -y v{place}");
        }
        let scene = reuse(&view).unwrap();
        let texts = scene.marks.iter().filter_map(|mark| match mark {
            Mark::Text(text) => Some(text),
            _ => None,
        });
        let (bold, plain): (Vec<_>, Vec<_>) = texts.partition(|text| text.bold);
        // What stands at the same place from the left and one line apart belongs together.
        let mut headings: Vec<String> = bold
            .iter()
            .filter(|text| text.text.starts_with("over "))
            .map(|link| {
                let above = bold.iter().find(|text| text.x == link.x && text.y == link.y - LINE);
                format!("{} {}", above.unwrap().text, link.text)
            })
            .collect();
        let mut names: Vec<String> = view.variants.iter().map(|v| v.name.clone()).collect();
        headings.sort();
        names.sort();
        assert_eq!(headings, names);
        let steps = plain.iter().filter(|text| text.text.starts_with("[builder"));
        let mut steps: Vec<&str> = steps.map(|text| text.text.as_str()).collect();
        steps.sort_unstable();
        steps.dedup();
        assert_eq!(steps.len(), view.steps.len());
    }
}
