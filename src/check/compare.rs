//! Several runs side by side, by strategy and commit.
//!
//! The first is what the others are held against. Like critcmp it decides nothing; it shows.

use crate::measure::statistics::{FEWEST_PAIRS, Paired};
use crate::measure::{Analysis, Cell, CellStep, Place, StepState};

use super::base;
use super::causes::Causes;
use super::chance::Hits;
use super::doubts;
use super::matching::{StepPair, Steps, differences, pairs, place};
use super::output::WIDEST;
use super::time::{Change, change};

/// A Markdown text that reads well on a terminal too: a table by cell, then what differs by step,
/// then what makes the comparison weaker. Each run has the name it is shown under.
pub fn comparison(runs: &[(String, Analysis)]) -> String {
    let Some(((first_name, first), others)) = runs.split_first() else { return String::new() };
    let mut rows = vec![HEAD.map(String::from)];
    let (mut changes, mut notes) = (vec![], vec![]);
    let paired: Vec<_> = others
        .iter()
        .map(|(name, other)| {
            let (steps, causes) = (Steps::new(first, other), Causes::new(other));
            (name, other, pairs(first, other), steps, causes)
        })
        .collect();
    for cell in &first.cells {
        let place = place(first, cell);
        rows.push(row(&place.to_string(), first_name, cell, None));
        for (name, _, pairs, steps, causes) in &paired {
            let found = pairs.pairs.iter().find(|pair| std::ptr::eq(pair.before, cell));
            let Some(pair) = found else { continue };
            rows.push(row("", name, pair.after, Some(cell)));
            for step in steps.of(cell, pair.after) {
                if let Some(text) = difference(first_name, name, step.before, step.after) {
                    let lost = step.after.filter(|_| is_lost(&step));
                    let why = lost.and_then(|(step, _)| causes.of(pair.after, step));
                    let because = why.map(|why| format!(": {}", why.text())).unwrap_or_default();
                    changes.push(format!("{place}: {text}{because}"));
                }
            }
        }
    }
    for (name, other, pairs, ..) in &paired {
        for (owner, places) in [(first_name, &pairs.gone), (*name, &pairs.new)] {
            if !places.is_empty() {
                let names: Vec<String> = places.iter().map(Place::to_string).collect();
                notes.push(format!("only in {owner}: {}", names.join(", ")));
            }
        }
        let differing = differences(&first.header.environment, &other.header.environment);
        if !differing.is_empty() {
            let differing = differing.join("; ");
            notes.push(format!(
                "from {first_name} to {name} the machine differs ({differing}): compare reuse, bytes and shares of cold, not seconds"
            ));
        }
        let edited = doubts::of_scenario_file((first_name, &first.header), &other.header);
        notes.extend(edited.map(|text| format!("{name}: {text}")));
        let asked = doubts::of_definitions(&first.header, &other.header);
        notes.extend(asked.iter().map(|text| format!("from {first_name} to {name}: {text}")));
        notes.extend(doubts::of_first_in_one(&pairs.first_in_one));
        for image in base::images(first, other) {
            notes.push(format!("from {first_name} to {name} {image}"));
        }
        if first.header.scenario != other.header.scenario {
            let (was, is) = (&first.header.scenario, &other.header.scenario);
            notes.push(format!("{first_name} is of scenario {was:?} and {name} of {is:?}"));
        }
    }
    for (name, analysis) in runs {
        notes.extend(doubts::of_journal(analysis, name));
    }
    let mut text = table(&rows);
    for (title, lines) in [("Steps", changes), ("Notes", notes)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{title}:\n\n"));
            text.extend(lines.into_iter().map(|line| format!("- {line}\n")));
        }
    }
    text
}

/// How many columns there are; an interval stands behind the number that it is of.
const COLUMNS: usize = 9;

const HEAD: [&str; COLUMNS] =
    ["cell", "run", "share of cold", "95 %", "reused", "pulled", "pushed", "wall ÷ first", "95 %"];

fn row(place: &str, run: &str, cell: &Cell, first: Option<&Cell>) -> [String; COLUMNS] {
    let dash = || String::from("–");
    let share = |paired: Paired| format!("{:.3}", 1.0 / paired.ratio.median);
    let interval = |paired: Paired| {
        let range = paired.ratio.interval?;
        Some(format!("{:.3} – {:.3}", 1.0 / range.high, 1.0 / range.low))
    };
    let walls = first.and_then(|first| walls(first, cell));
    let ratio = walls.as_ref().map(|(ratio, _)| format!("{ratio:.2} ×"));
    let range = walls.and_then(|(_, range)| range);
    [
        place.to_owned(),
        run.to_owned(),
        cell.versus_cold.map_or_else(dash, share),
        cell.versus_cold.and_then(interval).unwrap_or_else(dash),
        format!("{}/{}", cell.reuse.cached, cell.reuse.steps),
        cell.pulled.to_string(),
        cell.pushed.to_string(),
        ratio.unwrap_or_else(dash),
        range.map_or_else(dash, |(low, high)| format!("{low:.2} – {high:.2}")),
    ]
}

/// The wall time of `cell` as a multiple of `first`'s, which another run measured: by the logarithms
/// of their rounds with an interval, by their medians without one where rounds are too few.
fn walls(first: &Cell, cell: &Cell) -> Option<(f64, Option<(f64, f64)>)> {
    let logarithms = |cell: &Cell| -> Vec<f64> {
        let walls = cell.samples.iter().map(|sample| sample.wall.seconds().ln());
        walls.filter(|wall| wall.is_finite()).collect()
    };
    let (before, after) = (logarithms(first), logarithms(cell));
    if before.len().min(after.len()) >= FEWEST_PAIRS {
        let Change { ratio, low, high, .. } = change(&before, &after)?;
        return Some((ratio, Some((low, high))));
    }
    let ratio = cell.wall?.median / first.wall?.median;
    ratio.is_finite().then_some((ratio, None))
}

type Side<'a> = Option<(&'a str, &'a CellStep)>;

fn difference(first: &str, other: &str, before: Side<'_>, after: Side<'_>) -> Option<String> {
    let name = after.or(before)?.0;
    match (before.and_then(told), after.and_then(told)) {
        (Some(was), Some(is)) if was != is => {
            Some(format!("`{name}` {was} in {first}, {is} in {other}"))
        }
        (Some(_), None) => Some(format!("`{name}` only in {first}")),
        (None, Some(is)) => Some(format!("`{name}` only in {other}, {is}")),
        _ => None,
    }
}

/// Whether a cache served a step, or in how many of its rounds.
fn told((_, step): (&str, &CellStep)) -> Option<String> {
    match (step.state()?, step.flaky()) {
        (_, true) => Some(format!("hit in {}", Hits::of(step))),
        (StepState::Rebuilt, false) => Some("missed".into()),
        (StepState::Cached | StepState::Lazy, false) => Some("hit".into()),
    }
}

/// Whether a step was reused in the first run and is rebuilt in the other.
fn is_lost(step: &StepPair<'_>) -> bool {
    let state = |side: Side<'_>| side.and_then(|(_, step)| step.state());
    let was = state(step.before).is_some_and(|state| state != StepState::Rebuilt);
    was && state(step.after) == Some(StepState::Rebuilt)
}

/// A Markdown table whose columns are aligned as plain text too.
fn table(rows: &[[String; COLUMNS]]) -> String {
    let escaped: Vec<[String; COLUMNS]> =
        rows.iter().map(|row| row.clone().map(|cell| cell.replace('|', "\\|"))).collect();
    let mut widths = [3; COLUMNS];
    for row in &escaped {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count()).min(WIDEST);
        }
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = String::new();
    for (number, row) in escaped.iter().enumerate() {
        text.push_str(&line(row.iter().zip(widths).map(|(c, w)| format!("{c:<w$}")).collect()));
        if number == 0 {
            text.push_str(&line(widths.iter().map(|width| "-".repeat(*width)).collect()));
        }
    }
    text
}
