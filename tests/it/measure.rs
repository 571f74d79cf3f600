//! Journals, whole and damaged, become an analysis or one clear error, and always the same one.

use std::path::{Path, PathBuf};

use cachefrom::journal::{JournalError, Recorded};
use cachefrom::measure::{Analysis, BreakEven, Phase, StepState, Warning};
use cachefrom::units::Nanos;

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25-debug/journal.jsonl")
}

/// The published journal's text, changed by `change`, line by line, and written out.
fn changed(dir: &Path, change: impl Fn(usize, &str) -> Option<String>) -> PathBuf {
    let text = std::fs::read_to_string(published()).unwrap();
    let lines = text.lines().enumerate().filter_map(|(line, text)| change(line, text));
    let path = dir.join("journal.jsonl");
    std::fs::write(&path, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    path
}

#[test]
fn a_published_journal_is_the_same_analysis_whole_or_in_blocks_on_any_run() {
    let dir = tempfile::tempdir().unwrap();
    // Several blocks, so that several threads read it.
    let path = dir.path().join("journal.jsonl");
    let text = std::fs::read_to_string(published()).unwrap();
    let (header, trials) = text.split_once('\n').unwrap();
    // Of two builders, whose names are first met in other places of each block.
    let builder = |round: u32| format!("\"round\":{round},\"builder\":\"tcp://b{}\",", round % 2);
    let rounds = (0..12).map(|round| trials.replace("\"round\":0,", &builder(round)));
    std::fs::write(&path, format!("{header}\n{}", rounds.collect::<String>())).unwrap();
    let whole = Analysis::of(&Recorded::read(&path).unwrap());
    let text = format!("{whole:?}");
    for _ in 0..3 {
        let read = Analysis::read(&path).unwrap();
        assert_eq!(read, whole);
    }
    assert!(!text.contains("NaN") && !text.contains("inf,"));
    assert_eq!(whole.rounds(), 12);
    for trial in &Analysis::read(&path).unwrap().trials {
        let builder = trial.builder.map(|name| whole.text(name));
        assert_eq!(builder, Some(format!("tcp://b{}", trial.round % 2).as_str()));
    }
}

#[test]
fn every_builds_phases_add_up_and_lazy_pulls_are_cache_pull() {
    let analysis = Analysis::read(&published()).unwrap();
    for build in analysis.trials.iter().flat_map(|trial| &trial.builds) {
        assert_eq!(build.phases.total(), build.wall);
    }
    let strategy = |name: &str| analysis.strategies.iter().position(|s| s == name).unwrap();
    let cell = |name: &str, commit| analysis.cell(0, strategy(name), commit).unwrap();
    // “edit one data file” under registry-max: the steps below the edit were fetched lazily, while
    // the COPY above them waited (seen in the journal: 1.5 s under `[builder 5/7]`).
    let edited = cell("registry-max", 1);
    assert!(edited.phases.get(Phase::CachePull) > Nanos(1_400_000_000), "{:?}", edited.phases);
    assert!(edited.phases.get(Phase::Steps) < Nanos(600_000_000), "{:?}", edited.phases);
    assert!(edited.phases.get(Phase::CacheExport) > Nanos(0));
    let cold = cell("cold", 1);
    assert_eq!(cold.phases.get(Phase::CachePull), Nanos(0));
    assert_eq!(cold.phases.get(Phase::CacheImport), Nanos(0));
    // Its four reused steps and nothing else were fetched; each took cold time that is known.
    assert_eq!((edited.reuse.cached, edited.reuse.steps), (4, 7));
    assert!(edited.avoided.unwrap().median > 2.0);
}

#[test]
fn one_round_is_reported_and_told_to_say_little() {
    let analysis = Analysis::read(&published()).unwrap();
    assert!(analysis.warnings.contains(&Warning::FewRounds { rounds: 1, needed: 6 }));
    for verdict in &analysis.verdicts {
        assert_eq!(verdict.call, cachefrom::measure::statistics::Call::CannotTell);
        assert_eq!((verdict.rounds, verdict.commits), (1, 4));
        assert!(verdict.saving.unwrap().interval.is_none());
    }
    let local = &analysis.verdicts[0];
    assert_eq!(analysis.strategies[local.strategy], "local");
    assert_eq!(local.break_even_bandwidth, BreakEven::Always);
    assert_eq!(local.storage.0, 0);
    // Every image is unpacked into the engine's store here, so nothing can stay lazy.
    let steps = analysis.trials.iter().flat_map(|trial| &trial.steps);
    assert!(steps.clone().all(|step| step.state != StepState::Lazy));
}

#[test]
fn a_journal_of_nothing_but_failures_says_so_and_holds_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |_, line| {
        let broken = r#""outcome":{"is":"broken","message":"no engine"}"#;
        Some(line.replace(r#""outcome":{"is":"built"}"#, broken))
    });
    let analysis = Analysis::read(&path).unwrap();
    assert!(analysis.warnings.contains(&Warning::NothingBuilt { trials: 30 }));
    assert!(analysis.cells.iter().all(|cell| cell.wall.is_none() && cell.failed == 1));
    assert!(analysis.verdicts.iter().all(|verdict| verdict.saving.is_none()));
    assert!(!format!("{analysis:?}").contains("NaN"));
}

#[test]
fn a_journal_of_a_header_alone_says_that_it_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |line, text| (line == 0).then(|| text.to_owned()));
    let analysis = Analysis::read(&path).unwrap();
    assert!(analysis.warnings.contains(&Warning::NothingBuilt { trials: 0 }));
    assert!(analysis.warnings.contains(&Warning::Unfinished));
}

#[test]
fn a_cut_journal_is_measured_without_its_last_trial() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(published()).unwrap();
    let path = dir.path().join("journal.jsonl");
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let analysis = Analysis::read(&path).unwrap();
    assert!(analysis.cut && analysis.warnings.contains(&Warning::Cut));
    assert!(analysis.warnings.contains(&Warning::Unfinished));
    assert_eq!(analysis, Analysis::of(&Recorded::read(&path).unwrap()));
}

#[test]
fn doubles_and_strangers_are_left_out_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = changed(dir.path(), |line, text| match line {
        1 => Some(format!("{text}\n{}", text.replace("\"commit\":0,", "\"commit\":99,"))),
        2 => Some(format!("{text}\n{text}")),
        _ => Some(text.to_owned()),
    });
    let analysis = Analysis::read(&path).unwrap();
    assert_eq!(analysis.trials.len(), 30);
    assert!(analysis.warnings.contains(&Warning::UnknownCommit { trials: 1 }));
    assert!(analysis.warnings.contains(&Warning::Repeated { trials: 1 }));
}

#[test]
fn what_is_no_journal_of_ours_is_one_error_that_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let read = |text: &str| {
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, text).unwrap();
        Analysis::read(&path).unwrap_err()
    };
    assert!(matches!(read(""), JournalError::NoHeader { .. }));
    assert!(matches!(
        read("{\"line\":\"header\",\"schema\":7}\n"),
        JournalError::Format { found: 7, .. }
    ));
    let text = std::fs::read_to_string(published()).unwrap();
    let error = read(&(text.clone() + "not json\n"));
    assert!(matches!(error, JournalError::Parse { line: 33, .. }), "{error:?}");
    let mixed =
        text.clone() + &text.replace("\"scenario_sha256\":\"3b", "\"scenario_sha256\":\"00");
    assert!(matches!(read(&mixed), JournalError::Mixed { line: 33, .. }));
}
