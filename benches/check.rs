//! The gate: how long a check of large journals takes, and how often it is wrong where nothing changed.
//!
//! `cargo bench --bench check`; `-- --test` does a hundredth of it. A/A checks draw two disjoint
//! sets of rounds from recorded runs: both are the same builds on the same machine, so whatever a
//! check calls changed is a false alarm. One recording has strategies with several cache sources, of
//! which BuildKit uses now the one and now the other. Not criterion's: most of what is told here is
//! no time.

use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use cachefrom::check::{Checked, Rule, Tolerances, Verdict, check, pruned, text};
use cachefrom::journal::{Line, Recorded};
use cachefrom::measure::Analysis;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Trials of each journal that is timed.
const TRIALS: usize = 10_000;
/// Simulated A/A checks of each kind.
const CHECKS: usize = 1000;
/// Of so many timings the median is told.
const TIMINGS: usize = 5;

fn main() -> Result<()> {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    if has("--list") {
        println!("check: benchmark");
        return Ok(());
    }
    let part = if has("--test") { 100 } else { 1 };
    speed(&repository("results/jq/2026-11-25-debug/journal.jsonl"), TRIALS / part)?;
    speed(&repository("results/statistics/busy.jsonl"), TRIALS / part)?;
    renamed(&repository("results/jq/2026-11-25-debug/journal.jsonl"), TRIALS / part)?;
    println!(
        "\n| recorded | rounds | checks | with a deterministic false alarm | with a false alarm of time |"
    );
    println!("| --- | --- | ---: | ---: | ---: |");
    for (before, after) in [(15, 1), (1, 1), (6, 6), (10, 10), (15, 15)] {
        simulate(&repository("results/statistics/busy.jsonl"), before, after, CHECKS / part)?;
    }
    for (before, after) in [(15, 1), (1, 1), (6, 6), (10, 10), (15, 15)] {
        simulate(&repository("results/statistics/quiet.jsonl"), before, after, CHECKS / part)?;
    }
    for (before, after) in [(10, 1), (1, 1), (6, 6), (10, 10)] {
        simulate(&repository("results/check/sources.jsonl"), before, after, CHECKS / part)?;
    }
    Ok(())
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn name(path: &Path) -> String {
    let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path);
    path.display().to_string()
}

/// Times the whole command on two journals of `trials` trials, repeated from the one at `path`.
fn speed(path: &Path, trials: usize) -> Result<()> {
    let recorded = Recorded::read(path)?;
    let folder = tempfile::tempdir()?;
    let whole = folder.path().join("whole.jsonl");
    repeat(&recorded, trials, &whole)?;
    let saved = folder.path().join("saved.jsonl");
    let all = Recorded::read(&whole)?;
    let (header, rows) = pruned(&all);
    std::fs::write(&saved, text(&header, &rows, all.end.as_ref())?)?;
    drop((all, rows));
    for (what, baseline) in [("whole", &whole), ("saved", &saved)] {
        println!(
            "{}: a {what} baseline of {trials} trials ({:.0} MB) against as many ({:.0} MB): {:.3} s",
            name(path),
            megabytes(baseline)?,
            megabytes(&whole)?,
            timed(&whole, baseline)?,
        );
    }
    Ok(())
}

/// Times the command where no step of the one journal is by name in the other.
fn renamed(path: &Path, trials: usize) -> Result<()> {
    let mut recorded = Recorded::read(path)?;
    let folder = tempfile::tempdir()?;
    let files = ["before", "after"].map(|name| folder.path().join(name));
    repeat(&recorded, trials, &files[0])?;
    let builds = recorded.trials.iter_mut().flat_map(|trial| &mut trial.builds);
    for vertex in builds.flat_map(|build| &mut build.trace.vertices) {
        vertex.name = vertex.name.replace("[builder ", "[maker ").replace(" && ", " ; ");
    }
    repeat(&recorded, trials, &files[1])?;
    println!(
        "{}: {trials} trials against as many, a stage renamed and instructions edited ({:.0} MB): {:.3} s",
        name(path),
        megabytes(&files[1])?,
        timed(&files[1], &files[0])?,
    );
    Ok(())
}

fn megabytes(path: &Path) -> Result<f64> {
    Ok(path.metadata()?.len() as f64 / 1e6)
}

/// The median time of a check that finds nothing to fail, in seconds.
fn timed(candidate: &Path, baseline: &Path) -> Result<f64> {
    let mut times = vec![];
    for _ in 0..TIMINGS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        command.arg("check").arg(candidate).arg("--baseline").arg(baseline).stdout(Stdio::null());
        let clock = Instant::now();
        let status = command.status()?;
        times.push(clock.elapsed().as_secs_f64());
        if !status.success() {
            return Err(format!("cachefrom check: {status}").into());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMINGS / 2])
}

fn repeat(recorded: &Recorded, trials: usize, path: &Path) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let mut line = |line: &Line| -> Result<()> {
        serde_json::to_writer(&mut file, line)?;
        Ok(file.write_all(b"\n")?)
    };
    line(&Line::Header(Box::new(recorded.header.clone())))?;
    let rounds = recorded.trials.iter().map(|trial| trial.key.round + 1).max().unwrap_or(1);
    let all = (0..).flat_map(|turn| recorded.trials.iter().map(move |trial| (turn, trial)));
    for (turn, trial) in all.take(trials) {
        let mut trial = trial.clone();
        trial.key.round += turn * rounds;
        line(&Line::Trial(Box::new(trial)))?;
    }
    file.flush()?;
    Ok(())
}

fn simulate(path: &Path, before: usize, after: usize, checks: usize) -> Result<()> {
    let recorded = Recorded::read(path)?;
    let mut rounds = recorded.rounds();
    if rounds.len() < before + after {
        return Err(format!("{} has {} rounds only", name(path), rounds.len()).into());
    }
    let mut random = ChaCha8Rng::seed_from_u64(20_261_125);
    let (mut deterministic, mut time) = (0, 0);
    for _ in 0..checks {
        rounds.shuffle(&mut random);
        let baseline = Analysis::of(&recorded.of_rounds(&rounds[..before]));
        let candidate = Analysis::of(&recorded.of_rounds(&rounds[before..before + after]));
        let checked = check(&baseline, &candidate, &Tolerances::default())?;
        deterministic += usize::from(alarmed(&checked, |rule| rule != Rule::Time));
        time += usize::from(alarmed(&checked, |rule| rule == Rule::Time));
    }
    println!(
        "| {} | {after} against {before} | {checks} | {deterministic} | {time} ({:.1} %) |",
        name(path),
        time as f64 / checks as f64 * 100.0
    );
    if deterministic > 0 {
        return Err(format!("{deterministic} deterministic false alarms").into());
    }
    // Of fewer checks, one is more than a hundredth.
    if checks == CHECKS && time > CHECKS / 100 {
        return Err(format!("{time} false alarms of time in {checks} checks").into());
    }
    Ok(())
}

fn alarmed(checked: &Checked, of: impl Fn(Rule) -> bool) -> bool {
    let changed = [Verdict::Regressed, Verdict::Improved];
    checked.findings.iter().any(|finding| of(finding.rule) && changed.contains(&finding.verdict))
}
