//! A report as files: which there are, what is in them, and how they reach the disk.
//!
//! Each file is written beside its place and moved there whole, so a reader never sees half of
//! one and a full disk leaves the old one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::measure::Analysis;

use super::chart::{Chart, charts};
use super::paint::{PaintError, png, svg};
use super::theme::Theme;
use super::view::View;

/// The folder of charts, beside `report.md`.
const CHARTS: &str = "charts";

/// One of the forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `report.html`
    Html,
    /// `report.md`
    Markdown,
    /// `trials.csv`
    Csv,
    /// `report.json`
    Json,
    /// `charts/NAME.svg`, `.png`, and both again as `NAME-dark`
    Charts,
}

impl Format {
    pub const ALL: [Self; 5] = [Self::Html, Self::Markdown, Self::Csv, Self::Json, Self::Charts];
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Relative to the report's folder.
    pub path: PathBuf,
    pub content: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    Paint(#[from] PaintError),
    #[error("cannot write {path}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// The files of a report in the `formats` asked for.
pub fn files(
    view: &View,
    analysis: &Analysis,
    formats: &[Format],
) -> Result<Vec<File>, WriteError> {
    let asked = |format| formats.contains(&format);
    let drawn = if asked(Format::Html) || asked(Format::Charts) { charts(view) } else { vec![] };
    let mut files = vec![];
    let mut add = |path: &str, content: Vec<u8>| files.push(File { path: path.into(), content });
    if asked(Format::Html) {
        add("report.html", super::html(view, &drawn)?.into_bytes());
    }
    if asked(Format::Markdown) {
        let beside = asked(Format::Charts).then_some((CHARTS, drawn.as_slice()));
        add("report.md", super::markdown(view, beside).into_bytes());
    }
    if asked(Format::Csv) {
        add("trials.csv", csv(analysis)?);
    }
    if asked(Format::Json) {
        add("report.json", json(view));
    }
    if asked(Format::Charts) {
        files.extend(painted(&drawn)?);
    }
    Ok(files)
}

/// `trials.csv`.
pub fn csv(analysis: &Analysis) -> Result<Vec<u8>, WriteError> {
    let mut content = vec![];
    let written = super::csv(analysis, &mut content);
    written.map_err(|source| WriteError::Write { path: "trials.csv".into(), source })?;
    Ok(content)
}

/// `report.json`.
pub fn json(view: &View) -> Vec<u8> {
    // Nothing in it has a key that is no string, or a number that is none, which alone would fail.
    let mut content = serde_json::to_vec_pretty(view).unwrap_or_default();
    content.push(b'\n');
    content
}

/// Every chart on light and dark paper, as SVG and PNG; painted on all cores.
fn painted(drawn: &[Chart]) -> Result<Vec<File>, PaintError> {
    let papers = [(Theme::Light, ""), (Theme::Dark, "-dark")];
    let jobs: Vec<_> = drawn
        .iter()
        .flat_map(|chart| papers.map(|(theme, suffix)| (chart, theme, suffix)))
        .collect();
    let next = Mutex::new(0..jobs.len());
    let take = || next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    let work = || -> Result<Vec<(usize, [File; 2])>, PaintError> {
        let mut painted = vec![];
        while let Some(job) = take() {
            let (chart, theme, suffix) = &jobs[job];
            let file = |extension: &str, content: Vec<u8>| File {
                path: Path::new(CHARTS).join(format!("{}{suffix}.{extension}", chart.name)),
                content,
            };
            let vector = file("svg", svg(&chart.scene, *theme)?.into_bytes());
            painted.push((job, [vector, file("png", png(&chart.scene, *theme)?)]));
        }
        Ok(painted)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    let results: Vec<_> =
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut results = vec![work()];
            // A panic of a worker is ours.
            results.extend(others.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }));
            results
        });
    let mut painted = vec![];
    for result in results {
        painted.extend(result?);
    }
    painted.sort_by_key(|(job, _)| *job);
    Ok(painted.into_iter().flat_map(|(_, files)| files).collect())
}

/// Writes `files` below `folder`, which is made where it is missing.
pub fn write(folder: &Path, files: &[File]) -> Result<(), WriteError> {
    for file in files {
        write_whole(&folder.join(&file.path), &file.content)?;
    }
    Ok(())
}

/// Puts a file at `path`, in place of what is there, whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    let error = |source| WriteError::Write { path: path.to_owned(), source };
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(error)?;
    // A pipe or a terminal cannot be replaced by a file, and a device must not be.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, content).map_err(error);
    }
    let mut temporary =
        tempfile::Builder::new().prefix(".new-").tempfile_in(parent).map_err(error)?;
    temporary.write_all(content).map_err(error)?;
    readable(temporary.as_file()).map_err(error)?;
    temporary.persist(path).map_err(|failed| error(failed.error))?;
    Ok(())
}

/// Temporary files are their owner's alone; a report is as readable as any new file.
fn readable(file: &fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    // The process' mask can only be read by setting it, which other threads would notice.
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deeper/report.md");
        for content in ["first", "second"] {
            write_whole(&path, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = write_whole(Path::new("/proc/none/report.md"), b"x").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /proc/none/report.md");
        let error = write_whole(Path::new("/dev/full"), b"x").unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/full");
    }
}
