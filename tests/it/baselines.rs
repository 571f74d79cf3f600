//! What a baseline keeps of a recorded run, and what git sees of another recording of the same.

use cachefrom::check::{pruned, text};
use cachefrom::journal::Recorded;
use cachefrom::measure::Analysis;

use crate::journals::published;

fn recorded(run: &str) -> Recorded {
    published(&format!("{run}/journal.jsonl"))
}

/// The run as `baseline save` keeps it.
fn saved(run: &Recorded) -> Vec<String> {
    let (header, trials) = pruned(run);
    let text = text(&header, &trials, run.end.as_ref()).unwrap();
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}

fn read(lines: &[String]) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("baseline.jsonl");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    Recorded::read(&path).unwrap()
}

#[test]
fn a_saved_baseline_holds_as_much_storage_as_the_whole_journal() {
    for run in ["jq/2026-11-25", "jq/2026-11-25-links", "min-max/2026-11-25"] {
        let whole = recorded(run);
        let kept = read(&saved(&whole));
        assert!(kept.trials.iter().all(|trial| trial.metered.stored.len() <= 1));
        let stored = |run: &Recorded| -> Vec<_> {
            let sequences = Analysis::of(run).sequences;
            sequences.into_iter().map(|s| (s.strategy, s.link, s.stored)).collect()
        };
        assert_eq!(stored(&kept), stored(&whole), "{run}");
        assert!(whole.trials.iter().any(|trial| !trial.metered.stored.is_empty()), "{run}");
    }
}

/// The line with every number of nanoseconds or bytes left out.
fn numberless(line: &str) -> String {
    let mut text = line.to_owned();
    for key in ["wall", "end", "bytes", "unreachable_bytes"] {
        let key = format!("\"{key}\":");
        let mut pieces = text.split(&key);
        let first = pieces.next().unwrap().to_owned();
        text = pieces.fold(first, |text, piece| {
            text + &key + piece.trim_start_matches(|c: char| c.is_ascii_digit())
        });
    }
    text
}

#[test]
fn another_recording_of_the_same_differs_in_numbers_only() {
    let all = recorded("three-edits/2026-11-25");
    let round = |number: u32| -> Vec<String> {
        let mut run = all.clone();
        run.trials.retain(|trial| trial.key.round == number && trial.key.strategy != "stages");
        // Each round's repositories are its own.
        let (round, repository) = (format!("\"round\":{number}"), format!("/r{number}/"));
        let lines = saved(&run).into_iter();
        lines.map(|line| line.replace(&round, "\"round\":0").replace(&repository, "/r0/")).collect()
    };
    let [first, second] = [0, 1].map(round);
    assert!(first.len() > 10);
    assert_eq!(first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(numberless(first), numberless(second));
    }
}

#[test]
fn no_baseline_tells_where_its_engine_lay() {
    let mut run = recorded("three-edits/2026-11-25");
    run.header.environment.builder = "dockerd:///home/someone/.cache/cachefrom/dockerd".into();
    assert!(!saved(&run).join("\n").contains("someone"));
}
