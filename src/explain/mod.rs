//! Why steps were rebuilt: for each, the first cause and the chain below it.
//!
//! Works from a journal alone. A rebuilt step is held against the nearest commit whose cache the
//! trial could read (`sources`); what differs there is its cause (`comparisons`). Surprising: a
//! difference never makes a miss of its own accord. Only steps that the trace shows as rebuilt are
//! explained, so an explanation cannot contradict it.

mod advice;
mod bases;
mod cause;
mod collected;
mod compare;
mod comparisons;
mod cost;
mod depends;
mod files;
mod misses;
mod outputs;
mod pairing;
mod parents;
mod predict;
mod recipe;
mod rounds;
mod sources;
mod words;

use serde::Serialize;

use crate::measure::Analysis;
use crate::units::Nanos;

pub use advice::{Advice, AdviceKind, Advisor, advice};
pub use cause::{
    Cause, ChangedFile, Differing, Evidence, FileKind, InstructionChange, Output, Variable,
};
pub use cost::{Cost, costs};
pub use files::Takable;
pub use predict::{Basis, Prediction, bases, predict};
pub use sources::deprived;
pub use words::{brief, of_cost, sentence, text};

pub use misses::Explainer;

/// The rebuilt steps of one trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TrialMisses {
    /// From 0, as in journals.
    pub round: u32,
    pub strategy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The commit's place in the sequence, from 0.
    pub commit: usize,
    /// Steps that a cache served.
    pub cached: usize,
    /// In the order of the Dockerfile.
    pub misses: Vec<Miss>,
}

impl TrialMisses {
    /// The misses with which chains begin, each with its place.
    fn heads(&self) -> impl Iterator<Item = (usize, &Miss)> {
        self.misses.iter().enumerate().filter(|(place, miss)| miss.first == *place)
    }

    /// The rest of the chain that begins at the place `first`.
    fn below(&self, first: usize) -> impl Iterator<Item = &Miss> {
        let misses = self.misses.iter().enumerate();
        misses
            .filter(move |(place, miss)| miss.first == first && *place != first)
            .map(|(_, miss)| miss)
    }
}

/// One rebuilt step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// As BuildKit names it, `[builder 2/6] RUN …`.
    pub step: String,
    /// The Dockerfile line on which its instruction begins, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// How long it ran, in nanoseconds.
    pub time: Nanos,
    pub cause: Cause,
    pub evidence: Evidence,
    /// The place in [`TrialMisses::misses`] of the step where the chain begins; its own if here.
    pub first: usize,
    /// The commit whose cache came nearest, by its place in the sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<usize>,
    /// What it came out as itself against `against`, where the journal tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// Targets of its cache mounts, which were empty because the engine was new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub empty_mounts: Vec<String>,
    /// What it makes anew whenever it runs, where it is known to come out different with the same
    /// inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstable: Option<Differing>,
}

/// Every trial that was played to the end or failed in a step and whose Dockerfile the journal
/// holds, in the journal's order. One at a
/// time, since those of a long run do not fit in memory together.
pub fn explain(analysis: &Analysis) -> impl Iterator<Item = TrialMisses> {
    let mut explainer = Explainer::new(analysis);
    analysis.trials.iter().filter_map(move |trial| explainer.trial(trial))
}

#[cfg(test)]
mod made_up;
#[cfg(test)]
mod several;
#[cfg(test)]
mod tests;
