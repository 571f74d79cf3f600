//! A strategy over all its commits at once, whatever else was played: time, reuse, bytes, storage.
//!
//! What a table of strategies or of policies is made from. It needs no cold run.

use std::collections::BTreeMap;

use crate::journal::Direction;
use crate::units::Bytes;

use super::cell::median_of;
use super::lookup::Lookup;
use super::row::TrialRow;
use super::sequence::SequenceTotals;
use super::statistics::{Bootstrap, Estimate};

/// One strategy over one link, per commit that any strategy built, but for the first; medians over
/// rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Overall {
    pub strategy: usize,
    pub link: usize,
    /// Rounds in which it built every counted commit; only these are in the numbers.
    pub rounds: usize,
    /// How many commits count.
    pub commits: usize,
    /// Wall time per commit, in seconds.
    pub wall: Option<Estimate>,
    /// The share of all steps that a cache served, 0 to 1.
    pub reused: Option<f64>,
    /// Per commit.
    pub pulled: Bytes,
    /// Per commit.
    pub pushed: Bytes,
    /// In the registry after the last commit that it built.
    pub stored: Bytes,
}

/// Sums up the trials of one strategy and link, of which `totals` holds what adds up.
pub fn overall(
    lookup: &Lookup<'_>,
    totals: &SequenceTotals,
    trials: &[&TrialRow],
    bootstrap: &mut Bootstrap,
) -> Overall {
    let counted = lookup.counted();
    let mut rounds: BTreeMap<u32, Vec<&TrialRow>> = BTreeMap::new();
    for trial in trials.iter().filter(|row| row.built() && counted.contains(&row.commit)) {
        rounds.entry(trial.round).or_default().push(trial);
    }
    rounds.retain(|_, rows| !rows.is_empty() && rows.len() == counted.len());
    let commits = counted.len().max(1);
    let walls = rounds
        .values()
        .map(|rows| rows.iter().map(|row| row.wall().seconds()).sum::<f64>() / commits as f64);
    let walls: Vec<f64> = walls.collect();
    let median = |value: fn(&TrialRow) -> u64| {
        let sum = |rows: &Vec<&TrialRow>| {
            rows.iter().fold(0_u64, |sum, row| sum.saturating_add(value(row)))
        };
        median_of(rounds.values().map(sum))
    };
    let steps = median(|row| row.steps.len() as u64);
    let cached = median(|row| row.cached() as u64);
    let bytes = |sum: u64| Bytes(sum / commits as u64);
    Overall {
        strategy: totals.strategy,
        link: totals.link,
        rounds: rounds.len(),
        commits: counted.len(),
        wall: bootstrap.median(&walls),
        reused: (steps > 0).then(|| cached as f64 / steps as f64),
        pulled: bytes(median(|row| row.traffic.bytes(Direction::Pull).0)),
        pushed: bytes(median(|row| row.traffic.bytes(Direction::Push).0)),
        stored: totals.last_stored(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::journal::{Outcome, Recorded};
    use crate::measure::Analysis;
    use crate::units::Nanos;

    fn published() -> Recorded {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Recorded::read(&root.join("results/jq/2026-11-25-debug/journal.jsonl")).unwrap()
    }

    fn fail(recorded: &mut Recorded, commit: usize) {
        for trial in recorded.trials.iter_mut().filter(|trial| trial.key.commit == commit) {
            trial.outcome = Outcome::Broken { message: "no Dockerfile".into() };
            trial.builds.clear();
        }
    }

    #[test]
    fn a_strategys_numbers_are_means_of_its_commits_after_the_first() {
        let analysis = Analysis::of(&published());
        for overall in &analysis.overall {
            let cells = analysis.cells.iter().filter(|cell| cell.strategy == overall.strategy);
            let cells: Vec<_> = cells.filter(|cell| cell.commit > 0).collect();
            assert_eq!((overall.rounds, overall.commits), (1, 4));
            let wall: f64 = cells.iter().map(|cell| cell.wall.unwrap().median).sum();
            assert!((overall.wall.unwrap().median - wall / 4.0).abs() < 1e-9);
            let pulled: u64 = cells.iter().map(|cell| cell.pulled.0).sum();
            assert_eq!(overall.pulled.0, pulled / 4);
            let (cached, steps) = cells
                .iter()
                .fold((0, 0), |sum, cell| (sum.0 + cell.reuse.cached, sum.1 + cell.reuse.steps));
            assert_eq!(overall.reused, Some(cached as f64 / steps as f64));
        }
    }

    #[test]
    fn a_commit_that_nobody_could_build_counts_for_nobody() {
        let mut recorded = published();
        fail(&mut recorded, 2);
        let analysis = Analysis::of(&recorded);
        assert!(analysis.overall.iter().all(|o| (o.rounds, o.commits) == (1, 3)));
        assert!(analysis.verdicts.iter().all(|v| v.rounds == 1 && v.saving.is_some()));
        for sequence in &analysis.sequences {
            let time: Vec<Nanos> = sequence.time.iter().map(|time| time.unwrap()).collect();
            assert!(time[1] == time[2] && time[2] < time[3]);
        }
        // The first that is built is the one that fills the cache.
        fail(&mut recorded, 0);
        let analysis = Analysis::of(&recorded);
        assert!(analysis.overall.iter().all(|o| (o.rounds, o.commits) == (1, 2)));
        assert!(analysis.sequences.iter().all(|s| s.time[0] == Some(Nanos(0))));
    }

    #[test]
    fn a_commit_that_one_strategy_could_not_build_leaves_its_round_out() {
        let mut recorded = published();
        recorded
            .trials
            .retain(|trial| (&*trial.key.strategy, trial.key.commit) != ("registry-max", 2));
        let analysis = Analysis::of(&recorded);
        for overall in &analysis.overall {
            let whole = analysis.strategies[overall.strategy] != "registry-max";
            assert_eq!(overall.rounds, usize::from(whole));
            assert_eq!(overall.wall.is_some(), whole);
        }
    }
}
