//! What a scenario's values must be for it to make sense, beyond their shape.
//!
//! Works on the parsed file with its spans, and skips what has the wrong shape, so that both kinds
//! of mistake are reported together. Nothing here looks at the disk.

mod caches;
mod commits;
mod network;

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::assertions;
use super::diagnostic::{Findings, did_you_mean};
use crate::strategy::{BUILT_IN, POLICIES};

/// The version of the format that this release reads.
pub const SCHEMA: u32 = 1;

pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) fn check(document: &DeTable<'_>, out: &mut Findings<'_>) {
    schema(document, out);
    name(document, out);
    strategies(document, out);
    network::links(document, out);
    paths(document, out);
    commits::check(document, out);
    assertions::check(document, out);
    verify(document, out);
    images(document, out);
    network::faults(document, out);
}

/// Where `source` is written, or the file's start where it is not.
pub(super) fn span_of_source(text: &str) -> Range<usize> {
    let document = DeTable::parse(text).ok();
    document.and_then(|d| d.get_ref().get("source").map(Spanned::span)).unwrap_or(0..0)
}

fn schema(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let Some(value) = document.get("schema") else { return };
    let Some(number) = value.get_ref().as_integer() else { return };
    if u32::from_str_radix(number.as_str(), number.radix()) != Ok(SCHEMA) {
        let message = format!("schema {} is not known", number.as_str());
        out.add(value.span(), message, Some(format!("this release reads schema {SCHEMA}")));
    }
}

fn name(document: &DeTable<'_>, out: &mut Findings<'_>) {
    if let Some((value, title)) = document.get("title").and_then(text) {
        plain(value, title, out);
    }
    for (value, name) in document.get("name").and_then(text).into_iter().chain(
        tables(document, "strategy").filter_map(|(table, _)| table.get("name").and_then(text)),
    ) {
        let good = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !good || name.is_empty() || name.starts_with('-') || name.ends_with('-') {
            let remedy = "lower-case letters, digits, and hyphens between them";
            out.add(value.span(), format!("bad name `{name}`"), Some(remedy.into()));
        }
    }
}

fn strategies(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let mut known: BTreeSet<&str> = BUILT_IN.into_iter().chain(POLICIES).collect();
    for (table, _) in tables(document, "strategy") {
        if let Some((value, name)) = table.get("name").and_then(text)
            && !known.insert(name)
        {
            let what = if BUILT_IN.contains(&name) || POLICIES.contains(&name) {
                "a built-in strategy"
            } else {
                "an earlier strategy"
            };
            out.add(value.span(), format!("`{name}` is also the name of {what}"), None);
        }
        caches::check(table, out);
    }
    let chosen = texts(document, "strategies");
    duplicates(&chosen, "strategy", out);
    for (value, name) in chosen {
        if !known.contains(name) {
            let remedy = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                format!("known: {}", known.iter().copied().collect::<Vec<_>>().join(", "))
            });
            out.add(value.span(), format!("unknown strategy `{name}`"), Some(remedy));
        }
    }
    if let Some(list) = document.get("strategies")
        && list.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        out.add(list.span(), "no strategies to compare".into(), None);
    }
}

fn paths(document: &DeTable<'_>, out: &mut Findings<'_>) {
    for (value, path) in texts(document, "include") {
        tree_path(value, path, out);
        if let Err(error) = globset::Glob::new(path) {
            out.add(value.span(), format!("bad pattern: {error}"), None);
        }
    }
    if let Some(build) = document.get("build").and_then(|build| build.get_ref().as_table()) {
        if let Some((value, path)) = build.get("dockerfile").and_then(text) {
            tree_path(value, path, out);
        }
        duplicates(&texts(build, "targets"), "target", out);
    }
}

fn verify(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let targets: Vec<&str> = document
        .get("build")
        .and_then(|build| build.get_ref().as_table())
        .map(|build| texts(build, "targets").into_iter().map(|(_, name)| name).collect())
        .unwrap_or_default();
    let messages: BTreeSet<&str> = tables(document, "commit")
        .filter_map(|(table, _)| table.get("message").and_then(text))
        .map(|(_, message)| message)
        .collect();
    for (table, span) in tables(document, "verify") {
        if let Some((value, target)) = table.get("target").and_then(text)
            && !targets.contains(&target)
        {
            let remedy = did_you_mean(target, targets.iter().copied())
                .unwrap_or_else(|| "name it in `build.targets`".into());
            out.add(value.span(), format!("`{target}` is not a target"), Some(remedy));
        }
        for (value, message) in texts(table, "commits") {
            if !messages.contains(message) {
                let remedy = did_you_mean(message, messages.iter().copied());
                out.add(value.span(), format!("no commit has the message `{message}`"), remedy);
            }
        }
        if let Some((value, pattern)) = table.get("stdout").and_then(text)
            && let Err(error) = regex::Regex::new(pattern)
        {
            // The error's last line says what is wrong; the lines before it draw the pattern again.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            out.add(value.span(), format!("bad regular expression: {reason}"), None);
        }
        if !table.contains_key("stdout") && !table.contains_key("stdout-json") {
            let remedy = "give `stdout` or `stdout-json`";
            out.add(span, "a verify that expects nothing".into(), Some(remedy.into()));
        }
    }
}

fn images(document: &DeTable<'_>, out: &mut Findings<'_>) {
    let images = || tables(document, "image");
    let names = images().filter_map(|(table, _)| table.get("reference").and_then(text));
    duplicates(&names.collect::<Vec<_>>(), "image", out);
    for (table, span) in images() {
        if table.contains_key("rootfs") == table.contains_key("oci-layout") {
            let remedy = "give either `rootfs` or `oci-layout`";
            out.add(span, "an image wants exactly one source".into(), Some(remedy.into()));
        }
    }
}

/// A path that is used inside the source tree must stay there whatever the tree looks like.
fn tree_path(value: &Value<'_>, path: &str, out: &mut Findings<'_>) {
    let problem = if path.starts_with('/') {
        "is absolute"
    } else if path.split('/').any(|part| part == "..") {
        "leaves the tree"
    } else if path.split('/').all(|part| part.is_empty() || part == ".") {
        "names no file"
    } else if path.split('/').any(|part| part.eq_ignore_ascii_case(".git")) {
        "is inside git's own folder"
    } else if path.contains('\0') {
        "has a NUL in it"
    } else {
        return;
    };
    let remedy = "paths are relative to `source` and stay inside it";
    out.add(value.span(), format!("the path `{path}` {problem}"), Some(remedy.into()));
}

/// What is shown on terminals and in logs must not steer them.
fn plain(value: &Value<'_>, text: &str, out: &mut Findings<'_>) {
    if text.contains(char::is_control) {
        let remedy = "one line of text, without tabs and escapes";
        out.add(value.span(), "a control character in a name".into(), Some(remedy.into()));
    }
}

fn duplicates(names: &[(&Value<'_>, &str)], what: &str, out: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (value, name) in names {
        if !seen.insert(*name) {
            out.add(value.span(), format!("the {what} `{name}` is named twice"), None);
        }
    }
}

pub(super) fn text<'v, 'i>(value: &'v Value<'i>) -> Option<(&'v Value<'i>, &'v str)> {
    value.get_ref().as_str().map(|text| (value, text))
}

fn integer(value: &Value<'_>) -> Option<u64> {
    let integer = value.get_ref().as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn texts<'v, 'i>(table: &'v DeTable<'i>, key: &str) -> Vec<(&'v Value<'i>, &'v str)> {
    let list = table.get(key).and_then(|list| list.get_ref().as_array());
    list.into_iter().flat_map(|list| list.iter().filter_map(text)).collect()
}

/// The tables of `[[key]]`, each with its span.
pub(super) fn tables<'v, 'i>(
    document: &'v DeTable<'i>,
    key: &str,
) -> impl Iterator<Item = (&'v DeTable<'i>, Range<usize>)> {
    let list = document.get(key).and_then(|list| list.get_ref().as_array());
    list.into_iter()
        .flat_map(|list| list.iter())
        .filter_map(|item| item.get_ref().as_table().map(|table| (table, item.span())))
}
