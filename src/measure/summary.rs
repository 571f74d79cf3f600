//! A run as a table: strategy × commit, each cell over its rounds.

use crate::journal::{Outcome, Recorded, TrialRecord};
use crate::units::{Bytes, Nanos};

use super::reuse::{Reuse, reuse};

/// The trials of one commit under one strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub strategy: String,
    /// The commit's place in the sequence, from 0.
    pub commit: usize,
    /// Rounds that were built and verified; only these are in the numbers.
    pub rounds: usize,
    pub failed: usize,
    /// Median over the rounds of the trial's wall time.
    pub wall: Nanos,
    /// Of the round with the fewest cached steps, so that flakiness is not hidden.
    pub reuse: Reuse,
    /// Medians.
    pub pulled: Bytes,
    pub pushed: Bytes,
    /// Wall time of `cold` in the same round ÷ this one's, median over rounds; absent without cold.
    pub times_faster_than_cold: Option<f64>,
}

/// Every cell that has trials, in the header's order of strategies, then by commit.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub cells: Vec<Cell>,
}

impl Summary {
    pub fn of(recorded: &Recorded) -> Self {
        let header = &recorded.header;
        let mut cells = vec![];
        for strategy in &header.strategies {
            for commit in 0..header.commits.len() {
                let trials: Vec<&TrialRecord> = recorded
                    .trials
                    .iter()
                    .filter(|t| t.key.strategy == strategy.name && t.key.commit == commit)
                    .collect();
                if !trials.is_empty() {
                    cells.push(cell(&strategy.name, commit, &trials, recorded));
                }
            }
        }
        Self { cells }
    }

    /// One sentence a strategy, about the commit at which it differs most from cold.
    pub fn sentences(&self, recorded: &Recorded) -> Vec<String> {
        let header = &recorded.header;
        let mut sentences = vec![];
        for strategy in header.strategies.iter().filter(|strategy| strategy.name != "cold") {
            let cells = || self.cells.iter().filter(|cell| cell.strategy == strategy.name);
            let edited = cells().find(|cell| cell.commit == 1 && cell.rounds > 0);
            let Some(cell) = edited.or_else(|| cells().find(|cell| cell.rounds > 0)) else {
                sentences.push(format!("{} has no trial that was built", strategy.name));
                continue;
            };
            let rebuilt = cell.reuse.steps - cell.reuse.cached;
            let mut sentence = format!(
                "{} rebuilt {rebuilt} of {} steps at “{}”",
                strategy.name, cell.reuse.steps, header.commits[cell.commit].message
            );
            match cell.times_faster_than_cold {
                Some(ratio) if ratio >= 1.0 => {
                    sentence.push_str(&format!(" and was {ratio:.1} × faster than cold"));
                }
                Some(ratio) => {
                    sentence.push_str(&format!(" and was {:.1} × slower than cold", 1.0 / ratio));
                }
                None => {}
            }
            sentences.push(sentence);
        }
        sentences
    }
}

fn cell(strategy: &str, commit: usize, trials: &[&TrialRecord], recorded: &Recorded) -> Cell {
    let built: Vec<&TrialRecord> =
        trials.iter().copied().filter(|trial| trial.outcome == Outcome::Built).collect();
    let ratios: Vec<f64> = built
        .iter()
        .filter_map(|trial| {
            let cold = recorded.trials.iter().find(|other| {
                other.key.strategy == "cold"
                    && other.key.commit == commit
                    && other.key.round == trial.key.round
                    && other.outcome == Outcome::Built
            })?;
            let wall = trial.wall().seconds();
            (wall > 0.0).then(|| cold.wall().seconds() / wall)
        })
        .collect();
    let numbers = |of: &dyn Fn(&TrialRecord) -> u64| {
        median(&built.iter().map(|trial| of(trial) as f64).collect::<Vec<_>>()).unwrap_or(0.0)
            as u64
    };
    Cell {
        strategy: strategy.into(),
        commit,
        rounds: built.len(),
        failed: trials.len() - built.len(),
        wall: Nanos(numbers(&|trial| trial.wall().0)),
        reuse: built
            .iter()
            .map(|trial| reuse(trial))
            .min_by_key(|reuse| reuse.cached)
            .unwrap_or_default(),
        pulled: Bytes(numbers(&|trial| trial.pulled().0)),
        pushed: Bytes(numbers(&|trial| trial.pushed().0)),
        times_faster_than_cold: median(&ratios),
    }
}

/// The median; the mean of the middle two for an even count, `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
