//! What each cause cost in one round of a run.
//!
//! Causes of one kind at one step are one row, since each commit of a long replay changes other files;
//! the row says at how many of its commits it was not what its example names. What is named by a name
//! that stays, such as a variable, is a row of its own.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::measure::Analysis;
use crate::units::Nanos;

use super::TrialMisses;
use super::cause::Cause;
use super::rounds::Rounds;

/// One cause at one step under one strategy, over all commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    pub strategy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The step where the chain begins, without its number: `builder: COPY data /data`.
    pub step: String,
    /// See [`Cause::kind`].
    pub cause: &'static str,
    /// The cause at the first commit that met it.
    pub example: Cause,
    /// Places of the commits that met it, in the sequence.
    pub commits: BTreeSet<usize>,
    /// Those of them at which it was another of its kind: other files, other values.
    pub others: BTreeSet<usize>,
    /// How many trials met it, in all rounds.
    pub trials: usize,
    /// How many steps were rebuilt, those below it too, in all rounds.
    pub steps: usize,
    /// How long those ran in one round, in nanoseconds: for each commit the mean over the rounds that
    /// played it, summed over commits.
    pub time: Nanos,
}

/// What causes cost, dearest first. A strategy that reads no cache and first builds have no choice,
/// and are left out.
pub fn costs<T: Borrow<TrialMisses>>(
    trials: impl IntoIterator<Item = T>,
    analysis: &Analysis,
) -> Vec<Cost> {
    let mut found: BTreeMap<Key, Sum> = BTreeMap::new();
    for trial in trials {
        let trial: &TrialMisses = trial.borrow();
        let heads = trial.heads();
        for (place, first) in heads {
            if matches!(first.cause, Cause::NoCacheRead | Cause::FirstBuild) {
                continue;
            }
            let chain = trial.misses.iter().filter(|miss| miss.first == place);
            let (steps, time) =
                chain.fold((0, Nanos(0)), |(steps, time), miss| (steps + 1, time + miss.time));
            let key = Key {
                strategy: trial.strategy.clone(),
                link: trial.link.clone(),
                step: unnumbered(&first.step),
                kind: first.cause.kind(),
                name: first.cause.name().to_owned(),
            };
            let sum = found.entry(key).or_default();
            sum.causes.entry(trial.commit).or_default().push(first.cause.clone());
            let total = sum.times.entry(trial.commit).or_default();
            *total = *total + time;
            sum.trials += 1;
            sum.steps += steps;
        }
    }
    let rounds = Rounds::of(analysis);
    let mut costs: Vec<Cost> =
        found.into_iter().filter_map(|(key, sum)| sum.cost(key, &rounds)).collect();
    costs.sort_by_key(|cost| std::cmp::Reverse(cost.time));
    costs
}

/// What makes a row of its own.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    strategy: String,
    link: Option<String>,
    step: String,
    kind: &'static str,
    /// See [`Cause::name`].
    name: String,
}

/// One row while it is summed up, over all rounds.
#[derive(Default)]
struct Sum {
    causes: BTreeMap<usize, Vec<Cause>>,
    times: BTreeMap<usize, Nanos>,
    trials: usize,
    steps: usize,
}

impl Sum {
    fn cost(self, key: Key, rounds: &Rounds) -> Option<Cost> {
        let example = self.causes.first_key_value()?.1.first()?.clone();
        let is_other = |causes: &Vec<Cause>| causes.iter().any(|cause| !cause.says_as(&example));
        let others =
            self.causes.iter().filter(|(_, causes)| is_other(causes)).map(|(commit, _)| *commit);
        Some(Cost {
            others: others.collect(),
            time: rounds.mean(&key.strategy, key.link.as_deref(), &self.times),
            commits: self.causes.into_keys().collect(),
            strategy: key.strategy,
            link: key.link,
            step: key.step,
            cause: key.kind,
            example,
            trials: self.trials,
            steps: self.steps,
        })
    }
}

/// A step's name without its position, which edits above it change.
fn unnumbered(name: &str) -> String {
    let Some((head, text)) = crate::trace::bracketed(name) else { return name.to_owned() };
    let stage = head.split_whitespace().rev().nth(1).filter(|word| !word.contains('/'));
    stage.map_or_else(|| text.to_owned(), |stage| format!("{stage}: {text}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::explain::{explain, of_cost};
    use crate::journal::Recorded;

    fn recorded() -> Recorded {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Recorded::read(&root.join("tests/data/advice/needs.jsonl")).unwrap()
    }

    fn said(recorded: &Recorded) -> Vec<String> {
        let analysis = Analysis::of(recorded);
        let costs = costs(explain(&analysis), &analysis);
        let one = |cost: &Cost| {
            let sentence = of_cost(cost, &analysis.header);
            format!("{} {}: {sentence}", cost.time, cost.step)
        };
        costs.iter().map(one).collect()
    }

    #[test]
    fn other_files_are_told_and_three_rounds_cost_what_one_does() {
        let mut recorded = recorded();
        let once = said(&recorded);
        assert_eq!(
            once,
            [
                "2.34 s COPY . /w: src/main.txt changed (commit 3 “edit source”), and other files at 2 other commits",
                "1.12 s RUN sleep 0.2; sh /build.sh: the build arg VERSION was \"dev\" and is \"1.0\" (declared on line 2)",
            ]
        );
        let first = recorded.trials.clone();
        for round in 1..3 {
            recorded.trials.extend(first.iter().cloned().map(|mut trial| {
                trial.key.round = round;
                trial
            }));
        }
        assert_eq!(said(&recorded), once);
        // A round that was cut short makes no commit cheaper.
        recorded.trials.truncate(first.len() * 2 + 2);
        assert_eq!(said(&recorded), once);
    }
}
