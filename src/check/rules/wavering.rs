//! Steps that a cache serves in some rounds and not in others.

use crate::measure::CellStep;

use super::super::chance::{Hits, LIKELY, WHY, of_so_few};
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
            Some((_, before)) if always_reused(before) => {
                let was = Hits::of(before);
                match of_so_few(was, Hits::of(after)) {
                    p if p <= LIKELY => (Verdict::Regressed, format!("in {was} in the baseline")),
                    _ => (
                        Verdict::CannotTell,
                        format!("in {was} in the baseline; that may be chance"),
                    ),
                }
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
        found.push(steadied(pair, steps, by_chance));
    }
    found
}

/// Where nothing wavers now: whether something did, and whether that it no longer does is sure.
fn steadied(pair: &Pair<'_>, steps: &[StepPair<'_>], by_chance: bool) -> Finding {
    let rounds = pair.after.samples.len();
    let wavered: Vec<(&CellStep, &CellStep)> = steps
        .iter()
        .filter_map(|step| Some((step.before?.1, step.after?.1)))
        .filter(|(before, _)| before.flaky())
        .collect();
    let settled = wavered.iter().all(|(_, after)| always_reused(after));
    let sure = |(before, after): &(&CellStep, &CellStep)| {
        of_so_few(Hits::of(after), Hits::of(before)) <= LIKELY
    };
    let (verdict, evidence) = match wavered.len() {
        0 => (Verdict::Pass, "no step wavers between rounds".to_owned()),
        _ if settled && !by_chance && wavered.iter().any(sure) => (
            Verdict::Improved,
            format!("all {rounds} rounds reused the same steps; not so in the baseline"),
        ),
        all => (
            Verdict::Pass,
            format!(
                "no step wavers between rounds; {all} did in the baseline, which may be chance"
            ),
        ),
    };
    finding(pair, Rule::Flaky, verdict, evidence)
}
