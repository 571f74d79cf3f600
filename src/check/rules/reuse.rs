//! Which steps a cache served before and does not now, and the other way round.

use crate::explain::Miss;
use crate::measure::CellStep;

use super::super::causes::Causes;
use super::super::chance::{self, Hits, SURE};
use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::{Pair, StepPair};
use super::super::step::StepName;
use super::cause::cause;
use super::certain::{is_certain, is_gain_certain};
use super::finding;

/// In every round that the cell has.
pub fn always_reused(step: &CellStep) -> bool {
    step.rebuilt == 0 && step.absent == 0 && step.reused() > 0
}

pub fn always_rebuilt(step: &CellStep) -> bool {
    step.rebuilt > 0 && step.reused() == 0
}

/// `causes` are the candidate's; `by_chance` says that rounds differ by themselves.
pub fn findings(
    pair: &Pair<'_>,
    steps: &[StepPair<'_>],
    by_chance: bool,
    causes: &Causes<'_>,
) -> Vec<Finding> {
    let mut found = vec![];
    let mut open = vec![];
    let imported = pair.before.failed_imports == 0;
    for step in steps {
        let Some((name, after)) = step.after else { continue };
        let Some((old, before)) = step.before else {
            // A step that the baseline never met: it can be neither lost nor won.
            if always_rebuilt(after) {
                open.push(name);
            }
            continue;
        };
        let certain = |chain: &[&Miss]| is_certain(steps, step, imported, chain);
        let always =
            |name: &str, holds: fn(&[&Miss]) -> bool| causes.always(pair.after, name, holds);
        let rounds = match by_chance {
            false => Rounds::Alike,
            true if is_gone(before, after) && causes.always(pair.after, name, certain) => {
                Rounds::WithoutIt
            }
            true if is_won(before, after) && is_gain_certain(steps, step, always) => {
                Rounds::WithItAgain
            }
            true => Rounds::ByChance,
        };
        let Some((verdict, mut evidence)) = compare(name, before, after, rounds) else {
            continue;
        };
        let others = takes_others(old, name);
        if verdict == Verdict::Regressed {
            evidence.push_str(&cause(steps, step, &|name| causes.of(pair.after, name)));
        }
        let verdict = match others {
            Some(told) => {
                evidence.push_str(&told);
                Verdict::CannotTell
            }
            None => verdict,
        };
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

/// For evidence: that a copy takes other files than its counterpart did, so that an edit of these may
/// rebuild the one and not the other, though neither is worse.
fn takes_others(old: &str, new: &str) -> Option<String> {
    let (old, new) = (StepName::parse(old)?, StepName::parse(new)?);
    new.copies_others(&old).then(|| format!("; it takes other files than {}", old.text))
}

/// What decides in which rounds of a cell a step is reused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounds {
    /// They do not differ by themselves.
    Alike,
    /// Chance, as to which of several caches is read.
    ByChance,
    /// The same in the baseline; none of the candidate's caches could hold the step.
    WithoutIt,
    /// The same in the candidate; none of the baseline's caches could hold the step.
    WithItAgain,
}

/// Whether a step was reused, be it seldom, and never is now.
fn is_gone(before: &CellStep, after: &CellStep) -> bool {
    before.reused() > 0 && always_rebuilt(after)
}

/// Whether a step was never reused and always is now.
fn is_won(before: &CellStep, after: &CellStep) -> bool {
    always_rebuilt(before) && always_reused(after)
}

/// What became of one step; none where nothing can be said of it here.
fn compare(
    name: &str,
    before: &CellStep,
    after: &CellStep,
    rounds: Rounds,
) -> Option<(Verdict, String)> {
    let gone = is_gone(before, after);
    // A round of the baseline that lacked it says nothing of it.
    let lost = gone && before.rebuilt == 0;
    let won = is_won(before, after);
    let by_chance = rounds == Rounds::ByChance;
    let (was, is) = (Hits::of(before), Hits::of(after));
    if lost && !by_chance {
        let evidence = format!("{name} was reused and is rebuilt ({})", after.time);
        return Some((Verdict::Regressed, evidence));
    }
    if gone && rounds == Rounds::WithoutIt {
        let evidence = format!("{name} was reused in {was} and is rebuilt ({})", after.time);
        return Some((Verdict::Regressed, evidence));
    }
    if won && !by_chance {
        let evidence = format!("{name} was rebuilt ({}) and is reused", before.time);
        return Some((Verdict::Improved, evidence));
    }
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
    gone.then(|| {
        let told = match chance::rounds_that_tell(was, is) {
            Some(rounds) => format!("{rounds} rounds without it can tell"),
            None => "the baseline has too few hits to tell".into(),
        };
        (Verdict::CannotTell, format!("{evidence}; {told}"))
    })
}
