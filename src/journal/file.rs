//! Append to a journal and read it back.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::header::Header;
use super::record::{End, Line, SCHEMA, TrialKey, TrialRecord};

/// What the file is called in a run's folder.
const NAME: &str = "journal.jsonl";

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("cannot create journal {path}; choose another folder with --out", path = path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write journal {path}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read journal {path}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}:{line} is not a journal line", path = path.display())]
    Parse { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path} has no header line; it is not a journal, or it was cut before its first trial", path = path.display())]
    NoHeader { path: PathBuf },
    #[error("{path} has format {found}, this build reads {SCHEMA}", path = path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("{path}:{line} begins another run: {other:?} after {first:?}\n  keep the journals of different scenarios or commits in files of their own", path = path.display())]
    Mixed { path: PathBuf, line: usize, first: String, other: String },
}

/// Where a run whose results are in `folder` keeps its journal.
pub fn path_in(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Whether `folder` holds the journal of a run.
pub fn holds_journal(folder: &Path) -> bool {
    // As serde writes the first field of `Line::Header`.
    const START: &[u8] = br#"{"line":"header","#;
    let mut start = [0; START.len()];
    let read = File::open(path_in(folder)).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == START
}

/// A journal being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// A new journal at `path`, which must not exist, with `header` as its first line.
    pub fn create(path: &Path, header: &Header) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|source| JournalError::Create { path: path.into(), source })?;
        let mut journal = Self { path: path.into(), file };
        journal.append(&Line::Header(Box::new(header.clone())))?;
        Ok(journal)
    }

    /// The journal at `path` and what it holds, ready to go on; a last line that was cut is removed.
    pub fn resume(path: &Path) -> Result<(Self, Recorded), JournalError> {
        let recorded = Recorded::read(path)?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|source| JournalError::Write { path: path.into(), source })?;
        file.set_len(recorded.whole_bytes)
            .map_err(|source| JournalError::Write { path: path.into(), source })?;
        Ok((Self { path: path.into(), file }, recorded))
    }

    /// Adds `line`, in one write, and hands it to the disk.
    pub fn append(&mut self, line: &Line) -> Result<(), JournalError> {
        let error = |source| JournalError::Write { path: self.path.clone(), source };
        let mut text = serde_json::to_vec(line).map_err(|e| error(e.into()))?;
        text.push(b'\n');
        let whole = self.file.metadata().map_err(error)?.len();
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // On a full disk half a line may have been written; the journal stays valid without it.
            let _ = self.file.set_len(whole);
            return Err(error(source));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A journal that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub header: Header,
    pub trials: Vec<TrialRecord>,
    pub end: Option<End>,
    /// Whether the last line was cut and left out.
    pub cut: bool,
    whole_bytes: u64,
}

impl Recorded {
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        let read = |source| JournalError::Read { path: path.into(), source };
        let mut reader = BufReader::new(File::open(path).map_err(read)?);
        let (mut header, mut trials, mut end): (Option<Header>, _, _) = (None, vec![], None);
        let (mut whole_bytes, mut cut, mut line) = (0, false, 0);
        let mut text = Vec::new();
        loop {
            text.clear();
            let length = reader.read_until(b'\n', &mut text).map_err(read)?;
            if length == 0 {
                break;
            }
            line += 1;
            if text.last() != Some(&b'\n') {
                cut = true;
                break;
            }
            whole_bytes += length as u64;
            if header.is_none() {
                check_format(&text, path)?;
            }
            let parsed = serde_json::from_slice(&text).map_err(|source| JournalError::Parse {
                path: path.into(),
                line,
                source,
            })?;
            match parsed {
                Line::Header(found) => match &header {
                    Some(first) => first.check_same_run(&found, path, line)?,
                    None => header = Some(*found),
                },
                Line::Trial(trial) => trials.push(*trial),
                Line::End(found) => end = Some(found),
            }
        }
        let header = header.ok_or_else(|| JournalError::NoHeader { path: path.into() })?;
        Ok(Self { header, trials, end, cut, whole_bytes })
    }

    /// The rounds of which any trial was played, ascending.
    pub fn rounds(&self) -> Vec<u32> {
        let rounds: BTreeSet<u32> = self.trials.iter().map(|trial| trial.key.round).collect();
        rounds.into_iter().collect()
    }

    /// The run as if it had played `rounds` only, in this order; one may be named several times.
    pub fn of_rounds(&self, rounds: &[u32]) -> Self {
        let mut header = self.header.clone();
        header.rounds = u32::try_from(rounds.len()).unwrap_or(u32::MAX);
        let mut trials = vec![];
        for (number, round) in (0..).zip(rounds) {
            for trial in self.trials.iter().filter(|trial| trial.key.round == *round) {
                let mut trial = trial.clone();
                trial.key.round = number;
                trials.push(trial);
            }
        }
        Self { header, trials, end: self.end.clone(), ..*self }
    }

    /// The trials that need not be run again.
    pub fn done(&self) -> BTreeSet<TrialKey> {
        self.trials.iter().map(|trial| trial.key.clone()).collect()
    }
}

impl Header {
    /// Whether the trials after `other`, at `line` of `path`, may be counted with those after
    /// `self`: of the same scenario and targets, at the same commits.
    pub(super) fn check_same_run(
        &self,
        other: &Self,
        path: &Path,
        line: usize,
    ) -> Result<(), JournalError> {
        let same = self.scenario_sha256 == other.scenario_sha256 && self.targets == other.targets;
        if same && self.same_commits(other) {
            return Ok(());
        }
        Err(JournalError::Mixed {
            path: path.into(),
            line,
            first: self.scenario.clone(),
            other: other.scenario.clone(),
        })
    }
}

/// Refuses a newer format by its number, before its unknown fields could confuse a reader.
pub(super) fn check_format(first_line: &[u8], path: &Path) -> Result<(), JournalError> {
    let schema = serde_json::from_slice::<serde_json::Value>(first_line)
        .ok()
        .and_then(|value| value.get("schema")?.as_u64());
    match schema {
        None => Err(JournalError::NoHeader { path: path.into() }),
        Some(found) if found == u64::from(SCHEMA) => Ok(()),
        Some(found) => Err(JournalError::Format {
            path: path.into(),
            found: u32::try_from(found).unwrap_or(u32::MAX),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::record::Outcome;
    use super::*;

    pub fn header() -> Header {
        Header {
            default_branch: String::new(),
            schema: SCHEMA,
            scenario: "jq".into(),
            title: String::new(),
            scenario_sha256: String::new(),
            seed: 1,
            rounds: 1,
            part: None,
            part_trials: None,
            strategies: vec![],
            skipped: vec![],
            commits: vec![],
            targets: vec![],
            links: vec![],
            environment: Default::default(),
            images: vec![],
        }
    }

    fn trial(commit: usize) -> TrialRecord {
        TrialRecord::new(
            TrialKey { round: 0, strategy: "cold".into(), link: None, commit },
            Outcome::Built,
        )
    }

    fn written(dir: &Path) -> PathBuf {
        let path = dir.join("journal.jsonl");
        let mut journal = Journal::create(&path, &header()).unwrap();
        journal.append(&Line::Trial(Box::new(trial(0)))).unwrap();
        journal.append(&Line::Trial(Box::new(trial(1)))).unwrap();
        path
    }

    #[test]
    fn what_was_appended_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let recorded = Recorded::read(&written(dir.path())).unwrap();
        assert_eq!(recorded.header, header());
        assert_eq!(recorded.trials, [trial(0), trial(1)]);
        assert!(!recorded.cut);
    }

    #[test]
    fn a_journal_cut_in_mid_line_resumes_after_its_last_whole_trial() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 7).unwrap();
        let (mut journal, recorded) = Journal::resume(&path).unwrap();
        assert!(recorded.cut);
        assert_eq!(recorded.done(), BTreeSet::from([trial(0).key]));
        journal.append(&Line::Trial(Box::new(trial(1)))).unwrap();
        assert_eq!(Recorded::read(&path).unwrap().trials, [trial(0), trial(1)]);
    }

    #[test]
    fn a_journal_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        assert!(matches!(Journal::create(&path, &header()), Err(JournalError::Create { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"line\":\"header\",\"schema\":9}\n").unwrap();
        assert!(matches!(Recorded::read(&path), Err(JournalError::Format { found: 9, .. })));
    }

    #[test]
    fn the_journal_of_another_scenario_is_not_counted_with_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let append = |header: &Header| {
            let mut journal = Journal::resume(&path).unwrap().0;
            journal.append(&Line::Header(Box::new(header.clone()))).unwrap();
        };
        append(&Header { rounds: 7, ..header() });
        assert_eq!(Recorded::read(&path).unwrap().trials.len(), 2);
        append(&Header { scenario: "else".into(), scenario_sha256: "1".into(), ..header() });
        assert!(matches!(Recorded::read(&path), Err(JournalError::Mixed { line: 5, .. })));
        let analysis = crate::measure::Analysis::read(&path);
        assert!(matches!(analysis, Err(JournalError::Mixed { line: 5, .. })));
    }

    #[test]
    fn a_full_disk_is_an_error_and_not_a_panic() {
        let mut journal = Journal {
            path: "/dev/full".into(),
            file: OpenOptions::new().append(true).open("/dev/full").unwrap(),
        };
        let line = Line::Trial(Box::new(trial(0)));
        assert!(matches!(journal.append(&line), Err(JournalError::Write { .. })));
    }
}
