//! `ARG` and `ENV`: what they set, and `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`, both also
//! without the colon: then an empty value counts as one.
//!
//! Other operations (`?`, `#`, `%`, `/`) are not done: the value is taken as it is. An unset name is
//! empty, as in BuildKit (`frontend/dockerfile/shell/lex.go`). Surprising: a value that variables make
//! long has a short one in its place, since any text is accepted and none may fill the memory.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Instruction;
use super::lex::words;

/// How many bytes variables may add to a text. What grows more has [`stand_in`] in its place.
const MOST_ADDED: usize = 1 << 14;

/// How deep braces may stand in each other; what is deeper is taken as it is written.
const DEEPEST: usize = 32;

/// Adds what an `ARG` or `ENV` sets; other instructions set nothing.
///
/// An `ARG` takes the build's value, else its own, else, where it has none, that of the global `ARG`
/// of its name, else what was set above.
pub fn declare(
    instruction: &Instruction,
    args: &BTreeMap<String, String>,
    globals: &BTreeMap<String, String>,
    values: &mut BTreeMap<String, String>,
) {
    match instruction.keyword.as_str() {
        "ARG" => {
            for word in &instruction.words {
                let (name, default) = match word.split_once('=') {
                    Some((name, default)) => (name, Some(expand(default, values))),
                    None => (word.as_str(), globals.get(word).cloned()),
                };
                let value = args.get(name).cloned().or(default);
                values.extend(value.map(|value| (name.to_owned(), value)));
            }
        }
        "ENV" if instruction.words.first().is_some_and(|word| word.contains('=')) => {
            // None of them sees what another one sets.
            let pairs = instruction.words.iter().filter_map(|word| word.split_once('='));
            let set_now: Vec<_> =
                pairs.map(|(name, value)| (name.to_owned(), expand(value, values))).collect();
            values.extend(set_now);
        }
        "ENV" => {
            if let Some((name, value)) = instruction.text.split_once(char::is_whitespace) {
                let value = expand(&words(value, '\\').join(" "), values);
                values.insert(name.to_owned(), value);
            }
        }
        _ => {}
    }
}

/// `text` with its variables filled in; a short text that stands for both where they would add more
/// than 16 KiB.
pub fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let value = |asked: Asked<'_>| values.get(asked.name).map(String::as_str);
    expand_with(text, &value).unwrap_or_else(|| stand_in(text, values))
}

/// What is put in the place of a text that variables make too long: another one for each text and
/// each value that it names.
fn stand_in(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let named = values.iter().filter(|(name, _)| text.contains(name.as_str()));
    named.for_each(|named| named.hash(&mut hasher));
    format!("(too long: {:016x})", hasher.finish())
}

/// Whether every variable of `text` that has no word to stand in for it has a value.
pub(super) fn all_set(text: &str, values: &BTreeMap<String, String>) -> bool {
    let mark = "\0";
    let marked = expand_with(text, &|asked| match values.get(asked.name) {
        Some(value) => Some(value),
        None if asked.has_word => None,
        None => Some(mark),
    });
    marked.is_some_and(|marked| !marked.contains(mark))
}

/// A variable where a text names it.
#[derive(Clone, Copy)]
struct Asked<'t> {
    name: &'t str,
    has_word: bool,
}

fn expand_with<'a>(text: &str, value: &dyn Fn(Asked<'_>) -> Option<&'a str>) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        if let Some(before) = before.strip_suffix('\\') {
            out.push_str(before);
            out.push('$');
            rest = after;
            continue;
        }
        out.push_str(before);
        if let Some((inside, after)) = after.strip_prefix('{').and_then(braced) {
            let end = name_length(inside);
            let (name, operation) = inside.split_at(end);
            let (empty_is_unset, operation) = match operation.strip_prefix(':') {
                Some(operation) => (true, operation),
                None => (false, operation),
            };
            let has_word = operation.starts_with(['-', '+']);
            let value_now = value(Asked { name, has_word });
            let set = value_now.filter(|value| !(empty_is_unset && value.is_empty()));
            match (operation.strip_prefix('-'), operation.strip_prefix('+')) {
                (Some(word), _) if set.is_none() => out.push_str(&expand_with(word, value)?),
                (_, Some(word)) if set.is_some() => out.push_str(&expand_with(word, value)?),
                (_, Some(_)) => {}
                _ => out.push_str(value_now.unwrap_or_default()),
            }
            rest = after;
        } else {
            let (name, after) = after.split_at(name_length(after));
            out.push_str(match name {
                "" => "$",
                name => value(Asked { name, has_word: false }).unwrap_or_default(),
            });
            rest = after;
        }
        if out.len() > text.len() + MOST_ADDED {
            return None;
        }
    }
    out.push_str(rest);
    Some(out)
}

/// What stands before the brace that closes the one before `text`, and what after it; nothing where
/// braces stand in it too deep.
fn braced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
        if depth > DEEPEST {
            return None;
        }
    }
    None
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}
