//! `trials.csv`: one row a trial, in the order of the journal, nothing aggregated.
//!
//! RFC 4180 with a header line. Times are whole nanoseconds and sizes whole bytes, as measured; a
//! number that does not exist is an empty field.

use std::io::{self, Write};

use crate::journal::{Direction, Outcome};
use crate::measure::{Analysis, Phase, StepState, TrialRow};

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
        "{},{},{},{},{},{},{},{},{outcome},{}",
        quoted(&header.scenario),
        u64::from(trial.round) + 1,
        quoted(&analysis.strategies[trial.strategy]),
        quoted(&link),
        trial.commit + 1,
        quoted(commit.map_or("", |commit| &commit.id)),
        quoted(commit.map_or("", |commit| &commit.branch)),
        quoted(commit.map_or("", |commit| &commit.message)),
        trial.wall().0,
    )?;
    for (_, time) in trial.phases().iter() {
        write!(out, ",{}", time.0)?;
    }
    let lazy = trial.steps.iter().filter(|step| step.state == StepState::Lazy).count();
    let imports: usize = trial.builds.iter().map(|build| build.failed_imports.len()).sum();
    let start = trial.engine_start.map_or(String::new(), |start| start.0.to_string());
    writeln!(
        out,
        ",{},{},{lazy},{},{},{imports},{start},{},{}",
        trial.steps.len(),
        trial.cached(),
        trial.traffic.bytes(Direction::Pull).0,
        trial.traffic.bytes(Direction::Push).0,
        trial.checkout.0,
        quoted(trial.builder.map_or("", |builder| analysis.text(builder))),
    )
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
    use super::*;

    #[test]
    fn a_field_is_quoted_only_where_it_must_be() {
        assert_eq!(quoted("plain text"), "plain text");
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\"\nc\"");
    }
}
