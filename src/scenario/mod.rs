//! Scenario files: the format, its JSON Schema, and reading one with every mistake reported at once.
//!
//! Stops at the file: whether an edit applies to the tree is found out by `history`. The surprising
//! thing: the schema that `cachefrom schema` prints is also what the file's shape is checked
//! against, so the two cannot drift apart.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

mod assertions;
pub mod check;
mod diagnostic;
pub mod format;
mod shape;
mod tolerances;

pub use diagnostic::{Diagnostic, Diagnostics, did_you_mean};
pub use format::Scenario;
pub use tolerances::tolerances;

use diagnostic::Findings;

/// A scenario that was read and found sound, and where its parts are on disk.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub scenario: Scenario,
    /// The scenario file, as it was named.
    pub path: PathBuf,
    /// The source tree, canonical.
    pub source: PathBuf,
}

/// Reads a scenario file; on failure, everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let text = read(path, "the scenario")?;
    let scenario = parse(path, &text)?;

    let folder = path.parent().unwrap_or(Path::new(""));
    let source = folder.join(&scenario.source);
    let source = std::fs::canonicalize(&source)
        .and_then(|found| match found.is_dir() {
            true => Ok(found),
            false => Err(std::io::ErrorKind::NotADirectory.into()),
        })
        .map_err(|error| {
            let mut findings = Findings::new(path, &text);
            let message = format!("the source tree `{}` cannot be used: {error}", source.display());
            let remedy = "`source` is a folder, relative to the scenario file";
            findings.add(check::span_of_source(&text), message, Some(remedy.into()));
            findings.into_diagnostics()
        })?;
    Ok(Loaded { scenario, path: path.into(), source })
}

/// The text of the file at `path`; `name` is what it is called.
fn read(path: &Path, name: &str) -> Result<String, Diagnostics> {
    let bytes = std::fs::read(path).map_err(|error| {
        Diagnostics::whole_file(path, format!("{name} cannot be read: {error}"))
    })?;
    String::from_utf8(bytes)
        .map_err(|error| Diagnostics::whole_file(path, format!("not a UTF-8 text: {error}")))
}

/// Everything that the text alone decides; `path` only names it in the diagnostics.
pub fn parse(path: &Path, text: &str) -> Result<Scenario, Diagnostics> {
    read_as(path, text, |document, findings| {
        shape::check(document, &schema(), "the scenario", findings);
        check::check(document, findings);
    })
}

/// A document that `look` finds nothing wrong with.
fn read_as<T: serde::de::DeserializeOwned>(
    path: &Path,
    text: &str,
    look: impl FnOnce(&DeTable<'_>, &mut Findings<'_>),
) -> Result<T, Diagnostics> {
    let mut findings = Findings::new(path, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        findings.add(error.span().unwrap_or(0..0), error.message().to_owned(), None);
    }
    // What the parser made up to recover would be blamed on the author.
    if errors.is_empty() {
        look(document.get_ref(), &mut findings);
    }
    if findings.is_empty() {
        match toml::from_str(text) {
            Ok(read) => return Ok(read),
            Err(error) => {
                findings.add(error.span().unwrap_or(0..0), error.message().to_owned(), None)
            }
        }
    }
    Err(findings.into_diagnostics())
}

/// Line and column, both from 1, of an edit in a scenario file that still reads as it did.
pub fn edit_position(path: &Path, commit: usize, edit: usize) -> Option<(usize, usize)> {
    let text = std::fs::read_to_string(path).ok()?;
    let span = span_of(&text, Part::Edit { commit, edit })?;
    Some(diagnostic::line_and_column(&text, span.start))
}

/// A part of a scenario that is found wrong only when the commits are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Dockerfile,
    /// By its place in `build.targets`.
    Target(usize),
    /// A build arg by its name.
    Arg(&'a str),
    /// By their places, from 0.
    Edit {
        commit: usize,
        edit: usize,
    },
}

/// The mistake `message` in the scenario file at `path`; its whole `[build]` or first line is to
/// blame where the file does not have the part.
pub fn blame(path: &Path, part: Part<'_>, message: String, remedy: Option<String>) -> Diagnostics {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut findings = Findings::new(path, &text);
    findings.add(span_of(&text, part).unwrap_or_default(), message, remedy);
    findings.into_diagnostics()
}

fn span_of(text: &str, part: Part<'_>) -> Option<std::ops::Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    if let Part::Edit { commit, edit } = part {
        let commits = document.get_ref().get("commit")?.get_ref().as_array()?;
        let commit = commits.get(commit)?.get_ref().as_table()?;
        let edits = commit.get("edits")?.get_ref().as_array()?;
        return Some(edits.get(edit)?.span());
    }
    let whole = document.get_ref().get("build")?;
    let build = whole.get_ref().as_table()?;
    let span = match part {
        Part::Dockerfile => build.get("dockerfile").map(|path| path.span()),
        Part::Target(place) => {
            let targets = build.get("targets").and_then(|targets| targets.get_ref().as_array());
            targets.and_then(|targets| targets.get(place)).map(|target| target.span())
        }
        Part::Arg(name) => {
            let args = build.get("args").and_then(|args| args.get_ref().as_table());
            args.and_then(|args| args.get_key_value(name)).map(|(key, _)| key.span())
        }
        Part::Edit { .. } => None,
    };
    span.or(Some(whole.span()))
}

/// The JSON Schema of a scenario file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Scenario).to_value()
}

#[cfg(test)]
mod tests;
