//! What cachefrom itself costs over one whole run: time beside the timed builds, and memory.
//!
//! Plays a scenario with the built binary and reads the journal that it leaves: the overhead is the
//! wall of the run ÷ the sum of all timed builds and of making the base images ready, so it holds
//! engine starts and stops, checkouts, verifications and the journal. Stops at one table.
//!
//! `cargo bench --bench overhead [-- --scenario FILE] [-- --markdown FILE]`; without `--bench` (as
//! `cargo test --benches` calls it) a scenario of one cold build is played as a smoke test.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cachefrom::journal::Recorded;
use cachefrom::units::{Bytes, Nanos};

const OVERHEAD_LIMIT: f64 = 1.15;
const MEMORY_LIMIT: Bytes = Bytes(100_000_000);
const START_LIMIT: Nanos = Nanos(500_000_000);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    if given("--list") {
        println!("overhead: benchmark");
        return ExitCode::SUCCESS;
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(PathBuf::from)
    };
    let folder = tempfile::Builder::new().prefix("cf-").tempdir().expect("a folder");
    let scenario = if given("--bench") && !given("--test") {
        let jq = || Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/jq.toml");
        value("--scenario").unwrap_or_else(jq)
    } else {
        smallest(folder.path())
    };
    let out = folder.path().join("out");
    let status = Command::new(env!("CARGO_BIN_EXE_cachefrom"))
        .args(["run", "--progress", "plain", "--out"])
        .args([&out, &scenario])
        .env("TMPDIR", folder.path())
        .status()
        .expect("cachefrom starts");
    assert!(status.success(), "cachefrom run {}: {status}", scenario.display());
    let recorded = Recorded::read(&out.join("journal.jsonl")).expect("a journal");
    let report = report(&recorded).expect("the journal's last line");
    print!("{report}");
    if let Some(path) = value("--markdown") {
        std::fs::write(path, report).expect("the report is written");
    }
    ExitCode::SUCCESS
}

/// The table, or none where the journal lacks its figures.
fn report(recorded: &Recorded) -> Option<String> {
    let end = recorded.end.as_ref()?;
    let (whole, bases, memory) = (end.whole?, end.bases?, end.peak_memory?);
    let builds: Nanos = recorded.trials.iter().map(|trial| trial.wall()).sum();
    let ratio = whole.seconds() / (builds + bases).seconds();
    let starts = recorded.trials.iter().filter_map(|trial| trial.engine_start);
    let start = median(starts)?;
    let checkouts: Nanos = recorded.trials.iter().map(|trial| trial.checkout).sum();
    let holds = |holds: bool| if holds { "yes" } else { "no" };
    let (header, machine) = (&recorded.header, &recorded.header.environment);
    Some(format!(
        "Scenario `{}`, {} trials; Docker {}, Linux {}, {}, {} cores; {}.\n\n\
         | what | measured | at most | holds |\n| --- | ---: | ---: | --- |\n\
         | whole run ÷ (timed builds + base images) | {ratio:.3} | {OVERHEAD_LIMIT} | {} |\n\
         | peak memory of cachefrom | {memory} | {MEMORY_LIMIT} | {} |\n\
         | a new engine with its base images, median | {start} | {START_LIMIT} | {} |\n\n\
         Whole run {whole}: timed builds {builds}, base images {bases}, checkouts {checkouts}; the rest is engine starts \
         and stops, verifications and the journal. Engines start while the trial before is verified.\n",
        header.scenario,
        recorded.trials.len(),
        machine.engine,
        machine.kernel,
        machine.cpu,
        machine.cores,
        machine.started,
        holds(ratio <= OVERHEAD_LIMIT),
        holds(memory <= MEMORY_LIMIT),
        holds(start <= START_LIMIT),
    ))
}

fn median(times: impl Iterator<Item = Nanos>) -> Option<Nanos> {
    let mut times: Vec<Nanos> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// A scenario of one commit under `cold`.
fn smallest(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    std::fs::create_dir(&tree).expect("a folder");
    std::fs::write(tree.join("Dockerfile"), "FROM busybox\nCOPY Dockerfile /\n").expect("a file");
    let text = "schema = 1\nname = \"smallest\"\nsource = \"tree\"\nstrategies = [\"cold\"]\n[build]\n\
                [[commit]]\nmessage = \"first\"\n";
    let path = folder.join("smallest.toml");
    std::fs::write(&path, text).expect("a file");
    path
}
