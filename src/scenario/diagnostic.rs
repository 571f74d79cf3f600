//! What is wrong with a scenario file, where, and what to do about it.
//!
//! Findings are gathered as byte spans and become lines and columns only at the end. Columns count
//! characters, not bytes, because that is what an editor shows.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// The line as the file has it; empty when the file could not be read.
    pub source_line: String,
    pub remedy: Option<String>,
}

/// Every mistake that one reading found, in the file's order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// A mistake that no line is to blame for.
    pub(super) fn whole_file(file: &Path, message: String) -> Diagnostics {
        Diagnostics(vec![Diagnostic {
            file: file.into(),
            line: 1,
            column: 1,
            message,
            source_line: String::new(),
            remedy: None,
        }])
    }
}

impl std::error::Error for Diagnostics {}

impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, line, column, message, source_line, remedy } = self;
        write!(formatter, "{}:{line}:{column}: {message}", file.display())?;
        if !source_line.is_empty() {
            let number = line.to_string();
            // Tabs are repeated under the line, so that the caret stands where the editor has it.
            let before: String = source_line
                .chars()
                .take(column - 1)
                .map(|character| if character == '\t' { '\t' } else { ' ' })
                .collect();
            write!(formatter, "\n  {number} | {source_line}")?;
            write!(formatter, "\n  {} | {before}^", " ".repeat(number.len()))?;
        }
        if let Some(remedy) = remedy {
            write!(formatter, "\n  {remedy}")?;
        }
        Ok(())
    }
}

/// Mistakes while they are being found.
pub(super) struct Findings<'text> {
    file: &'text Path,
    text: &'text str,
    found: Vec<(Range<usize>, String, Option<String>)>,
}

impl<'text> Findings<'text> {
    pub(super) fn new(file: &'text Path, text: &'text str) -> Self {
        Findings { file, text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: String, remedy: Option<String>) {
        // A scenario's words stand in both, and may be anybody's.
        let shown = |text: String| text.replace(char::is_control, " ");
        self.found.push((span, shown(message), remedy.map(shown)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_diagnostics(mut self) -> Diagnostics {
        self.found.sort_by_key(|(span, ..)| span.start);
        let diagnose = |(span, message, remedy): (Range<usize>, String, Option<String>)| {
            let (line, column) = line_and_column(self.text, span.start);
            let source_line = self.text.lines().nth(line - 1).unwrap_or_default().to_owned();
            Diagnostic { file: self.file.into(), line, column, message, source_line, remedy }
        };
        Diagnostics(self.found.into_iter().map(diagnose).collect())
    }
}

/// Both from 1; an offset inside a character counts as its start.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// "did you mean `…`?", when one of the known words is near enough to be meant.
pub fn did_you_mean<'word>(
    word: &str,
    known: impl IntoIterator<Item = &'word str>,
) -> Option<String> {
    let limit = 1.max(word.chars().count() / 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// Edits from one word to the other, a swap of neighbours being one; `_` and `-` are the same.
fn distance(left: &str, right: &str) -> usize {
    let normal = |word: &str| word.to_lowercase().replace('_', "-").chars().collect::<Vec<_>>();
    let (left, right) = (normal(left), normal(right));
    // Optimal string alignment: rows[i][j] is the distance of the first i and j characters.
    let mut rows = vec![vec![0; right.len() + 1]; left.len() + 1];
    rows[0] = (0..=right.len()).collect();
    for i in 1..=left.len() {
        rows[i][0] = i;
        for j in 1..=right.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            rows[i][j] = if swapped { best.min(rows[i - 2][j - 2] + 1) } else { best };
        }
    }
    rows[left.len()][right.len()]
}
