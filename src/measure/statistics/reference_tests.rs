//! Holds this module against what scipy and numpy computed: `tests/data/statistics`.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Reference {
    samples: Vec<Sample>,
    pairs: Vec<Pair>,
    paired: Vec<Differences>,
}

#[derive(Deserialize)]
struct Differences {
    values: Vec<f64>,
    pseudomedian: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Sample {
    values: Vec<f64>,
    median: f64,
    quantiles: [f64; 6],
    outside: Vec<usize>,
    far_out: Vec<usize>,
    tail: f64,
    bootstrap_low: [f64; 2],
    bootstrap_high: [f64; 2],
    slope: f64,
    kendall_p: f64,
}

#[derive(Deserialize)]
struct Pair {
    first: Vec<f64>,
    second: Vec<f64>,
    p: f64,
}

fn reference() -> Reference {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/statistics/reference.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
fn close(ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{ours} is not {theirs}");
}

#[test]
fn medians_quantiles_and_fences_are_numpys() {
    for sample in reference().samples {
        close(median(&sample.values).unwrap(), sample.median);
        for (share, expected) in [0.0, 0.1, 0.25, 0.5, 0.9, 1.0].into_iter().zip(sample.quantiles) {
            close(quantile(&sample.values, share).unwrap(), expected);
        }
        let found = outliers(&sample.values);
        let far = |outlier: &&Outlier| outlier.distance == Distance::FarOut;
        assert_eq!(found.iter().map(|o| o.place).collect::<Vec<_>>(), sample.outside);
        assert_eq!(found.iter().filter(far).map(|o| o.place).collect::<Vec<_>>(), sample.far_out);
    }
}

#[test]
fn bootstrap_intervals_end_where_scipys_do() {
    let mut bootstrap = Bootstrap::new();
    for sample in reference().samples {
        let Range { low, high } = bootstrap.median(&sample.values).unwrap().interval.unwrap();
        let within = |value: f64, [least, most]: [f64; 2]| least <= value && value <= most;
        let n = sample.values.len();
        let tail = super::bootstrap::tail(n);
        assert!((tail / sample.tail - 1.0).abs() < 0.01, "{n}: {tail} {}", sample.tail);
        assert!(within(low, sample.bootstrap_low), "{n}: {low} {:?}", sample.bootstrap_low);
        assert!(within(high, sample.bootstrap_high), "{n}: {high} {:?}", sample.bootstrap_high);
    }
}

#[test]
fn mann_whitney_p_values_are_scipys() {
    for pair in reference().pairs {
        close(mann_whitney(&pair.first, &pair.second).unwrap(), pair.p);
        close(mann_whitney(&pair.second, &pair.first).unwrap(), pair.p);
    }
}

#[test]
fn pseudomedians_and_their_intervals_invert_scipys_signed_rank_test() {
    for differences in reference().paired {
        let estimate = pseudomedian(&differences.values).unwrap();
        let Range { low, high } = estimate.interval.unwrap();
        close(estimate.median, differences.pseudomedian);
        close(low, differences.low);
        close(high, differences.high);
    }
}

#[test]
fn trends_are_scipys() {
    for sample in reference().samples {
        let trend = trend(&sample.values).unwrap();
        close(trend.slope, sample.slope);
        close(trend.p, sample.kendall_p);
    }
}
