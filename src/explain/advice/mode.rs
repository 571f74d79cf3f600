//! Whether `mode=max` was worth its bytes.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::Direction;
use crate::measure::{Analysis, Name, StepState, TrialRow};
use crate::units::{Bytes, Nanos};

use super::{Advice, AdviceKind};

/// A share of bytes below this is no reason to change anything.
const WORTH_SHARE: f64 = 0.05;

/// The built trials of one strategy by link, round and commit.
type Built<'a> = BTreeMap<(usize, u32, usize), &'a TrialRow>;

/// `registry-max` beside `registry-min` in the same run.
pub fn smaller_mode(analysis: &Analysis) -> Option<Advice> {
    let place = |name: &str| analysis.strategies.iter().position(|strategy| strategy == name);
    let (min, max) = (place("registry-min")?, place("registry-max")?);
    let built = |strategy: usize| -> Built<'_> {
        let rows = analysis.trials.iter().filter(|row| row.strategy == strategy && row.built());
        rows.map(|row| ((row.link, row.round, row.commit), row)).collect()
    };
    let (min, max) = (built(min), built(max));
    let pushed = |built: &Built<'_>| -> Bytes {
        built.values().map(|row| row.traffic.bytes(Direction::Push)).sum()
    };
    let (pushed, larger) = (pushed(&min), pushed(&max));
    let extra = larger.0.saturating_sub(pushed.0);
    let much = extra as f64 > pushed.0 as f64 * WORTH_SHARE;
    let rounds = analysis.rounds().max(1) as u64;
    (much && is_needless(&min, &max)).then(|| Advice {
        kind: AdviceKind::SmallerMode,
        text: format!(
            "mode=max pushed {} more than mode=min over the sequence and reused no step that mode=min did not: mode=min is enough here.",
            Bytes(extra / rounds)
        ),
        cost: Nanos(0),
        commits: BTreeSet::new(),
    })
}

/// Whether `max` reused no step that `min` did not, at commits that could have shown it: after the
/// first, where a cache served some steps and others ran again.
fn is_needless(min: &Built<'_>, max: &Built<'_>) -> bool {
    let mut shown = false;
    let mut first: Option<(usize, u32)> = None;
    for ((key, small), (other, large)) in min.iter().zip(max) {
        if key != other {
            return false;
        }
        let sequence = (key.0, key.1);
        if first.replace(sequence) != Some(sequence) {
            continue;
        }
        let (small, large) = (reused(small), reused(large));
        if !large.is_subset(&small) {
            return false;
        }
        shown |= !small.is_empty() && small.len() < min[key].steps.len();
    }
    shown && min.len() == max.len()
}

fn reused(row: &TrialRow) -> BTreeSet<Name> {
    let served = row.steps.iter().filter(|step| step.state != StepState::Rebuilt);
    served.map(|step| step.name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::made_up::{commit, recorded, trial};
    use super::*;
    use crate::journal::TrialRecord;

    /// What `registry-min` and `registry-max` reused of three steps, by commit; the latter pushed twice
    /// as much.
    fn advised(commits: &[(&[usize], &[usize])]) -> bool {
        let names = ["[2/4] RUN a", "[3/4] RUN b", "[4/4] RUN c"];
        let played = |strategy: &str, bytes: u64, number: usize, reused: &[usize]| -> TrialRecord {
            let steps: Vec<(&str, bool)> = names
                .iter()
                .enumerate()
                .map(|(step, name)| (*name, reused.contains(&step)))
                .collect();
            let mut trial = trial(strategy, number, &steps);
            let flow = serde_json::json!({
                "repository": null, "direction": "push", "kind": "layer", "requests": 1, "bytes": bytes, "time": 1
            });
            let metered = serde_json::json!({ "flows": [flow], "events": [] });
            trial.metered = serde_json::from_value(metered).unwrap();
            trial
        };
        let trials = commits.iter().enumerate().flat_map(|(number, (min, max))| {
            [played("registry-min", 100, number, min), played("registry-max", 200, number, max)]
        });
        let text = "FROM busybox\nRUN a\nRUN b\nRUN c\n";
        let all = vec![commit(text, &[]); commits.len()];
        let recorded = recorded(&["registry-min", "registry-max"], all, trials.collect());
        smaller_mode(&Analysis::of(&recorded)).is_some()
    }

    #[test]
    fn the_smaller_mode_is_enough_only_where_commits_could_have_shown_that_it_is_not() {
        let first: (&[usize], &[usize]) = (&[], &[]);
        assert!(advised(&[first, (&[0, 1], &[0, 1])]));
        assert!(!advised(&[first]), "nothing can be reused at the first commit");
        assert!(!advised(&[first, (&[], &[])]), "nothing was reused at all");
        assert!(!advised(&[first, (&[0, 1, 2], &[0, 1, 2])]), "nothing had changed");
        // As many, and other ones.
        assert!(!advised(&[first, (&[0, 1], &[0, 2])]));
        assert!(!advised(&[first, (&[0, 1], &[0]), (&[0], &[0, 1])]));
    }
}
