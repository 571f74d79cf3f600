//! Steps that a cache serves in some rounds and not in others.

use crate::measure::CellStep;

use super::super::chance::{Hits, WHY};
use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::{Pair, StepPair};
use super::super::step::StepName;
use super::finding;
use super::reuse::always_reused;

pub fn findings(pair: &Pair<'_>, steps: &[StepPair<'_>], by_chance: bool) -> Vec<Finding> {
    let mut found = vec![];
    for step in steps {
        let Some((name, after)) = step.after.filter(|(_, step)| step.flaky()) else { continue };
        let (verdict, was) = match step.before {
            Some((_, before)) if always_reused(before) && by_chance => {
                (Verdict::CannotTell, format!("always in the baseline; {WHY}"))
            }
            Some((_, before)) if always_reused(before) && would_have_missed(before, after) => {
                (Verdict::Regressed, "always in the baseline".into())
            }
            Some((_, before)) if always_reused(before) => {
                let was = Hits::of(before);
                (Verdict::CannotTell, format!("in {was} of the baseline, too few to show a miss"))
            }
            Some((_, before)) if before.flaky() => {
                (Verdict::CannotTell, "and not always in the baseline".into())
            }
            Some(_) => (Verdict::CannotTell, "never in the baseline".into()),
            None => (Verdict::CannotTell, "and the baseline lacks it".into()),
        };
        found.push(Finding {
            subject: StepName::parse(name).map(|name| name.label()),
            step: Some(name.to_owned()),
            ..finding(
                pair,
                Rule::Flaky,
                verdict,
                format!("{name} was reused in {}, {was}", Hits::of(after)),
            )
        });
    }
    if found.is_empty() {
        found.push(steadied(pair, steps));
    }
    found
}

/// Whether the baseline, had it missed as often as the candidate does, would be expected to show it.
fn would_have_missed(before: &CellStep, after: &CellStep) -> bool {
    let (was, is) = (Hits::of(before), Hits::of(after));
    was.rounds * (is.rounds - is.reused) >= is.rounds
}

/// Where nothing wavers now: whether something did, and what became of it.
fn steadied(pair: &Pair<'_>, steps: &[StepPair<'_>]) -> Finding {
    let rounds = pair.after.samples.len();
    let wavered = steps.iter().filter(|step| step.before.is_some_and(|(_, step)| step.flaky()));
    let wavered: Vec<&StepPair<'_>> = wavered.collect();
    let reused = |step: &&&StepPair<'_>| step.after.is_some_and(|(_, step)| always_reused(step));
    let settled = wavered.iter().filter(reused).count();
    // One round cannot show that what wavered no longer does.
    let enough = rounds >= pair.before.samples.len() && rounds > 1;
    let (verdict, evidence) = match wavered.len() {
        0 => (Verdict::Pass, "no step wavers between rounds".to_owned()),
        all if !enough => (
            Verdict::Pass,
            format!(
                "no step wavers between rounds; {all} did in the baseline, which had more of them"
            ),
        ),
        all if settled == all => (
            Verdict::Improved,
            format!("all {rounds} rounds reused the same steps; not so in the baseline"),
        ),
        all => (
            Verdict::CannotTell,
            format!("of {all} steps that wavered in the baseline {settled} are always reused now"),
        ),
    };
    finding(pair, Rule::Flaky, verdict, evidence)
}
