//! Why a step of a run was rebuilt, by the run's own journal.
//!
//! A run fills its own caches and resolves a base image once, so a step misses because of what
//! differs between two of its own commits. What differs from another run, such as a base image's
//! digest, makes no step miss and is no cause.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use crate::explain::{Cause, Explainer, TrialMisses, sentence};
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
        let mut found = self.found.borrow_mut();
        let Found { explainer, misses } = found.get_or_insert_with(|| Found {
            explainer: Explainer::new(self.analysis),
            misses: BTreeMap::new(),
        });
        let cause = cell.samples.iter().find_map(|sample| {
            let row = self.analysis.trials.get(sample.trial)?;
            let trial = misses.entry(sample.trial).or_insert_with(|| explainer.trial(row));
            let miss = trial.as_ref()?.misses.iter().find(|miss| miss.step == step)?;
            Some(miss.cause.clone())
        })?;
        let text = sentence(&cause, &self.analysis.header);
        Some(match cause {
            Cause::Unexplained { .. } => Why::Unexplained(text),
            _ => Why::Because(text),
        })
    }
}
