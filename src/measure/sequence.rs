//! What adds up over a sequence of commits: time, and bytes left in the registry.

use std::collections::BTreeMap;

use crate::journal::Direction;
use crate::units::{Bytes, Nanos};

use super::cell::median_of;
use super::row::TrialRow;

/// One strategy over one link, commit by commit; medians over rounds that were built so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceTotals {
    pub strategy: usize,
    pub link: usize,
    /// By commit: wall time of all trials up to it; `None` from where no round was built through.
    pub time: Vec<Option<Nanos>>,
    /// By commit: bytes that the registry holds then; where a journal did not weigh them, bytes that
    /// were pushed up to it, which nothing removes.
    pub stored: Vec<Option<Bytes>>,
}

/// Sums up `trials`, all of one strategy and link, over `commits` commits.
pub fn totals(place: (usize, usize), trials: &[&TrialRow], commits: usize) -> SequenceTotals {
    let (strategy, link) = place;
    let mut rounds: BTreeMap<u32, Vec<&TrialRow>> = BTreeMap::new();
    for trial in trials {
        rounds.entry(trial.round).or_default().push(trial);
    }
    let mut by_commit = vec![(vec![], vec![]); commits];
    for mut round in rounds.into_values() {
        round.sort_by_key(|trial| trial.commit);
        let (mut time, mut stored) = (Nanos(0), Bytes(0));
        for (commit, trial) in round.into_iter().enumerate() {
            // From the first gap on, sums would leave something out.
            if trial.commit != commit || !trial.built() {
                break;
            }
            time = time + trial.wall();
            stored = trial.stored.unwrap_or(stored + trial.traffic.bytes(Direction::Push));
            if let Some((times, stores)) = by_commit.get_mut(commit) {
                times.push(time.0);
                stores.push(stored.0);
            }
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
