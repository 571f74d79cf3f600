//! Tests that look at ranks only, so that they assume no distribution.

use super::median;

/// The two-sided p-value of the Mann-Whitney U test: could two samples come from one population?
///
/// Exact, by counting, where no two values are equal and one sample has at most 8 values;
/// otherwise by the normal approximation with corrections for ties and continuity, as
/// `scipy.stats.mannwhitneyu(method="auto")` does. `None` with fewer than two values of either.
pub fn mann_whitney(first: &[f64], second: &[f64]) -> Option<f64> {
    let (m, n) = (first.len(), second.len());
    if m < 2 || n < 2 {
        return None;
    }
    let mut all: Vec<(f64, bool)> =
        first.iter().map(|v| (*v, true)).chain(second.iter().map(|v| (*v, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut tied, mut place) = (0.0, 0.0, 0);
    while place < all.len() {
        let equal = all[place..].iter().take_while(|entry| entry.0 == all[place].0).count();
        let rank = place as f64 + (equal as f64 + 1.0) / 2.0;
        let firsts = all[place..place + equal].iter().filter(|entry| entry.1).count();
        rank_sum += rank * firsts as f64;
        let equal_count = equal as f64;
        tied += equal_count.powi(3) - equal_count;
        place += equal;
    }
    let (m_count, n_count) = (m as f64, n as f64);
    let u = rank_sum - m_count * (m_count + 1.0) / 2.0;
    let u = u.max(m_count * n_count - u);
    if tied == 0.0 && m.min(n) <= 8 && m.max(n) <= EXACT_AT_MOST {
        return Some(exact(m, n, u));
    }
    let total = m_count + n_count;
    let variance = m_count * n_count / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)));
    if variance <= 0.0 {
        return Some(1.0);
    }
    let z = (u - m_count * n_count / 2.0 - 0.5) / variance.sqrt();
    Some((2.0 * upper_tail(z)).min(1.0))
}

/// Beyond this, counting costs more than it tells.
const EXACT_AT_MOST: usize = 200;

/// 2·P(U ≥ u) by counting the arrangements of each U (Mann and Whitney, *Annals of Mathematical
/// Statistics* 18 (1947)): the generating function is a Gaussian binomial coefficient.
fn exact(m: usize, n: usize, u: f64) -> f64 {
    let most = m * n;
    let mut ways = vec![0.0_f64; most + 1];
    ways[0] = 1.0;
    for step in 1..=m {
        // Multiply by 1 - x^(n + step), then divide by 1 - x^step.
        for value in (n + step..=most).rev() {
            ways[value] -= ways[value - n - step];
        }
        for value in step..=most {
            ways[value] += ways[value - step];
        }
    }
    let all: f64 = ways.iter().sum();
    let from = (u.ceil() as usize).min(most);
    let tail: f64 = ways[from..].iter().sum();
    (2.0 * tail / all).min(1.0)
}

/// A trend over an ordered series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Change from one value to the next: the median of all pairwise slopes (Sen, *Journal of the
    /// American Statistical Association* 63 (1968)).
    pub slope: f64,
    /// Two-sided p-value of Kendall's τ against time by the normal approximation with a correction
    /// for ties, as `scipy.stats.kendalltau(method="asymptotic")`.
    pub p: f64,
}

/// The trend of `values`, which are in the order of time; `None` with fewer than four.
pub fn trend(values: &[f64]) -> Option<Trend> {
    let n = values.len();
    if n < 4 {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut score = 0_i64;
    for (i, earlier) in values.iter().enumerate() {
        for (distance, later) in values[i + 1..].iter().enumerate() {
            slopes.push((later - earlier) / (distance + 1) as f64);
            score += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let tied: f64 = sorted
        .chunk_by(|a, b| a == b)
        .map(|equal| equal.len() as f64)
        .map(|t| t * (t - 1.0) * (2.0 * t + 5.0))
        .sum();
    let count = n as f64;
    let variance = (count * (count - 1.0) * (2.0 * count + 5.0) - tied) / 18.0;
    let p = if variance <= 0.0 {
        1.0
    } else {
        (2.0 * upper_tail(score.unsigned_abs() as f64 / variance.sqrt())).min(1.0)
    };
    Some(Trend { slope: median(&slopes)?, p })
}

/// P(Z ≥ z) of a standard normal variable, to about 1e-15 (Marsaglia, "Evaluating the Normal
/// Distribution", *Journal of Statistical Software* 11, issue 4 (2004)).
pub(super) fn upper_tail(z: f64) -> f64 {
    // The series sums terms as large as exp(z²/2), and beyond 8 nothing is left of the tail.
    if z > 8.0 {
        return 0.0;
    }
    let (mut sum, mut term, mut odd) = (z, z, 1.0);
    loop {
        odd += 2.0;
        term *= z * z / odd;
        let more = sum + term;
        if more == sum {
            break;
        }
        sum = more;
    }
    let density = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0.5 - sum * density).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_wholly_apart_samples_of_five_have_the_least_p_there_is() {
        let p = mann_whitney(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]).unwrap();
        assert!((p - 2.0 / 252.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_are_no_difference() {
        assert_eq!(mann_whitney(&[1.0; 5], &[1.0; 5]), Some(1.0));
        assert_eq!(trend(&[2.0; 9]), Some(Trend { slope: 0.0, p: 1.0 }));
        assert_eq!(mann_whitney(&[1.0], &[1.0, 2.0]), None);
    }
}
