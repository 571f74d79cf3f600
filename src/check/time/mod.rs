//! The time rule: did a strategy's time, as a share of the same round's cold, change?
//!
//! A machine that is slower today is slower for cold too, so seconds are never compared. One test
//! a strategy and link: more tests would each have to be surer, and find less. The value of a
//! round is the mean over the commits after the first of ln(own wall ÷ cold wall); the rounds of
//! the two runs are two independent samples. Significant and relevant are asked apart.
//!
//! Where the commits or base images are others, what cold does may have changed too: a faster install
//! makes a cache worth less and no slower. So a change there is called only if the strategy's own time
//! went the same way, and not at all where the two machines have other CPUs and own times cannot be
//! compared.

mod change;
mod rounds;

use crate::journal::Environment;
use crate::measure::statistics::FEWEST_PAIRS;
use crate::measure::{Analysis, COLD, Place};

use super::base;
use super::chance;
use super::doubts;
use super::finding::{Finding, Rule, Verdict};
use super::matching::commits;
use super::tolerances::Tolerances;

pub use change::{Change, change};
use rounds::{Rounds, built, logarithms};

/// One finding a strategy and link that both runs have, cold apart.
pub fn of_runs(before: &Analysis, after: &Analysis, tolerances: &Tolerances) -> Vec<Finding> {
    let matched = commits(&before.header, &after.header);
    let later = |analysis: &Analysis, commit: usize| {
        analysis.header.commits.get(commit).is_some_and(|commit| commit.parent.is_some())
    };
    let (was_built, is_built) = (built(before), built(after));
    let both: Vec<(usize, usize)> = matched
        .iter()
        .enumerate()
        .filter_map(|(after, before)| Some(((*before)?, after)))
        .filter(|&(old, new)| later(before, old) && later(after, new))
        .filter(|(old, new)| was_built.contains(old) && is_built.contains(new))
        .collect();
    let (old_commits, new_commits): (Vec<usize>, Vec<usize>) = both.into_iter().unzip();
    let old = logarithms(before, &old_commits);
    let new = logarithms(after, &new_commits);
    let mut pairs = old_commits.iter().zip(&new_commits);
    // Both places were found in these lists.
    let (was, is) = (&before.header.commits, &after.header.commits);
    let commits_differ = pairs.any(|(&old, &new)| was[old].id != is[new].id);
    let same_work = !commits_differ && base::images(before, after).is_empty();
    let cold = match same_speed(&before.header.environment, &after.header.environment) {
        _ if same_work => Cold::Same,
        true => Cold::MayDiffer,
        false => Cold::Unknown,
    };
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
            let before = old.get(&(other_link, other)).cloned().unwrap_or_default();
            let after = new.get(&(link, strategy)).cloned().unwrap_or_default();
            asked.push(Asked { place, before, after, cold });
        }
    }
    let mut found = judge(asked, tolerances);
    found.extend(elsewhere);
    found
}

/// Stands for a commit's message: the rule looks at all commits after the first.
pub const ALL: &str = "all commits after the first";

/// One strategy over one link in both runs.
#[derive(Clone)]
struct Asked {
    place: Place,
    before: Rounds,
    after: Rounds,
    cold: Cold,
}

/// Whether cold does the same in both runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cold {
    Same,
    /// The commits or base images are others, so own times are to be looked at too.
    MayDiffer,
    /// So they are, and own times do not compare.
    Unknown,
}

impl Asked {
    /// Rounds of each.
    fn sizes(&self) -> (usize, usize) {
        (self.before.shares.len(), self.after.shares.len())
    }
}

/// Holm's procedure (*Scandinavian Journal of Statistics* 6 (1979)) keeps the chance of any false
/// call below the significance, over all that is asked.
fn judge(asked: Vec<Asked>, tolerances: &Tolerances) -> Vec<Finding> {
    let several = |asked: &Asked| asked.sizes().0.min(asked.sizes().1) >= FEWEST_PAIRS;
    let questions = asked.iter().filter(|question| several(question)).count();
    // What the surest of them has to stay below; none could where even the least p is above it.
    let strictest = tolerances.significance / questions.max(1) as f64;
    let changes: Vec<Option<Change>> = asked
        .iter()
        .map(|question| {
            let (before, after) = question.sizes();
            let enough = several(question) && least_p(before, after) <= strictest;
            enough.then(|| change(&question.before.shares, &question.after.shares)).flatten()
        })
        .collect();
    // Those that have too few rounds now are to be asked then.
    let strictest = tolerances.significance / asked.len().max(1) as f64;
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
        .map(|((asked, change), significant)| {
            let (verdict, evidence) = told(&asked, change, significant, (tolerances, needed));
            let place = asked.place;
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
    asked: &Asked,
    change: Option<Change>,
    significant: bool,
    (tolerances, needed): (&Tolerances, usize),
) -> (Verdict, String) {
    let Some(change) = change else {
        let (was, is) = asked.sizes();
        let evidence = if was == 0 || is == 0 {
            format!(
                "no round of {} built all commits under it and under cold",
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
    if significant
        && relevant
        && let Some(why) = only_cold_moved(asked, ratio, tolerances)
    {
        return (Verdict::CannotTell, format!("{numbers}; {why}"));
    }
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

/// Why a change of the share may be cold's doing alone, where cold may have other work to do.
fn only_cold_moved(asked: &Asked, share: f64, tolerances: &Tolerances) -> Option<String> {
    match asked.cold {
        Cold::Same => return None,
        Cold::Unknown => {
            let why = "the commits or base images are others, and on another CPU nothing tells whether cold changed or it did";
            return Some(why.to_owned());
        }
        Cold::MayDiffer => {}
    }
    let own = change(&asked.before.own, &asked.after.own)?.ratio;
    let told = |what: &str, cold: &str| {
        format!("its own time did not {what} (ratio {own:.3}): cold takes {cold} than it did")
    };
    if share > 1.0 {
        (own <= 1.0 + tolerances.time).then(|| told("rise", "less"))
    } else {
        (own >= 1.0 / (1.0 + tolerances.time)).then(|| told("fall", "more"))
    }
}

/// Whether seconds of two runs can be compared at all.
fn same_speed(before: &Environment, after: &Environment) -> bool {
    (&before.cpu, before.cores) == (&after.cpu, after.cores)
}

/// A p-value in two digits.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 >= 0.001 { write!(f, "{:.3}", self.0) } else { write!(f, "{:.0e}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(before: Vec<f64>, after: Vec<f64>) -> Asked {
        let place = Place { strategy: "s".into(), link: None, commit: 0, message: ALL.into() };
        let rounds = |shares: Vec<f64>| Rounds { own: shares.clone(), shares };
        let (before, after) = (rounds(before), rounds(after));
        Asked { place, before, after, cold: Cold::Same }
    }

    #[test]
    fn a_share_of_cold_that_only_cold_moved_is_no_regression() {
        let before: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.001).collect();
        let shifted = |by: f64| -> Vec<f64> { before.iter().map(|v| v + by.ln()).collect() };
        let judged = |share: f64, own: f64, cold: Cold| {
            let after = Rounds { shares: shifted(share), own: shifted(own) };
            let asked = Asked { after, cold, ..asked(before.clone(), vec![]) };
            judge(vec![asked], &Tolerances::default()).remove(0)
        };
        let found = judged(1.6, 1.0, Cold::MayDiffer);
        assert_eq!(found.verdict, Verdict::CannotTell);
        let why = "its own time did not rise (ratio 1.000): cold takes less than it did";
        assert!(found.evidence.ends_with(why), "{}", found.evidence);
        assert_eq!(judged(0.6, 1.0, Cold::MayDiffer).verdict, Verdict::CannotTell);
        // The same commits: the machine alone can have made cold faster, and it made all faster.
        assert_eq!(judged(1.6, 1.0, Cold::Same).verdict, Verdict::Regressed);
        assert_eq!(judged(1.6, 1.3, Cold::MayDiffer).verdict, Verdict::Regressed);
        assert_eq!(judged(0.6, 0.7, Cold::MayDiffer).verdict, Verdict::Improved);
        // Other commits on another CPU: neither the share nor its own time tells.
        for (share, own) in [(1.6, 1.6), (0.6, 0.6)] {
            let found = judged(share, own, Cold::Unknown);
            assert_eq!(found.verdict, Verdict::CannotTell);
            assert!(found.evidence.contains("on another CPU nothing tells"), "{}", found.evidence);
        }
        assert_eq!(judged(1.03, 1.03, Cold::Unknown).verdict, Verdict::Pass);
    }

    #[test]
    fn rounds_that_could_never_be_sure_of_all_strategies_say_how_many_could() {
        let judged = |strategies: usize, rounds: u32| {
            let before: Vec<f64> = (0..rounds).map(|i| f64::from(i) * 0.001).collect();
            let after: Vec<f64> = before.iter().map(|value| value + 1.0).collect();
            let asked = vec![asked(before, after); strategies];
            judge(asked, &Tolerances::default()).pop().unwrap()
        };
        assert_eq!(judged(4, 6).verdict, Verdict::Regressed);
        let few = judged(5, 6);
        assert_eq!(few.verdict, Verdict::CannotTell);
        assert!(few.evidence.ends_with("cannot tell; 7 of each can"), "{}", few.evidence);
        assert_eq!(judged(5, 7).verdict, Verdict::Regressed);
        // As docs/ci.md has it.
        assert_eq!(judged(17, 7).verdict, Verdict::Regressed);
        assert_eq!(judged(18, 7).verdict, Verdict::CannotTell);
    }

    #[test]
    fn a_change_that_is_sure_and_small_passes_and_a_large_one_does_not() {
        let before: Vec<f64> = (0..12).map(|i| f64::from(i) * 0.001).collect();
        let judged = |factor: f64| {
            let after: Vec<f64> = before.iter().map(|value| value + factor.ln()).collect();
            judge(vec![asked(before.clone(), after)], &Tolerances::default())[0].verdict
        };
        assert_eq!(judged(1.05), Verdict::Pass);
        assert_eq!(judged(1.2), Verdict::Regressed);
        assert_eq!(judged(0.8), Verdict::Improved);
        let few = judge(vec![asked(vec![0.0], vec![0.1])], &Tolerances::default());
        assert_eq!(few[0].verdict, Verdict::CannotTell);
    }
}
