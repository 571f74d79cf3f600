//! From text to instructions: directives, comments, continuations, heredocs, flags, words.
//!
//! Follows buildkit `frontend/dockerfile/parser/parser.go`. Surprising: comment lines and empty
//! lines inside a continued instruction are dropped, and do not end it.

use std::iter::Peekable;
use std::str::Lines;

use super::{Heredoc, Instruction};

/// The `syntax` directive and all instructions.
pub(super) fn instructions(text: &str) -> (Option<String>, Vec<Instruction>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (syntax, escape) = directives(text);
    let mut lines = Numbered { lines: text.lines().peekable(), number: 0 };
    let mut found = vec![];
    while let Some(line) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let first_line = lines.number;
        let mut whole = String::new();
        let mut continued = push_line(&mut whole, line, escape);
        while continued {
            let Some(next) = lines.next() else { break };
            if !next.trim().is_empty() && !next.trim_start().starts_with('#') {
                continued = push_line(&mut whole, next, escape);
            }
        }
        let mut instruction = instruction(whole.trim(), escape);
        if opens_heredocs(&instruction) {
            for Opened { name, tabs, is_quoted } in heredoc_names(&instruction.text) {
                let body = lines.heredoc(&name, tabs);
                instruction.heredocs.push(Heredoc { body, is_quoted });
            }
        }
        instruction.first_line = first_line;
        instruction.last_line = lines.number;
        found.push(instruction);
    }
    (syntax, found)
}

struct Numbered<'a> {
    lines: Peekable<Lines<'a>>,
    /// Of the line that was taken last, from 1.
    number: usize,
}

impl<'a> Numbered<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.number += 1;
        Some(line)
    }

    /// The lines up to `name`, or to the end of the file.
    fn heredoc(&mut self, name: &str, tabs: bool) -> String {
        let mut body = String::new();
        while let Some(line) = self.next() {
            let line = if tabs { line.trim_start_matches('\t') } else { line };
            if line == name {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        body
    }
}

/// `syntax` and `escape` of the comments that a file may begin with.
fn directives(text: &str) -> (Option<String>, char) {
    let (mut syntax, mut escape) = (None, '\\');
    for line in text.lines() {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|l| l.split_once('='))
        else {
            break;
        };
        match key.trim().to_lowercase().as_str() {
            "syntax" => syntax = Some(value.trim().to_owned()),
            "escape" => escape = value.trim().chars().next().unwrap_or(escape),
            "check" => {}
            _ => break,
        }
    }
    (syntax, escape)
}

/// Adds a line without its continuation mark, and says whether it had one.
fn push_line(whole: &mut String, line: &str, escape: char) -> bool {
    let body = line.trim_end_matches([' ', '\t']);
    match body.strip_suffix(escape) {
        // Two marks are one that was escaped.
        Some(before) if !before.ends_with(escape) => {
            whole.push_str(before);
            true
        }
        _ => {
            whole.push_str(line);
            false
        }
    }
}

fn instruction(line: &str, escape: char) -> Instruction {
    let (keyword, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let keyword = keyword.to_uppercase();
    let text = text.trim().to_owned();
    let mut flags = vec![];
    let mut rest = text.as_str();
    if matches!(keyword.as_str(), "FROM" | "RUN" | "COPY" | "ADD" | "HEALTHCHECK") {
        while let Some(flag) = rest.strip_prefix("--") {
            let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
            let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
            flags.push((name.to_owned(), value.to_owned()));
            rest = after.trim_start();
        }
    }
    let list = rest.starts_with('[').then(|| serde_json::from_str::<Vec<String>>(rest).ok());
    let list = list.flatten();
    let is_list = list.is_some();
    let words = list.unwrap_or_else(|| words(rest, escape));
    Instruction { keyword, text, flags, words, is_list, ..Instruction::default() }
}

/// The words of a line, quotes removed; what stands inside quotes or is escaped is not parted.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    parted(text, escape).into_iter().map(|word| word.plain).collect()
}

/// A word as it is written, and without its quotes.
#[derive(Default)]
struct Word {
    raw: String,
    plain: String,
}

fn parted(text: &str, escape: char) -> Vec<Word> {
    let mut found = vec![];
    let mut word = Word::default();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.raw.is_empty() {
                found.push(std::mem::take(&mut word));
            }
            continue;
        }
        word.raw.push(c);
        match quote {
            // Nothing is escaped inside single quotes.
            _ if c == escape && quote != Some('\'') => {
                let next = chars.next();
                word.raw.extend(next);
                // That of a `$` stays, for whoever fills variables in.
                let is_quote = next.is_some_and(|next| matches!(next, '"' | '\''));
                word.plain.extend(Some(c).filter(|_| !is_quote));
                word.plain.extend(next);
            }
            Some(open) if open == c => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => word.plain.push(c),
        }
    }
    if !word.raw.is_empty() {
        found.push(word);
    }
    found
}

/// Whether heredocs may follow, as they do a trigger of those that open them.
fn opens_heredocs(instruction: &Instruction) -> bool {
    let opens = |keyword: &str| {
        ["RUN", "COPY", "ADD"].iter().any(|known| keyword.eq_ignore_ascii_case(known))
    };
    match instruction.keyword.as_str() {
        "ONBUILD" => instruction.text.split_whitespace().next().is_some_and(opens),
        keyword => opens(keyword),
    }
}

/// A heredoc as the line that opens it says.
struct Opened {
    name: String,
    /// Whether leading tabs are dropped.
    tabs: bool,
    is_quoted: bool,
}

/// The heredocs that a line opens.
fn heredoc_names(text: &str) -> Vec<Opened> {
    let mut found = vec![];
    // Whatever the file's escape character is.
    for word in parted(text, '\\') {
        let word = word.raw.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(rest) = word.strip_prefix("<<") else { continue };
        let (rest, tabs) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
        let name = rest.replace(['"', '\''], "");
        if !name.is_empty() && !name.contains('<') {
            let is_quoted = name != rest;
            found.push(Opened { name, tabs, is_quoted });
        }
    }
    found
}
