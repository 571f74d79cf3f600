//! Whether the loss or gain of a step is certain though several caches could be read.
//!
//! Which of them BuildKit reads is chance, but none can hold a step of which an input changed. That is
//! a loss where the baseline reused the step at the same commit: what changes with that commit did not
//! stand above it there. It is a gain where that did stand above it, and does no more. The baseline's own
//! causes are not asked for, since a pruned one has none.

use crate::explain::{Cause, Evidence, Miss};
use crate::measure::CellStep;

use super::super::matching::StepPair;
use super::super::step::{StepName, standing};
use super::reuse::always_rebuilt;

/// `chain` is the lost step's misses in a round of the candidate, from itself to where they begin;
/// `imported` says that every cache could be imported in the baseline.
pub fn is_certain(
    steps: &[StepPair<'_>],
    lost: &StepPair<'_>,
    imported: bool,
    chain: &[&Miss],
) -> bool {
    let counterpart = |miss: &Miss| {
        let own = |step: &&StepPair<'_>| step.after.is_some_and(|(name, _)| name == miss.step);
        steps.iter().find(own).and_then(|step| step.before)
    };
    let is_known = chain.last().is_some_and(|first| match first.cause {
        Cause::ImportFailed { .. } => imported,
        // Nothing of the step's own: trials before it that failed or broke may have written none.
        Cause::FirstBuild | Cause::NeverWritten { .. } => false,
        _ => !first.cause.is_inherited() && first.evidence == Evidence::Known,
    });
    let leaves = |miss: &&&Miss| matches!(miss.cause, Cause::Stage { .. });
    // What a stage comes out as may be the same, and then a cache may hold what takes files from it.
    let is_rebuilt = |miss: &&Miss| counterpart(miss).is_some_and(|(_, step)| always_rebuilt(step));
    if !is_known || !chain.iter().filter(leaves).all(is_rebuilt) {
        return false;
    }
    let Some(top) = chain.iter().find(leaves).or(chain.last()) else { return false };
    match (counterpart(top), lost.before) {
        // It needed that before too, and was reused all the same.
        (Some((above, step)), Some((name, _))) if above != name && always_rebuilt(step) => {
            let now = lost.after.map_or(name, |(name, _)| name);
            stood_elsewhere(step, [above, name], [&top.step, now])
        }
        _ => true,
    }
}

/// Whether a gained step was below one that no cache could hold in the baseline, and is so no more.
///
/// `always` says whether something holds of a step's chain of misses in every round of the candidate.
pub fn is_gain_certain(
    steps: &[StepPair<'_>],
    gained: &StepPair<'_>,
    always: impl Fn(&str, fn(&[&Miss]) -> bool) -> bool,
) -> bool {
    let (Some((old, _)), Some((new, _))) = (gained.before, gained.after) else { return false };
    let text = |name| StepName::parse(name).map(|name| name.text);
    let is_above = |top: &str, own: &str| {
        let places = standing(top).zip(standing(own));
        places.is_some_and(|(top, own)| top.0 == own.0 && top.1 < own.1)
    };
    steps.iter().any(|step| {
        let (Some((was, before)), Some((is, after))) = (step.before, step.after) else {
            return false;
        };
        let moved = is_above(was, old) && !is_above(is, new) && text(was) == text(is);
        moved && always_rebuilt(before) && always_rebuilt(after) && always(is, takes_changed_files)
    })
}

/// Whether a step missed for files that changed: they did so in the baseline too, while a Dockerfile may
/// have changed in one run only.
fn takes_changed_files(chain: &[&Miss]) -> bool {
    matches!(chain, [own] if matches!(own.cause, Cause::Files { .. }))
}

/// Whether the first of two steps, which the baseline always rebuilt, did not stand above the second, which
/// it reused in some round. `step` is the first; `was` and `is` call both in the baseline and now.
fn stood_elsewhere(step: &CellStep, was: [&str; 2], is: [&str; 2]) -> bool {
    let stand = |[top, own]: [&str; 2]| standing(top).zip(standing(own));
    let (Some((top, own)), Some((top_now, own_now))) = (stand(was), stand(is)) else {
        return false;
    };
    if top.0 == own.0 {
        return top.1 > own.1;
    }
    // Names do not tell which stage starts from which, but nothing is reused below what the same round
    // rebuilt, linked copies aside: so one of the two has to have moved as well.
    step.absent == 0 && (top_now.0, own_now.0) != (top.0, own.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Names;
    use crate::units::Nanos;

    fn miss(step: &str, cause: Cause) -> Miss {
        Miss {
            step: step.into(),
            line: None,
            time: Nanos(0),
            evidence: cause.evidence(),
            cause,
            first: 0,
            against: None,
            output: None,
            empty_mounts: vec![],
            unstable: None,
        }
    }

    fn step(reused: usize, rebuilt: usize) -> CellStep {
        let name = Names::default().number("x");
        CellStep { name, rebuilt, cached: reused, lazy: 0, absent: 0, time: Nanos(0) }
    }

    fn above(step: &str) -> Cause {
        Cause::Above { step: step.into(), output: None }
    }

    fn stage() -> Cause {
        Cause::Stage { stage: "a".into(), output: None, unstable: None }
    }

    fn files() -> Cause {
        Cause::Files { files: vec![], count: 1 }
    }

    const COPY: &str = "[b 2/3] COPY . .";
    const RUN: &str = "[b 3/3] RUN install";

    /// Of `RUN install`, below a `COPY` that was called and did in the baseline what `copy` says.
    fn certain(copy: Option<(&str, CellStep)>, imported: bool, chain: &[(&str, Cause)]) -> bool {
        let (hit, missed) = (step(1, 0), step(0, 1));
        let lost =
            StepPair { before: Some(("[b 2/3] RUN install", &hit)), after: Some((RUN, &missed)) };
        let before = copy.as_ref().map(|(name, step)| (*name, step));
        let steps = [StepPair { before, after: Some((COPY, &missed)) }, lost];
        let chain: Vec<Miss> =
            chain.iter().map(|(step, cause)| miss(step, cause.clone())).collect();
        let chain: Vec<&Miss> = chain.iter().collect();
        is_certain(&steps, &lost, imported, &chain)
    }

    #[test]
    fn what_changes_above_a_step_and_did_not_stand_there_makes_its_loss_certain() {
        let chain = [(RUN, above(COPY)), (COPY, files())];
        assert!(certain(Some(("[b 3/3] COPY . .", step(0, 1))), true, &chain), "it stood below");
        assert!(certain(Some(("[b 1/3] COPY a .", step(1, 0))), true, &chain), "it was reused");
        assert!(certain(None, true, &chain), "it is new");
        assert!(!certain(Some(("[b 1/3] COPY . .", step(0, 1))), true, &chain), "it stood there");
        assert!(certain(Some(("[a 1/3] COPY . .", step(0, 1))), true, &chain), "in another stage");
        assert!(certain(None, true, &[(RUN, files())]), "an input of its own");
    }

    #[test]
    fn a_step_of_another_stage_stood_elsewhere_where_it_moved_and_was_there_in_every_round() {
        let was = ["[a 2/2] COPY . .", "[b 2/2] RUN install"];
        let moved = ["[b 2/3] COPY . .", "[b 3/3] RUN install"];
        assert!(stood_elsewhere(&step(0, 1), was, moved));
        assert!(!stood_elsewhere(&step(0, 1), was, was));
        assert!(!stood_elsewhere(&CellStep { absent: 1, ..step(0, 1) }, was, moved));
    }

    #[test]
    fn a_step_is_gained_where_what_takes_changed_files_stood_above_it_and_does_no_more() {
        let (hit, missed) = (step(1, 0), step(0, 1));
        let gained = |names: [[&str; 2]; 2], copy: &CellStep, cause: Cause| {
            let [[was, old], [is, new]] = names;
            let run = StepPair { before: Some((old, &missed)), after: Some((new, &hit)) };
            let copied = StepPair { before: Some((was, copy)), after: Some((is, &missed)) };
            let own = miss(is, cause);
            is_gain_certain(&[copied, run], &run, |name, holds| name == is && holds(&[&own]))
        };
        let bad = ["[b 2/3] COPY . .", "[b 3/3] RUN install"];
        let good = ["[b 3/3] COPY . .", "[b 2/3] RUN install"];
        assert!(gained([bad, good], &missed, files()));
        assert!(gained([bad, ["[c 1/1] COPY . .", good[1]]], &missed, files()), "another stage");
        assert!(!gained([bad, bad], &missed, files()), "nothing moved");
        assert!(!gained([good, good], &missed, files()), "it stood below");
        assert!(!gained([bad, good], &hit, files()), "it was reused");
        assert!(!gained([bad, ["[b 3/3] COPY a .", good[1]]], &missed, files()), "other files");
        assert!(!gained([bad, good], &missed, Cause::Unexplained { caches: 2 }), "by chance");
    }

    #[test]
    fn what_chance_may_have_done_or_nothing_explains_is_not_certain() {
        let unexplained = || Cause::Unexplained { caches: 2 };
        assert!(!certain(None, true, &[(RUN, above(COPY)), (COPY, unexplained())]));
        assert!(!certain(None, true, &[(RUN, Cause::NeverBuilt)]), "only inferred");
        assert!(!certain(None, true, &[(RUN, above(COPY))]), "where it begins is not known");
        assert!(
            !certain(None, true, &[(RUN, Cause::FirstBuild)]),
            "what was before may have failed"
        );
        let never = || Cause::NeverWritten { reference: "x:y".into() };
        assert!(!certain(None, true, &[(RUN, never())]), "so may what was to write it");
        assert!(!certain(None, true, &[]));
        let failed = || Cause::ImportFailed { message: "gone".into() };
        assert!(certain(None, true, &[(RUN, failed())]));
        assert!(!certain(None, false, &[(RUN, failed())]), "so it did in the baseline");
    }

    #[test]
    fn a_copy_from_a_rebuilt_stage_counts_where_no_cache_ever_held_it() {
        let source = ("[a 2/2] COPY src .", files());
        let chain = [(RUN, above(COPY)), (COPY, stage()), source];
        assert!(certain(Some(("[b 3/3] COPY . .", step(0, 2))), true, &chain));
        assert!(
            !certain(Some(("[b 3/3] COPY . .", step(1, 1))), true, &chain),
            "the same came out"
        );
        assert!(!certain(None, true, &chain));
    }
}
