//! What to change, going by what was measured and nothing else.
//!
//! Each piece says what it cost and on how many commits. Surprising: nobody traces which files a
//! step reads, so what a `RUN` needs is taken from the names that its text holds, and said so.

mod look;
mod mode;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::measure::Analysis;
use crate::units::Nanos;

use super::TrialMisses;
use look::{Looks, Seen};

/// Step time below this in a whole sequence is no reason to change anything.
const WORTH: Nanos = Nanos(50_000_000);

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    pub kind: AdviceKind,
    /// In one or two sentences.
    pub text: String,
    /// Step time that it cost in one round of the commit sequence, under the strategy that it cost
    /// most, in nanoseconds; 0 where it is about bytes.
    pub cost: Nanos,
    /// The commits that it cost something, by their places in the sequence.
    pub commits: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdviceKind {
    /// A build arg is declared above steps that do not use it.
    MoveArgument,
    /// Files are copied above a step whose text names other files only.
    MoveCopy,
    /// Files that alone invalidated a `COPY`.
    Ignore,
    /// A step makes files anew each time it runs, and others take them.
    MakeStable,
    /// `mode=max` carried more than `mode=min` and reused no more.
    SmallerMode,
}

impl AdviceKind {
    /// As in the serialized form.
    pub fn name(self) -> &'static str {
        match self {
            Self::MoveArgument => "move-argument",
            Self::MoveCopy => "move-copy",
            Self::Ignore => "ignore",
            Self::MakeStable => "make-stable",
            Self::SmallerMode => "smaller-mode",
        }
    }
}

/// What one subject cost under one strategy: time and commits, over all rounds.
#[derive(Clone, Debug, Default)]
struct Found {
    time: Nanos,
    commits: BTreeSet<usize>,
    /// Of those, commits in which the change did not concern the step.
    needless: BTreeSet<usize>,
}

/// All advice that the trials of `analysis` give, what costs most first.
pub fn advice<T: Borrow<TrialMisses>>(
    trials: impl IntoIterator<Item = T>,
    analysis: &Analysis,
) -> Vec<Advice> {
    let mut advisor = Advisor::new(analysis);
    trials.into_iter().for_each(|trial| advisor.see(trial.borrow()));
    advisor.advice()
}

/// Is shown trials one after the other and says in the end what to change.
pub struct Advisor<'a> {
    analysis: &'a Analysis,
    looks: Looks<'a>,
    /// By kind, subject and strategy.
    found: BTreeMap<(AdviceKind, String, String), Found>,
    rounds: BTreeSet<u32>,
}

impl<'a> Advisor<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        let looks = Looks::new(&analysis.header);
        Self { analysis, looks, found: BTreeMap::new(), rounds: BTreeSet::new() }
    }

    pub fn see(&mut self, trial: &TrialMisses) {
        self.rounds.insert(trial.round);
        for Seen { kind, subject, time, needless } in self.looks.at(trial) {
            let found = self.found.entry((kind, subject, trial.strategy.clone())).or_default();
            found.time = found.time + time;
            found.commits.insert(trial.commit);
            if needless {
                found.needless.insert(trial.commit);
            }
        }
    }

    pub fn advice(self) -> Vec<Advice> {
        let rounds = self.rounds.len().max(1) as u64;
        let mut dearest: BTreeMap<(AdviceKind, String), (String, Found)> = BTreeMap::new();
        for ((kind, subject, strategy), found) in self.found {
            let known = dearest.entry((kind, subject)).or_default();
            if found.time > known.1.time {
                *known = (strategy, found);
            }
        }
        let commits = self.analysis.header.commits.len();
        let mut advice: Vec<Advice> = vec![];
        for ((kind, subject), (strategy, found)) in dearest {
            let cost = Nanos(found.time.0 / rounds);
            if cost < WORTH || found.needless.is_empty() {
                continue;
            }
            let (met, needless) = (found.commits.len(), found.needless.len());
            let of_them = if needless == met { "each".into() } else { needless.to_string() };
            let costs = format!(
                "{subject} cost {cost} of steps on {met} of {commits} commits under {strategy}"
            );
            advice.push(Advice {
                kind,
                text: words(kind, &costs, &of_them),
                cost,
                commits: found.commits,
            });
        }
        advice.sort_by_key(|advice| std::cmp::Reverse(advice.cost));
        advice.extend(mode::smaller_mode(self.analysis));
        advice
    }
}

/// `costs` says what cost how much, `of_them` on how many of its commits that was needless.
fn words(kind: AdviceKind, costs: &str, of_them: &str) -> String {
    let what = match kind {
        AdviceKind::MoveArgument => {
            ", and the step does not use it: declare it right above the first step that does.".into()
        }
        AdviceKind::MoveCopy => format!(
            ": in {of_them} of them no file changed that the text of the step names. Copy those files first, and the others below it."
        ),
        AdviceKind::Ignore => {
            ": if no step needs it, name it in .dockerignore.".into()
        }
        AdviceKind::MakeStable => {
            ": those that copy them from its stage are reused where it comes out the same each time.".into()
        }
        AdviceKind::SmallerMode => String::new(),
    };
    format!("{costs}{what}")
}
