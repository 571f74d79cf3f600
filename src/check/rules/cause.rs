//! Why a step was lost: by what stands above it now, or by the candidate's own journal.

use crate::measure::CellStep;

use super::super::causes::Why;
use super::super::matching::StepPair;
use super::super::step::{StepName, standing};

/// Why a step that is rebuilt is: the first one above it in its stage that is rebuilt too; for that
/// one what `why` says.
pub fn cause(
    steps: &[StepPair<'_>],
    lost: &StepPair<'_>,
    why: &dyn Fn(&str) -> Option<Why>,
) -> String {
    let parsed = |side: Option<(&'_ str, &CellStep)>| side.and_then(|(name, _)| standing(name));
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
        let why = lost.after.and_then(|(name, _)| why(name));
        return match (why, changed) {
            (Some(why), _) => why.to_string(),
            (None, true) => "; its text changed".into(),
            (None, false) => String::new(),
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
