//! Expanded percentile bootstrap intervals for medians (Efron and Tibshirani, *An Introduction to
//! the Bootstrap*, 1993, §13.3; Hesterberg, "What Teachers Should Know About the Bootstrap", *The
//! American Statistician* 69 (2015), §4.1).
//!
//! Plain percentile intervals are too narrow for small samples, so their tails are made smaller
//! by Student's t; `results/statistics` shows how often the result is wrong.
//! A resample's median depends on the data only through which places of the sorted sample it
//! falls on, so the places are drawn once for each sample size and used for every sample of that
//! size. The seed is the size: the same data gives the same interval on every machine. BCa is not
//! used, because its acceleration is a jackknife, which fails for the median (ibid., §11.6).

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution};

use super::median;
use super::paired::FEWEST_PAIRS;
use super::rank::upper_tail;

/// The level of every interval.
pub const CONFIDENCE: f64 = 0.95;

/// Resamples of a sample.
const RESAMPLES: usize = 9_999;
/// Resamples of larger samples are not drawn value by value.
const DRAWN_WHOLE: usize = 100;

/// A closed range of a quantity, `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
}

/// A median, or a pseudomedian of what is paired, and how far it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    pub median: f64,
    /// 95 % ([`CONFIDENCE`]); absent of fewer than six values, which are too few for one.
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
        // The whole range misses the median as often as that of differences misses their centre (David
        // and Nagaraja, *Order Statistics*, 3rd ed. 2003, §7.1).
        if samples < FEWEST_PAIRS {
            return Some(Estimate { median, interval: None, samples });
        }
        let middles = self.middles.entry(samples).or_insert_with(|| middles(samples));
        let mut medians: Vec<f64> = middles
            .iter()
            .map(|&(low, high)| f64::midpoint(sorted[low as usize], sorted[high as usize]))
            .collect();
        let tail = tail(samples);
        let last = medians.len() - 1;
        let place = |share: f64| ((share * medians.len() as f64) as usize).min(last);
        let (low, high) = (place(tail), place(1.0 - tail));
        let (_, low, _) = medians.select_nth_unstable_by(low, f64::total_cmp);
        let low = *low;
        let (_, high, _) = medians.select_nth_unstable_by(high, f64::total_cmp);
        Some(Estimate { median, interval: Some(Range { low, high: *high }), samples })
    }
}

/// The share of resamples beyond either end: Φ(-t·√(n/(n-1))) with t the 97.5 % quantile of
/// Student's t with n-1 degrees of freedom (Hesterberg 2015, §4.1); nearly 2.5 % for many values.
pub(super) fn tail(samples: usize) -> f64 {
    /// The quantile for 1 to 5 degrees of freedom, for which the expansion is not good enough.
    const FEW: [f64; 5] = [12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582];
    const Z: f64 = 1.959_963_985;
    let freedom = samples.saturating_sub(1).max(1);
    let t = FEW.get(freedom - 1).copied().unwrap_or_else(|| {
        // Abramowitz and Stegun, 26.7.5.
        let df = freedom as f64;
        let first = (Z.powi(3) + Z) / 4.0;
        let second = (5.0 * Z.powi(5) + 16.0 * Z.powi(3) + 3.0 * Z) / 96.0;
        let third = (3.0 * Z.powi(7) + 19.0 * Z.powi(5) + 17.0 * Z.powi(3) - 15.0 * Z) / 384.0;
        Z + first / df + second / df.powi(2) + third / df.powi(3)
    });
    let narrowness = samples as f64 / freedom as f64;
    upper_tail(t * narrowness.sqrt())
}

/// For each resample of `size` values, which places of the sorted sample are its middle two.
///
/// The places that a resample draws are `size` independent uniform numbers, cut to whole ones. The
/// one in the middle of so many is Beta distributed, and the next one is the least of those above
/// it (David and Nagaraja, *Order Statistics*, 3rd ed. 2003, §2.1 and §2.5), so two draws do for all.
fn middles(size: usize) -> Vec<(u32, u32)> {
    let mut random = ChaCha8Rng::seed_from_u64(size as u64);
    if size <= DRAWN_WHOLE {
        let mut counts = vec![0_u32; size];
        return (0..RESAMPLES).map(|_| middle_of_drawn(&mut counts, &mut random)).collect();
    }
    let (low, high) = ((size - 1) / 2, size / 2);
    // Both parameters are positive: `low < size`.
    let Ok(beta) = Beta::new((low + 1) as f64, (size - low) as f64) else { return vec![] };
    let place = |share: f64| ((share * size as f64) as u32).min(size as u32 - 1);
    let middle = |_| {
        let first: f64 = beta.sample(&mut random);
        if low == high {
            return (place(first), place(first));
        }
        // Of the larger ones as many as lie above `low` are uniform between `first` and 1.
        let above = random.random::<f64>().powf(1.0 / (size - high) as f64);
        (place(first), place(1.0 - (1.0 - first) * above))
    };
    (0..RESAMPLES).map(middle).collect()
}

/// Draws one resample value by value.
fn middle_of_drawn(counts: &mut [u32], random: &mut ChaCha8Rng) -> (u32, u32) {
    let size = counts.len();
    let (low, high) = ((size - 1) / 2, size / 2);
    let bound = u32::try_from(size).unwrap_or(u32::MAX);
    counts.fill(0);
    for _ in 0..size {
        counts[random.random_range(0..bound) as usize] += 1;
    }
    let mut seen = 0;
    let mut first = None;
    for (place, count) in (0..bound).zip(&*counts) {
        seen += *count as usize;
        if first.is_none() && seen > low {
            first = Some(place);
        }
        if seen > high {
            return (first.unwrap_or(place), place);
        }
    }
    (bound - 1, bound - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_values_have_a_median_and_no_interval() {
        let few = [3.0, 1.0, 2.0, 5.0, 4.0];
        let estimate = Bootstrap::new().median(&few).unwrap();
        assert_eq!(estimate, Estimate { median: 3.0, interval: None, samples: 5 });
        assert!(
            Bootstrap::new().median(&[few.as_slice(), &[6.0]].concat()).unwrap().interval.is_some()
        );
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

    #[test]
    fn tails_are_students() {
        // scipy 1.17.1: norm.cdf(-sqrt(n/(n-1)) * t.ppf(.975, n-1)).
        let expected = [(5, 0.000_954), (6, 0.002_432), (10, 0.008_551), (30, 0.018_754)];
        for (samples, share) in expected {
            assert!((tail(samples) - share).abs() < 2e-5, "{samples}: {}", tail(samples));
        }
        assert!((tail(1_000_000) - 0.025).abs() < 1e-6);
    }

    #[test]
    fn a_middle_that_is_drawn_at_once_is_where_one_of_whole_resamples_is() {
        for size in [DRAWN_WHOLE + 1, DRAWN_WHOLE + 2] {
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let mut counts = vec![0; size];
            let whole: Vec<(u32, u32)> =
                (0..RESAMPLES).map(|_| middle_of_drawn(&mut counts, &mut random)).collect();
            let at_once = middles(size);
            for share in [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98] {
                let quantile = |places: &[(u32, u32)], of: fn(&(u32, u32)) -> u32| {
                    let mut sorted: Vec<u32> = places.iter().map(of).collect();
                    sorted.sort_unstable();
                    i64::from(sorted[(share * RESAMPLES as f64) as usize])
                };
                for of in [|p: &(u32, u32)| p.0, |p: &(u32, u32)| p.1, |p: &(u32, u32)| p.1 - p.0] {
                    let (one, other) = (quantile(&whole, of), quantile(&at_once, of));
                    assert!((one - other).abs() <= 1, "{size}, {share}: {one}, {other}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_median_and_lies_in_the_sample(
            sample in prop::collection::vec(-1e9_f64..1e9, FEWEST_PAIRS..40),
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
