//! What a round says of a strategy's time: one value, over all commits that are compared.

use std::collections::{BTreeSet, HashMap};

use crate::measure::{Analysis, COLD, Name};

/// Means of logarithms, a value a round.
#[derive(Clone, Default)]
pub struct Rounds {
    /// Of own ÷ cold.
    pub shares: Vec<f64>,
    /// Of its own wall times in seconds.
    pub own: Vec<f64>,
}

/// The commits that any strategy built: a replay goes on after one that nobody can build.
pub fn built(analysis: &Analysis) -> BTreeSet<usize> {
    let built = analysis.cells.iter().filter(|cell| !cell.samples.is_empty());
    built.map(|cell| cell.commit).collect()
}

/// Seconds, and the builder that they passed on.
type Walls = HashMap<(usize, usize, u32, usize), (f64, Option<Name>)>;

/// By link and strategy: each round's means of ln(own ÷ cold) and ln(own) over `commits`, of the
/// rounds that built all of them under both, on the same machine.
pub fn logarithms(analysis: &Analysis, commits: &[usize]) -> HashMap<(usize, usize), Rounds> {
    let mut found: HashMap<(usize, usize), Rounds> = HashMap::new();
    let Some(cold) = analysis.strategies.iter().position(|name| name == COLD) else { return found };
    if commits.is_empty() {
        return found;
    }
    let mut walls: Walls = HashMap::with_capacity(analysis.trials.len());
    let mut rounds: Vec<(usize, usize, u32)> = vec![];
    for trial in analysis.trials.iter().filter(|trial| trial.built()) {
        walls.insert(
            (trial.link, trial.strategy, trial.round, trial.commit),
            (trial.wall().seconds(), trial.builder),
        );
        rounds.push((trial.link, trial.strategy, trial.round));
    }
    rounds.sort_unstable();
    rounds.dedup();
    for (link, strategy, round) in rounds {
        let logarithm = |commit: &usize| {
            let (own, builder) = walls.get(&(link, strategy, round, *commit))?;
            let (cold, other) = walls.get(&(link, cold, round, *commit))?;
            let ratio = own / cold;
            let usable = ratio.is_finite() && ratio > 0.0 && builder == other;
            usable.then(|| (ratio.ln(), own.ln()))
        };
        let all: Option<Vec<(f64, f64)>> = commits.iter().map(logarithm).collect();
        if let Some(all) = all {
            let count = all.len() as f64;
            let (shares, own): (Vec<f64>, Vec<f64>) = all.into_iter().unzip();
            let rounds = found.entry((link, strategy)).or_default();
            rounds.shares.push(shares.iter().sum::<f64>() / count);
            rounds.own.push(own.iter().sum::<f64>() / count);
        }
    }
    found
}
