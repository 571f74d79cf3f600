//! By how much the values of one sample are larger than those of another, and how sure that is.

use crate::measure::statistics::{mann_whitney, median};

/// A change of a quantity of which the logarithm was sampled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The second sample's over the first's; of times, above 1 is slower. Hodges and Lehmann's
    /// estimator of shift (*Annals of Mathematical Statistics* 34 (1963)) of the logarithms.
    pub ratio: f64,
    /// The 95 % interval that inverting the Mann-Whitney test gives (Conover, *Practical
    /// Nonparametric Statistics*, 3rd edition, §5.4).
    pub low: f64,
    pub high: f64,
    /// Two-sided, of the Mann-Whitney test.
    pub p: f64,
}

/// The z of a two-sided 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;

/// Above this many values a sample's evenly spaced quantiles stand for it in the estimate (not in
/// the test), so that the differences of all pairs stay countable.
const MOST_VALUES: usize = 400;

/// Compares two samples of logarithms; `None` with fewer than two values of either.
pub fn change(before: &[f64], after: &[f64]) -> Option<Change> {
    let p = mann_whitney(before, after)?;
    let (before, after) = (thinned(before), thinned(after));
    let mut differences: Vec<f64> =
        after.iter().flat_map(|a| before.iter().map(move |b| a - b)).collect();
    differences.sort_by(f64::total_cmp);
    let (m, n) = (before.len() as f64, after.len() as f64);
    let reach = Z95 * (m * n * (m + n + 1.0) / 12.0).sqrt();
    let low = (m * n / 2.0 - reach).floor().max(0.0) as usize;
    let last = differences.len().saturating_sub(1);
    let low = low.min(last / 2);
    Some(Change {
        ratio: median(&differences)?.exp(),
        low: differences[low].exp(),
        high: differences[last - low].exp(),
        p,
    })
}

fn thinned(values: &[f64]) -> Vec<f64> {
    if values.len() <= MOST_VALUES {
        return values.to_vec();
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (0..MOST_VALUES)
        .filter_map(|place| sorted.get(place * (sorted.len() - 1) / (MOST_VALUES - 1)).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_estimated_with_an_interval_around_it() {
        let before: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.01).collect();
        let after: Vec<f64> = before.iter().map(|value| value + 0.5_f64.ln()).collect();
        let change = change(&before, &after).unwrap();
        assert!((change.ratio - 0.5).abs() < 1e-12, "{change:?}");
        assert!(change.low < 0.5 && change.high > 0.5 && change.p < 1e-4, "{change:?}");
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_estimate() {
        let values: Vec<f64> = (0..5000).map(f64::from).collect();
        let thin = thinned(&values);
        assert_eq!((thin[0], thin[MOST_VALUES - 1], thin.len()), (0.0, 4999.0, MOST_VALUES));
    }
}
