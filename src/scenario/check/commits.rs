//! What commits and their edits must be.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::super::diagnostic::{Findings, did_you_mean};
use super::{integer, plain, tables, text, tree_path};

/// What one `generate` edit may make, in bytes: it is held in memory and copied per checkout.
const GENERATE_LIMIT: u64 = 1 << 32;

/// The same in files, however small they are.
const GENERATE_FILES: u64 = 1_000_000;

pub(super) fn check(document: &DeTable<'_>, out: &mut Findings<'_>) {
    if let Some(list) = document.get("commit")
        && list.get_ref().as_array().is_some_and(|list| list.is_empty())
    {
        out.add(list.span(), "no commits to build".into(), Some("add a `[[commit]]`".into()));
    }
    let mut branch = "main";
    let mut earlier: BTreeSet<&str> = BTreeSet::new();
    let mut messages: BTreeSet<&str> = BTreeSet::new();
    let mut branches: BTreeSet<&str> = BTreeSet::new();
    for (table, _) in tables(document, "commit") {
        if let Some((value, from)) = table.get("from").and_then(text)
            && !earlier.contains(from)
        {
            let message =
                format!("`{from}` is neither a branch nor a message of an earlier commit");
            out.add(value.span(), message, did_you_mean(from, earlier.iter().copied()));
        }
        if let Some((value, name)) = table.get("branch").and_then(text) {
            branch = name;
            let bad = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
            let parts = name.split('/');
            if name.contains(bad)
                || name.contains("..")
                || name.contains("@{")
                || name.starts_with('-')
                || parts.clone().any(|p| {
                    p.is_empty() || p.starts_with('.') || p.ends_with('.') || p.ends_with(".lock")
                })
            {
                out.add(value.span(), format!("bad branch name `{name}`"), None);
            }
            if let Some(other) = branches.iter().find(|other| is_below(name, other)) {
                let message = format!("there cannot be branches `{name}` and `{other}`");
                let remedy = "git keeps them as a file and a folder of one name: rename one";
                out.add(value.span(), message, Some(remedy.into()));
            }
        }
        branches.insert(branch);
        earlier.insert(branch);
        if let Some((value, message)) = table.get("message").and_then(text) {
            plain(value, message, out);
            if message.trim().is_empty() {
                out.add(value.span(), "an empty message".into(), None);
            }
            if !messages.insert(message) {
                let remedy = "`from` and `verify` tell commits apart by their messages";
                let what = format!("an earlier commit has the message `{message}` too");
                out.add(value.span(), what, Some(remedy.into()));
            }
            earlier.insert(message);
        }
        for edit in table.get("edits").and_then(|e| e.get_ref().as_array()).into_iter().flatten() {
            if let Some(table) = edit.get_ref().as_table() {
                edit_values(table, out);
            }
        }
    }
}

/// Whether the path of one branch lies below that of the other.
fn is_below(one: &str, other: &str) -> bool {
    let below = |path: &str, folder: &str| {
        path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    below(one, other) || below(other, one)
}

fn edit_values(edit: &DeTable<'_>, out: &mut Findings<'_>) {
    let files =
        ["write", "append", "replace", "delete", "rename", "chmod", "touch", "copy", "generate"];
    for key in files.into_iter().chain(["to"]) {
        if let Some((value, path)) = edit.get(key).and_then(text) {
            tree_path(value, path, out);
        }
    }
    if let Some((value, mode)) = edit.get("mode").and_then(text)
        && !["644", "755", "0644", "0755"].contains(&mode)
    {
        let remedy = "`755` or `644`: git keeps no other mode";
        out.add(value.span(), format!("bad mode `{mode}`"), Some(remedy.into()));
    }
    if let Some((value, pattern)) = edit.get("pattern").and_then(text)
        && pattern.is_empty()
    {
        out.add(value.span(), "an empty pattern".into(), None);
    }
    if let Some((value, name)) = edit.get("set-arg").and_then(text)
        && name.is_empty()
    {
        out.add(value.span(), "an empty name of a build arg".into(), None);
    }
    if let Some(times) = edit.get("times")
        && integer(times) == Some(0)
    {
        out.add(times.span(), "`times` is 0: the edit would change nothing".into(), None);
    }
    if let (Some(files), Some(size)) = (edit.get("files"), edit.get("size")) {
        let total = integer(files).zip(integer(size)).map(|(f, s)| f.saturating_mul(s));
        if integer(files) == Some(0) {
            out.add(files.span(), "`files` is 0: the edit would change nothing".into(), None);
        }
        // More than fits is told already.
        let too_many = GENERATE_FILES + 1..=u64::from(u32::MAX);
        if integer(files).is_some_and(|count| too_many.contains(&count)) {
            let message = format!("more than {GENERATE_FILES} files in one edit");
            out.add(files.span(), message, None);
        }
        if total.is_some_and(|total| total > GENERATE_LIMIT) {
            let message = format!("more than {GENERATE_LIMIT} bytes in one edit");
            out.add(size.span(), message, None);
        }
    }
}
