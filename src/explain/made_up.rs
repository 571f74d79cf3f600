//! Journals made up for tests.

use std::path::Path;

use crate::journal::{BuildRecord, CommitRecord, FileChange, Outcome, Recorded};
use crate::journal::{TrialKey, TrialRecord};
use crate::strategy::built_in;
use crate::trace::{Interval, Trace, Vertex};
use crate::units::Nanos;

pub fn commit(dockerfile: &str, args: &[(&str, &str)]) -> CommitRecord {
    CommitRecord {
        branch: "main".into(),
        args: args.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        dockerfile: Some(dockerfile.to_owned()),
        ..Default::default()
    }
}

/// The same with files that are given another content.
pub fn edited(dockerfile: &str, files: &[(&str, &str)]) -> CommitRecord {
    let change = |(path, object): &(&str, &str)| FileChange {
        path: (*path).into(),
        object: Some((*object).into()),
        mode: 0o100644,
        target: None,
    };
    CommitRecord { changes: files.iter().map(change).collect(), ..commit(dockerfile, &[]) }
}

/// A built trial of the first round, with its steps and whether a cache served them.
pub fn trial(strategy: &str, commit: usize, steps: &[(&str, bool)]) -> TrialRecord {
    let key = TrialKey { round: 0, strategy: strategy.into(), link: None, commit };
    let vertex = |(number, (name, cached)): (usize, &(&str, bool))| Vertex {
        digest: format!("sha256:{number}"),
        name: (*name).into(),
        inputs: vec![],
        cached: *cached,
        intervals: vec![Interval { start: Nanos(0), end: Nanos(1_000_000_000) }],
        transfers: vec![],
        error: None,
        log: vec![],
    };
    let build = BuildRecord {
        target: None,
        wall: Nanos(1_000_000_000),
        trace: Trace { vertices: steps.iter().enumerate().map(vertex).collect() },
        import_errors: vec![],
        exporter_response: Default::default(),
        layers: vec![],
        outputs: vec![],
    };
    TrialRecord { builds: vec![build], ..TrialRecord::new(key, Outcome::Built) }
}

/// A journal of the default target, each commit on top of the one before.
pub fn recorded(
    strategies: &[&str],
    commits: Vec<CommitRecord>,
    trials: Vec<TrialRecord>,
) -> Recorded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut recorded = Recorded::read(&root.join("tests/data/advice/needs.jsonl")).unwrap();
    let known = |name: &&str| built_in().iter().find(|strategy| strategy.name == *name).cloned();
    recorded.header.strategies = strategies.iter().filter_map(known).collect();
    recorded.header.targets = vec![];
    let numbered = commits.into_iter().enumerate().map(|(number, commit)| CommitRecord {
        id: format!("{number:040}"),
        message: format!("commit {number}"),
        parent: number.checked_sub(1),
        ..commit
    });
    recorded.header.commits = numbered.collect();
    recorded.trials = trials;
    recorded
}
