//! Holds a run against a baseline and against its scenario's assertions: verdicts with evidence.
//!
//! Pure: journals in, findings and texts out; reading and writing files is the command line's.
//! Deterministic rules come first and need one round; time is judged apart. The surprising thing:
//! runs are never compared in seconds, only in shares of their own cold builds.

mod assertions;
mod base;
mod baseline;
mod causes;
mod chance;
mod compare;
mod doubts;
mod finding;
mod intact;
mod lines;
mod matching;
mod merge;
pub mod output;
mod rules;
mod step;
mod time;
mod tolerances;

use crate::measure::{Analysis, TrialRow};

pub use assertions::assertions;
pub use baseline::{pruned, text};
pub use compare::comparison;
pub use finding::{Checked, Finding, Rule, Verdict};
pub use lines::{line_now, line_of};
pub use matching::differences;
pub use merge::{MergeError, merged};
pub use time::{Change, change};
pub use tolerances::{ToleranceError, Tolerances};

/// Two runs that have nothing in common.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error(
        "the baseline is of scenario {baseline:?}, the run of {candidate:?}\n  choose the baseline of the same scenario"
    )]
    OtherScenario { baseline: String, candidate: String },
    #[error("baseline and run share no commit under a common strategy\n  save a new baseline")]
    NothingShared,
    #[error(
        "the run has no trial that was built, so nothing can be held against the baseline\n  play it again, or go on with it: `cachefrom run … --out FOLDER --resume`"
    )]
    NothingBuilt,
}

/// What can be said of a run that is held against no baseline: builds that failed, and doubts.
pub fn alone(run: &Analysis) -> Checked {
    Checked {
        scenario: run.header.scenario.clone(),
        findings: rules::failures(run, &[]),
        warnings: doubts::of_journal(run, "this run"),
    }
}

/// Holds `candidate` against `baseline`.
pub fn check(
    baseline: &Analysis,
    candidate: &Analysis,
    tolerances: &Tolerances,
) -> Result<Checked, CheckError> {
    if baseline.header.scenario != candidate.header.scenario {
        return Err(CheckError::OtherScenario {
            baseline: baseline.header.scenario.clone(),
            candidate: candidate.header.scenario.clone(),
        });
    }
    let whole = candidate;
    let (known, run) = (intact::intact(baseline), intact::intact(candidate));
    let (baseline, candidate) = (known.as_ref(), run.as_ref());
    let pairs = matching::pairs(baseline, candidate);
    if pairs.pairs.is_empty() {
        let built = whole.trials.iter().any(TrialRow::built);
        return Err(if built { CheckError::NothingShared } else { CheckError::NothingBuilt });
    }
    // What wrote a cache explains what later trials reuse, whether it counts or not.
    let causes = causes::Causes::new(whole);
    let rules = rules::Rules::new(baseline, candidate, causes, tolerances);
    let mut findings = rules.of(&pairs.pairs);
    findings.extend(pairs.gone.into_iter().map(|place| Finding {
        rule: Rule::Built,
        verdict: Verdict::CannotTell,
        place,
        subject: None,
        step: None,
        evidence: "the baseline has it and this run did not play it".into(),
    }));
    findings.extend(time::of_runs(baseline, candidate, tolerances));
    let (before, after) = (&baseline.header.environment, &candidate.header.environment);
    let mut warnings = differences(before, after);
    if !warnings.is_empty() {
        let sentence =
            "the machines differ; reuse, bytes and shares of cold are compared, not seconds";
        warnings.insert(0, sentence.into());
    }
    warnings.extend(base::images(baseline, candidate));
    let known = ("the baseline", &baseline.header);
    warnings.extend(doubts::of_scenario_file(known, &candidate.header));
    warnings.extend(doubts::of_definitions(&baseline.header, &candidate.header));
    warnings.extend(doubts::of_journal(baseline, "the baseline"));
    warnings.extend(doubts::of_journal(candidate, "this run"));
    warnings.extend(doubts::of_first_in_one(&pairs.first_in_one));
    if !pairs.new.is_empty() {
        let names: Vec<String> = pairs.new.iter().map(ToString::to_string).collect();
        warnings.push(format!("not in the baseline: {}", names.join(", ")));
    }
    Ok(Checked { scenario: candidate.header.scenario.clone(), findings, warnings })
}
