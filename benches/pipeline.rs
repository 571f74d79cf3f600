//! Our own hot paths: folding BuildKit's status stream, walking a build context, estimates, reading a
//! journal, drawing its report.
//!
//! Sizes are those of the largest run that must stay comfortable: a trace of 100,000 events, a
//! context of 20,000 files, a journal of 100,000 trials with 20 steps each. `-- --test` runs each
//! once on a hundredth of that.

use std::fs;
use std::hint::black_box;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexStatus};
use cachefrom::buildkit::{Fold, context_entries};
use cachefrom::explain::explain;
use cachefrom::journal::{
    BuildRecord, CommitRecord, FileChange, Header, Line, Outcome, SCHEMA, TrialKey, TrialRecord,
};
use cachefrom::measure::Analysis;
use cachefrom::measure::statistics::Bootstrap;
use cachefrom::report::files::{Format, files};
use cachefrom::report::{Theme, View, chart, html, png, register_fonts, svg};
use cachefrom::strategy::built_in;
use cachefrom::trace::{Interval, Trace, Transfer, Vertex as TraceVertex};
use cachefrom::units::{Bytes, Nanos};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

/// `size`, or a hundredth of it in a smoke run.
fn sized(size: usize) -> usize {
    if std::env::args().any(|argument| argument == "--test") { size / 100 } else { size }
}

/// Whether criterion was asked for names only, so that nothing need be prepared.
fn only_listing() -> bool {
    std::env::args().any(|argument| argument == "--list")
}

fn stamp(milliseconds: usize) -> Option<Timestamp> {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    Some(Timestamp { seconds: seconds as i64, nanos: rest as i32 * 1_000_000 })
}

/// A status stream: every step starts, reports transfers and ends.
fn messages(events: usize) -> Vec<StatusResponse> {
    (0..events / 10)
        .map(|message| {
            let vertex = message % 200;
            let digest = format!("sha256:{vertex:064x}");
            let status = |row: usize| VertexStatus {
                id: format!("sha256:{:064x}", row * 7 + vertex),
                vertex: digest.clone(),
                current: (message * 1000) as i64,
                timestamp: stamp(message),
                started: stamp(message.saturating_sub(200)),
                ..Default::default()
            };
            StatusResponse {
                vertexes: vec![Vertex {
                    digest: digest.clone(),
                    name: format!("[builder {vertex}/200] RUN make"),
                    started: stamp(message - message % 200),
                    completed: stamp(message),
                    ..Default::default()
                }],
                statuses: (0..9).map(status).collect(),
                ..Default::default()
            }
        })
        .collect()
}

fn fold(criterion: &mut Criterion) {
    let events = sized(100_000);
    let messages = messages(events);
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(events as u64)).sample_size(20);
    group.bench_function("trace of 100,000 events", |bencher| {
        bencher.iter(|| {
            let mut fold = Fold::default();
            messages.iter().for_each(|message| fold.add(message));
            black_box(fold.finish())
        });
    });
}

fn walk(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the context");
    let count = if only_listing() { 0 } else { sized(20_000) };
    for file in 0..count {
        let parent = folder.path().join(format!("{}/{}", file / 1000, file / 50 % 20));
        fs::create_dir_all(&parent).expect("a folder of the context");
        fs::write(parent.join(format!("{file}.txt")), b"text").expect("a file of the context");
    }
    let mut group = criterion.benchmark_group("filesync");
    group.throughput(Throughput::Elements(count as u64)).sample_size(10);
    group.bench_function("walk of 20,000 files", |bencher| {
        let ignored = ["**/*.md".to_owned(), "!keep.md".to_owned()];
        bencher.iter(|| context_entries(folder.path(), &ignored).expect("the context is read"));
    });
}

fn bootstrap(criterion: &mut Criterion) {
    let sample: Vec<f64> = (0..30_u32).map(|n| 8.0 + f64::from(n * 7 % 30) / 10.0).collect();
    let mut group = criterion.benchmark_group("bootstrap");
    group.bench_function("first median of 30", |bencher| {
        bencher.iter_batched(Bootstrap::new, |mut b| b.median(&sample), BatchSize::SmallInput);
    });
    group.bench_function("further median of 30", |bencher| {
        let mut bootstrap = Bootstrap::new();
        bencher.iter(|| bootstrap.median(black_box(&sample)));
    });
}

/// A journal of `trials` trials of 20 steps in `folder`: every built-in strategy over 30 commits.
fn journal(folder: &Path, trials: usize) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder for the journal");
    let path = folder.join("journal.jsonl");
    let file = fs::File::create(&path).expect("a journal to write");
    let mut out = BufWriter::new(file);
    let mut line = |line: &Line| {
        serde_json::to_writer(&mut out, line).expect("a line of the journal");
        out.write_all(b"\n").expect("a line of the journal");
    };
    let strategies = built_in().to_vec();
    let commits = (0..30_usize).map(|commit| CommitRecord {
        id: format!("{commit:040x}"),
        message: format!("commit number {commit}"),
        branch: "main".into(),
        parent: commit.checked_sub(1),
        dockerfile: Some(dockerfile(commit)),
        changes: vec![FileChange {
            path: format!("src/{}.c", commit % 7),
            object: Some(format!("{commit:040x}")),
            mode: 0o100644,
            target: None,
        }],
        ..Default::default()
    });
    let names: Vec<String> = strategies.iter().map(|strategy| strategy.name.clone()).collect();
    let each = names.len() * 30;
    line(&Line::Header(Box::new(Header {
        default_branch: String::new(),
        schema: SCHEMA,
        scenario: "large".into(),
        title: "a long run".into(),
        scenario_sha256: String::new(),
        seed: 1,
        rounds: u32::try_from(trials.div_ceil(each)).unwrap_or(u32::MAX),
        part: None,
        part_trials: None,
        strategies,
        skipped: vec![],
        commits: commits.collect(),
        targets: vec![],
        links: vec![],
        environment: Default::default(),
        images: vec![],
    })));
    for trial in 0..trials {
        line(&Line::Trial(Box::new(record(trial, trial / each, &names[trial / 30 % names.len()]))));
    }
    out.flush().expect("the whole journal");
    path
}

/// Twenty steps, of which one changes at each commit.
fn dockerfile(commit: usize) -> String {
    let step = |number: usize| {
        let edit = if number == commit % 20 { format!(" --edit={commit}") } else { String::new() };
        format!("RUN make part-{number} && make install{edit}\n")
    };
    format!("FROM debian AS builder\n{}", (0..20).map(step).collect::<String>())
}

fn record(trial: usize, round: usize, strategy: &str) -> TrialRecord {
    let span = |from: usize, to: usize| Interval {
        start: Nanos(from as u64 * 1_000_000),
        end: Nanos(to as u64 * 1_000_000),
    };
    let step = |number: usize| TraceVertex {
        digest: format!("sha256:{:064x}", trial * 31 + number),
        name: format!("[builder {}/21] RUN make part-{number} && make install", number + 2),
        inputs: vec![format!("sha256:{:064x}", trial * 31 + number + 1)],
        cached: (trial + number).is_multiple_of(3),
        intervals: vec![span(number * 100, number * 100 + 90 + trial % 13)],
        transfers: vec![Transfer {
            id: format!("sha256:{number:064x}"),
            bytes: Bytes(1_000_000),
            interval: span(number * 100 + 5, number * 100 + 40),
        }],
        error: None,
        log: vec![],
    };
    TrialRecord {
        key: TrialKey {
            round: u32::try_from(round).unwrap_or(u32::MAX),
            strategy: strategy.into(),
            link: None,
            commit: trial % 30,
        },
        builder: None,
        outcome: Outcome::Built,
        builds: vec![BuildRecord {
            target: None,
            wall: Nanos(2_100_000_000 + (trial as u64 * 7919) % 400_000_000),
            trace: Trace { vertices: (0..20).map(step).collect() },
            import_errors: vec![],
            exporter_response: Default::default(),
            layers: vec![],
            outputs: vec![],
        }],
        verifications: vec![],
        engine_start: Some(Nanos(150_000_000)),
        engine_stop: None,
        checkout: Nanos(2_000_000),
        cache_records_before: 0,
        collected: None,
        metered: Default::default(),
    }
}

fn journals(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let trials = if only_listing() { 0 } else { sized(100_000) };
    let path = journal(folder.path(), trials);
    let mut group = criterion.benchmark_group("journal");
    group.throughput(Throughput::Elements(trials as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let read = || Analysis::read(&path).expect("the journal is read");
    group.bench_function("read and measure 100,000 trials", |bencher| bencher.iter(read));
    group.bench_function("read, measure and report 100,000 trials", |bencher| {
        bencher.iter(|| whole(&path));
    });
    if !only_listing() {
        // Of this process, which held nothing larger before: an upper limit.
        println!("most memory held at once so far: {}", peak_memory());
    }
    let small = journal(&folder.path().join("small"), 100);
    group.throughput(Throughput::Elements(100));
    group.bench_function("read, measure and report 100 trials", |bencher| {
        bencher.iter(|| whole(&small));
    });
}

/// Everything that `cachefrom report` does before it writes.
fn whole(journal: &Path) -> usize {
    let analysis = Analysis::read(journal).expect("the journal is read");
    files(&View::of(&analysis), &analysis, &Format::ALL).expect("the report is made").len()
}

/// `VmHWM` of proc(5).
fn peak_memory() -> Bytes {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Bytes(kib.expect("Linux says how much memory a process held") * 1024)
}

fn explaining(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let trials = if only_listing() { 0 } else { sized(10_000) };
    let path = journal(folder.path(), trials);
    let mut group = criterion.benchmark_group("explain");
    group.throughput(Throughput::Elements(trials as u64));
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("read and explain 10,000 trials", |bencher| {
        bencher.iter(|| {
            let analysis = Analysis::read(&path).expect("the journal is read");
            explain(&analysis).map(|trial| trial.misses.len()).sum::<usize>()
        });
    });
}

fn drawing(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the journal");
    let trials = if only_listing() { 0 } else { 7 * 30 * 10 };
    let analysis = Analysis::read(&journal(folder.path(), trials)).expect("the journal is read");
    let view = View::of(&analysis);
    let charts = chart::charts(&view);
    let mut group = criterion.benchmark_group("draw");
    group.sample_size(10);
    group.bench_function("lay out 7 strategies of 30 commits", |bencher| {
        bencher.iter(|| chart::charts(&view));
    });
    group.bench_function("every chart as SVG", |bencher| {
        bencher.iter(|| charts.iter().for_each(|c| drop(svg(&c.scene, Theme::Light))));
    });
    group.bench_function("every chart as PNG", |bencher| {
        bencher.iter(|| charts.iter().for_each(|c| drop(png(&c.scene, Theme::Light))));
    });
    group.bench_function("the page", |bencher| bencher.iter(|| html(&view, &charts)));
}

/// criterion draws its charts with plotters too, which has no fonts but those it is given.
fn with_fonts() -> Criterion {
    register_fonts();
    Criterion::default()
}

criterion_group! {
    name = benches;
    config = with_fonts();
    targets = fold, walk, bootstrap, journals, explaining, drawing
}
criterion_main!(benches);
