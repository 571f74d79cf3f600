//! The deterministic rules: what was built, which steps a cache served, how many bytes crossed.
//!
//! They need one round, but where chance decides what a cache serves: there, and where the baseline
//! wavers, as many rounds as make chance unlikely ([`super::chance`]), or a cause that is none
//! ([`certain`]).

mod bytes;
mod cause;
mod certain;
mod nothing;
mod reuse;
mod wavering;

use crate::journal::{Direction, Outcome};
use crate::measure::{Analysis, Cell, TrialRow};

use super::causes::Causes;
use super::chance::{Chancy, Hits, SURE, of_so_few};
use super::finding::{Finding, Rule, Verdict};
use super::matching::{Pair, Steps, place};
use super::tolerances::Tolerances;

/// Two runs and what they are asked.
pub struct Rules<'a> {
    before: &'a Analysis,
    after: &'a Analysis,
    tolerances: &'a Tolerances,
    steps: Steps<'a>,
    causes: Causes<'a>,
    /// Of the baseline and of the candidate.
    chancy: [Chancy; 2],
}

impl<'a> Rules<'a> {
    /// `causes` are the candidate's.
    pub fn new(
        before: &'a Analysis,
        after: &'a Analysis,
        causes: Causes<'a>,
        tolerances: &'a Tolerances,
    ) -> Self {
        let steps = Steps::new(before, after);
        let chancy = [before, after].map(Chancy::of);
        Self { before, after, tolerances, steps, causes, chancy }
    }

    /// Every deterministic finding; one at least a rule and pair of cells, and failed builds of the rest.
    pub fn of(&self, pairs: &[Pair<'_>]) -> Vec<Finding> {
        let mut found: Vec<Finding> = pairs.iter().flat_map(|pair| self.of_pair(pair)).collect();
        found.extend(nothing::findings(self, pairs));
        found.extend(failures(self.after, pairs));
        found
    }

    /// Whether which cache a build reads is chance in either run.
    fn by_chance(&self, pair: &Pair<'_>) -> bool {
        let [before, after] = &self.chancy;
        before.has(pair.before) || after.has(pair.after)
    }

    fn of_pair(&self, pair: &Pair<'_>) -> Vec<Finding> {
        let Self { before, after, tolerances, .. } = self;
        let mut found = vec![built(after, pair)];
        if pair.before.samples.is_empty() || pair.after.samples.is_empty() {
            return found;
        }
        let by_chance = self.by_chance(pair);
        let pairs = self.steps.of(pair.before, pair.after);
        let reuse = reuse::findings(pair, &pairs, by_chance, &self.causes);
        let is = |verdict| reuse.iter().any(|finding: &Finding| finding.verdict == verdict);
        let more_reused = is(Verdict::Improved) && !is(Verdict::Regressed);
        let fewer_reused = is(Verdict::Regressed)
            || is(Verdict::CannotTell)
            || pair.after.reuse.cached < pair.before.reuse.cached;
        found.extend(reuse);
        found.extend(wavering::findings(pair, &pairs, by_chance));
        let direction = |direction, tolerance| bytes::Asked {
            before: bytes::range(before, pair.before, direction),
            after: bytes::range(after, pair.after, direction),
            tolerance,
            floor: tolerances.bytes,
            by_chance,
        };
        let pulled = direction(Direction::Pull, tolerances.pulled);
        let pulled = bytes::finding(pair, Rule::Pulled, &pulled);
        // What a cache serves has to be fetched, and what is not served is not.
        let since = match pulled.verdict {
            Verdict::Regressed if more_reused => Some("since more steps are reused"),
            Verdict::Improved if fewer_reused => Some("and fewer steps may be reused"),
            _ => None,
        };
        found.push(match since {
            Some(since) => Finding {
                verdict: Verdict::Pass,
                evidence: format!("{}, {since}", pulled.evidence),
                ..pulled
            },
            None => pulled,
        });
        let pushed = direction(Direction::Push, tolerances.pushed);
        found.push(bytes::finding(pair, Rule::Pushed, &pushed));
        found
    }
}

fn finding(pair: &Pair<'_>, rule: Rule, verdict: Verdict, evidence: String) -> Finding {
    Finding { rule, verdict, place: pair.place.clone(), subject: None, step: None, evidence }
}

/// The failed builds of those cells of a run that are held against no baseline's.
pub fn failures(run: &Analysis, held: &[Pair<'_>]) -> Vec<Finding> {
    let finding = |cell: &Cell| Finding {
        rule: Rule::Built,
        verdict: Verdict::Regressed,
        place: place(run, cell),
        subject: None,
        step: failed_step(run, cell),
        evidence: told(cell),
    };
    let paired = |cell: &Cell| held.iter().any(|pair| std::ptr::eq(pair.after, cell));
    run.cells.iter().filter(|cell| failed(cell) > 0 && !paired(cell)).map(finding).collect()
}

fn failed(cell: &Cell) -> usize {
    cell.failed - cell.broken
}

fn told(cell: &Cell) -> String {
    format!("{} of {} trials failed", failed(cell), cell.samples.len() + cell.failed)
}

/// A trial whose engine or registry broke says nothing of the cache.
fn built(after: &Analysis, pair: &Pair<'_>) -> Finding {
    let (old, new) = (pair.before, pair.after);
    let built = |cell: &Cell| {
        let reused = cell.samples.len();
        Hits { reused, rounds: reused + failed(cell) }
    };
    let (was, is) = (built(old), built(new));
    let (verdict, mut evidence) = match (failed(old) > 0, failed(new) > 0) {
        // Not by chance: a baseline of which nothing ever failed is held to that.
        (false, true) => (Verdict::Regressed, format!("{}, none in the baseline", told(new))),
        (true, fails) => {
            // One failure in a baseline that built most does not excuse a run that builds nothing.
            let none_built = fails && is.reused == 0 && 2 * was.reused > was.rounds;
            let all_built = !fails && new.broken == 0;
            let verdict = if none_built || of_so_few(was, is) <= SURE {
                Verdict::Regressed
            } else if all_built && was.reused == 0 || of_so_few(is, was) <= SURE {
                Verdict::Improved
            } else if all_built {
                Verdict::Pass
            } else {
                Verdict::CannotTell
            };
            let now = if all_built { "every trial was built".to_owned() } else { told(new) };
            (verdict, format!("{now}; {} in the baseline", told(old)))
        }
        (false, false) if new.broken > 0 => (Verdict::CannotTell, String::new()),
        (false, false) if old.samples.is_empty() => {
            (Verdict::CannotTell, "every trial was built; in the baseline none counts".into())
        }
        (false, false) => (Verdict::Pass, "every trial was built".into()),
    };
    if new.broken > 0 {
        let between = if evidence.is_empty() { "" } else { "; " };
        let all = new.samples.len() + new.failed;
        evidence.push_str(&format!("{between}{} of {all} trials do not count", new.broken));
        evidence.extend(reason(after, new).map(|why| format!(": {why}")));
    }
    let step = if verdict == Verdict::Regressed { failed_step(after, new) } else { None };
    Finding { step, ..finding(pair, Rule::Built, verdict, evidence) }
}

/// The outcomes of the trials of `cell` that were not built.
fn outcomes<'a>(analysis: &'a Analysis, cell: &Cell) -> impl Iterator<Item = &'a Outcome> {
    let key = (cell.strategy, cell.link, cell.commit);
    let own = move |row: &&TrialRow| (row.strategy, row.link, row.commit) == key;
    analysis.trials.iter().filter(own).map(|row| &row.outcome)
}

/// Why a trial does not count, the first one's reason.
fn reason(analysis: &Analysis, cell: &Cell) -> Option<String> {
    outcomes(analysis, cell).find_map(|outcome| match outcome {
        Outcome::Broken { message } => Some(message.clone()),
        _ => None,
    })
}

fn failed_step(analysis: &Analysis, cell: &Cell) -> Option<String> {
    outcomes(analysis, cell).find_map(|outcome| match outcome {
        Outcome::BuildFailed { step, .. } if !step.is_empty() => Some(step.clone()),
        _ => None,
    })
}
