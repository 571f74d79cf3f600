//! Why a step of a run was rebuilt, by the run's own journal.
//!
//! A run fills its own caches and resolves a base image once, so a step misses because of what
//! differs between two of its own commits. What differs from another run, such as a base image's
//! digest, makes no step miss and is no cause.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use crate::explain::{Cause, Explainer, Miss, TrialMisses, sentence};
use crate::measure::{Analysis, Cell};

/// Explains steps of one run; nothing is computed before the first is asked for.
pub struct Causes<'a> {
    analysis: &'a Analysis,
    found: RefCell<Option<Found<'a>>>,
}

/// What a journal says of a rebuilt step.
pub enum Why {
    /// The cause, a sentence without a full stop.
    Because(String),
    /// That nothing in it explains it.
    Unexplained(String),
}

impl Why {
    pub fn text(&self) -> &str {
        match self {
            Self::Because(text) | Self::Unexplained(text) => text,
        }
    }
}

impl fmt::Display for Why {
    /// As evidence goes on with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Because(text) => write!(f, ", because {text}"),
            Self::Unexplained(text) => write!(f, "; {text}"),
        }
    }
}

struct Found<'a> {
    explainer: Explainer<'a>,
    /// By the trial's place in the analysis.
    misses: BTreeMap<usize, Option<TrialMisses>>,
}

impl<'a> Causes<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        Self { analysis, found: RefCell::new(None) }
    }

    /// Why `step`, as BuildKit names it, was rebuilt in the first round of `cell` in which it was;
    /// `None` where the journal does not hold what would tell.
    pub fn of(&self, cell: &Cell, step: &str) -> Option<Why> {
        let cause = self.first(cell, |trial| {
            let miss = trial?.misses.iter().find(|miss| miss.step == step)?;
            Some(miss.cause.clone())
        })?;
        let text = sentence(&cause, &self.analysis.header);
        Some(match cause {
            Cause::Unexplained { .. } => Why::Unexplained(text),
            _ => Why::Because(text),
        })
    }

    /// Whether `holds` of the chain of misses that `step` stands in, in every round of `cell` that
    /// rebuilt it; not where a round cannot be explained. A chain begins with the step itself and
    /// ends where it comes from.
    pub fn always(&self, cell: &Cell, step: &str, holds: impl Fn(&[&Miss]) -> bool) -> bool {
        let fails = |trial: Option<&TrialMisses>| {
            let Some(trial) = trial else { return Some(()) };
            let chain = chain(trial, step);
            (!chain.is_empty() && !holds(&chain)).then_some(())
        };
        self.first(cell, fails).is_none()
    }

    /// The first answer that a round of `cell` gives.
    fn first<T>(&self, cell: &Cell, ask: impl Fn(Option<&TrialMisses>) -> Option<T>) -> Option<T> {
        let mut found = self.found.borrow_mut();
        let Found { explainer, misses } = found.get_or_insert_with(|| Found {
            explainer: Explainer::new(self.analysis),
            misses: BTreeMap::new(),
        });
        cell.samples.iter().find_map(|sample| {
            let row = self.analysis.trials.get(sample.trial)?;
            let trial = misses.entry(sample.trial).or_insert_with(|| explainer.trial(row));
            ask(trial.as_ref())
        })
    }
}

/// The miss of `step`, those above it that made it miss, one after the other, and, where that leaves
/// its stage for one that it takes files from, the miss with which all began. Empty where it is none.
fn chain<'m>(trial: &'m TrialMisses, step: &str) -> Vec<&'m Miss> {
    let find = |name: &str| trial.misses.iter().find(|miss| miss.step == name);
    let next = |miss: &&'m Miss| match &miss.cause {
        Cause::Above { step, .. } => find(step),
        Cause::Stage { .. } => trial.misses.get(miss.first),
        _ => None,
    };
    // Whatever the journal holds, it is no longer than that.
    std::iter::successors(find(step), next).take(trial.misses.len()).collect()
}
