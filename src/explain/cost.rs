//! What each cause cost over a run.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::units::Nanos;

use super::TrialMisses;
use super::cause::Cause;

/// One cause at one step under one strategy, over all commits and rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    pub strategy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The step where the chain begins, without its number: `builder: COPY data /data`.
    pub step: String,
    /// See [`Cause::kind`].
    pub cause: &'static str,
    /// The cause of the first trial in which it was met.
    pub example: Cause,
    /// Places of the commits that met it, in the sequence.
    pub commits: BTreeSet<usize>,
    /// How many trials met it.
    pub trials: usize,
    /// How many steps were rebuilt, those below it too.
    pub steps: usize,
    /// How long those ran, in nanoseconds.
    pub time: Nanos,
}

/// What causes cost, dearest first. A strategy that reads no cache and first builds have no choice,
/// and are left out.
pub fn costs<T: Borrow<TrialMisses>>(trials: impl IntoIterator<Item = T>) -> Vec<Cost> {
    let mut found: BTreeMap<Key, Cost> = BTreeMap::new();
    for trial in trials {
        let trial: &TrialMisses = trial.borrow();
        let heads = trial.misses.iter().enumerate().filter(|(place, miss)| miss.first == *place);
        for (place, first) in heads {
            if matches!(first.cause, Cause::NoCacheRead | Cause::FirstBuild) {
                continue;
            }
            let chain = trial.misses.iter().filter(|miss| miss.first == place);
            let (steps, time) =
                chain.fold((0, Nanos(0)), |(steps, time), miss| (steps + 1, time + miss.time));
            let step = unnumbered(&first.step);
            let key =
                (trial.strategy.clone(), trial.link.clone(), step.clone(), first.cause.kind());
            let cost = found.entry(key).or_insert_with(|| Cost {
                strategy: trial.strategy.clone(),
                link: trial.link.clone(),
                step,
                cause: first.cause.kind(),
                example: first.cause.clone(),
                commits: BTreeSet::new(),
                trials: 0,
                steps: 0,
                time: Nanos(0),
            });
            cost.commits.insert(trial.commit);
            cost.trials += 1;
            cost.steps += steps;
            cost.time = cost.time + time;
        }
    }
    let mut costs: Vec<Cost> = found.into_values().collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
    costs
}

/// Strategy, link, step and kind of cause.
type Key = (String, Option<String>, String, &'static str);

/// A step's name without its position, which edits above it change.
fn unnumbered(name: &str) -> String {
    let Some((head, text)) = crate::trace::bracketed(name) else { return name.to_owned() };
    let stage = head.split_whitespace().rev().nth(1).filter(|word| !word.contains('/'));
    stage.map_or_else(|| text.to_owned(), |stage| format!("{stage}: {text}"))
}
