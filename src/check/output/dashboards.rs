//! A run's numbers for dashboards: Bencher's BMF, and what github-action-benchmark reads.
//!
//! Of each cell: wall time, its share of cold, reuse, and bytes. Cells without a built trial are
//! left out: a dashboard has no word for a failure.

use serde_json::{Map, Value, json};

use crate::check::matching::place;
use crate::measure::statistics::Estimate;
use crate::measure::{Analysis, Cell};

use super::names::Repeated;

/// Bencher Metric Format: `{benchmark: {measure: {value, lower_value, upper_value}}}`.
/// `latency` is in nanoseconds, as Bencher's own measure of that name.
pub fn bencher(analysis: &Analysis) -> Value {
    let mut benchmarks = Map::new();
    let repeated = repeated(analysis);
    for cell in &analysis.cells {
        let Some(wall) = cell.wall else { continue };
        let mut measures = Map::new();
        measures.insert("latency".into(), metric(&wall, 1e9));
        for number in numbers(cell) {
            measures.insert(number.name.into(), json!({ "value": number.value }));
        }
        benchmarks.insert(name(analysis, cell, &repeated), Value::Object(measures));
    }
    Value::Object(benchmarks)
}

fn metric(estimate: &Estimate, factor: f64) -> Value {
    match estimate.interval {
        Some(range) => json!({
            "value": (estimate.median * factor).round(),
            "lower_value": (range.low * factor).round(),
            "upper_value": (range.high * factor).round(),
        }),
        None => json!({ "value": (estimate.median * factor).round() }),
    }
}

/// A list for github-action-benchmark's `customSmallerIsBetter`; reuse is turned into what was
/// rebuilt, so that smaller is better.
pub fn benchmark_action(analysis: &Analysis) -> Value {
    let mut entries = vec![];
    let repeated = repeated(analysis);
    for cell in &analysis.cells {
        let Some(wall) = cell.wall else { continue };
        let name = name(analysis, cell, &repeated);
        let range = wall
            .interval
            .map_or(String::new(), |range| format!("{:.3} – {:.3}", range.low, range.high));
        entries.push(json!({
            "name": format!("{name}: wall"), "unit": "s", "value": wall.median, "range": range,
        }));
        for number in numbers(cell) {
            let value = if number.name == "reuse" { 1.0 - number.value } else { number.value };
            let what = if number.name == "reuse" { "rebuilt" } else { number.name };
            entries.push(json!({
                "name": format!("{name}: {what}"), "unit": number.unit, "value": value,
            }));
        }
    }
    Value::Array(entries)
}

struct Number {
    name: &'static str,
    unit: &'static str,
    value: f64,
}

fn numbers(cell: &Cell) -> Vec<Number> {
    let number = |name, unit, value| Number { name, unit, value };
    let mut found = vec![];
    if let Some(paired) = cell.versus_cold {
        found.push(number("share-of-cold", "share", 1.0 / paired.ratio.median));
    }
    if cell.reuse.steps > 0 {
        let share = cell.reuse.cached as f64 / cell.reuse.steps as f64;
        found.push(number("reuse", "share", share));
    }
    found.push(number("pulled", "bytes", cell.pulled.0 as f64));
    found.push(number("pushed", "bytes", cell.pushed.0 as f64));
    found
}

fn repeated(analysis: &Analysis) -> Repeated<'_> {
    let commits = analysis.header.commits.iter().enumerate();
    Repeated::among(commits.map(|(place, commit)| (place, commit.message.as_str())))
}

/// `scenario/strategy/message`, with the link where there is one.
fn name(analysis: &Analysis, cell: &Cell, repeated: &Repeated<'_>) -> String {
    let place = place(analysis, cell);
    let link = place.link.as_ref().map_or(String::new(), |link| format!("/{link}"));
    format!("{}/{}{link}/{}", analysis.header.scenario, place.strategy, repeated.commit(&place))
}
