//! `ARG` and `ENV`: what they set, and `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME:+word}`.
//!
//! Other operations (`#`, `%`, `/`) are not done: the value is taken as it is. An unset name is
//! empty, as in BuildKit (`frontend/dockerfile/shell/lex.go`).

use std::collections::BTreeMap;

use super::Instruction;
use super::lex::words;

/// Adds what an `ARG` or `ENV` sets; other instructions set nothing.
///
/// An `ARG` without a value takes the build's, else that of the global `ARG` of its name; an
/// `ENV` that is set already wins over it.
pub(super) fn declare(
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
                if let Some(value) = args.get(name).cloned().or(default) {
                    values.insert(name.to_owned(), value);
                }
            }
        }
        "ENV" if instruction.words.first().is_some_and(|word| word.contains('=')) => {
            let before = values.clone();
            for (name, value) in instruction.words.iter().filter_map(|word| word.split_once('=')) {
                values.insert(name.to_owned(), expand(value, &before));
            }
        }
        "ENV" => {
            if let Some((name, value)) = instruction.text.split_once(char::is_whitespace) {
                let value = words(value, '\\').join(" ");
                values.insert(name.to_owned(), expand(&value, values));
            }
        }
        _ => {}
    }
}

/// `text` with its variables filled in.
pub fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    expand_with(text, &|name| values.get(name).map_or("", String::as_str))
}

/// Whether every variable of `text` that has no word to stand in for it has a value.
pub(super) fn all_set(text: &str, values: &BTreeMap<String, String>) -> bool {
    let mark = "\0";
    !expand_with(text, &|name| match values.get(name) {
        Some(value) => value,
        None if text.contains(&format!("${{{name}:")) => "",
        None => mark,
    })
    .contains(mark)
}

fn expand_with<'a>(text: &str, value: &dyn Fn(&str) -> &'a str) -> String {
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
            match operation.get(..2) {
                Some(":-") if value(name).is_empty() => {
                    out.push_str(&expand_with(&operation[2..], value));
                }
                Some(":+") if value(name).is_empty() => {}
                Some(":+") => out.push_str(&expand_with(&operation[2..], value)),
                _ => out.push_str(value(name)),
            }
            rest = after;
        } else {
            let (name, after) = after.split_at(name_length(after));
            if name.is_empty() {
                out.push('$');
            }
            out.push_str(value(name));
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// What stands before the brace that closes the one before `text`, and what after it.
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
    }
    None
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count()
}
