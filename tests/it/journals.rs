//! Journals for tests of what reads them: made-up ones, of a build of a few steps, cold and cached, and
//! those below `results`.
//!
//! Traces are recorded elsewhere (`tests/it/parity.rs`); in what is made up only names, flags, times and
//! bytes matter.

use std::path::Path;

use cachefrom::journal::{
    BuildRecord, CommitRecord, End, Header, Line, Outcome, Recorded, SCHEMA, TrialKey, TrialRecord,
};
use cachefrom::registry::{Count, Direction, Flow, Kind, Metered};
use cachefrom::strategy::built_in;
use cachefrom::trace::{Interval, Trace, Vertex};
use cachefrom::units::{Bytes, Nanos};

/// The journal at `path` below `results`.
pub fn published(path: &str) -> Recorded {
    Recorded::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(path)).unwrap()
}

/// One step of a made-up Dockerfile, and whether the second commit misses it.
#[derive(Clone)]
pub struct Step {
    pub text: String,
    pub missed: bool,
}

/// A good order: the dependencies are installed before the source is copied.
pub fn good() -> Vec<Step> {
    steps(&[("COPY lock .", false), ("RUN install", false), ("COPY . .", true), ("RUN make", true)])
}

/// The same with the source copied first.
pub fn bad() -> Vec<Step> {
    steps(&[("COPY . .", true), ("COPY lock .", true), ("RUN install", true), ("RUN make", true)])
}

pub fn steps(of: &[(&str, bool)]) -> Vec<Step> {
    of.iter().map(|(text, missed)| Step { text: (*text).to_owned(), missed: *missed }).collect()
}

/// The lines of a journal of `rounds` rounds under cold and `registry-max`, first commit and edit.
///
/// `factor` is drawn once a trial and multiplies its time.
pub fn journal(steps: &[Step], rounds: u32, mut factor: impl FnMut(&TrialKey) -> f64) -> Vec<Line> {
    let mut lines = vec![Line::Header(Box::new(header(rounds)))];
    for round in 0..rounds {
        for strategy in ["cold", "registry-max"] {
            for commit in 0..2 {
                let key = TrialKey { round, strategy: strategy.into(), link: None, commit };
                let warm = strategy != "cold" && commit == 1;
                let time = factor(&key);
                lines.push(Line::Trial(Box::new(trial(key, steps, warm, time))));
            }
        }
    }
    lines.push(Line::End(End { wall: Nanos(1), ..Default::default() }));
    lines
}

pub fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
}

fn header(rounds: u32) -> Header {
    let commit = |id: &str, message: &str, parent| CommitRecord {
        id: id.into(),
        message: message.into(),
        branch: "main".into(),
        parent,
        ..Default::default()
    };
    let played = |name: &str| ["cold", "registry-max"].contains(&name);
    Header {
        default_branch: String::new(),
        schema: SCHEMA,
        scenario: "made-up".into(),
        title: String::new(),
        scenario_sha256: "00".into(),
        seed: 1,
        rounds,
        part: None,
        part_trials: None,
        strategies: built_in().iter().filter(|s| played(&s.name)).cloned().collect(),
        skipped: vec![],
        links: vec![],
        commits: vec![commit("a", "first", None), commit("b", "edit", Some(0))],
        targets: vec![],
        environment: Default::default(),
        images: vec![],
    }
}

fn trial(key: TrialKey, steps: &[Step], warm: bool, factor: f64) -> TrialRecord {
    let total = steps.len() + 1;
    let mut at = 0;
    let mut missed = 0;
    let vertices = steps.iter().zip(2..).map(|(step, position)| {
        let cached = warm && !step.missed;
        let time = if cached { 10_000_000 } else { (1e9 * factor) as u64 };
        missed += u64::from(!cached);
        let interval = Interval { start: Nanos(at), end: Nanos(at + time) };
        at += time;
        Vertex {
            digest: format!("sha256:{position}"),
            name: format!("[{position}/{total}] {}", step.text),
            inputs: vec![],
            cached,
            intervals: vec![interval],
            transfers: vec![],
            error: None,
            log: vec![],
        }
    });
    let vertices: Vec<Vertex> = vertices.collect();
    let flow = |direction, bytes| Flow {
        repository: None,
        direction,
        kind: Kind::Layer,
        blob: None,
        count: Count { requests: 1, bytes: Bytes(bytes), time: Nanos(1) },
    };
    let pushed = if key.strategy == "cold" { 0 } else { 1_000_000 * missed };
    TrialRecord {
        builds: vec![BuildRecord {
            target: None,
            wall: Nanos(at + 50_000_000),
            trace: Trace { vertices },
            import_errors: vec![],
            exporter_response: Default::default(),
            layers: vec![],
            outputs: vec![],
        }],
        checkout: Nanos(1),
        metered: Metered {
            flows: vec![flow(Direction::Pull, 5), flow(Direction::Push, pushed)],
            ..Default::default()
        },
        ..TrialRecord::new(key, Outcome::Built)
    }
}
