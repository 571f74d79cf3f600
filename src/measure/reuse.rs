//! How much of a trial's steps came from a cache.

use crate::journal::TrialRecord;

/// Steps that were cached, of those that a cache could have served (`FROM` is not one).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    pub cached: usize,
    pub steps: usize,
}

/// One step of a trial and whether a cache served it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepUse {
    /// As BuildKit names it, `[builder 2/6] RUN …`.
    pub name: String,
    pub cached: bool,
}

/// The distinct steps of a trial, in the order in which they were first seen.
///
/// A later build of the same trial meets the steps of an earlier one again, cached by it. That
/// says nothing about the strategy, so the first build in which a step appears decides.
pub fn steps(trial: &TrialRecord) -> Vec<StepUse> {
    let mut found: Vec<StepUse> = vec![];
    for build in &trial.builds {
        let earlier = found.len();
        for step in build.trace.steps() {
            if found[..earlier].iter().any(|known| known.name == step.name) {
                continue;
            }
            // `ADD` of a URL makes two vertices of one name; the step is cached if both are.
            match found[earlier..].iter_mut().find(|known| known.name == step.name) {
                Some(known) => known.cached &= step.cached,
                None => found.push(StepUse { name: step.name.clone(), cached: step.cached }),
            }
        }
    }
    found
}

/// The reuse of one trial.
pub fn reuse(trial: &TrialRecord) -> Reuse {
    let steps = steps(trial);
    Reuse { cached: steps.iter().filter(|step| step.cached).count(), steps: steps.len() }
}
