//! From sums over all rounds to what one round costs.
//!
//! Each commit's sum is divided by that commit's own trials, so that a round that was not played to
//! its end does not make the others cheaper.

use std::collections::{BTreeMap, HashMap};

use crate::measure::Analysis;
use crate::units::Nanos;

use super::misses::is_explained;

/// How many trials of each commit under each strategy over each link are explained.
pub struct Rounds(HashMap<(String, Option<String>, usize), u64>);

impl Rounds {
    pub fn of(analysis: &Analysis) -> Self {
        let mut found = HashMap::new();
        for row in analysis.trials.iter().filter(|row| is_explained(analysis, row)) {
            let strategy = analysis.strategies.get(row.strategy).cloned().unwrap_or_default();
            let link = analysis.links.get(row.link).cloned().flatten();
            *found.entry((strategy, link, row.commit)).or_insert(0) += 1;
        }
        Self(found)
    }

    /// What one round costs, given by commit what all of them did.
    pub fn mean(
        &self,
        strategy: &str,
        link: Option<&str>,
        by_commit: &BTreeMap<usize, Nanos>,
    ) -> Nanos {
        let one = |(&commit, total): (&usize, &Nanos)| {
            let key = (strategy.to_owned(), link.map(str::to_owned), commit);
            Nanos(total.0 / self.0.get(&key).copied().unwrap_or(1).max(1))
        };
        by_commit.iter().map(one).sum()
    }
}
