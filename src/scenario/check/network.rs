//! What links to the registry and its faults must be.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::super::diagnostic::{Findings, did_you_mean};
use super::{integer, plain, tables, text};
use crate::fault::{LONGEST_STALL, LONGEST_STALLS};
use crate::link::{self, LinkProfile};

pub(super) fn faults(document: &DeTable<'_>, out: &mut Findings<'_>) {
    const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
    for (table, _) in tables(document, "fault") {
        for key in ["nth", "times"] {
            if let Some(value) = table.get(key).filter(|value| integer(value) == Some(0)) {
                let remedy = "requests are counted from 1";
                out.add(value.span(), format!("`{key}` is 0"), Some(remedy.into()));
            }
        }
        if let Some(value) = table.get("seconds")
            && integer(value).is_some_and(|seconds| seconds > LONGEST_STALL.into())
        {
            let remedy = format!("at most {LONGEST_STALL}: no request is held up longer");
            out.add(value.span(), "`seconds` is too long".into(), Some(remedy));
        }
        if table.get("does").and_then(text).is_some_and(|(_, does)| does == "stall")
            && let Some(value) = table.get("times")
            && let Some(times) = integer(value)
        {
            let seconds = table.get("seconds").and_then(integer).unwrap_or(1);
            if times.saturating_mul(seconds) > LONGEST_STALLS {
                let message =
                    format!("{times} stalls of {seconds} s could hold a build up too long");
                let remedy = format!("at most {LONGEST_STALLS} s in all: `seconds` by `times`");
                out.add(value.span(), message, Some(remedy));
            }
        }
        if let Some((value, method)) = table.get("method").and_then(text)
            && !METHODS.iter().any(|known| known.eq_ignore_ascii_case(method))
        {
            let remedy = did_you_mean(&method.to_ascii_uppercase(), METHODS)
                .unwrap_or_else(|| format!("one of {}", METHODS.join(", ")));
            out.add(value.span(), format!("unknown method `{method}`"), Some(remedy));
        }
    }
}

pub(super) fn links(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let mut names = BTreeSet::new();
    for (table, _) in tables(document, "link") {
        let given: Vec<_> = ["latency", "down", "up"]
            .into_iter()
            .filter_map(|key| table.get(key).and_then(text).map(|found| (key, found)))
            .collect();
        for (key, (value, written)) in &given {
            if let Err(error) = format!("{key}={written}").parse::<LinkProfile>() {
                out.add(value.span(), error.to_string(), None);
            }
        }
        let Some((value, name)) = table.get("name").and_then(text) else { continue };
        plain(value, name, out);
        if name.trim().is_empty() {
            out.add(value.span(), "a link without a name".into(), Some("say what it is".into()));
        }
        if !names.insert(name) {
            out.add(value.span(), format!("`{name}` is also the name of an earlier link"), None);
        }
        if given.is_empty() && name.parse::<LinkProfile>().is_err() {
            let known = link::NAMED.map(|(name, ..)| name);
            let remedy = did_you_mean(name, known)
                .unwrap_or_else(|| "say its `latency`, `down` or `up`".into());
            out.add(value.span(), format!("`{name}` is no built-in link"), Some(remedy));
        }
    }
}
