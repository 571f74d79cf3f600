//! `cachefrom report`, and the reports that `run` writes when it ends.
//!
//! A journal is read twice: once for its numbers, which keeps no trace, and once for the first
//! builds' timelines, which stops when there are enough.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use super::told::first_of;
use super::{Exit, journal_path};
use crate::journal::{Block, Depth, JournalError, LineView, Scan};
use crate::measure::Analysis;
use crate::report::files::{self, Format, WriteError};
use crate::report::{Timelines, View, markdown};

#[derive(Debug, Parser)]
pub struct Args {
    /// Journals, or the folders that hold a journal.jsonl; each gets a report of its own
    #[arg(required = true)]
    journals: Vec<PathBuf>,
    /// What to write [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    format: Vec<FormatName>,
    /// Where to write it; a folder in it for each of several journals [default: beside the journal]
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    exports: Exports,
}

/// The forms of a report, as the command line names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// report.html, one page that needs nothing else
    Html,
    /// report.md, for READMEs and pull requests
    Md,
    /// trials.csv, one row a trial
    Csv,
    /// report.json; see `cachefrom schema report`
    Json,
    /// charts/*.svg and *.png, light and dark
    Charts,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Html => Self::Html,
            FormatName::Md => Self::Markdown,
            FormatName::Csv => Self::Csv,
            FormatName::Json => Self::Json,
            FormatName::Charts => Self::Charts,
        }
    }
}

/// Single files of a report, named as hyperfine names them.
#[derive(Debug, Default, Parser)]
pub struct Exports {
    /// Write the report as JSON to FILE; `-` is standard output
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,
    /// Write one row a trial as CSV to FILE; `-` is standard output
    #[arg(long, value_name = "FILE")]
    export_csv: Option<PathBuf>,
    /// Write the report as Markdown to FILE; `-` is standard output
    #[arg(long, value_name = "FILE")]
    export_markdown: Option<PathBuf>,
}

impl Exports {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.export_json, &self.export_csv, &self.export_markdown].into_iter().flatten()
    }

    /// Whether standard output is taken, so that nothing else may be printed there.
    pub fn to_stdout(&self) -> bool {
        self.paths().any(|path| path == Path::new("-"))
    }

    /// Refuses what would write several reports over each other, or into each other.
    pub fn check(&self, reports: usize) -> Result<(), ExportsError> {
        if reports > 1 && self.paths().next().is_some() {
            return Err(ExportsError::Several { reports });
        }
        if self.paths().filter(|path| *path == Path::new("-")).count() > 1 {
            return Err(ExportsError::Twice);
        }
        Ok(())
    }

    /// Writes each that was asked for; why one could not be keeps no other from it.
    fn write(&self, report: &Report) -> Vec<anyhow::Error> {
        let mut failed = vec![];
        if let Some(path) = &self.export_json {
            failed.extend(put(path, &files::json(&report.view)).err());
        }
        if let Some(path) = &self.export_csv {
            let csv = files::csv(&report.analysis).map_err(anyhow::Error::from);
            failed.extend(csv.and_then(|csv| put(path, &csv)).err());
        }
        if let Some(path) = &self.export_markdown {
            failed.extend(put(path, markdown(&report.view, None).as_bytes()).err());
        }
        failed
    }
}

/// `--export-…` that cannot all be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportsError {
    #[error("--export-… names one file, but there are {reports} reports; give one at a time")]
    Several { reports: usize },
    #[error("standard output takes one report; give a file to the other --export-…")]
    Twice,
    #[error(
        "--progress rawjson and --export-… - both want standard output; give the report a file"
    )]
    Progress,
}

fn put(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if path == Path::new("-") {
        super::print(&String::from_utf8_lossy(content))?;
        return Ok(());
    }
    Ok(files::write_whole(path, content)?)
}

/// A journal, read.
struct Report {
    analysis: Analysis,
    view: View,
}

/// Writes the report of every journal that was named.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    args.exports.check(args.journals.len())?;
    let formats = match args.format.as_slice() {
        // Who asks for one file alone has what he wants.
        [] if args.exports.paths().next().is_some() && args.out.is_none() => vec![],
        [] => Format::ALL.to_vec(),
        named => named.iter().map(|name| Format::from(*name)).collect(),
    };
    let (mut taken, mut failed) = (vec![], vec![]);
    for journal in &args.journals {
        let path = journal_path(journal);
        let report =
            read(&path, formats.contains(&Format::Html) || formats.contains(&Format::Charts))?;
        let out = match &args.out {
            None => path.parent().unwrap_or(Path::new("")).to_owned(),
            Some(out) if args.journals.len() == 1 => out.clone(),
            Some(out) => free_name(out, &report.view.scenario, &mut taken),
        };
        let files = files::files(&report.view, &report.analysis, &formats)?;
        files::write(&out, &files)?;
        failed.extend(args.exports.write(&report));
        for warning in report.view.warnings.iter().chain(&report.view.failures) {
            super::say(&format!("note: {warning}"));
        }
        if !args.exports.to_stdout() {
            failed.extend(super::print(&listed(&out, &files)).err());
        }
    }
    first_of(failed)?;
    Ok(Exit::Done)
}

/// Every file that was written; charts as one line.
fn listed(out: &Path, files: &[files::File]) -> String {
    let (charts, others): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| file.path.components().count() > 1);
    let mut text = String::new();
    for file in others {
        text.push_str(&format!("{}\n", out.join(&file.path).display()));
    }
    if let Some(folder) = charts.first().and_then(|chart| chart.path.parent()) {
        text.push_str(&format!("{} ({} files)\n", out.join(folder).display(), charts.len()));
    }
    text
}

/// `out/scenario`, with a number where an earlier journal has it.
fn free_name(out: &Path, scenario: &str, taken: &mut Vec<PathBuf>) -> PathBuf {
    // A journal may be anybody's; its name must not lead out of the folder.
    let name = scenario.replace(['/', '\\'], "-").replace("..", "-");
    let name = if name.is_empty() { "report".to_owned() } else { name };
    let mut path = out.join(&name);
    let mut number = 2;
    while taken.contains(&path) {
        path = out.join(format!("{name}-{number}"));
        number += 1;
    }
    taken.push(path.clone());
    path
}

/// Writes all reports of a finished run beside its journal, and the exports that were asked for.
pub fn after_run(journal: &Path, exports: &Exports) -> anyhow::Result<()> {
    let report = read(journal, true)?;
    let files = files::files(&report.view, &report.analysis, &Format::ALL)?;
    let written = files::write(journal.parent().unwrap_or(Path::new("")), &files);
    let mut failed: Vec<anyhow::Error> = written.err().into_iter().map(Into::into).collect();
    failed.extend(exports.write(&report));
    first_of(failed)
}

fn read(path: &Path, timelines: bool) -> Result<Report, JournalError> {
    let analysis = Analysis::read(path)?;
    let mut view = View::of(&analysis);
    if timelines {
        view = view.with_timelines(first_timelines(path, &analysis)?);
    }
    Ok(Report { analysis, view })
}

fn first_timelines(
    path: &Path,
    analysis: &Analysis,
) -> Result<(Vec<crate::report::view::Timeline>, usize), JournalError> {
    let mut timelines = Timelines::new(analysis);
    let mut scan = Scan::open(path)?;
    let mut block = Block::default();
    while !timelines.full() && scan.next_block(&mut block)? {
        block.lines(path, &analysis.header, Depth::Whole, |line| match line {
            LineView::Trial(trial) => timelines.add(&trial),
            LineView::End(_) => {}
        })?;
    }
    Ok(timelines.finish())
}

/// Which exit code a report that could not be written has.
pub fn exit_of(error: &WriteError) -> Exit {
    match error {
        WriteError::Paint(_) => Exit::Unexpected,
        WriteError::Write { .. } => Exit::NotWritten,
    }
}
