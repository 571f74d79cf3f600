//! Where a verdict goes: the terminal, GitHub's annotations and summary, and files.
//!
//! One place that cannot be written keeps no other from it: whatever fails is told at the end.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use super::Exit;
use super::gate::{Annotate, Gate, GateError};
use crate::check::output::{annotations, badge, bencher, benchmark_action, junit, markdown, plain};
use crate::check::{Checked, Verdict, line_now, line_of};
use crate::measure::Analysis;
use crate::scenario::Loaded;

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = path.display())]
pub struct NotWritten {
    pub path: PathBuf,
    pub source: std::io::Error,
}

/// The Dockerfile that annotations point into.
pub struct Dockerfile {
    /// Relative to the repository.
    pub path: String,
    /// Its text now.
    pub text: Option<String>,
}

impl Dockerfile {
    pub fn of(loaded: &Loaded) -> Self {
        Self::at(&loaded.source.join(&loaded.scenario.build.dockerfile))
    }

    /// The file at `path`, which may be absent.
    pub fn at(path: &Path) -> Self {
        Self { path: shown(path), text: text_of(path).ok() }
    }

    /// The file at `path`, which somebody named.
    pub fn named(path: &Path) -> Result<Self, GateError> {
        let error = |source| GateError::Dockerfile { path: path.into(), source };
        Ok(Self { path: shown(path), text: Some(text_of(path).map_err(error)?) })
    }
}

/// A Dockerfile's comments may be in any encoding.
fn text_of(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

/// `path` as the checkout that annotations are shown in names it, or this folder, or as it stands.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir();
    let roots = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from).into_iter();
    let roots = roots.chain(here.as_ref().ok().cloned());
    let roots: Vec<PathBuf> = roots.filter_map(|root| root.canonicalize().ok()).collect();
    let given = here.map_or_else(|_| path.into(), |here| here.join(path));
    // The file itself, then the link to it: a checkout may be reached, or left, by links.
    let whole = path.canonicalize().into_iter().chain([cleaned(&given)]);
    let whole: Vec<PathBuf> = whole.collect();
    let short = roots.iter().flat_map(|root| whole.iter().map(move |path| path.strip_prefix(root)));
    let short = short.flatten().next().map(Path::to_path_buf);
    short.unwrap_or_else(|| cleaned(path)).display().to_string()
}

/// Without `.` and `name/..`.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}

/// What is told of a run.
pub struct Told<'a> {
    pub checked: &'a Checked,
    pub analysis: &'a Analysis,
    pub dockerfile: &'a Dockerfile,
    /// Whether standard output is for something else.
    pub stdout_taken: bool,
    /// Whether the verdict is printed.
    pub aloud: bool,
}

impl Told<'_> {
    /// Prints the verdict, writes every file that `gate` names, and tells the exit code; the first
    /// that could not be written is the error, after everything else was.
    ///
    /// Of a check that found nothing only the files are written that were asked for by name.
    pub fn tell(&self, gate: &Gate) -> anyhow::Result<Exit> {
        let checked = self.checked;
        let mut failed: Vec<anyhow::Error> = vec![];
        if self.aloud {
            failed.extend(self.show(&plain(checked)).err());
        }
        if gate.annotate() {
            failed.extend(self.show(&self.annotations()).err());
        }
        let summary = job_summary();
        let shared = |path: &Path| summary.as_deref().is_some_and(|summary| same(summary, path));
        for (path, bytes) in self.files(gate) {
            // Other steps of the job write to its summary too.
            let written = if shared(path) { add(path, &bytes) } else { write(path, &bytes) };
            failed.extend(written.err().map(anyhow::Error::from));
        }
        if let Some(path) = summary.as_deref()
            && !checked.findings.is_empty()
            && !gate.summary.as_deref().is_some_and(shared)
            && let Err(NotWritten { source, .. }) = add(path, markdown(checked).as_bytes())
        {
            // Nobody asked for it by name.
            let path = path.display();
            super::say(&format!("note: the job's summary {path} is not written: {source}"));
        }
        first_of(failed)?;
        let regressed = checked.of(Verdict::Regressed).next().is_some();
        Ok(if regressed { Exit::Failed } else { Exit::Done })
    }

    fn show(&self, text: &str) -> anyhow::Result<()> {
        if self.stdout_taken {
            super::say(text.trim_end());
            return Ok(());
        }
        let printed = super::print(text);
        if printed.is_err() {
            super::say(text.trim_end());
        }
        printed.map(drop)
    }

    fn annotations(&self) -> String {
        let commits = &self.analysis.header.commits;
        let now = self.dockerfile.text.as_deref();
        let line = |commit: usize, step: &str| {
            let built = commits.get(commit).and_then(|commit| commit.dockerfile.as_deref());
            let in_file = now.and_then(|now| line_now(now, built, step));
            in_file.or_else(|| line_of(built?, step))
        };
        annotations(self.checked, &self.dockerfile.path, line)
    }

    /// Every file that was asked for.
    fn files<'g>(&self, gate: &'g Gate) -> Vec<(&'g Path, Vec<u8>)> {
        let mut files = vec![];
        let mut add = |path: &'g Option<PathBuf>, made: &dyn Fn() -> String| {
            if let Some(path) = path {
                files.push((path.as_path(), made().into_bytes()));
            }
        };
        let started = &self.analysis.header.environment.started;
        add(&gate.summary, &|| markdown(self.checked));
        add(&gate.junit, &|| junit(self.checked, started));
        add(&gate.bencher, &|| format!("{:#}\n", bencher(self.analysis)));
        add(&gate.benchmark_action, &|| format!("{:#}\n", benchmark_action(self.analysis)));
        add(&gate.badge, &|| badge(self.checked));
        files
    }
}

/// The first of these errors; what the others say beside it is told here.
pub fn first_of(failed: Vec<anyhow::Error>) -> anyhow::Result<()> {
    let mut failed = failed.into_iter();
    let Some(first) = failed.next() else { return Ok(()) };
    let mut said = vec![format!("{first:#}")];
    for error in failed.map(|error| format!("{error:#}")) {
        if !said.contains(&error) {
            super::say(&format!("error: {error}"));
            said.push(error);
        }
    }
    Err(first)
}

impl Gate {
    fn annotate(&self) -> bool {
        match self.annotations {
            Annotate::Auto => in_actions(),
            Annotate::Always => true,
            Annotate::Never => false,
        }
    }
}

pub fn in_actions() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

fn job_summary() -> Option<PathBuf> {
    let path = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// Whether both paths lead to one file, be it there or not.
fn same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    whole(one).is_some_and(|one| Some(one) == whole(other))
}

/// Adds to a file's end.
fn add(path: &Path, bytes: &[u8]) -> Result<(), NotWritten> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| NotWritten { path: path.into(), source })
}

/// The whole of a file, or what was there before.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NotWritten> {
    let error = |source| NotWritten { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(error)?;
    // A pipe or `/dev/stdout` cannot be replaced.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(error);
    }
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.persist(path).map(drop).map_err(|failed| error(failed.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_path_is_shown_as_the_repository_has_it() {
        let clean = |path: &str| cleaned(Path::new(path)).display().to_string();
        assert_eq!(clean("services/api/../../docker/x"), "docker/x");
        assert_eq!(clean("/a/./b/../Dockerfile"), "/a/Dockerfile");
        assert_eq!(clean("../x/Dockerfile"), "../x/Dockerfile");
    }
}
