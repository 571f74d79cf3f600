//! What chance alone may do: which of several caches BuildKit reads varies from round to round.
//!
//! Where a build has several cache sources, the same commit reuses other steps in other rounds
//! (moby/buildkit#6418), so one round against one proves nothing there. Fisher's exact test says how
//! many rounds do.

use std::collections::BTreeSet;
use std::fmt;

use crate::measure::{Analysis, Cell, CellStep};
use crate::strategy::{Strategy, plan};

/// So small a probability is not taken for chance: a check looks at hundreds of steps.
pub const SURE: f64 = 1e-4;
/// A step that wavers is looked at alone and seldom, so a milder level than [`SURE`] will do.
pub const LIKELY: f64 = 0.05;
/// For evidence: why a difference proves nothing by itself.
pub const WHY: &str = "which of several caches BuildKit reads is chance";

/// In how many rounds a step was reused, of how many that met it; or anything else that can be or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hits {
    pub reused: usize,
    pub rounds: usize,
}

impl Hits {
    pub fn of(step: &CellStep) -> Self {
        let reused = step.reused();
        Self { reused, rounds: reused + step.rebuilt }
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} rounds", self.reused, self.rounds)
    }
}

/// The cells of a run whose builds may read several caches: strategies' and commits' places.
pub struct Chancy(BTreeSet<(usize, usize)>);

impl Chancy {
    pub fn of(analysis: &Analysis) -> Self {
        let header = &analysis.header;
        let targets = header.targets.len();
        // A plan takes long, and others never have several.
        let several =
            |it: &&Strategy| it.imports.len() > 1 || targets > 1 && !it.imports.is_empty();
        let strategies = analysis.strategies.iter().enumerate();
        let strategies: Vec<(usize, &Strategy)> = strategies
            .filter_map(|(place, name)| Some((place, header.strategy(name).filter(several)?)))
            .collect();
        let mut found = BTreeSet::new();
        if strategies.is_empty() {
            return Self(found);
        }
        for (commit, position) in header.positions().enumerate() {
            for (place, strategy) in &strategies {
                let builds = plan(strategy, &position).builds;
                if builds.iter().any(|build| build.imports.len() > 1) {
                    found.insert((*place, commit));
                }
            }
        }
        Self(found)
    }

    pub fn has(&self, cell: &Cell) -> bool {
        self.0.contains(&(cell.strategy, cell.commit))
    }
}

/// The probability that `after` has so few hits or fewer, were both drawn from the same rounds
/// (Fisher, *Statistical Methods for Research Workers*, 5th edition, §21.02; one-sided).
pub fn of_so_few(before: Hits, after: Hits) -> f64 {
    let rounds = before.rounds + after.rounds;
    let reused = before.reused + after.reused;
    let least = reused.saturating_sub(before.rounds);
    let ways = |hits: usize| {
        choose(after.rounds, hits) + choose(before.rounds, reused - hits) - choose(rounds, reused)
    };
    (least..=after.reused).map(|hits| ways(hits).exp()).sum::<f64>().min(1.0)
}

/// The probability that all of `after` rounds lie above, or all below, all of `before`.
pub fn of_apart(before: usize, after: usize) -> f64 {
    (-choose(before + after, after)).exp()
}

/// For evidence: [`WHY`], and how many rounds would prove something.
pub fn what_can_tell() -> String {
    format!("{WHY}, and {} rounds of each can tell", rounds_needed())
}

/// How many rounds without a hit would be [`SURE`] to differ from `before`, if any number that
/// somebody may play.
pub fn rounds_that_tell(before: Hits, after: Hits) -> Option<usize> {
    let sure = |rounds: &usize| of_so_few(before, Hits { reused: 0, rounds: *rounds }) <= SURE;
    (after.rounds + 1..=MOST_ROUNDS).find(sure)
}

/// More rounds than these nobody plays.
const MOST_ROUNDS: usize = 100;

/// So many rounds of each side can be sure.
fn rounds_needed() -> usize {
    (1..).find(|&rounds| of_apart(rounds, rounds) <= SURE).unwrap_or(usize::MAX)
}

/// The logarithm of the number of ways to choose `some` of `all`.
fn choose(all: usize, some: usize) -> f64 {
    if some > all {
        return f64::NEG_INFINITY;
    }
    (1..=some).map(|i| ((all - some + i) as f64 / i as f64).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(reused: usize, rounds: usize) -> Hits {
        Hits { reused, rounds }
    }

    /// Expected values: the same sums of binomial coefficients in whole numbers (Python 3.11, `math.comb`).
    #[test]
    fn the_probability_is_fishers() {
        let near = |p: f64, expected: f64| assert!((p / expected - 1.0).abs() < 1e-9, "{p}");
        near(of_so_few(hits(9, 10), hits(0, 10)), 5.953_798_523_457_966e-5);
        near(of_so_few(hits(6, 6), hits(0, 6)), 1.0 / 924.0);
        near(of_so_few(hits(1, 1), hits(0, 1)), 0.5);
        near(of_so_few(hits(3, 10), hits(3, 10)), 0.685_758_513_931_888_6);
        near(of_so_few(hits(0, 4), hits(7, 7)), 1.0);
        near(of_apart(8, 8), 1.0 / 12_870.0);
        assert_eq!(rounds_needed(), 8);
    }
}
