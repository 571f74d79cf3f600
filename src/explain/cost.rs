//! What each cause cost over a run.

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
pub fn costs(trials: &[TrialMisses]) -> Vec<Cost> {
    let mut found: BTreeMap<(&str, Option<&str>, String, &'static str), Cost> = BTreeMap::new();
    for trial in trials {
        let mut met = BTreeSet::new();
        for miss in &trial.misses {
            let Some(first) = trial.misses.get(miss.first) else { continue };
            if matches!(first.cause, Cause::NoCacheRead | Cause::FirstBuild) {
                continue;
            }
            let step = unnumbered(&first.step);
            let key = (trial.strategy.as_str(), trial.link.as_deref(), step, first.cause.kind());
            let cost = found.entry(key.clone()).or_insert_with(|| Cost {
                strategy: trial.strategy.clone(),
                link: trial.link.clone(),
                step: key.2.clone(),
                cause: key.3,
                example: first.cause.clone(),
                commits: BTreeSet::new(),
                trials: 0,
                steps: 0,
                time: Nanos(0),
            });
            cost.commits.insert(trial.commit);
            cost.trials += usize::from(met.insert(key));
            cost.steps += 1;
            cost.time = cost.time + miss.time;
        }
    }
    let mut costs: Vec<Cost> = found.into_values().collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
    costs
}

/// A step's name without its position, which edits above it change.
fn unnumbered(name: &str) -> String {
    let Some((head, text)) = crate::trace::bracketed(name) else { return name.to_owned() };
    let stage = head.split_whitespace().rev().nth(1).filter(|word| !word.contains('/'));
    stage.map_or_else(|| text.to_owned(), |stage| format!("{stage}: {text}"))
}
