//! Percentile bootstrap intervals for medians (Efron and Tibshirani, *An Introduction to the
//! Bootstrap*, 1993, §13.3).
//!
//! A resample's median depends on the data only through which places of the sorted sample it
//! falls on, so the places are drawn once for each sample size and used for every sample of that
//! size. The seed is the size: the same data gives the same interval on every machine. BCa is not
//! used, because its acceleration is a jackknife, which fails for the median (ibid., §11.6).

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::median;

/// The level of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of a sample; fewer for huge ones, whose intervals are narrow anyway.
const RESAMPLES: usize = 9_999;
const FEWEST_RESAMPLES: usize = 999;
/// Draws that one sample size may cost.
const DRAWS: usize = 20_000_000;

/// A closed range of a quantity, `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
}

/// A median and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    /// 95 % ([`CONFIDENCE`]); absent for a single value.
    pub interval: Option<Range>,
    /// How many values it is from.
    pub samples: usize,
}

/// Draws resamples; keeps them by sample size.
#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    /// The places, from 0, of the two middle values of each resample in the sorted sample.
    middles: BTreeMap<usize, Vec<(u32, u32)>>,
}

impl Bootstrap {
    pub fn new() -> Self {
        Self::default()
    }

    /// The median of `sample` with its interval; `None` of nothing. Values that are not finite
    /// are left out.
    pub fn median(&mut self, sample: &[f64]) -> Option<Estimate> {
        let mut sorted: Vec<f64> = sample.iter().copied().filter(|v| v.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let median = median(&sorted)?;
        let samples = sorted.len();
        if samples == 1 {
            return Some(Estimate { median, interval: None, samples });
        }
        let middles = self.middles.entry(samples).or_insert_with(|| middles(samples));
        let mut medians: Vec<f64> = middles
            .iter()
            .map(|&(low, high)| f64::midpoint(sorted[low as usize], sorted[high as usize]))
            .collect();
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let last = medians.len() - 1;
        let place = |share: f64| ((share * medians.len() as f64) as usize).min(last);
        let (low, high) = (place(tail), place(1.0 - tail));
        let (_, low, _) = medians.select_nth_unstable_by(low, f64::total_cmp);
        let low = *low;
        let (_, high, _) = medians.select_nth_unstable_by(high, f64::total_cmp);
        Some(Estimate { median, interval: Some(Range { low, high: *high }), samples })
    }
}

/// For each resample of `size` values, which places of the sorted sample are its middle two.
fn middles(size: usize) -> Vec<(u32, u32)> {
    let resamples = (DRAWS / size).clamp(FEWEST_RESAMPLES, RESAMPLES);
    let mut random = ChaCha8Rng::seed_from_u64(size as u64);
    let mut counts = vec![0_u32; size];
    let (low, high) = ((size - 1) / 2, size / 2);
    let bound = u32::try_from(size).unwrap_or(u32::MAX);
    (0..resamples)
        .map(|_| {
            counts.fill(0);
            for _ in 0..size {
                counts[random.random_range(0..bound) as usize] += 1;
            }
            let mut seen = 0;
            let mut first = None;
            for (place, count) in (0..bound).zip(&counts) {
                seen += *count as usize;
                if first.is_none() && seen > low {
                    first = Some(place);
                }
                if seen > high {
                    return (first.unwrap_or(place), place);
                }
            }
            (bound - 1, bound - 1)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_value_has_a_median_and_no_interval() {
        let estimate = Bootstrap::new().median(&[3.0]).unwrap();
        assert_eq!(estimate, Estimate { median: 3.0, interval: None, samples: 1 });
        assert_eq!(Bootstrap::new().median(&[]), None);
        assert_eq!(Bootstrap::new().median(&[f64::NAN]), None);
    }

    #[test]
    fn the_same_data_gives_the_same_interval_whatever_was_asked_before() {
        let sample: Vec<f64> = (0..17).map(|i| f64::from(i * i % 7)).collect();
        let mut used = Bootstrap::new();
        used.median(&sample[..9]);
        assert_eq!(used.median(&sample), Bootstrap::new().median(&sample));
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_median_and_lies_in_the_sample(
            sample in prop::collection::vec(-1e9_f64..1e9, 2..40),
        ) {
            let estimate = Bootstrap::new().median(&sample).unwrap();
            let Range { low, high } = estimate.interval.unwrap();
            prop_assert!(low <= estimate.median && estimate.median <= high);
            let least = sample.iter().copied().fold(f64::INFINITY, f64::min);
            let most = sample.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(least <= low && high <= most);
        }
    }
}
