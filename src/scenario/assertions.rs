//! What a scenario's assertions and tolerances must be for them to be asked at all.

use toml::de::{DeTable, DeValue};

use super::check::{tables, text, texts};
use super::diagnostic::{Findings, did_you_mean};
use super::format::{Size, default_strategies};

/// Globs, shares and sizes of assertions, and of `[check]`.
pub(super) fn check(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let listed: Vec<&str> =
        texts(document, "strategies").into_iter().map(|(_, name)| name).collect();
    let default = default_strategies();
    let played = match document.contains_key("strategies") {
        true => listed,
        false => default.iter().map(String::as_str).collect(),
    };
    for (commit, _) in tables(document, "commit") {
        globs(commit, out);
        for (table, span) in tables(commit, "assert") {
            globs(table, out);
            strategies(table, &played, out);
            let asks = |key: &&str| !["strategies", "steps"].contains(key);
            if !table.keys().any(|key| asks(&key.get_ref().as_ref())) {
                let remedy = "add `must-hit`, `min-reuse` or another assertion";
                out.add(span, "an assertion that asks nothing".into(), Some(remedy.into()));
            }
            sizes(table, &["max-pulled", "max-pushed", "max-cache-size"], out);
            shares(table, &["min-reuse"], 1.0, out);
            shares(table, &["max-ratio-to-cold"], f64::MAX, out);
        }
    }
    if let Some(table) = document.get("check").and_then(|check| check.get_ref().as_table()) {
        sizes(table, &["bytes"], out);
        shares(table, &["pulled", "pushed", "time"], f64::MAX, out);
        shares(table, &["significance"], 1.0, out);
    }
}

/// An assertion of strategies that are never played would hold unasked.
fn strategies(table: &DeTable<'_>, played: &[&str], out: &mut Findings<'_>) {
    for (value, pattern) in texts(table, "strategies") {
        let Ok(glob) = globset::Glob::new(pattern) else { continue };
        let glob = glob.compile_matcher();
        if !played.is_empty() && !played.iter().any(|name| glob.is_match(name)) {
            let remedy = did_you_mean(pattern, played.iter().copied())
                .unwrap_or_else(|| format!("the scenario plays: {}", played.join(", ")));
            let message = format!("`{pattern}` matches no strategy of the scenario");
            out.add(value.span(), message, Some(remedy));
        }
    }
}

fn globs(table: &DeTable<'_>, out: &mut Findings<'_>) {
    for key in ["must-hit", "must-miss", "steps", "strategies"] {
        for (value, pattern) in texts(table, key) {
            if let Err(error) = globset::Glob::new(pattern) {
                out.add(value.span(), format!("bad pattern: {error}"), None);
            }
        }
    }
}

fn sizes(table: &DeTable<'_>, keys: &[&str], out: &mut Findings<'_>) {
    for key in keys {
        if let Some((value, size)) = table.get(*key).and_then(text)
            && Size::parse(size).is_none()
        {
            let remedy = "a number of bytes, or one with a unit: B, kB, MB, GB, KiB, MiB, GiB";
            out.add(value.span(), format!("`{size}` is no size"), Some(remedy.into()));
        }
    }
}

fn shares(table: &DeTable<'_>, keys: &[&str], most: f64, out: &mut Findings<'_>) {
    for key in keys {
        let Some(value) = table.get(*key) else { continue };
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().replace('_', "").parse().ok(),
            DeValue::Integer(integer) => integer.as_str().replace('_', "").parse::<f64>().ok(),
            _ => continue,
        };
        if !number.is_some_and(|number| (0.0..=most).contains(&number)) {
            let remedy = match most {
                1.0 => "a share, 0 to 1",
                _ => "a share, 0 or more: 0.1 is 10 %",
            };
            out.add(value.span(), format!("`{key}` is out of range"), Some(remedy.into()));
        }
    }
}
