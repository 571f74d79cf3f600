//! What to change, going by what was measured and nothing else.
//!
//! Each piece says what it cost and on how many commits. Surprising: nobody traces which files or
//! variables a step reads, so what a `RUN` needs is taken from the names that its text holds, and said
//! so; a step that came out different when only these changed needs them, whatever its text says.

mod look;
mod mode;
mod text;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::measure::Analysis;
use crate::units::Nanos;

use super::TrialMisses;
use super::rounds::Rounds;
use look::{Looks, Seen, Step};

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
    /// A build arg is declared above steps whose text does not name it.
    MoveArgument,
    /// Files are copied above a step whose text names other files only.
    MoveCopy,
    /// A file that alone invalidated a `COPY` of everything, and that no step seems to need.
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

/// What one subject cost under one strategy over one link, over all rounds.
type Found = BTreeMap<Option<Step>, BTreeMap<usize, Nanos>>;

/// All advice that the trials of `analysis` give, what costs most first.
pub fn advice<T: Borrow<TrialMisses>>(
    trials: impl IntoIterator<Item = T>,
    analysis: &Analysis,
) -> Vec<Advice> {
    let mut advisor = Advisor::new(analysis);
    trials.into_iter().for_each(|trial| advisor.see(trial.borrow()));
    advisor.advice()
}

/// Kind and subject of a piece of advice.
type About = (AdviceKind, String);

/// Is shown trials one after the other and says in the end what to change.
pub struct Advisor<'a> {
    analysis: &'a Analysis,
    looks: Looks<'a>,
    rounds: Rounds,
    /// By strategy and link.
    found: BTreeMap<About, BTreeMap<(String, Option<String>), Found>>,
    /// What speaks against advice anywhere speaks against it everywhere; by what steps say, where it
    /// is about one of several steps.
    refuted: BTreeSet<(About, Option<String>)>,
    /// The first step below an `ARG` that seems to use it.
    users: BTreeMap<About, Step>,
}

impl<'a> Advisor<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        Self {
            analysis,
            looks: Looks::new(&analysis.header),
            rounds: Rounds::of(analysis),
            found: BTreeMap::new(),
            refuted: BTreeSet::new(),
            users: BTreeMap::new(),
        }
    }

    pub fn see(&mut self, trial: &TrialMisses) {
        for Seen { kind, subject, step, time, is_refuted } in self.looks.at(trial) {
            let about = (kind, subject);
            let step = match step {
                Some(user) if kind == AdviceKind::MoveArgument => {
                    let first = self.users.entry(about.clone()).or_insert_with(|| user.clone());
                    *first = user.min(first.clone());
                    None
                }
                step => step,
            };
            if is_refuted {
                let written = step.map(|step| step.written);
                self.refuted.insert((about, written));
                continue;
            }
            let played = (trial.strategy.clone(), trial.link.clone());
            let found = self.found.entry(about).or_default().entry(played).or_default();
            let total = found.entry(step).or_default().entry(trial.commit).or_default();
            *total = *total + time;
        }
    }

    pub fn advice(self) -> Vec<Advice> {
        let mut advice: Vec<Advice> =
            self.found.iter().filter_map(|(about, found)| self.piece(about, found)).collect();
        advice.sort_by_key(|advice| std::cmp::Reverse(advice.cost));
        advice.extend(mode::smaller_mode(self.analysis));
        advice
    }

    /// What to say about one subject, by what it cost under the strategy that it cost most.
    fn piece(
        &self,
        about: &About,
        found: &BTreeMap<(String, Option<String>), Found>,
    ) -> Option<Advice> {
        let stands = |step: &Option<Step>| {
            let written = step.as_ref().map(|step| step.written.clone());
            !self.refuted.contains(&(about.clone(), written))
        };
        let costs = found.iter().map(|((strategy, link), found)| {
            let mut by_commit: BTreeMap<usize, Nanos> = BTreeMap::new();
            for (&commit, &time) in
                found.iter().filter(|(step, _)| stands(step)).flat_map(|(_, times)| times)
            {
                let total = by_commit.entry(commit).or_default();
                *total = *total + time;
            }
            let cost = self.rounds.mean(strategy, link.as_deref(), &by_commit);
            let commits: BTreeSet<usize> = by_commit.into_keys().collect();
            (cost, strategy, link, found, commits)
        });
        let (cost, strategy, link, steps, commits) = costs.max_by_key(|(cost, ..)| *cost)?;
        if cost < WORTH || commits.is_empty() {
            return None;
        }
        let (kind, subject) = about;
        let steps: BTreeSet<&Step> = steps.keys().filter(|step| stands(step)).flatten().collect();
        let subject = match listed(&steps) {
            None => subject.clone(),
            Some(steps) => format!("{subject} above {steps}"),
        };
        let link = link.as_ref().map(|link| format!(" over {link}")).unwrap_or_default();
        let all = self.analysis.header.commits.len();
        let costs = format!(
            "{subject} cost {cost} of steps on {} of {all} commits under {strategy}{link}",
            commits.len()
        );
        let text = words(*kind, &costs, steps.len(), self.users.get(about));
        Some(Advice { kind: *kind, text, cost, commits })
    }
}

/// Steps by what they show, in the order of the Dockerfile.
fn listed(steps: &BTreeSet<&Step>) -> Option<String> {
    let mut shown: Vec<String> = vec![];
    for step in steps {
        let step = format!("`{}`", step.shown);
        if !shown.contains(&step) {
            shown.push(step);
        }
    }
    let last = shown.pop()?;
    Some(if shown.is_empty() { last } else { format!("{} and {last}", shown.join(", ")) })
}

/// `costs` says what cost how much, `steps` how many steps could stand elsewhere, `user` which step
/// seems to be the first to use a variable.
fn words(kind: AdviceKind, costs: &str, steps: usize, user: Option<&Step>) -> String {
    let what = match (kind, user) {
        (AdviceKind::MoveArgument, Some(user)) => format!(
            ", and its text does not name it: declare it right above `{}`, the first step below that names it or came out different.",
            user.shown
        ),
        (AdviceKind::MoveArgument, None) => {
            ", and its text does not name it: declare it right above the first step that needs it.".into()
        }
        (AdviceKind::MoveCopy, _) => {
            let (whose, needs) = match steps {
                1 => ("the text of the step names", "it needs"),
                _ => ("the texts of these steps name", "they need"),
            };
            format!(
                ": in each of them no file changed that {whose}. If that is all {needs}, copy those files first, and the others below."
            )
        }
        (AdviceKind::Ignore, _) => {
            ": no step that was rebuilt below names it. If neither a step nor the image needs it, name it in .dockerignore.".into()
        }
        (AdviceKind::MakeStable, _) => {
            ": those that copy them from its stage are reused where it comes out the same each time.".into()
        }
        (AdviceKind::SmallerMode, _) => String::new(),
    };
    format!("{costs}{what}")
}

#[cfg(test)]
mod tests;
