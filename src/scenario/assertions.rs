//! What a scenario's assertions and tolerances must be for them to be asked at all.

use toml::de::{DeTable, DeValue};

use super::check::{tables, text, texts};
use super::diagnostic::{Findings, did_you_mean};
use super::format::{SIZES, Size, default_strategies};

/// Strategies, shares and sizes of assertions, and of `[check]`.
pub(super) fn check(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let listed: Vec<&str> =
        texts(document, "strategies").into_iter().map(|(_, name)| name).collect();
    let default = default_strategies();
    let played = match document.contains_key("strategies") {
        true => listed,
        false => default.iter().map(String::as_str).collect(),
    };
    for (commit, _) in tables(document, "commit") {
        for (table, span) in tables(commit, "assert") {
            strategies(table, &played, out);
            if !asks(table) {
                let remedy = "add `must-hit`, `min-reuse` or another assertion";
                out.add(span, "an assertion that asks nothing".into(), Some(remedy.into()));
            } else if let Some(steps) = table.get("steps")
                && !table.contains_key("min-reuse")
            {
                let remedy = "they are those that `min-reuse` looks at: give it too";
                out.add(steps.span(), "`steps` without `min-reuse`".into(), Some(remedy.into()));
            }
            sizes(table, &["max-pulled", "max-pushed", "max-cache-size"], out);
            numbers(table, &["min-reuse"], PART, out);
            numbers(table, &["max-ratio-to-cold"], SHARE, out);
        }
    }
    if let Some(table) = document.get("check").and_then(|check| check.get_ref().as_table()) {
        tolerances(table, out);
    }
}

/// Whether an assertion asks anything: which strategies and steps it is about is no question, and
/// neither is a list of no steps.
fn asks(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| match key.get_ref().as_ref() {
        "strategies" | "steps" => false,
        "must-hit" | "must-miss" => {
            value.get_ref().as_array().is_none_or(|patterns| !patterns.is_empty())
        }
        _ => true,
    })
}

/// What `[check]` holds, in a scenario or in a file of its own.
pub(super) fn tolerances(table: &DeTable<'_>, out: &mut Findings<'_>) {
    sizes(table, &["bytes"], out);
    numbers(table, &["pulled", "pushed", "time"], SHARE, out);
    numbers(table, &["significance"], CHANCE, out);
}

/// An assertion of strategies that are never played would hold unasked.
fn strategies(table: &DeTable<'_>, played: &[&str], out: &mut Findings<'_>) {
    for (value, pattern) in texts(table, "strategies") {
        let glob = match globset::Glob::new(pattern) {
            Ok(glob) => glob.compile_matcher(),
            Err(error) => {
                out.add(value.span(), format!("bad pattern: {error}"), None);
                continue;
            }
        };
        if !played.is_empty() && !played.iter().any(|name| glob.is_match(name)) {
            let remedy = did_you_mean(pattern, played.iter().copied())
                .unwrap_or_else(|| format!("the scenario plays: {}", played.join(", ")));
            let message = format!("`{pattern}` matches no strategy of the scenario");
            out.add(value.span(), message, Some(remedy));
        }
    }
}

fn sizes(table: &DeTable<'_>, keys: &[&str], out: &mut Findings<'_>) {
    for key in keys {
        if let Some((value, size)) = table.get(*key).and_then(text)
            && Size::parse(size).is_none()
        {
            out.add(value.span(), format!("`{size}` is no size"), Some(SIZES.into()));
        }
    }
}

/// The numbers that a key may have, in words too.
#[derive(Clone, Copy)]
struct Allowed {
    holds: fn(f64) -> bool,
    remedy: &'static str,
}

const PART: Allowed =
    Allowed { holds: |number| (0.0..=1.0).contains(&number), remedy: "a share, 0 to 1" };
const SHARE: Allowed = Allowed {
    holds: |number| (0.0..=f64::MAX).contains(&number),
    remedy: "a share, 0 or more: 0.1 is 10 %",
};
const CHANCE: Allowed = Allowed {
    holds: |number| number > 0.0 && number < 1.0,
    remedy: "a chance above 0 and below 1: 0.01 is 1 %",
};

fn numbers(table: &DeTable<'_>, keys: &[&str], allowed: Allowed, out: &mut Findings<'_>) {
    for key in keys {
        let Some(value) = table.get(*key) else { continue };
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(integer) => integer.as_str().replace('_', "").parse::<f64>().ok(),
            _ => continue,
        };
        if !number.is_some_and(allowed.holds) {
            let message = format!("`{key}` is out of range");
            out.add(value.span(), message, Some(allowed.remedy.into()));
        }
    }
}
