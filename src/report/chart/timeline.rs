//! One build as a Gantt chart: what BuildKit did when.

use super::frame::{Entry, MARGIN, Sign, WIDTH, head};
use crate::report::axis::{Axis, Quantity};
use crate::report::scene::{Anchor, Scene, Style};
use crate::report::theme::Ink;
use crate::report::view::{Timeline, TimelineRow, View};

const ROW: f64 = 18.0;
const NAMES: f64 = 290.0;
/// The rows that took longest are kept.
const MOST_ROWS: usize = 50;

/// A build worth looking at: the longest at the second commit, where a cache has something to do.
pub fn longest(view: &View) -> Option<Scene> {
    let builds = || view.timelines.iter().filter(|build| !build.rows.is_empty());
    let is_cold = |place: usize| view.variants.get(place).is_some_and(|variant| variant.is_cold);
    let cached = builds().filter(|build| build.commit == 1 && !is_cold(build.variant));
    let longer = |a: &&Timeline, b: &&Timeline| a.wall_seconds.total_cmp(&b.wall_seconds);
    let build = cached.max_by(longer).or_else(|| builds().max_by(longer))?;
    timeline(view, build)
}

/// The chart of one build; `None` if nothing in it took time.
pub fn timeline(view: &View, build: &Timeline) -> Option<Scene> {
    let time = |row: &TimelineRow| -> f64 {
        row.bars.iter().map(|bar| bar.to_seconds - bar.from_seconds).sum()
    };
    let mut rows: Vec<&TimelineRow> =
        build.rows.iter().filter(|row| !row.bars.is_empty()).collect();
    let all = rows.len();
    if all > MOST_ROWS {
        let mut times: Vec<f64> = rows.iter().map(|row| time(row)).collect();
        times.sort_by(|a, b| b.total_cmp(a));
        let least = times[MOST_ROWS - 1];
        rows.retain(|row| time(row) >= least);
        rows.truncate(MOST_ROWS);
    }
    let end = rows.iter().flat_map(|row| &row.bars).map(|bar| bar.to_seconds).fold(0.0, f64::max);
    if end <= 0.0 {
        return None;
    }
    let variant = view.variants.get(build.variant).map_or("", |variant| &variant.name);
    let message = view.commits.get(build.commit).map_or("", |commit| &commit.message);
    let what =
        build.target.as_ref().map_or("the build".into(), |target| format!("target {target}"));
    let title = format!(
        "{}: timeline of {what} at commit {} “{message}” with {variant}",
        view.scenario,
        build.commit + 1
    );
    let mut scene = Scene::new(WIDTH, title);
    let axis = Axis::new(Quantity::Seconds, end.max(build.wall_seconds), 7);
    let mut explanation = format!(
        "Round {}, wall time {}. Bars are what BuildKit did under a name, coloured by phase.",
        build.round.saturating_add(1),
        axis.value(build.wall_seconds)
    );
    if all > rows.len() {
        explanation.push_str(&format!(" The {} longest of {all} rows.", rows.len()));
    }
    let seen =
        |phase: &usize| rows.iter().any(|row| row.bars.iter().any(|bar| bar.phase == *phase));
    let legend: Vec<Entry> = (0..view.phases.len())
        .filter(seen)
        .map(|phase| Entry {
            label: view.phases[phase].clone(),
            sign: Sign::Box(Ink::Phase(phase)),
        })
        .collect();
    let top = head(&mut scene, &explanation, &legend);
    let label = |row: &TimelineRow| {
        let mark = if row.cached { "✓ " } else { "" };
        format!("{mark}{}", row.name)
    };
    let widest = rows.iter().map(|row| Style::LABEL.width(&label(row))).fold(0.0, f64::max);
    let names = widest.min(NAMES);
    let (left, right) = (MARGIN + names + 14.0, scene.width - MARGIN - 12.0);
    let along = |seconds: f64| left + seconds / axis.end * (right - left);
    let body = top + 18.0;
    let bottom = body + rows.len() as f64 * ROW;
    for tick in &axis.ticks {
        let ink = if *tick == 0.0 { Ink::Faint } else { Ink::Grid };
        scene.line(vec![(along(*tick), body), (along(*tick), bottom)], 1.0, ink);
        for y in [top + 7.0, bottom + 11.0] {
            scene.text(along(*tick), y, axis.label(*tick), Style::TICK);
        }
    }
    for (place, row) in rows.iter().enumerate() {
        let middle = body + (place as f64 + 0.5) * ROW;
        let style = if row.cached { Style::NOTE } else { Style::LABEL };
        scene.text(MARGIN, middle, style.fit(&label(row), names), style);
        for bar in &row.bars {
            let (from, to) =
                (along(bar.from_seconds.max(0.0)), along(bar.to_seconds.min(axis.end)));
            let width = (to - from).max(1.5).min(right - from);
            scene.rect((from, middle - 6.0), (width, 12.0), Ink::Phase(bar.phase));
        }
    }
    let middle = f64::midpoint(left, right);
    let title = format!("time since the build began ({}); ✓ marks cached steps", axis.unit);
    scene.text(middle, bottom + 30.0, title, Style::NOTE.anchored(Anchor::Middle));
    scene.height = bottom + 30.0 + MARGIN;
    Some(scene)
}
