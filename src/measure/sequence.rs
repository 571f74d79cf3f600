//! What adds up over a sequence of commits: time, and bytes left in the registry.

use std::collections::BTreeMap;

use crate::journal::Direction;
use crate::units::{Bytes, Nanos};

use super::cell::median_of;
use super::lookup::Lookup;
use super::row::TrialRow;

/// One strategy over one link, commit by commit; medians over rounds that were built so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceTotals {
    pub strategy: usize,
    pub link: usize,
    /// By commit: wall time of all trials up to it; `None` from where no round was built through. A
    /// commit that no strategy could build adds nothing.
    pub time: Vec<Option<Nanos>>,
    /// By commit: bytes that the registry holds then; where a journal did not weigh them, bytes that
    /// were pushed up to it, which nothing removes.
    pub stored: Vec<Option<Bytes>>,
}

impl SequenceTotals {
    /// What the registry holds in the end.
    pub fn last_stored(&self) -> Bytes {
        self.stored.iter().rev().find_map(|stored| *stored).unwrap_or_default()
    }
}

/// Sums up `trials`, all of one strategy and link.
pub fn totals(lookup: &Lookup<'_>, place: (usize, usize), trials: &[&TrialRow]) -> SequenceTotals {
    let (strategy, link) = place;
    let commits = lookup.header.commits.len();
    let mut rounds: BTreeMap<u32, Vec<&TrialRow>> = BTreeMap::new();
    for trial in trials {
        rounds.entry(trial.round).or_default().push(trial);
    }
    let mut by_commit = vec![(vec![], vec![]); commits];
    for round in rounds.into_values() {
        let built: BTreeMap<usize, &TrialRow> =
            round.into_iter().filter(|row| row.built()).map(|row| (row.commit, row)).collect();
        // A round of nothing but failures tells no time and no size.
        let Some(last) = built.last_key_value().map(|(commit, _)| *commit) else { continue };
        let (mut time, mut stored) = (Nanos(0), Bytes(0));
        for (commit, (times, stores)) in by_commit.iter_mut().enumerate() {
            match built.get(&commit) {
                Some(trial) => {
                    time = time + trial.wall();
                    stored = trial.stored.unwrap_or(stored + trial.traffic.bytes(Direction::Push));
                }
                // From the first gap on, sums would leave something out.
                None if lookup.is_built(commit) || commit > last => break,
                None => {}
            }
            times.push(time.0);
            stores.push(stored.0);
        }
    }
    let middle =
        |values: &Vec<u64>| (!values.is_empty()).then(|| median_of(values.iter().copied()));
    SequenceTotals {
        strategy,
        link,
        time: by_commit.iter().map(|(times, _)| middle(times).map(Nanos)).collect(),
        stored: by_commit.iter().map(|(_, stores)| middle(stores).map(Bytes)).collect(),
    }
}
