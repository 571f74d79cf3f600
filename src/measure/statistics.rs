//! Estimates from samples: pure functions, without a clock and without a source of randomness
//! that another machine would not repeat.
//!
//! They know nothing of builds. What is significant and what matters are two questions: an
//! [`Estimate`]'s interval answers the first, [`MATTERS`] the second.

mod bootstrap;
mod paired;
mod rank;
mod robust;

pub use bootstrap::{Bootstrap, CONFIDENCE, Estimate, Range};
pub use paired::{FEWEST_PAIRS, pseudomedian};
pub use rank::{Trend, mann_whitney, trend};
pub use robust::{Distance, Outlier, median, outliers, quantile};

/// A ratio that is nearer to 1 than this is too small to matter, however sure it is.
pub const MATTERS: f64 = 0.05;

/// Two strategies in the same rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// The first's time ÷ the second's, paired within rounds; above 1 the second is faster. The
    /// [`pseudomedian`] of the logarithms.
    pub ratio: Estimate,
    /// A second opinion that does not pair: the two-sided p-value of the Mann-Whitney U test on
    /// the same times; absent with fewer than two of either.
    pub mann_whitney: Option<f64>,
}

/// Whether two strategies differ, as far as their rounds can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The second takes less time.
    Faster,
    /// The second takes more time.
    Slower,
    /// No difference was found; that is not a proof that there is none.
    NoDifference,
    /// Fewer pairs than [`FEWEST_PAIRS`].
    CannotTell,
}

impl Paired {
    /// Compares the times of pairs; `None` without a pair of two positive, finite times.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let usable = |time: f64| time.is_finite() && time > 0.0;
        let (firsts, seconds): (Vec<f64>, Vec<f64>) =
            pairs.iter().copied().filter(|&(a, b)| usable(a) && usable(b)).unzip();
        let ratios: Vec<f64> = firsts.iter().zip(&seconds).map(|(a, b)| (a / b).ln()).collect();
        let Estimate { median, interval, samples } = pseudomedian(&ratios)?;
        let interval = interval.map(|range| Range { low: range.low.exp(), high: range.high.exp() });
        Some(Self {
            ratio: Estimate { median: median.exp(), interval, samples },
            mann_whitney: mann_whitney(&firsts, &seconds),
        })
    }

    /// Whether the interval leaves out 1, given pairs enough.
    pub fn call(&self) -> Call {
        let Some(interval) = self.ratio.interval else { return Call::CannotTell };
        if interval.low > 1.0 {
            Call::Faster
        } else if interval.high < 1.0 {
            Call::Slower
        } else {
            Call::NoDifference
        }
    }

    /// Whether the ratio is far enough from 1 to matter ([`MATTERS`]).
    pub fn matters(&self) -> bool {
        (self.ratio.median - 1.0).abs() >= MATTERS
    }
}

#[cfg(test)]
mod reference_tests;
