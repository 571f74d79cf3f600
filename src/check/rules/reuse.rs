//! Which steps a cache served before and does not now, and the other way round.

use crate::measure::CellStep;

use super::super::causes::Why;
use super::super::chance::{self, Hits, SURE};
use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::{Pair, StepPair};
use super::super::step::StepName;
use super::cause::cause;
use super::finding;

/// In every round that the cell has.
pub fn always_reused(step: &CellStep) -> bool {
    step.rebuilt == 0 && step.absent == 0 && step.reused() > 0
}

pub fn always_rebuilt(step: &CellStep) -> bool {
    step.rebuilt > 0 && step.reused() == 0
}

/// `why` says why a step of the candidate was rebuilt; `by_chance` that rounds differ by themselves.
pub fn findings(
    pair: &Pair<'_>,
    steps: &[StepPair<'_>],
    by_chance: bool,
    why: &dyn Fn(&str) -> Option<Why>,
) -> Vec<Finding> {
    let mut found = vec![];
    let mut open = vec![];
    for step in steps {
        let Some((name, after)) = step.after else { continue };
        let Some((_, before)) = step.before else {
            // A step that the baseline never met: it can be neither lost nor won.
            if always_rebuilt(after) {
                open.push(name);
            }
            continue;
        };
        let Some((verdict, mut evidence)) = compare(name, before, after, by_chance) else {
            continue;
        };
        if verdict == Verdict::Regressed {
            evidence.push_str(&cause(steps, step, why));
        }
        found.push(Finding {
            subject: StepName::parse(name).map(|name| name.label()),
            step: Some(name.to_owned()),
            ..finding(pair, Rule::Reuse, verdict, evidence)
        });
    }
    let reused = format!("{}/{} steps reused", pair.after.reuse.cached, pair.after.reuse.steps);
    if !open.is_empty() && pair.before.reuse.cached > 0 {
        let names = open.join(", ");
        let evidence = format!("{reused}; rebuilt without a counterpart in the baseline: {names}");
        found.push(finding(pair, Rule::Reuse, Verdict::CannotTell, evidence));
    } else if found.is_empty() {
        found.push(finding(pair, Rule::Reuse, Verdict::Pass, format!("{reused}, none lost")));
    }
    found
}

/// What became of one step; none where nothing can be said of it here.
fn compare(
    name: &str,
    before: &CellStep,
    after: &CellStep,
    by_chance: bool,
) -> Option<(Verdict, String)> {
    let (lost, won) = (
        // A round of the baseline that lacked it says nothing of it.
        before.rebuilt == 0 && before.reused() > 0 && always_rebuilt(after),
        always_rebuilt(before) && always_reused(after),
    );
    if lost && !by_chance {
        let evidence = format!("{name} was reused and is rebuilt ({})", after.time);
        return Some((Verdict::Regressed, evidence));
    }
    if won && !by_chance {
        let evidence = format!("{name} was rebuilt ({}) and is reused", before.time);
        return Some((Verdict::Improved, evidence));
    }
    let (was, is) = (Hits::of(before), Hits::of(after));
    let evidence = format!("{name} was reused in {was} and is in {is}");
    if chance::of_so_few(was, is) <= SURE {
        return Some((Verdict::Regressed, evidence));
    }
    if chance::of_so_few(is, was) <= SURE {
        return Some((Verdict::Improved, evidence));
    }
    if by_chance && (lost || won) {
        return Some((Verdict::CannotTell, format!("{evidence}; {}", chance::what_can_tell())));
    }
    // It wavered, so something else than the Dockerfile decided on it; what, nobody knows.
    let gone = before.flaky() && always_rebuilt(after);
    gone.then(|| {
        let told = match chance::rounds_that_tell(was, is) {
            Some(rounds) => format!("{rounds} rounds without it can tell"),
            None => "the baseline has too few hits to tell".into(),
        };
        (Verdict::CannotTell, format!("{evidence}; {told}"))
    })
}
