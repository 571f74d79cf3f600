//! Did the cache pay? One answer a strategy and link.
//!
//! The unit of replication is the round: a round's value is the mean over the commits that
//! [`Lookup::counted`] names. Everything is per such commit.

use std::collections::BTreeMap;
use std::fmt;

use crate::journal::Direction;
use crate::units::{Bytes, Nanos};

use super::cell::{avoided, median_of};
use super::lookup::Lookup;
use super::phases::{Phase, Phases};
use super::row::TrialRow;
use super::sequence::SequenceTotals;
use super::statistics::{Call, Estimate, Paired, pseudomedian};

/// What one strategy gained and cost over one link.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub strategy: usize,
    pub link: usize,
    /// Rounds in which cold and this strategy built every commit.
    pub rounds: usize,
    /// Commits that a round's value is the mean of.
    pub commits: usize,
    /// Cold's wall time - this one's, in seconds per commit; above 0 the strategy pays.
    pub saving: Option<Estimate>,
    /// Cold's wall time ÷ this one's over the same commits.
    pub ratio: Option<Paired>,
    pub call: Call,
    /// Medians per commit.
    pub costs: Costs,
    /// What the reused steps take when they run: the median per commit.
    pub avoided: Nanos,
    /// The share of cold's step time that was avoided: the measured hit rate, 0 to 1.
    pub hit_rate: Option<f64>,
    pub break_even_hit_rate: BreakEven<f64>,
    /// The link below which the strategy does not pay, in bytes per second.
    pub break_even_bandwidth: BreakEven<Bytes>,
    /// In the registry after the last commit that was built; 0 if it pushes nothing.
    pub storage: Bytes,
    /// Commits after which `storage` is reached.
    pub stored_commits: usize,
}

/// Phases that a cache adds to a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    pub import: Nanos,
    pub pull: Nanos,
    pub push: Nanos,
    pub export: Nanos,
}

impl Costs {
    pub fn total(&self) -> Nanos {
        self.import + self.pull + self.push + self.export
    }
}

/// Where a strategy starts to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakEven<T> {
    /// Nothing has to be overcome.
    Always,
    At(T),
    /// Not even at its best.
    Never,
    /// There is nothing to compute it from.
    Unknown,
}

impl<T: fmt::Display> fmt::Display for BreakEven<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.pad("always"),
            Self::At(value) => value.fmt(f),
            Self::Never => f.pad("never"),
            Self::Unknown => f.pad("unknown"),
        }
    }
}

/// The verdict on the trials of one strategy over one link.
pub fn verdict(lookup: &Lookup<'_>, totals: &SequenceTotals, trials: &[&TrialRow]) -> Verdict {
    let wanted = lookup.counted().len();
    let counts = |row: &&&TrialRow| row.built() && lookup.counted().contains(&row.commit);
    let counted: Vec<&TrialRow> = trials.iter().filter(counts).copied().collect();
    let last = totals.stored.iter().rposition(Option::is_some);
    let mut rounds: BTreeMap<u32, Round> = BTreeMap::new();
    for (cold, row) in lookup.paired_with_cold(&counted) {
        rounds.entry(row.round).or_default().add(cold, row);
    }
    rounds.retain(|_, round| round.commits == wanted);
    let rounds: Vec<Round> = rounds.into_values().collect();
    let savings: Vec<f64> = rounds.iter().map(Round::saving).collect();
    let pairs: Vec<(f64, f64)> =
        rounds.iter().map(|round| (round.cold.seconds(), round.own.seconds())).collect();
    let ratio = Paired::of(&pairs);
    let phase =
        |phase| Nanos(median_of(rounds.iter().map(|round| round.each(round.phases.get(phase)))));
    let costs = Costs {
        import: phase(Phase::CacheImport),
        pull: phase(Phase::CachePull),
        push: phase(Phase::ImagePush),
        export: phase(Phase::CacheExport),
    };
    let avoided = Nanos(median_of(rounds.iter().map(|round| round.each(round.avoided))));
    let steps = Nanos(median_of(rounds.iter().map(|round| round.each(round.steps))));
    let bytes = Bytes(median_of(rounds.iter().map(|round| round.each(Nanos(round.bytes.0)))));
    // Without those of caches elsewhere the bytes say nothing of a bandwidth.
    let strategy = lookup.header.strategies.get(totals.strategy);
    let uncounted = strategy.is_some_and(|strategy| !strategy.uncounted().is_empty());
    let bytes = (!uncounted).then_some(bytes);
    let saving = pseudomedian(&savings);
    let hit_rate = (steps.0 > 0).then(|| avoided.seconds() / steps.seconds());
    Verdict {
        strategy: totals.strategy,
        link: totals.link,
        rounds: rounds.len(),
        commits: wanted,
        call: ratio.map_or(Call::CannotTell, |ratio| ratio.call()),
        saving,
        ratio,
        costs,
        avoided,
        hit_rate,
        break_even_hit_rate: break_even_hit_rate(&costs, saving, hit_rate),
        break_even_bandwidth: break_even_bandwidth(saving, bytes),
        storage: totals.last_stored(),
        stored_commits: last.map_or(0, |last| last + 1),
    }
}

/// One round's sums over its commits.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    commits: usize,
    cold: Nanos,
    own: Nanos,
    phases: Phases,
    avoided: Nanos,
    steps: Nanos,
    bytes: Bytes,
}

impl Round {
    fn add(&mut self, cold: &TrialRow, row: &TrialRow) {
        self.commits += 1;
        self.cold = self.cold + cold.wall();
        self.own = self.own + row.wall();
        self.phases = self.phases + row.phases();
        self.avoided = self.avoided + avoided(cold, row);
        self.steps = self.steps + cold.steps.iter().map(|step| step.time).sum();
        let traffic = |row: &TrialRow| {
            row.traffic.bytes(Direction::Pull) + row.traffic.bytes(Direction::Push)
        };
        let more = traffic(row).0.saturating_sub(traffic(cold).0);
        self.bytes = self.bytes + Bytes(more);
    }

    fn each(&self, sum: Nanos) -> u64 {
        sum.0 / self.commits.max(1) as u64
    }

    fn saving(&self) -> f64 {
        (self.cold.seconds() - self.own.seconds()) / self.commits.max(1) as f64
    }
}

/// The hit rate h from which the strategy pays, drawn through what was measured.
///
/// Import, push and export, F together, are paid at every commit, whatever hits. All else that
/// tells cold's wall time from this one's (steps that did not run, pulls, an image export that had
/// less to do) is taken to be proportional to the share h of step time that hits. At the measured
/// share r that came to S + F, where S is the measured saving, so that the saving at h is
/// (S + F) · h ÷ r - F, which is 0 at h = r · F ÷ (S + F): less than r exactly where S > 0. Ours;
/// nothing published was found.
fn break_even_hit_rate(
    costs: &Costs,
    saving: Option<Estimate>,
    hit_rate: Option<f64>,
) -> BreakEven<f64> {
    // Where nothing hit, nothing tells what hits are worth.
    let (Some(saving), Some(hit_rate)) = (saving, hit_rate.filter(|rate| *rate > 0.0)) else {
        return BreakEven::Unknown;
    };
    let fixed = (costs.import + costs.push + costs.export).seconds();
    let gain = saving.median + fixed;
    if gain <= 0.0 {
        return BreakEven::Never;
    }
    if fixed == 0.0 {
        return BreakEven::Always;
    }
    let rate = hit_rate * fixed / gain;
    if rate > 1.0 { BreakEven::Never } else { BreakEven::At(rate) }
}

/// The bandwidth w at which sending `bytes` takes as long as what is saved on a link as fast as
/// the one measured: w = bytes ÷ saving; unknown where they are.
fn break_even_bandwidth(saving: Option<Estimate>, bytes: Option<Bytes>) -> BreakEven<Bytes> {
    match (saving, bytes) {
        (None, _) => BreakEven::Unknown,
        (Some(saving), _) if saving.median <= 0.0 => BreakEven::Never,
        (Some(_), None) => BreakEven::Unknown,
        (Some(_), Some(Bytes(0))) => BreakEven::Always,
        (Some(saving), Some(bytes)) => {
            BreakEven::At(Bytes((bytes.0 as f64 / saving.median) as u64))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn costs(fixed: u64) -> Costs {
        Costs { export: Nanos(fixed), pull: Nanos(7), ..Costs::default() }
    }

    fn saved(seconds: f64) -> Option<Estimate> {
        pseudomedian(&[seconds])
    }

    #[test]
    fn the_hit_rate_from_which_it_pays_lies_on_the_line_through_the_measured_one() {
        let at = |fixed, saving, rate| break_even_hit_rate(&costs(fixed), saved(saving), rate);
        // Of 4 s that hits gained 1 s went into the export: a quarter as many would do.
        assert_eq!(at(1_000_000_000, 3.0, Some(0.8)), BreakEven::At(0.2));
        assert_eq!(at(3_000_000_000, -1.0, Some(0.5)), BreakEven::At(0.75));
        assert_eq!(at(3_000_000_000, -2.0, Some(0.5)), BreakEven::Never);
        assert_eq!(at(3_000_000_000, -3.5, Some(0.5)), BreakEven::Never);
        assert_eq!(at(0, 0.1, Some(0.5)), BreakEven::Always);
        assert_eq!(at(0, -0.1, Some(0.5)), BreakEven::Never);
        assert_eq!(at(1, 0.1, Some(0.0)), BreakEven::Unknown);
        assert_eq!(at(1, 0.1, None), BreakEven::Unknown);
        assert_eq!(break_even_hit_rate(&costs(1), None, Some(0.5)), BreakEven::Unknown);
    }

    #[test]
    fn bytes_that_are_not_counted_give_no_bandwidth() {
        assert_eq!(break_even_bandwidth(saved(2.0), None), BreakEven::Unknown);
        assert_eq!(break_even_bandwidth(saved(-2.0), None), BreakEven::Never);
        assert_eq!(break_even_bandwidth(saved(2.0), Some(Bytes(0))), BreakEven::Always);
        assert_eq!(break_even_bandwidth(saved(2.0), Some(Bytes(8))), BreakEven::At(Bytes(4)));
    }

    proptest! {
        #[test]
        fn it_pays_from_less_than_was_hit_exactly_where_it_saved(
            fixed in 0..1_000_000_000_000_u64,
            microseconds in -1_000_000_000..1_000_000_000_i64,
            measured in 1e-6..=1.0,
        ) {
            let saving = microseconds as f64 / 1e6;
            let pays = match break_even_hit_rate(&costs(fixed), saved(saving), Some(measured)) {
                BreakEven::Always => true,
                BreakEven::At(rate) => {
                    prop_assert!((0.0..=1.0).contains(&rate));
                    rate < measured
                }
                BreakEven::Never => false,
                BreakEven::Unknown => return Err(TestCaseError::fail("both are known")),
            };
            prop_assert_eq!(pays, saving > 0.0);
        }
    }
}
