//! Two samples in pairs: how far apart are they, and how sure is that?
//!
//! The estimate is Hodges and Lehmann's (*Annals of Mathematical Statistics* 34 (1963)): the median
//! of the means of all two values, each with itself too (Walsh averages). Its interval inverts
//! Wilcoxon's signed-rank test (Hollander, Wolfe and Chicken, *Nonparametric Statistical Methods*,
//! 3rd edition (2014), §3.2 and §3.3): exact for few values, and it assumes of the differences only that they are
//! symmetric, which two strategies that are shuffled within rounds make them where nothing tells
//! them apart. It needs far fewer pairs than an interval for the plain median does; `results/statistics` says how many.

use super::bootstrap::{Estimate, Range};

/// With fewer pairs than this no interval reaches 95 %: even the whole range of n values misses
/// their centre of symmetry with probability 2^(1-n), which first falls below 5 % at n = 6.
pub const FEWEST_PAIRS: usize = 6;

/// Up to this many values the distribution of the signed ranks is counted; it is normal enough above.
const EXACT_AT_MOST: usize = 50;

/// The pseudomedian of `differences` with its 95 % interval, which is absent with fewer than
/// [`FEWEST_PAIRS`]; `None` of nothing. Values that are not finite are left out.
pub fn pseudomedian(differences: &[f64]) -> Option<Estimate> {
    let mut sorted: Vec<f64> = differences.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let samples = sorted.len();
    if samples == 0 {
        return None;
    }
    let averages = Averages(&sorted);
    let all = averages.count();
    let (low, high) = ((all - 1) / 2, all / 2);
    let median = f64::midpoint(averages.nth(low), averages.nth(high));
    let interval = rank(samples).map(|rank| Range {
        low: averages.nth(rank - 1).min(median),
        high: averages.nth(all - rank).max(median),
    });
    Some(Estimate { median, interval, samples })
}

/// The Walsh averages of sorted values, never written down: there are n·(n+1)/2 of them.
struct Averages<'a>(&'a [f64]);

impl Averages<'_> {
    fn count(&self) -> usize {
        self.0.len() * (self.0.len() + 1) / 2
    }

    /// The average at `place`, from 0, in ascending order: the least value that more than `place`
    /// of them do not exceed, found by bisecting the order of all numbers, 64 passes of the values.
    fn nth(&self, place: usize) -> f64 {
        let (Some(&first), Some(&last)) = (self.0.first(), self.0.last()) else { return f64::NAN };
        let (mut low, mut high) = (ordered(first), ordered(last));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.up_to(number(middle)) > place { high = middle } else { low = middle + 1 }
        }
        number(low)
    }

    /// How many averages are at most `most`.
    fn up_to(&self, most: f64) -> usize {
        let mut partners = self.0.len();
        let mut count = 0;
        for (place, value) in self.0.iter().enumerate() {
            while partners > place && f64::midpoint(*value, self.0[partners - 1]) > most {
                partners -= 1;
            }
            if partners <= place {
                break;
            }
            count += partners - place;
        }
        count
    }
}

/// The place of a finite number among all of them; the zeros count as one.
fn ordered(value: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = (value + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The number at a place.
fn number(place: u64) -> f64 {
    const SIGN: u64 = 1 << 63;
    f64::from_bits(if place & SIGN == 0 { !place } else { place & !SIGN })
}

/// Which Walsh average from either end bounds the 95 % interval, from 1: the greatest rank whose
/// two tails of Wilcoxon's statistic hold at most 5 %; `None` where even the first holds more.
fn rank(values: usize) -> Option<usize> {
    if values < FEWEST_PAIRS {
        return None;
    }
    if values > EXACT_AT_MOST {
        const Z: f64 = 1.959_963_985;
        let n = values as f64;
        let spread = (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt();
        // Half a rank more corrects for continuity.
        return Some(((n * (n + 1.0) / 4.0 - Z * spread + 0.5).floor() as usize).max(1));
    }
    let most = values * (values + 1) / 2;
    let mut shares = vec![0.0_f64; most + 1];
    shares[0] = 1.0;
    for step in 1..=values {
        for sum in (0..=most).rev() {
            let with = if sum >= step { shares[sum - step] } else { 0.0 };
            shares[sum] = (shares[sum] + with) / 2.0;
        }
    }
    let tails = shares.iter().scan(0.0, |sum, share| {
        *sum += share;
        Some(*sum)
    });
    Some(tails.take_while(|tail| *tail <= 0.025).count()).filter(|rank| *rank > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranks_are_those_of_the_published_table() {
        // Hollander, Wolfe and Chicken, table A.4: P(T+ <= rank - 1) <= 0.025.
        let table = [(6, 1), (7, 3), (8, 4), (9, 6), (10, 9), (12, 14), (15, 26)];
        for (values, expected) in table {
            assert_eq!(rank(values), Some(expected), "{values}");
        }
        assert_eq!(rank(5), None);
        let (exact, normal) = (rank(50).unwrap(), rank(51).unwrap());
        assert!(exact < normal && normal < exact + 30, "{exact} {normal}");
    }

    #[test]
    fn few_values_have_no_interval() {
        assert_eq!(pseudomedian(&[]), None);
        assert_eq!(pseudomedian(&[f64::NAN]), None);
        let two = pseudomedian(&[1.0, 2.0]).unwrap();
        assert_eq!((two.median, two.interval, two.samples), (1.5, None, 2));
    }

    proptest! {
        #[test]
        fn averages_are_found_as_if_all_were_written_down(
            mut values in prop::collection::vec(-1e3_f64..1e3, 1..40),
        ) {
            values.sort_by(f64::total_cmp);
            let mut all = vec![];
            for (place, a) in values.iter().enumerate() {
                all.extend(values[place..].iter().map(|b| f64::midpoint(*a, *b)));
            }
            all.sort_by(f64::total_cmp);
            let averages = Averages(&values);
            prop_assert_eq!(averages.count(), all.len());
            for (place, expected) in all.iter().enumerate() {
                prop_assert_eq!(averages.nth(place), *expected);
            }
        }

        #[test]
        fn turning_the_signs_turns_the_interval(
            values in prop::collection::vec(-1e6_f64..1e6, 6..80),
        ) {
            let turned: Vec<f64> = values.iter().map(|v| -v).collect();
            let (one, other) = (pseudomedian(&values).unwrap(), pseudomedian(&turned).unwrap());
            let (range, back) = (one.interval.unwrap(), other.interval.unwrap());
            prop_assert_eq!(one.median, -other.median);
            prop_assert_eq!((range.low, range.high), (-back.high, -back.low));
            prop_assert!(range.low <= one.median && one.median <= range.high);
        }
    }
}
