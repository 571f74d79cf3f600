//! Whether the loss of a step is certain though several caches could be read.
//!
//! Which of them BuildKit reads is chance, but none can hold a step of which an input changed. That is
//! a loss where the baseline reused the step at the same commit: what changes with that commit did not
//! stand above it there.

use crate::explain::{Cause, Evidence, Miss};

use super::super::matching::StepPair;
use super::super::step::standing;
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
            let places = standing(above).zip(standing(name));
            places.is_some_and(|(top, own)| top.0 == own.0 && top.1 > own.1)
        }
        _ => true,
    }
}
