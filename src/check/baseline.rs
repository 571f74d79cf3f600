//! A journal pruned to what a check needs, so that it can be kept in the repository.
//!
//! It stays a journal: every command reads it. Gone are logs, digests, transfers, verifications
//! and files. Trials and steps are sorted, ports and the place of the engine's program left out, builds'
//! times rounded to a millisecond and steps' to two digits, so that what did not change is not a
//! difference for git: the lines of two recordings of the same build differ in times only.

use std::collections::BTreeMap;

use crate::journal::{
    BuildRecord, CommitRecord, End, Header, Line, Outcome, Recorded, TrialRecord,
};
use crate::measure::own_repository;
use crate::registry::{CacheSize, Count, Direction, Flow, Kind, Metered};
use crate::trace::{Interval, Trace, Vertex};
use crate::units::Nanos;

use super::matching::placeless;
use super::step::standing;

/// One millisecond.
const GRAIN: u64 = 1_000_000;

/// The header and trials of `recorded`, pruned.
pub fn pruned(recorded: &Recorded) -> (Header, Vec<TrialRecord>) {
    let mut header = recorded.header.clone();
    header.environment.builder = placeless(&header.environment.builder);
    for commit in &mut header.commits {
        *commit = CommitRecord {
            dockerfile: None,
            dockerignore: None,
            changes: vec![],
            ..commit.clone()
        };
    }
    let mut trials: Vec<TrialRecord> = recorded.trials.iter().map(trial).collect();
    trials.sort_by(|a, b| a.key.cmp(&b.key));
    (header, trials)
}

fn rounded(time: Nanos) -> Nanos {
    Nanos(time.0.saturating_add(GRAIN / 2) / GRAIN * GRAIN)
}

/// To two digits, so that evidence tells a saved step's time a little otherwise: 1.10 s of 1.06 s.
fn coarse(time: Nanos) -> Nanos {
    let unit = 10_u64.pow(time.0.checked_ilog10().unwrap_or(0).saturating_sub(1));
    Nanos(time.0.saturating_add(unit / 2) / unit * unit)
}

fn trial(trial: &TrialRecord) -> TrialRecord {
    TrialRecord {
        outcome: match &trial.outcome {
            Outcome::BuildFailed { step, exit_code, message, .. } => Outcome::BuildFailed {
                step: step.clone(),
                exit_code: *exit_code,
                message: portless(message),
                log: vec![],
            },
            Outcome::Broken { message } => Outcome::Broken { message: portless(message) },
            other => other.clone(),
        },
        builds: trial.builds.iter().map(build).collect(),
        verifications: vec![],
        engine_start: None,
        engine_stop: None,
        checkout: Nanos::default(),
        metered: metered(trial),
        ..trial.clone()
    }
}

fn build(build: &BuildRecord) -> BuildRecord {
    let mut vertices: Vec<Vertex> = build.trace.steps().map(vertex).collect();
    vertices.sort_by_cached_key(|vertex| (standing(&vertex.name), vertex.name.clone()));
    BuildRecord {
        wall: rounded(build.wall),
        trace: Trace { vertices },
        import_errors: build.import_errors.iter().map(|error| portless(error)).collect(),
        exporter_response: BTreeMap::new(),
        layers: vec![],
        outputs: vec![],
        ..build.clone()
    }
}

/// Without the port of the embedded registry, which is another in every run.
fn portless(text: &str) -> String {
    let mut pieces = text.split("127.0.0.1:");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        text + "127.0.0.1" + piece.trim_start_matches(|digit: char| digit.is_ascii_digit())
    })
}

/// A step with one interval as long as all of its own; where in the build it was is not kept.
fn vertex(vertex: &Vertex) -> Vertex {
    let time = vertex.intervals.iter().map(|i| i.end.saturating_sub(i.start)).sum();
    let interval = Interval { start: Nanos(0), end: coarse(rounded(time)) };
    Vertex {
        digest: String::new(),
        name: vertex.name.clone(),
        inputs: vec![],
        cached: vertex.cached,
        intervals: vec![interval],
        transfers: vec![],
        error: None,
        log: vec![],
    }
}

/// One flow a direction and kind, and what the strategy's own repositories held, in all.
fn metered(trial: &TrialRecord) -> Metered {
    let mut sums: BTreeMap<(Direction, Kind), Count> = BTreeMap::new();
    for flow in &trial.metered.flows {
        let sum = sums.entry((flow.direction, flow.kind)).or_default();
        sum.requests = sum.requests.saturating_add(flow.count.requests);
        sum.bytes = sum.bytes + flow.count.bytes;
    }
    let flow = |((direction, kind), count): ((Direction, Kind), Count)| Flow {
        repository: None,
        direction,
        kind,
        blob: None,
        count,
    };
    let mut stored = BTreeMap::new();
    let is_own = own_repository(trial.key.round);
    let own = trial.metered.stored.iter().filter(|(name, _)| is_own(name.as_str()));
    let own: Vec<_> = own.collect();
    if let Some((name, _)) = own.first() {
        let sum = own.iter().fold(CacheSize::default(), |sum, (_, size)| CacheSize {
            blobs: sum.blobs.saturating_add(size.blobs),
            bytes: sum.bytes + size.bytes,
            unreachable_bytes: sum.unreachable_bytes + size.unreachable_bytes,
        });
        stored.insert((*name).clone(), sum);
    }
    Metered { flows: sums.into_iter().map(flow).collect(), stored, ..Default::default() }
}

/// The lines of a journal file, each trial's on its own.
pub fn text(
    header: &Header,
    trials: &[TrialRecord],
    end: Option<&End>,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = vec![];
    let mut add = |line: &Line| -> Result<(), serde_json::Error> {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        Ok(())
    };
    add(&Line::Header(Box::new(header.clone())))?;
    for trial in trials {
        add(&Line::Trial(Box::new(trial.clone())))?;
    }
    if let Some(end) = end {
        let End { interrupted, wall, .. } = *end;
        add(&Line::End(End { interrupted, wall: coarse(wall), ..End::default() }))?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_vary_are_left_out_and_others_stay() {
        let text = "127.0.0.1:37381/jq/r0:cache: not found, 127.0.0.1:1 and r.example:5000/x";
        let kept = "127.0.0.1/jq/r0:cache: not found, 127.0.0.1 and r.example:5000/x";
        assert_eq!(portless(text), kept);
        assert_eq!(portless(kept), kept);
    }

    #[test]
    fn a_coarse_time_has_two_digits_and_stays_what_it_is() {
        let times = [0, 7, 99, 104, 105, 12_499, 12_500, u64::MAX];
        let coarse_times = times.map(|time| coarse(Nanos(time)).0);
        assert_eq!(coarse_times[..7], [0, 7, 99, 100, 110, 12_000, 13_000]);
        for time in coarse_times {
            assert_eq!(coarse(Nanos(time)), Nanos(time));
        }
    }
}
