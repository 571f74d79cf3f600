//! `trials.csv`: one row a trial, in the order of the journal, nothing aggregated.
//!
//! RFC 4180 with a header line. Times are whole nanoseconds and sizes whole bytes, as measured; a
//! number that does not exist is an empty field.

use std::io::{self, Write};

use crate::journal::{Direction, Outcome};
use crate::measure::{Analysis, Phase, StepState, TrialRow};
use crate::units::Nanos;

/// Writes every trial of `analysis`.
pub fn trials(analysis: &Analysis, out: &mut dyn Write) -> io::Result<()> {
    let phases = Phase::ALL.map(|phase| format!("{}_ns", phase.name().replace(' ', "_")));
    writeln!(
        out,
        "scenario,round,strategy,link,commit,commit_id,branch,message,outcome,wall_ns,{},steps,\
         steps_cached,steps_lazy,pulled_bytes,pushed_bytes,failed_imports,engine_start_ns,\
         checkout_ns,builder",
        phases.join(",")
    )?;
    for trial in &analysis.trials {
        row(analysis, trial, out)?;
    }
    Ok(())
}

fn row(analysis: &Analysis, trial: &TrialRow, out: &mut dyn Write) -> io::Result<()> {
    let header = &analysis.header;
    let commit = header.commits.get(trial.commit);
    let link = analysis.links.get(trial.link).cloned().flatten().unwrap_or_default();
    let outcome = match trial.outcome {
        Outcome::Built => "built",
        Outcome::BuildFailed { .. } => "build-failed",
        Outcome::WrongImage { .. } => "wrong-image",
        Outcome::Broken { .. } => "broken",
    };
    // Rounds and commits are counted from 1, as everywhere a person reads them.
    write!(
        out,
        "{},{},{},{},{},{},{},{},{outcome}",
        quoted(&header.scenario),
        u64::from(trial.round) + 1,
        quoted(&analysis.strategies[trial.strategy]),
        quoted(&link),
        trial.commit + 1,
        quoted(commit.map_or("", |commit| &commit.id)),
        quoted(commit.map_or("", |commit| &commit.branch)),
        quoted(commit.map_or("", |commit| &commit.message)),
    )?;
    let lazy = trial.steps.iter().filter(|step| step.state == StepState::Lazy).count();
    let imports: usize = trial.builds.iter().map(|build| build.failed_imports.len()).sum();
    let bytes = [Direction::Pull, Direction::Push].map(|way| trial.traffic.bytes(way).0);
    let has_build = !trial.builds.is_empty();
    // Of a build that was given up there is no record, but what it moved was counted.
    let moved = has_build || bytes != [0, 0];
    let phases = trial.phases();
    let times = [trial.wall()].into_iter().chain(phases.iter().map(|(_, time)| time));
    let counts = [trial.steps.len(), trial.cached(), lazy].map(|count| count as u64);
    let numbers = times
        .map(|time| (has_build, time.0))
        .chain(counts.map(|count| (has_build, count)))
        .chain(bytes.map(|bytes| (moved, bytes)))
        .chain([
            (has_build, imports as u64),
            (trial.engine_start.is_some(), trial.engine_start.unwrap_or_default().0),
            // No tree is checked out in no time.
            (trial.checkout > Nanos(0), trial.checkout.0),
        ]);
    for (exists, number) in numbers {
        match exists {
            true => write!(out, ",{number}")?,
            false => write!(out, ",")?,
        }
    }
    writeln!(out, ",{}", quoted(trial.builder.map_or("", |builder| analysis.text(builder))))
}

/// A field, in quotes where it needs them.
fn quoted(field: &str) -> std::borrow::Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\"")).into()
    } else {
        field.into()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::Recorded;

    /// The columns of the header and of the first trial of a published run after `change`.
    fn first(change: impl FnOnce(&mut Recorded)) -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let journal = root.join("results/jq/2026-11-25-debug/journal.jsonl");
        let mut recorded = Recorded::read(&journal).unwrap();
        recorded.trials.truncate(1);
        change(&mut recorded);
        let mut written = vec![];
        trials(&Analysis::of(&recorded), &mut written).unwrap();
        let written = String::from_utf8(written).unwrap();
        let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let mut lines = written.lines().map(fields);
        lines.next().unwrap().into_iter().zip(lines.next().unwrap()).collect()
    }

    #[test]
    fn what_was_not_measured_is_an_empty_field_and_a_measured_zero_is_a_zero() {
        let empty = |columns: &[(String, String)]| -> Vec<String> {
            columns
                .iter()
                .filter(|(_, field)| field.is_empty())
                .map(|(name, _)| name.clone())
                .collect()
        };
        let whole = first(|_| ());
        assert_eq!(empty(&whole), ["link", "builder"]);
        assert!(whole.contains(&("failed_imports".into(), "0".into())), "{whole:?}");
        let broken = |recorded: &mut Recorded| {
            let trial = &mut recorded.trials[0];
            trial.outcome = Outcome::Broken { message: "no engine".into() };
            trial.builds.clear();
            trial.metered.flows.clear();
            trial.engine_start = None;
            trial.checkout = Nanos(0);
        };
        let columns = first(broken);
        let of_builds = columns[9..].iter().map(|(name, _)| name.clone());
        let expected: Vec<String> = ["link".to_owned()].into_iter().chain(of_builds).collect();
        assert_eq!(empty(&columns), expected);
        // What a build moved before it was given up was counted.
        let given_up = first(|recorded| {
            let mut flow = recorded.trials[0].metered.flows[0].clone();
            broken(recorded);
            (flow.direction, flow.count.bytes) = (Direction::Pull, crate::units::Bytes(7));
            recorded.trials[0].metered.flows.push(flow);
        });
        let bytes = given_up.iter().filter(|(name, _)| name.ends_with("_bytes"));
        assert_eq!(bytes.map(|(_, field)| field.as_str()).collect::<Vec<_>>(), ["7", "0"]);
    }

    #[test]
    fn a_field_is_quoted_only_where_it_must_be() {
        assert_eq!(quoted("plain text"), "plain text");
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
    }
}
