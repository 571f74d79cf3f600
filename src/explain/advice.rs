//! What to change, going by what was measured and nothing else.
//!
//! Each piece says what it cost and on how many commits. Surprising: nobody traces which files a
//! step reads, so what a `RUN` needs is taken from the names that its text holds, and said so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dockerfile::{self, Instruction};
use crate::journal::Header;
use crate::measure::Analysis;
use crate::trace::bracketed;
use crate::units::{Bytes, Nanos};

use super::cause::{Cause, Variable};
use super::words::brief;
use super::{Miss, TrialMisses};

/// Step time below this in a whole sequence is no reason to change anything.
const WORTH: Nanos = Nanos(50_000_000);
/// A share of bytes below this is no reason either.
const WORTH_SHARE: f64 = 0.05;

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
    /// `mode=max` carried more than `mode=min` and reused no more.
    SmallerMode,
}

/// What one subject cost under one strategy: time and commits, over all rounds.
#[derive(Clone, Debug, Default)]
struct Found {
    time: Nanos,
    commits: BTreeSet<usize>,
    /// Of those, commits in which the change did not concern the step.
    needless: BTreeSet<usize>,
}

/// What could be advised about, and the strategy it was seen under.
type Subjects = BTreeMap<(AdviceKind, String, String), Found>;

/// All advice that the trials of `analysis` give, what costs most first.
pub fn advice(trials: &[TrialMisses], analysis: &Analysis) -> Vec<Advice> {
    let header = &analysis.header;
    let mut subjects = Subjects::new();
    for trial in trials {
        for (place, miss) in trial.misses.iter().enumerate().filter(|(n, m)| m.first == *n) {
            let chain: Vec<&Miss> = trial.misses.iter().filter(|m| m.first == place).collect();
            look(&mut subjects, header, trial, miss, &chain);
        }
    }
    let rounds = trials.iter().map(|trial| trial.round).collect::<BTreeSet<_>>().len().max(1);
    let mut dearest: BTreeMap<(AdviceKind, String), (String, Found)> = BTreeMap::new();
    for ((kind, subject, strategy), found) in subjects {
        let known = dearest.entry((kind, subject)).or_default();
        if found.time > known.1.time {
            *known = (strategy, found);
        }
    }
    let mut advice: Vec<Advice> = dearest
        .into_iter()
        .filter_map(|((kind, subject), (strategy, found))| {
            let cost = Nanos(found.time.0 / rounds as u64);
            let whole = found.needless.len() == found.commits.len();
            let wanted = cost >= WORTH && !found.needless.is_empty();
            let text = words(kind, &subject, &strategy, &found, cost, header.commits.len(), whole);
            wanted.then_some(Advice { kind, text, cost, commits: found.commits })
        })
        .collect();
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.cost));
    advice.extend(smaller_mode(analysis));
    advice
}

fn words(
    kind: AdviceKind,
    subject: &str,
    strategy: &str,
    found: &Found,
    cost: Nanos,
    commits: usize,
    whole: bool,
) -> String {
    let count = found.commits.len();
    let cost = format!("cost {cost} of steps on {count} of {commits} commits under {strategy}");
    let needless = found.needless.len();
    let of_them = if whole { "each of them".to_owned() } else { format!("{needless} of them") };
    match kind {
        AdviceKind::MoveArgument => {
            format!(
                "{subject} {cost}, and the step does not use it: declare it right above the first step that does."
            )
        }
        AdviceKind::MoveCopy => format!(
            "{subject} {cost}: in {of_them} no file changed that the text of the step names. Copy those files first, and the others below it."
        ),
        AdviceKind::Ignore => format!(
            "{subject} alone made a COPY miss and {cost}: if no step needs it, name it in .dockerignore."
        ),
        AdviceKind::SmallerMode => String::new(),
    }
}

/// Notes what could be said about one chain of misses.
fn look(
    subjects: &mut Subjects,
    header: &Header,
    trial: &TrialMisses,
    first: &Miss,
    chain: &[&Miss],
) {
    let mut note = |kind, subject: String, time: Nanos, needless: bool| {
        let found = subjects.entry((kind, subject, trial.strategy.clone())).or_default();
        found.time = found.time + time;
        found.commits.insert(trial.commit);
        if needless {
            found.needless.insert(trial.commit);
        }
    };
    match &first.cause {
        // One that came or went is an edit of the Dockerfile and will not happen again.
        Cause::Argument(Variable { name, line, before: Some(_), after: Some(_) }) => {
            let used = first.step.contains(name.as_str()) || value_stands_in(first, &first.cause);
            if !used {
                let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
                let step = brief(bare(&first.step));
                note(
                    AdviceKind::MoveArgument,
                    format!("ARG {name}{line} above `{step}`"),
                    first.time,
                    true,
                );
            }
        }
        Cause::Files { files, count } if *count == files.len() => {
            let copy = instruction_of(header, trial.commit, first);
            let broad = copy.as_ref().is_some_and(|copy| copy.sources().len() == 1);
            if !broad {
                return;
            }
            for miss in chain.iter().filter(|miss| bare(&miss.step).starts_with("RUN ")) {
                let named = |path: &str| {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    bare(&miss.step).contains(name)
                };
                let names_any = header.commits[..=trial.commit]
                    .iter()
                    .flat_map(|commit| &commit.changes)
                    .any(|change| named(&change.path));
                if names_any {
                    let needless = !files.iter().any(|file| named(&file.path));
                    let subject = format!(
                        "`{}` above `{}`",
                        brief(bare(&first.step)),
                        brief(bare(&miss.step))
                    );
                    note(AdviceKind::MoveCopy, subject, miss.time, needless);
                }
            }
            if let ([file], Some(copy)) = (files.as_slice(), &copy)
                && copy.sources().iter().any(|source| matches!(source.as_str(), "." | "./"))
            {
                let read = chain.iter().any(|miss| {
                    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
                    bare(&miss.step).contains(name)
                });
                let time = chain.iter().map(|miss| miss.time).sum();
                note(AdviceKind::Ignore, format!("`{}`", file.path), time, !read);
            }
        }
        _ => {}
    }
}

/// A step's name without stage and position.
fn bare(step: &str) -> &str {
    bracketed(step).map_or(step, |(_, text)| text)
}

/// Names hold variables' values instead of their names.
fn value_stands_in(miss: &Miss, cause: &Cause) -> bool {
    let Cause::Argument(Variable { after: Some(after), .. }) = cause else { return false };
    !after.is_empty() && bare(&miss.step).contains(after.as_str())
}

fn instruction_of(header: &Header, commit: usize, miss: &Miss) -> Option<Instruction> {
    let text = header.commits.get(commit)?.dockerfile.as_deref()?;
    let dockerfile = dockerfile::parse(text);
    dockerfile.at(dockerfile.find_step(&miss.step)?).cloned()
}

/// Whether `registry-max` was worth its bytes beside `registry-min` in the same run.
fn smaller_mode(analysis: &Analysis) -> Option<Advice> {
    let place = |name: &str| analysis.strategies.iter().position(|strategy| strategy == name);
    let (min, max) = (place("registry-min")?, place("registry-max")?);
    let sums = |strategy: usize| {
        let rows = analysis.trials.iter().filter(|row| row.strategy == strategy && row.built());
        rows.fold((0, 0, 0_u64), |(trials, cached, pushed), row| {
            let bytes = row.traffic.bytes(crate::measure::DIRECTIONS[1]).0;
            (trials + 1, cached + row.cached(), pushed + bytes)
        })
    };
    let ((trials, cached, pushed), (same, more, larger)) = (sums(min), sums(max));
    let extra = larger.saturating_sub(pushed);
    let needless = trials > 0 && trials == same && more <= cached;
    let much = extra as f64 > pushed as f64 * WORTH_SHARE;
    let rounds = analysis.rounds().max(1) as u64;
    (needless && much).then(|| Advice {
        kind: AdviceKind::SmallerMode,
        text: format!(
            "mode=max pushed {} more than mode=min over the sequence and reused no step that mode=min did not: mode=min is enough here.",
            Bytes(extra / rounds)
        ),
        cost: Nanos(0),
        commits: BTreeSet::new(),
    })
}
