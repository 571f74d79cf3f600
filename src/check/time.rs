//! The time rule: did a strategy's time, as a share of the same round's cold, change?
//!
//! A machine that is slower today is slower for cold too, so seconds are never compared. One test
//! a strategy and link: more tests would each have to be surer, and find less. The value of a
//! round is the mean over the commits after the first of ln(own wall ÷ cold wall); the rounds of
//! the two runs are two independent samples. Significant and relevant are asked apart.

use std::collections::HashMap;

use crate::measure::statistics::{FEWEST_PAIRS, mann_whitney, median};
use crate::measure::{Analysis, COLD, Place};

use super::chance;
use super::doubts;
use super::finding::{Finding, Rule, Verdict};
use super::matching::commits;
use super::tolerances::Tolerances;

/// A change of one strategy's ratio to cold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The candidate's own ÷ cold over the baseline's; above 1 is slower. Hodges and Lehmann's
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

/// One finding a strategy and link that both runs have, cold apart.
pub fn of_runs(before: &Analysis, after: &Analysis, tolerances: &Tolerances) -> Vec<Finding> {
    let matched = commits(&before.header, &after.header);
    let later = |analysis: &Analysis, commit: usize| {
        analysis.header.commits.get(commit).is_some_and(|commit| commit.parent.is_some())
    };
    let both: Vec<(usize, usize)> = matched
        .iter()
        .enumerate()
        .filter_map(|(after, before)| Some(((*before)?, after)))
        .filter(|&(old, new)| later(before, old) && later(after, new))
        .collect();
    let (old_commits, new_commits): (Vec<usize>, Vec<usize>) = both.into_iter().unzip();
    let old = logarithms(before, &old_commits);
    let new = logarithms(after, &new_commits);
    let (mut asked, mut elsewhere) = (vec![], vec![]);
    for (link, link_name) in after.links.iter().enumerate() {
        for (strategy, name) in after.strategies.iter().enumerate() {
            let other = before.strategies.iter().position(|known| known == name);
            let other_link = before.links.iter().position(|known| known == link_name);
            let (Some(other), Some(other_link)) = (other, other_link) else { continue };
            let has = after.cells.iter().any(|c| c.strategy == strategy && c.link == link);
            if name == COLD || !has {
                continue;
            }
            let place = Place {
                strategy: name.clone(),
                link: link_name.clone(),
                commit: 0,
                message: ALL.into(),
            };
            if let Some(other) =
                doubts::other_link(&before.header, &after.header, link_name.as_ref())
            {
                elsewhere.push(Finding {
                    rule: Rule::Time,
                    verdict: Verdict::CannotTell,
                    place,
                    subject: None,
                    step: None,
                    evidence: other,
                });
                continue;
            }
            let none = vec![];
            let left = old.get(&(other_link, other)).unwrap_or(&none);
            let right = new.get(&(link, strategy)).unwrap_or(&none);
            asked.push((place, left.clone(), right.clone()));
        }
    }
    let mut found = judge(asked, tolerances);
    found.extend(elsewhere);
    found
}

/// Stands for a commit's message: the rule looks at all commits after the first.
const ALL: &str = "all commits after the first";

type Asked = (Place, Vec<f64>, Vec<f64>);

/// Holm's procedure (*Scandinavian Journal of Statistics* 6 (1979)) keeps the chance of any false
/// call below the significance, over all that is asked.
fn judge(asked: Vec<Asked>, tolerances: &Tolerances) -> Vec<Finding> {
    let several = |(_, before, after): &Asked| before.len().min(after.len()) >= FEWEST_PAIRS;
    let questions = asked.iter().filter(|question| several(question)).count();
    // What the surest of them has to stay below; none could where even the least p is above it.
    let strictest = tolerances.significance / questions.max(1) as f64;
    let changes: Vec<Option<Change>> = asked
        .iter()
        .map(|question| {
            let (_, before, after) = question;
            let enough = several(question) && least_p(before.len(), after.len()) <= strictest;
            enough.then(|| change(before, after)).flatten()
        })
        .collect();
    let needed = (FEWEST_PAIRS..).find(|&n| least_p(n, n) <= strictest);
    let needed = needed.unwrap_or(usize::MAX);
    let mut order: Vec<usize> = (0..changes.len()).filter(|&i| changes[i].is_some()).collect();
    let p = |place: usize| changes[place].map_or(1.0, |change| change.p);
    order.sort_by(|&a, &b| p(a).total_cmp(&p(b)));
    let mut significant = vec![false; changes.len()];
    for (rank, &place) in order.iter().enumerate() {
        if p(place) > tolerances.significance / (order.len() - rank) as f64 {
            break;
        }
        significant[place] = true;
    }
    let findings = asked.into_iter().zip(changes).zip(significant);
    findings
        .map(|(((place, before, after), change), significant)| {
            let (verdict, evidence) =
                told(&before, &after, change, significant, (tolerances, needed));
            Finding { rule: Rule::Time, verdict, place, subject: None, step: None, evidence }
        })
        .collect()
}

/// The least p that the Mann-Whitney test gives, where two samples of these sizes do not overlap:
/// two of all the ways to choose which values are the first sample's.
fn least_p(m: usize, n: usize) -> f64 {
    2.0 * chance::of_apart(m, n)
}

fn told(
    before: &[f64],
    after: &[f64],
    change: Option<Change>,
    significant: bool,
    (tolerances, needed): (&Tolerances, usize),
) -> (Verdict, String) {
    let Some(change) = change else {
        let (was, is) = (before.len(), after.len());
        let evidence = if was == 0 || is == 0 {
            format!(
                "no round of {} pairs with cold",
                if is == 0 { "this run" } else { "the baseline" }
            )
        } else {
            format!("{is} rounds against {was} cannot tell; {needed} of each can")
        };
        return (Verdict::CannotTell, evidence);
    };
    let Change { ratio, low, high, p } = change;
    let direction = if ratio >= 1.0 { "more" } else { "less" };
    let percent = (ratio - 1.0).abs() * 100.0;
    let numbers = format!(
        "{percent:.1} % {direction} time as a share of cold (ratio {ratio:.3}, 95 % {low:.3} – {high:.3}, p = {p})",
        p = Short(p)
    );
    let relevant = ratio > 1.0 + tolerances.time || ratio < 1.0 / (1.0 + tolerances.time);
    match (significant, relevant) {
        (true, true) if ratio > 1.0 => (Verdict::Regressed, numbers),
        (true, true) => (Verdict::Improved, numbers),
        (true, false) => (Verdict::Pass, format!("{numbers}: sure, and too little to matter")),
        // A wide interval is a lack of knowledge, not a proof that nothing changed.
        (false, _) if high > 1.0 + tolerances.time => {
            (Verdict::CannotTell, format!("{numbers}: not sure, and it could matter"))
        }
        (false, _) => (Verdict::Pass, format!("{numbers}: no slowdown that matters")),
    }
}

/// A p-value in two digits.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 0.001 { write!(f, "{:.3}", self.0) } else { write!(f, "{:.0e}", self.0) }
    }
}

type Walls = HashMap<(usize, usize, u32, usize), f64>;

/// By link and strategy: each round's mean of ln(own ÷ cold) over `commits`, of the rounds that
/// built all of them under both.
fn logarithms(analysis: &Analysis, commits: &[usize]) -> HashMap<(usize, usize), Vec<f64>> {
    let mut found: HashMap<(usize, usize), Vec<f64>> = HashMap::new();
    let Some(cold) = analysis.strategies.iter().position(|name| name == COLD) else { return found };
    if commits.is_empty() {
        return found;
    }
    let mut walls: Walls = HashMap::with_capacity(analysis.trials.len());
    let mut rounds: Vec<(usize, usize, u32)> = vec![];
    for trial in analysis.trials.iter().filter(|trial| trial.built()) {
        walls.insert(
            (trial.link, trial.strategy, trial.round, trial.commit),
            trial.wall().seconds(),
        );
        rounds.push((trial.link, trial.strategy, trial.round));
    }
    rounds.sort_unstable();
    rounds.dedup();
    for (link, strategy, round) in rounds {
        let logarithm = |commit: &usize| {
            let own = walls.get(&(link, strategy, round, *commit))?;
            let cold = walls.get(&(link, cold, round, *commit))?;
            let ratio = own / cold;
            (ratio.is_finite() && ratio > 0.0).then(|| ratio.ln())
        };
        let all: Option<Vec<f64>> = commits.iter().map(logarithm).collect();
        if let Some(all) = all {
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            found.entry((link, strategy)).or_default().push(mean);
        }
    }
    found
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
    fn rounds_that_could_never_be_sure_of_all_strategies_say_how_many_could() {
        let place = Place { strategy: "s".into(), link: None, commit: 0, message: ALL.into() };
        let judged = |strategies: usize, rounds: u32| {
            let before: Vec<f64> = (0..rounds).map(|i| f64::from(i) * 0.001).collect();
            let after: Vec<f64> = before.iter().map(|value| value + 1.0).collect();
            let asked = vec![(place.clone(), before, after); strategies];
            judge(asked, &Tolerances::default()).pop().unwrap()
        };
        assert_eq!(judged(4, 6).verdict, Verdict::Regressed);
        let few = judged(5, 6);
        assert_eq!(few.verdict, Verdict::CannotTell);
        assert!(few.evidence.ends_with("cannot tell; 7 of each can"), "{}", few.evidence);
        assert_eq!(judged(5, 7).verdict, Verdict::Regressed);
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_estimate() {
        let values: Vec<f64> = (0..5000).map(f64::from).collect();
        let thin = thinned(&values);
        assert_eq!((thin[0], thin[MOST_VALUES - 1], thin.len()), (0.0, 4999.0, MOST_VALUES));
    }

    #[test]
    fn a_change_that_is_sure_and_small_passes_and_a_large_one_does_not() {
        let place = Place { strategy: "s".into(), link: None, commit: 0, message: ALL.into() };
        let before: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.001).collect();
        let judged = |factor: f64| {
            let after: Vec<f64> = before.iter().map(|value| value + factor.ln()).collect();
            judge(vec![(place.clone(), before.clone(), after)], &Tolerances::default())[0].verdict
        };
        assert_eq!(judged(1.05), Verdict::Pass);
        assert_eq!(judged(1.2), Verdict::Regressed);
        assert_eq!(judged(0.8), Verdict::Improved);
        let few = judge(vec![(place, vec![0.0], vec![0.1])], &Tolerances::default());
        assert_eq!(few[0].verdict, Verdict::CannotTell);
    }
}
