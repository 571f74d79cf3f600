//! What a person and a CI job see of verdicts: exit codes, files, summaries.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use cachefrom::check::output::{bencher, benchmark_action, junit};
use cachefrom::check::{Tolerances, check};
use cachefrom::journal::Line;
use cachefrom::measure::Analysis;

use crate::check::assert_valid_junit;
use crate::journals::{self, bad, good, journal, steps};

/// `cachefrom ARGS` in `folder`, outside of any CI job.
fn program(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
    command.args(args).current_dir(folder).env("TMPDIR", folder);
    for variable in ["GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"] {
        command.env_remove(variable);
    }
    command
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn write(folder: &Path, name: &str, lines: &[Line]) {
    std::fs::write(folder.join(name), journals::text(lines)).unwrap();
}

/// A folder with the journals of a good and a bad Dockerfile.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "good.jsonl", &journal(&good(), 1, |_| 1.0));
    write(folder.path(), "bad.jsonl", &journal(&bad(), 1, |_| 1.0));
    folder
}

const FILES: [&str; 5] = ["junit", "bencher", "benchmark-action", "badge", "summary"];

#[test]
fn what_cannot_be_written_hides_neither_the_verdict_nor_the_other_files() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let check = |unwritable: Option<&str>| {
        let mut args: Vec<String> =
            ["check", "bad.jsonl", "--baseline", "good.jsonl"].map(str::to_owned).into();
        for file in FILES {
            let _ = std::fs::remove_file(at(file));
            let path = if unwritable == Some(file) { "good.jsonl/x" } else { file };
            args.extend([format!("--{file}"), path.to_owned()]);
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        // A folder is no file that could be added to.
        let summary = folder.path();
        texts(&program(&args, folder.path()).env("GITHUB_STEP_SUMMARY", summary).output().unwrap())
    };
    let (code, stdout, stderr) = check(None);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("note: the job's summary"), "{stderr}");
    assert!(stdout.contains("made-up: regressed"), "{stdout}");
    for wrong in FILES {
        let (code, stdout, stderr) = check(Some(wrong));
        assert_eq!(code, Some(7), "{stderr}");
        assert!(stdout.contains("made-up: regressed"), "{stdout}");
        assert!(stderr.contains("error: cannot write good.jsonl/x"), "{stderr}");
        for file in FILES {
            assert_eq!(at(file).is_file(), file != wrong, "{file} beside {wrong}");
        }
    }
}

#[test]
fn files_that_were_asked_for_exist_without_a_baseline_too_and_no_summary_speaks_of_nothing() {
    let folder = folder();
    let summary = folder.path().join("step-summary");
    let mut args = vec!["check", "bad.jsonl", "--baseline", "nope", "--baseline-lenient"];
    args.extend(["--junit", "junit.xml", "--summary", "summary.md", "--badge", "badge.svg"]);
    let mut command = program(&args, folder.path());
    command.env("GITHUB_STEP_SUMMARY", &summary).env("GITHUB_ACTIONS", "true");
    let (code, stdout, stderr) = texts(&command.output().unwrap());
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_valid_junit(&folder.path().join("junit.xml"));
    let written = std::fs::read_to_string(folder.path().join("summary.md")).unwrap();
    assert!(written.contains("there is no baseline \"nope\""), "{written}");
    assert!(folder.path().join("badge.svg").is_file());
    assert!(!summary.exists());

    let args = ["check", "bad.jsonl", "--baseline", "good.jsonl"];
    let mut command = program(&args, folder.path());
    let (code, ..) = texts(&command.env("GITHUB_STEP_SUMMARY", &summary).output().unwrap());
    assert_eq!(code, Some(3));
    assert!(std::fs::read_to_string(&summary).unwrap().contains("regressed"));
}

#[test]
fn a_baseline_that_cannot_be_one_is_found_out_before_anything_is_built() {
    let folder = folder();
    let scenario = "schema = 1\nname = \"tiny\"\n[build]\n[[commit]]\nmessage = \"first\"\n";
    std::fs::write(folder.path().join("tiny.toml"), scenario).unwrap();
    let damaged = journals::text(&journal(&good(), 1, |_| 1.0)).replace("made-up", "tiny");
    let damaged = damaged.lines().next().unwrap().to_owned() + "\nno line\n";
    std::fs::write(folder.path().join("damaged.jsonl"), damaged).unwrap();
    for (baseline, said) in
        [("good.jsonl", "choose the baseline"), ("damaged.jsonl", "damaged.jsonl:2")]
    {
        let args = ["run", "tiny.toml", "--out", "out", "--baseline", baseline];
        let (code, _, stderr) = texts(&program(&args, folder.path()).output().unwrap());
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(!folder.path().join("out").exists());
    }
}

/// The journal in `lines` with the same message at both commits.
fn repeated(mut lines: Vec<Line>) -> Analysis {
    for line in &mut lines {
        if let Line::Header(header) = line {
            header.commits.iter_mut().for_each(|commit| commit.message = "fix typo".into());
        }
    }
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "journal.jsonl", &lines);
    Analysis::read(&folder.path().join("journal.jsonl")).unwrap()
}

#[test]
fn commits_and_instructions_of_the_same_words_are_told_apart_in_every_output() {
    let twice = |missed: bool| {
        let steps = steps(&[("COPY a .", missed), ("RUN make", missed), ("RUN make", missed)]);
        repeated(journal(&steps, 1, |_| 1.0))
    };
    let (before, after) = (twice(false), twice(true));
    let checked = check(&before, &after, &Tolerances::default()).unwrap();
    let xml = junit(&checked, "");
    let cases: Vec<&str> = xml.lines().filter(|line| line.contains("<testcase ")).collect();
    let names: BTreeSet<&str> =
        cases.iter().map(|case| case.split(" time=").next().unwrap()).collect();
    assert_eq!(names.len(), cases.len(), "{xml}");
    assert!(xml.contains("name=\"reuse : RUN make at fix typo #2 [3/4]\""), "{xml}");
    assert!(xml.contains("<skipped message=\""), "{xml}");

    let metrics = bencher(&after);
    assert_eq!(metrics.as_object().unwrap().len(), after.cells.len(), "{metrics}");
    assert!(metrics.get("made-up/registry-max/fix typo #2").is_some(), "{metrics}");
    let entries = benchmark_action(&after);
    let names: BTreeSet<&str> =
        entries.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), entries.as_array().unwrap().len());
}
