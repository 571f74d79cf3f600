//! Order statistics: median, quantiles, and Tukey's fences.

/// The median; the mean of the middle two for an even count, `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// The quantile at `share` (0 to 1) by linear interpolation between the nearest two values: type 7
/// of Hyndman and Fan, *The American Statistician* 50 (1996), as numpy and R compute it.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = share.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (place - below as f64) * (sorted[above] - sorted[below]))
}

/// How far outside a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// More than 1.5 interquartile ranges outside the quartiles.
    Outside,
    /// More than 3.
    FarOut,
}

/// A value that lies outside; it is reported and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// Its place in the sample.
    pub place: usize,
    pub distance: Distance,
}

/// The values outside Tukey's fences (Tukey, *Exploratory Data Analysis*, 1977, §2D).
///
/// Fewer than four values have no quartiles to speak of, and no outliers.
pub fn outliers(values: &[f64]) -> Vec<Outlier> {
    if values.len() < 4 {
        return vec![];
    }
    let (Some(low), Some(high)) = (quantile(values, 0.25), quantile(values, 0.75)) else {
        return vec![];
    };
    let spread = high - low;
    let beyond =
        |value: f64, fences: f64| value < low - fences * spread || value > high + fences * spread;
    let places = values.iter().enumerate();
    places
        .filter_map(|(place, &value)| {
            let distance = match (beyond(value, 3.0), beyond(value, 1.5)) {
                (true, _) => Distance::FarOut,
                (false, true) => Distance::Outside,
                (false, false) => return None,
            };
            Some(Outlier { place, distance })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_middle_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn fences_tell_outside_from_far_out() {
        let values = [10.0, 11.0, 12.0, 13.0, 14.0, 19.0, 40.0];
        let found = outliers(&values);
        assert_eq!(found, [Outlier { place: 6, distance: Distance::FarOut }]);
        assert_eq!(outliers(&[1.0, 1.0, 100.0]), []);
    }
}
