//! Which steps a cache served: steps × commits, a panel a strategy.

use super::frame::{Entry, MARGIN, Sign, WIDTH, head};
use super::panels::{commit_names, commit_numbers};
use crate::report::scene::{Scene, Style};
use crate::report::theme::Ink;
use crate::report::view::{State, View};

const ROW: f64 = 16.0;
const HEADING: f64 = 22.0;
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
        Entry { label: "lazily cached".into(), sign: Sign::Box(Ink::Lazy) },
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
    let headings = variants.iter().map(|v| Style::HEADING.width(&view.variants[*v].name));
    let heading = headings.fold(0.0, f64::max).min(110.0);
    let layout = |names: f64| Layout::new(names, variants.len(), view.commits.len(), heading);
    let (wide, narrow) = (layout(widest.min(NAMES)), layout(widest.min(NARROW_NAMES)));
    let fewer_rows = |a: &Layout, b: &Layout| {
        variants.len().div_ceil(a.columns) < variants.len().div_ceil(b.columns)
    };
    let Layout { names, left, slot, pitch, columns } =
        if fewer_rows(&narrow, &wide) { narrow } else { wide };
    let (room, panel) = (WIDTH - MARGIN - left, slot * view.commits.len() as f64);
    let height = steps as f64 * ROW;
    for (number, &variant) in variants.iter().enumerate() {
        let (row, column) = (number / columns, number % columns);
        let x = left + column as f64 * pitch;
        let y = top + row as f64 * (HEADING + height + BELOW);
        let heading_room = if columns == 1 { room } else { pitch - 8.0 };
        let name = Style::HEADING.fit(&view.variants[variant].name, heading_room);
        scene.text(x, y + 8.0, name, Style::HEADING);
        let y = y + HEADING;
        if column == 0 {
            for (place, step) in view.steps.iter().take(steps).enumerate() {
                let middle = y + (place as f64 + 0.5) * ROW;
                scene.text(MARGIN, middle, Style::LABEL.fit(step, names), Style::LABEL);
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
    let bottom = top + rows * (HEADING + height + BELOW);
    scene.height = commit_names(&mut scene, view, bottom + 8.0) + MARGIN - 4.0;
    Some(scene)
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
        State::Lazy => scene.rect((x, y), (slot, ROW), Ink::Lazy),
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
