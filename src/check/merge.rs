//! Journals of one run that was split over machines, joined to one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::journal::{End, Header, Recorded, TrialKey, TrialRecord};
use crate::units::Nanos;

use super::matching::differences;

#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    #[error("nothing to merge")]
    Nothing,
    #[error("{first} and {other} are of different runs: {what} differs", first = first.display(), other = other.display())]
    OtherRun { first: PathBuf, other: PathBuf, what: &'static str },
    #[error("{first} and {other} were recorded on different machines: {}\n  --mixed joins them all the same; seconds of different parts do not compare", differences.join("; "), first = first.display(), other = other.display())]
    Mixed { first: PathBuf, other: PathBuf, differences: Vec<String> },
    #[error("{first} and {other} both hold round {} of {} at commit {}\n  merge the parts of one --partition", key.round.saturating_add(1), key.strategy, key.commit.saturating_add(1), first = first.display(), other = other.display())]
    Twice { first: PathBuf, other: PathBuf, key: TrialKey },
}

/// Joins journals, each with the path that names it in errors. `mixed` lets machines differ.
pub fn merged(
    parts: &[(PathBuf, Recorded)],
    mixed: bool,
) -> Result<(Header, Vec<TrialRecord>, End), MergeError> {
    let ((first, start), others) = parts.split_first().ok_or(MergeError::Nothing)?;
    let mut header = Header { part: None, part_trials: None, ..start.header.clone() };
    let mut differing: Vec<String> = vec![];
    for (path, other) in others {
        let found = join(&mut header, first, path, &other.header, mixed)?;
        differing.extend(found);
    }
    if !differing.is_empty() {
        let mut seen = BTreeSet::new();
        differing.retain(|difference| seen.insert(difference.clone()));
        let differing = differing.join("; ");
        header.environment.limits.push(format!(
            "joined from different machines ({differing}): reuse and bytes do not depend on them, seconds do"
        ));
    }
    let mut owners: BTreeMap<TrialKey, &Path> = BTreeMap::new();
    let mut trials: Vec<TrialRecord> = vec![];
    for (number, (path, part)) in (1..).zip(parts) {
        for trial in &part.trials {
            if let Some(first) = owners.insert(trial.key.clone(), path) {
                let (first, other) = (first.to_owned(), path.clone());
                return Err(MergeError::Twice { first, other, key: trial.key.clone() });
            }
            let mut trial = trial.clone();
            // Nothing is held against another machine's cold, and two that look alike are two.
            let own = trial.builder.map(|builder| format!("{builder} ")).unwrap_or_default();
            trial.builder = Some(format!("{own}of part {number}"));
            trials.push(trial);
        }
    }
    trials.sort_by(|a, b| a.key.cmp(&b.key));
    let interrupted =
        parts.iter().any(|(_, part)| part.end.as_ref().is_none_or(|end| end.interrupted));
    let walls = parts.iter().filter_map(|(_, part)| part.end.as_ref()).map(|end| end.wall);
    let wall = walls.max().unwrap_or(Nanos(0));
    // Whole runs and their memory do not add up over machines.
    Ok((header, trials, End { interrupted, wall, ..Default::default() }))
}

/// Whether each commit is built from the same file, as far as both headers hold it.
fn same_dockerfiles(header: &Header, other: &Header) -> bool {
    let files = |header: &Header| -> Vec<Option<String>> {
        header.commits.iter().map(|commit| commit.dockerfile.clone()).collect()
    };
    let none = |files: &[Option<String>]| files.iter().all(Option::is_none);
    let (ours, others) = (files(header), files(other));
    ours == others || none(&ours) || none(&others)
}

/// Takes into `header` what `other` adds, and tells what differs between the machines.
fn join(
    header: &mut Header,
    first: &Path,
    path: &Path,
    other: &Header,
    mixed: bool,
) -> Result<Vec<String>, MergeError> {
    let (first, path) = (first.to_owned(), path.to_owned());
    let same = [
        ("the scenario", header.scenario_sha256 == other.scenario_sha256),
        ("the commits", header.same_commits(other)),
        ("the seed", header.seed == other.seed),
        ("the targets", header.targets == other.targets),
        ("the Dockerfile", same_dockerfiles(header, other)),
    ];
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(MergeError::OtherRun { first, other: path, what });
    }
    let mut differences = differences(&header.environment, &other.environment);
    for image in &other.images {
        let known = header.images.iter().find(|known| known.reference == image.reference);
        if known.is_some_and(|known| known.digest != image.digest) {
            differences.push(format!("{} has another digest", image.reference));
        }
    }
    if !mixed && !differences.is_empty() {
        return Err(MergeError::Mixed { first, other: path, differences });
    }
    for strategy in &other.strategies {
        match header.strategy(&strategy.name) {
            None => header.strategies.push(strategy.clone()),
            Some(known) if known == strategy => {}
            Some(_) => {
                let what = "the definition of a strategy";
                return Err(MergeError::OtherRun { first, other: path, what });
            }
        }
    }
    for link in &other.links {
        match header.links.iter().find(|known| known.name == link.name) {
            None => header.links.push(link.clone()),
            Some(known) if known == link => {}
            Some(_) => {
                let what = "the definition of a link";
                return Err(MergeError::OtherRun { first, other: path, what });
            }
        }
    }
    for skipped in &other.skipped {
        if !header.skipped.contains(skipped) {
            header.skipped.push(skipped.clone());
        }
    }
    for image in &other.images {
        if !header.images.iter().any(|known| known.reference == image.reference) {
            header.images.push(image.clone());
        }
    }
    for limit in &other.environment.limits {
        if !header.environment.limits.contains(limit) {
            header.environment.limits.push(limit.clone());
        }
    }
    header.rounds = header.rounds.max(other.rounds);
    Ok(differences)
}
