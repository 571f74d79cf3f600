//! The deterministic rules: what was built, which steps a cache served, how many bytes crossed.
//!
//! They need one round. A step counts as lost only where every round of the baseline reused it, so
//! a step that was flaky before raises no alarm.

use crate::journal::Direction;
use crate::measure::{Analysis, Cell, CellStep};
use crate::units::Bytes;

use super::base;
use super::finding::{Finding, Rule, Verdict};
use super::matching::{Pair, StepPair, steps};
use super::step::StepName;
use super::tolerances::Tolerances;

/// Every deterministic finding of one pair of cells; one at least a rule.
pub fn of_pair(
    before: &Analysis,
    after: &Analysis,
    pair: &Pair<'_>,
    tolerances: &Tolerances,
) -> Vec<Finding> {
    let mut found = vec![built(pair)];
    if pair.before.samples.is_empty() || pair.after.samples.is_empty() {
        return found;
    }
    let pairs = steps((before, pair.before), (after, pair.after));
    let below =
        |name: &str| base::changed((before, pair.before.commit), (after, pair.after.commit), name);
    found.extend(reuse(pair, &pairs, &below));
    found.extend(flaky(pair, &pairs));
    for (rule, direction, tolerance) in [
        (Rule::Pulled, Direction::Pull, tolerances.pulled),
        (Rule::Pushed, Direction::Push, tolerances.pushed),
    ] {
        let sides = (bytes(before, pair.before, direction), bytes(after, pair.after, direction));
        found.push(traffic(pair, rule, sides, tolerance, tolerances.bytes));
    }
    found
}

fn finding(pair: &Pair<'_>, rule: Rule, verdict: Verdict, evidence: String) -> Finding {
    Finding { rule, verdict, place: pair.place.clone(), subject: None, step: None, evidence }
}

fn built(pair: &Pair<'_>) -> Finding {
    let (before, after) = (pair.before, pair.after);
    let trials = |cell: &Cell| cell.samples.len() + cell.failed;
    let told = |cell: &Cell| format!("{} of {} trials failed", cell.failed, trials(cell));
    let (verdict, evidence) = match (before.failed > 0, after.failed > 0) {
        (false, true) => (Verdict::Regressed, format!("{}, none in the baseline", told(after))),
        (true, false) => {
            (Verdict::Improved, format!("every trial was built; {} in the baseline", told(before)))
        }
        (true, true) => {
            let evidence = format!("{}; {} in the baseline", told(after), told(before));
            (Verdict::CannotTell, evidence)
        }
        (false, false) => (Verdict::Pass, "every trial was built".into()),
    };
    finding(pair, Rule::Built, verdict, evidence)
}

fn always_reused(step: &CellStep) -> bool {
    step.rebuilt == 0 && step.absent == 0 && step.cached + step.lazy > 0
}

fn always_rebuilt(step: &CellStep) -> bool {
    step.rebuilt > 0 && step.cached + step.lazy == 0
}

/// `below` says what a step stands on that differs from the baseline.
fn reuse(
    pair: &Pair<'_>,
    steps: &[StepPair<'_>],
    below: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let mut found = vec![];
    let mut open = vec![];
    for step in steps {
        let Some((name, after)) = step.after else { continue };
        let label = StepName::parse(name).map(|name| name.label());
        let mut of = |verdict, evidence| {
            found.push(Finding {
                subject: label.clone(),
                step: Some(name.to_owned()),
                ..finding(pair, Rule::Reuse, verdict, evidence)
            });
        };
        match step.before {
            Some((_, before)) if always_reused(before) && always_rebuilt(after) => {
                let time = after.time;
                let cause = cause(steps, step, below);
                of(Verdict::Regressed, format!("{name} was reused and is rebuilt ({time}){cause}"));
            }
            Some((_, before)) if always_rebuilt(before) && always_reused(after) => {
                let time = before.time;
                of(Verdict::Improved, format!("{name} was rebuilt ({time}) and is reused"));
            }
            // A step that the baseline never met: it can be neither lost nor won.
            None if always_rebuilt(after) => open.push(name),
            _ => {}
        }
    }
    if found.is_empty() {
        let reused = format!("{}/{} steps reused", pair.after.reuse.cached, pair.after.reuse.steps);
        let kept = pair.before.reuse.cached;
        found.push(match open.is_empty() || kept == 0 {
            true => finding(pair, Rule::Reuse, Verdict::Pass, format!("{reused}, none lost")),
            false => {
                let names = open.join(", ");
                let evidence =
                    format!("{reused}; rebuilt without a counterpart in the baseline: {names}");
                finding(pair, Rule::Reuse, Verdict::CannotTell, evidence)
            }
        });
    }
    found
}

/// Why a step that is rebuilt is: the first one above it in its stage that is rebuilt too.
fn cause(
    steps: &[StepPair<'_>],
    lost: &StepPair<'_>,
    below: &dyn Fn(&str) -> Option<String>,
) -> String {
    let parsed = |side: Option<(&'_ str, &CellStep)>| {
        side.and_then(|(name, _)| StepName::parse(name).map(|n| (n.stage, n.position)))
    };
    let Some((stage, position)) = parsed(lost.after) else { return String::new() };
    let above = steps.iter().filter(|step| {
        let rebuilt = step.after.is_some_and(|(_, step)| step.rebuilt > 0);
        rebuilt && parsed(step.after).is_some_and(|at| at.0 == stage && at.1 < position)
    });
    let Some(first) = above.min_by_key(|step| parsed(step.after)) else {
        let changed = match (lost.before, lost.after) {
            (Some((old, _)), Some((new, _))) => {
                StepName::parse(old).map(|n| n.text) != StepName::parse(new).map(|n| n.text)
            }
            _ => false,
        };
        let below = lost.after.and_then(|(name, _)| below(name));
        return match (changed, below) {
            (true, _) => ", because its text changed".into(),
            (false, Some(below)) => format!(", because {below}"),
            (false, None) => ", because what it is made from changed".into(),
        };
    };
    let Some((name, _)) = first.after else { return String::new() };
    match (parsed(first.before), parsed(lost.before)) {
        (Some(cause), Some(lost)) if cause.0 == lost.0 && cause.1 > lost.1 => {
            format!(", because {name} is rebuilt and now comes before it")
        }
        (None, _) => format!(", because {name}, which is new, is rebuilt above it"),
        _ => format!(", because {name} above it is rebuilt"),
    }
}

fn flaky(pair: &Pair<'_>, steps: &[StepPair<'_>]) -> Vec<Finding> {
    let (mut found, mut before_flaky, mut after_flaky) = (vec![], 0, 0);
    for step in steps {
        before_flaky += usize::from(step.before.is_some_and(|(_, step)| step.flaky()));
        let Some((name, after)) = step.after.filter(|(_, step)| step.flaky()) else { continue };
        after_flaky += 1;
        let reused = after.cached + after.lazy;
        let rounds = reused + after.rebuilt;
        let verdict = match step.before {
            Some((_, before)) if always_reused(before) => Verdict::Regressed,
            _ => Verdict::CannotTell,
        };
        let was = match step.before {
            Some((_, before)) if always_reused(before) => ", always in the baseline",
            Some((_, before)) if before.flaky() => ", and not always in the baseline",
            Some(_) => ", never in the baseline",
            None => ", and the baseline lacks it",
        };
        found.push(Finding {
            subject: StepName::parse(name).map(|name| name.label()),
            step: Some(name.to_owned()),
            ..finding(
                pair,
                Rule::Flaky,
                verdict,
                format!("{name} was reused in {reused} of {rounds} rounds{was}"),
            )
        });
    }
    if after_flaky == 0 {
        let rounds = pair.after.samples.len();
        // One round cannot show that what wavered no longer does.
        let steadied = before_flaky > 0 && rounds >= pair.before.samples.len() && rounds > 1;
        let (verdict, evidence) = match steadied {
            true => (
                Verdict::Improved,
                format!("all {rounds} rounds reused the same steps; not so in the baseline"),
            ),
            false => (Verdict::Pass, "no step wavers between rounds".into()),
        };
        found.push(finding(pair, Rule::Flaky, verdict, evidence));
    }
    found
}

/// Least, middle and most bytes of a cell's rounds.
fn bytes(analysis: &Analysis, cell: &Cell, direction: Direction) -> [u64; 3] {
    let mut bytes: Vec<u64> = cell
        .samples
        .iter()
        .filter_map(|sample| analysis.trials.get(sample.trial))
        .map(|trial| trial.traffic.bytes(direction).0)
        .collect();
    bytes.sort_unstable();
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    [at(0), at(bytes.len() / 2), at(bytes.len().saturating_sub(1))]
}

/// The middle of the candidate's rounds must be out of the baseline's whole range, by more than
/// both tolerances.
fn traffic(
    pair: &Pair<'_>,
    rule: Rule,
    (before, after): ([u64; 3], [u64; 3]),
    tolerance: f64,
    floor: Bytes,
) -> Finding {
    let beyond = |more: u64, less: u64| {
        more.saturating_sub(less) > floor.0 && more as f64 > less as f64 * (1.0 + tolerance)
    };
    let (was, is) = (Bytes(before[1]), Bytes(after[1]));
    let percent = tolerance * 100.0;
    let (verdict, evidence) = if beyond(after[1], before[2]) {
        let evidence = format!("{is} {rule}, {was} in the baseline (tolerance {percent} %)");
        (Verdict::Regressed, evidence)
    } else if beyond(before[0], after[1]) {
        (Verdict::Improved, format!("{is} {rule}, {was} in the baseline"))
    } else {
        (Verdict::Pass, format!("{is} {rule}, {was} in the baseline"))
    };
    finding(pair, rule, verdict, evidence)
}
