//! What the caches and the push of a strategy must be.
//!
//! An engine passes most of these mistakes over: a cache that it cannot read is one that is not there,
//! and a `mode` that it does not know is `min`. The strategy would be measured as one that never hits.

use toml::de::DeTable;

use super::super::diagnostic::{Findings, did_you_mean};
use super::{Value, tables, text};
use crate::strategy::{ONCE_A_STAGE, PLACEHOLDERS, Position, is_credential};

/// BuildKit's types of caches (buildkit `cmd/buildkitd/main.go`); an inline one is imported from the
/// image that holds it, by `registry`.
const IMPORTED: [&str; 5] = ["registry", "local", "gha", "s3", "azblob"];
const EXPORTED: [&str; 6] = ["registry", "local", "inline", "gha", "s3", "azblob"];
const MODES: [&str; 2] = ["min", "max"];
const ENV: &str = "env:";

/// Where a text with placeholders stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Import,
    Export,
    Push,
}

pub(super) fn check(strategy: &DeTable<'_>, out: &mut Findings<'_>) {
    pushed_refs(strategy, out);
    for (key, place) in [("import", Place::Import), ("export", Place::Export)] {
        for (cache, _) in tables(strategy, key) {
            kind(cache, place, out);
            if place == Place::Export {
                mode(cache, out);
            }
            let attrs = cache.iter().filter(|(attr, _)| attr.get_ref() != "type");
            for (attr, value) in attrs {
                let Some((value, written)) = text(value) else { continue };
                let whole = written.starts_with('{') && written.ends_with('}');
                // A password may hold braces.
                if whole || !is_credential(attr.get_ref()) {
                    placeholders(value, written, place, out);
                }
            }
        }
    }
    if let Some((value, written)) = strategy.get("push").and_then(text) {
        placeholders(value, written, Place::Push, out);
        reference(value, written, out);
    }
}

/// What a strategy pushes goes to the run's own repository: with the user's login, it might
/// replace an image elsewhere that somebody needs. Imports only read.
fn pushed_refs(strategy: &DeTable<'_>, out: &mut Findings<'_>) {
    let is_registry = |entry: &&DeTable<'_>| {
        entry.get("type").and_then(text).is_some_and(|(_, kind)| kind == "registry")
    };
    let exports = tables(strategy, "export").map(|(export, _)| export);
    let refs = exports.filter(is_registry).filter_map(|entry| entry.get("ref"));
    for (value, name) in strategy.get("push").into_iter().chain(refs).filter_map(text) {
        if !name.starts_with("{repo}") {
            let remedy = "a ref that is pushed must begin with `{repo}`, the run's own repository";
            out.add(value.span(), format!("`{name}` may be anybody's"), Some(remedy.into()));
        }
    }
}

/// The type of a cache, and the attribute without which it has no place.
fn kind(cache: &DeTable<'_>, place: Place, out: &mut Findings<'_>) {
    let Some((value, kind)) = cache.get("type").and_then(text) else { return };
    let known = if place == Place::Import { &IMPORTED[..] } else { &EXPORTED };
    if !known.contains(&kind) {
        let remedy = match kind {
            "inline" => "it is imported from the image that holds it: `type = \"registry\"`".into(),
            _ => did_you_mean(kind, known.iter().copied())
                .unwrap_or_else(|| format!("one of {}", known.join(", "))),
        };
        let what = if place == Place::Import { "imported" } else { "exported" };
        out.add(value.span(), format!("no cache of type `{kind}` can be {what}"), Some(remedy));
    }
    let wanted = match (kind, place) {
        ("registry", _) => {
            if let Some((value, written)) = cache.get("ref").and_then(text) {
                reference(value, written, out);
            }
            "ref"
        }
        ("local", Place::Import) => "src",
        ("local", _) => "dest",
        _ => return,
    };
    if cache.get(wanted).and_then(text).is_none_or(|(_, place)| place.is_empty()) {
        let mut attrs = cache.iter().map(|(attr, _)| &**attr.get_ref());
        let is_near = |attr: &str| attr != wanted && did_you_mean(attr, [wanted]).is_some();
        let near = attrs.find(|attr| is_near(attr));
        let remedy = match near {
            Some(near) => format!("is `{near}` meant to be `{wanted}`?"),
            None => format!("give it a `{wanted}`"),
        };
        out.add(value.span(), format!("a {kind} cache without `{wanted}`"), Some(remedy));
    }
}

/// What an image may be called (distribution/reference `regexp.go`); hosts may have a `_` here.
const REFERENCE: &str = r"(?x)^
    (?: (?: [A-Za-z0-9][A-Za-z0-9._-]* | \[[0-9A-Fa-f:]+\] ) (?: :[0-9]+ )? / )?
    [a-z0-9]+ (?: (?: [._] | __ | -+ | / ) [a-z0-9]+ )*
    (?: :[A-Za-z0-9_][A-Za-z0-9_.-]{0,127} )?
    (?: @[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,} )?
    $";

/// What an engine would say of each trial, once placeholders have values.
fn reference(value: &Value<'_>, written: &str, out: &mut Findings<'_>) {
    let mut filled = String::new();
    let mut rest = written;
    while let Some((plain, (word, after))) =
        rest.split_once('{').and_then(|(plain, rest)| Some((plain, rest.split_once('}')?)))
    {
        filled.push_str(plain);
        match word {
            "repo" => filled.push_str("host/repo"),
            _ if PLACEHOLDERS.contains(&word) || ONCE_A_STAGE.contains(&word) => filled.push('x'),
            _ if is_ancestor(word) => filled.push('x'),
            // Whatever stands in the environment, or what is told as a mistake of its own.
            _ => return,
        }
        rest = after;
    }
    filled.push_str(rest);
    let is_one = |pattern: regex::Regex| pattern.is_match(&filled);
    if !written.is_empty() && !rest.contains('{') && !regex::Regex::new(REFERENCE).is_ok_and(is_one)
    {
        let remedy = "HOST/REPOSITORY:TAG, the repository in lower case";
        out.add(value.span(), format!("`{written}` is no image's reference"), Some(remedy.into()));
    }
}

fn mode(export: &DeTable<'_>, out: &mut Findings<'_>) {
    let Some((value, mode)) = export.get("mode").and_then(text) else { return };
    if !MODES.contains(&mode) && !mode.contains('{') {
        let remedy = did_you_mean(mode, MODES).unwrap_or_else(|| "`min` or `max`".into());
        out.add(value.span(), format!("unknown mode `{mode}`"), Some(remedy));
    }
}

/// What stands in braces is a placeholder, and one that has a value at this place.
fn placeholders(value: &Value<'_>, written: &str, place: Place, out: &mut Findings<'_>) {
    let mut rest = written;
    while let Some((_, after)) = rest.split_once('{') {
        let Some((word, after)) = after.split_once('}') else {
            out.add(value.span(), "a brace that is not closed".into(), None);
            return;
        };
        rest = after;
        let remedy = match word {
            _ if ONCE_A_STAGE.contains(&word) => match place {
                Place::Import => continue,
                Place::Export | Place::Push => "it repeats imports; `{stage}` is the build's own",
            },
            _ if PLACEHOLDERS.contains(&word) || is_ancestor(word) => continue,
            _ if word.starts_with(ENV) => match place {
                Place::Push => "`{env:NAME}` stands in the attributes of caches alone",
                _ if word == ENV => "name the variable: `{env:NAME}`",
                _ => continue,
            },
            _ if word.starts_with("ancestor") => "`{ancestor-1}` to `{ancestor-9}`",
            _ => {
                let message = format!("`{{{word}}}` is no placeholder");
                out.add(value.span(), message, Some(meant(word)));
                continue;
            }
        };
        out.add(value.span(), format!("`{{{word}}}` means nothing here"), Some(remedy.into()));
    }
}

fn is_ancestor(word: &str) -> bool {
    let number = word.strip_prefix("ancestor-");
    number.is_some_and(|number| (1..=Position::ANCESTORS).any(|known| known.to_string() == number))
}

fn meant(word: &str) -> String {
    if let Some((prefix, name)) = word.split_once(':')
        && did_you_mean(&format!("{prefix}:"), [ENV]).is_some()
    {
        return format!("did you mean `{{env:{name}}}`?");
    }
    let known = || PLACEHOLDERS.into_iter().chain(ONCE_A_STAGE);
    let braced: Vec<String> = known().map(|name| format!("{{{name}}}")).collect();
    did_you_mean(&format!("{{{word}}}"), braced.iter().map(String::as_str)).unwrap_or_else(|| {
        format!("known: {}, {{ancestor-1}} to {{ancestor-9}}, {{env:NAME}}", braced.join(", "))
    })
}
