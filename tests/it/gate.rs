//! What a person and a CI job see of verdicts: exit codes, files, summaries.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use cachefrom::check::output::{bencher, benchmark_action, junit};
use cachefrom::check::{Tolerances, check};
use cachefrom::journal::{Line, Outcome, Recorded};
use cachefrom::measure::Analysis;

use crate::journals::{self, bad, good, journal, steps};
use crate::outputs::assert_valid_junit;

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
    assert_eq!(code, Some(0), "{stderr}");
    let told = "note: there is no baseline \"nope\"; nothing is held against it\n\
                made-up: cannot tell (0 of 0 rules passed)\n";
    assert_eq!(stdout, told);
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
fn a_summary_that_is_the_jobs_own_is_added_to_once() {
    let folder = folder();
    let summary = folder.path().join("step-summary");
    let told = |asked: &str, before: &str| {
        std::fs::write(&summary, before).unwrap();
        let args = ["check", "bad.jsonl", "--baseline", "good.jsonl", "--summary", asked];
        let mut command = program(&args, folder.path());
        let (code, ..) = texts(&command.env("GITHUB_STEP_SUMMARY", &summary).output().unwrap());
        assert_eq!(code, Some(3));
        std::fs::read_to_string(&summary).unwrap()
    };
    let other = told("elsewhere", "of another step\n");
    let report = std::fs::read_to_string(folder.path().join("elsewhere")).unwrap();
    assert_eq!(other, format!("of another step\n{report}"));
    for asked in [summary.to_str().unwrap(), "step-summary", "./step-summary"] {
        assert_eq!(told(asked, "of another step\n"), other, "{asked}");
    }
}

#[test]
fn tolerances_come_from_flags_or_a_file_whose_mistakes_are_named_by_line() {
    let folder = folder();
    let check = |args: &[&str]| {
        let args = [&["check", "bad.jsonl", "--baseline", "good.jsonl"], args].concat();
        texts(&program(&args, folder.path()).output().unwrap())
    };
    let (_, stdout, _) = check(&[]);
    assert!(stdout.contains("“edit” pushed:"), "{stdout}");
    let (_, stdout, stderr) = check(&["--bytes-tolerance", "1 GB"]);
    assert!(stdout.contains("“edit” reuse:") && !stdout.contains("“edit” pushed:"), "{stderr}");
    let (code, _, stderr) = check(&["--bytes-tolerance", "3 XB"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("a number of bytes, or one with a unit"), "{stderr}");

    std::fs::write(folder.path().join("t.toml"), "pulled = 0.5\n[check]\nbytes = \"1GB\"\n")
        .unwrap();
    let (code, stdout, stderr) = check(&["--tolerances", "t.toml"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("t.toml:1:1: `pulled` is not under `[check]`"), "{stderr}");
    std::fs::write(folder.path().join("t.toml"), "[check]\nbytes = \"1GB\"\n").unwrap();
    let (_, stdout, stderr) = check(&["--tolerances", "t.toml"]);
    assert!(stdout.contains("“edit” reuse:") && !stdout.contains("“edit” pushed:"), "{stderr}");
}

#[test]
fn annotations_name_the_dockerfile_as_the_checkout_does_from_any_folder_of_it() {
    let checkout = folder();
    let below = checkout.path().join("services/api");
    std::fs::create_dir_all(below.join("app")).unwrap();
    let dockerfile = "FROM x\nCOPY . .\nCOPY lock .\nRUN install\nRUN make\n";
    for path in ["app/Dockerfile", "Dockerfile"] {
        std::fs::write(below.join(path), dockerfile).unwrap();
    }
    let journals = ["check", "../../bad.jsonl", "--baseline", "../../good.jsonl"];
    let check = |args: &[&str]| {
        let args = [&journals, args].concat();
        let mut command = program(&args, &below);
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", checkout.path());
        texts(&command.output().unwrap())
    };
    let absolute = below.join("app/Dockerfile");
    for (args, file) in [
        (&["--dockerfile", "app/Dockerfile"][..], "services/api/app/Dockerfile"),
        (&["--dockerfile", "app/../app/Dockerfile"], "services/api/app/Dockerfile"),
        (&["--dockerfile", absolute.to_str().unwrap()], "services/api/app/Dockerfile"),
        (&[], "services/api/Dockerfile"),
    ] {
        let (_, stdout, stderr) = check(args);
        assert!(stdout.contains(&format!("::error file={file},line=4,")), "{stdout}{stderr}");
    }
    // The default may be absent, one that was named may not.
    std::fs::remove_file(below.join("Dockerfile")).unwrap();
    assert!(check(&[]).1.contains("::error file=services/api/Dockerfile"));
    let (code, stdout, stderr) = check(&["--dockerfile", "nope"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("cannot read the Dockerfile nope"), "{stderr}");
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

const MADE_UP: &str = r#"schema = 1
name = "made-up"
strategies = ["cold", "registry-max"]
[build]
dockerfile = "docker/Dockerfile"
[check]
pushed = 9.0
[[commit]]
message = "first"
[[commit]]
message = "edit"
must-hit = ["RUN install"]
assert = [{ max-ratio-to-cold = 0.9, max-pushed = "1 kB" }]
"#;

#[test]
fn a_scenario_brings_assertions_tolerances_and_dockerfile_to_any_journal() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("docker")).unwrap();
    let dockerfile = "FROM x\nCOPY . .\nCOPY lock .\nRUN install\nRUN make\n";
    std::fs::write(folder.path().join("docker/Dockerfile"), dockerfile).unwrap();
    std::fs::write(folder.path().join("made-up.toml"), MADE_UP).unwrap();
    let check = |args: &[&str]| {
        let args = [&["check"], args, &["--annotations", "always"]].concat();
        texts(&program(&args, folder.path()).output().unwrap())
    };
    let (code, stdout, stderr) = check(&["bad.jsonl", "--scenario", "made-up.toml"]);
    assert_eq!(code, Some(3), "{stderr}");
    let failed = "regressed: registry-max at “edit” must-hit: [4/5] RUN install was rebuilt";
    assert!(stdout.contains(failed), "{stdout}");
    assert!(stdout.contains("::error file=docker/Dockerfile,line=4,"), "{stdout}");
    assert!(stdout.contains("made-up.toml is not as it was when this was run"), "{stdout}");
    let (_, stdout, _) = check(&["good.jsonl", "--scenario", "made-up.toml"]);
    assert!(stdout.contains("max-pushed: 2.0 MB, at most 1.0 kB wanted"), "{stdout}");
    assert!(!stdout.contains("must-hit"), "{stdout}");

    let renamed = MADE_UP.replace("message = \"edit\"", "message = \"edited\"");
    std::fs::write(folder.path().join("renamed.toml"), renamed).unwrap();
    let (code, stdout, _) = check(&["bad.jsonl", "--scenario", "renamed.toml"]);
    assert_eq!(code, Some(0));
    for rule in ["must-hit", "max-ratio-to-cold", "max-pushed"] {
        let told = format!("every strategy at “edited” {rule}: asked of no trial");
        assert!(stdout.contains(&told), "{told}: {stdout}");
    }
    let vain = MADE_UP
        .replace("max-pushed = \"1 kB\"", "min-reuse = 0.1, steps = [\"COPY*\", \"RUN isntall\"]");
    std::fs::write(folder.path().join("vain.toml"), vain).unwrap();
    let (code, stdout, _) = check(&["good.jsonl", "--scenario", "vain.toml"]);
    assert_eq!(code, Some(3));
    let told =
        "\"RUN isntall\" matches no step; there are COPY lock .; RUN install; COPY . .; RUN make";
    assert!(stdout.contains(told), "{stdout}");

    let both = ["bad.jsonl", "--baseline", "good.jsonl"];
    let (_, without, _) = check(&both);
    assert!(without.contains("“edit” pushed:"), "{without}");
    let (_, with, _) = check(&[&both[..], &["--scenario", "made-up.toml"]].concat());
    assert!(with.contains("“edit” reuse:") && with.contains("“edit” must-hit:"), "{with}");
    assert!(!with.contains("“edit” pushed:"), "{with}");

    assert_eq!(check(&["bad.jsonl"]).0, Some(2));
    let other = MADE_UP.replace("made-up", "else");
    std::fs::write(folder.path().join("else.toml"), other).unwrap();
    let (code, _, stderr) = check(&["bad.jsonl", "--scenario", "else.toml"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("name the scenario that was run"), "{stderr}");
}

#[test]
fn builds_that_failed_fail_what_was_asserted_of_them_and_the_check() {
    let folder = folder();
    std::fs::write(folder.path().join("made-up.toml"), MADE_UP).unwrap();
    let with = |name: &str, outcome: &Outcome| {
        let mut lines = journal(&good(), 2, |_| 1.0);
        for line in &mut lines {
            if let Line::Trial(trial) = line
                && trial.key.commit == 1
            {
                trial.outcome = outcome.clone();
            }
        }
        write(folder.path(), name, &lines);
        let args = ["check", name, "--scenario", "made-up.toml", "--junit", "junit.xml"];
        let (code, stdout, _) = texts(&program(&args, folder.path()).output().unwrap());
        let junit = folder.path().join("junit.xml");
        assert_valid_junit(&junit);
        (code, stdout, std::fs::read_to_string(junit).unwrap())
    };
    let failed = Outcome::BuildFailed {
        step: "[3/5] RUN install".into(),
        exit_code: Some(1),
        message: String::new(),
        log: vec![],
    };
    let (code, stdout, junit) = with("failed.jsonl", &failed);
    assert_eq!(code, Some(3));
    assert!(stdout.contains("must-hit: 2 of 2 trials failed, none was built"), "{stdout}");
    assert!(stdout.contains("“edit” built: 2 of 2 trials failed"), "{stdout}");
    // Must-hit, ratio and bytes of `registry-max`, and that it and cold were built.
    assert_eq!(junit.matches("<failure").count(), 5, "{junit}");
    let (code, stdout, junit) = with("broken.jsonl", &Outcome::Broken { message: "gone".into() });
    assert_eq!(code, Some(0));
    assert!(stdout.contains("must-hit: none of 2 trials could be measured"), "{stdout}");
    assert!(junit.contains("<skipped") && !junit.contains("<failure"), "{junit}");
}

#[test]
fn parts_of_other_machines_are_joined_on_demand_and_the_journal_says_so() {
    let folder = folder();
    let part = |name: &str, round: u32, cpu: &str, builder: &str| {
        let mut lines = journal(&good(), 2, |_| 1.0);
        lines.retain(|line| !matches!(line, Line::Trial(trial) if trial.key.round != round));
        for line in &mut lines {
            if let Line::Header(header) = line {
                header.environment.cpu = cpu.into();
                header.environment.builder = builder.into();
            }
        }
        write(folder.path(), name, &lines);
    };
    let merge = |parts: &[&str], out: &str, more: &[&str]| {
        let args = [&["merge"], parts, &["--out", out], more].concat();
        texts(&program(&args, folder.path()).output().unwrap())
    };
    part("a", 0, "one", "dockerd:///root/.cache/dockerd");
    part("b", 1, "one", "dockerd:///home/runner/.cache/dockerd");
    part("c", 1, "another", "dockerd:///usr/bin/dockerd");
    // A part that no sequence fell into.
    part("none", 7, "one", "dockerd:///usr/bin/dockerd");
    let (code, stdout, stderr) = merge(&["a", "none", "b"], "same.jsonl", &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("8 trials"), "{stdout}");
    let (code, _, stderr) = merge(&["none", "a", "c"], "refused.jsonl", &[]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--mixed"), "{stderr}");
    let (code, ..) = merge(&["none", "a", "c"], "mixed.jsonl", &["--mixed"]);
    assert_eq!(code, Some(0));
    let limits = |name: &str| {
        let recorded = Recorded::read(&folder.path().join(name)).unwrap();
        recorded.header.environment.limits
    };
    assert_eq!(limits("same.jsonl"), Vec::<String>::new());
    let limits = limits("mixed.jsonl");
    let said = "joined from different machines (CPU was \"one\" and is \"another\")";
    assert!(limits.iter().any(|limit| limit.starts_with(said)), "{limits:?}");
}

#[test]
fn the_ci_documents_assertions_are_a_scenarios_and_name_every_key() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md");
    let document = std::fs::read_to_string(document).unwrap();
    let blocks = document.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = blocks.into_iter().find(|block| block.contains("[[commit.assert]]")).unwrap();
    let text = format!("schema = 1\nname = \"a\"\n[build]\n{block}");
    let scenario = cachefrom::scenario::parse(Path::new("docs/ci.md"), &text).unwrap();
    assert_eq!(scenario.commits[0].must_hit.len(), 2);
    assert_eq!(scenario.commits[0].assertions.len(), 1);
    let schema = cachefrom::scenario::schema();
    let keys = schema["$defs"]["Assertion"]["properties"].as_object().unwrap();
    assert!(keys.len() > 8);
    for key in keys.keys() {
        assert!(block.contains(&format!("\n{key} = ")), "{key} is not described");
    }
    // Who is not in cachefrom's own repository cannot install from its path.
    assert!(!document.contains("--path ."));
}

#[test]
fn what_a_journal_calls_things_steers_no_terminal_and_begins_no_line() {
    let folder = folder();
    let strange = "\u{1b}[31mred\u{7}\n::stop-commands::x";
    for name in ["good", "bad"] {
        let path = folder.path().join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path).unwrap();
        let message = serde_json::to_string(strange).unwrap();
        std::fs::write(&path, text.replace("\"edit\"", &message)).unwrap();
    }
    let safe = |text: &str| {
        text.chars().all(|c| c == '\n' || !c.is_control())
            && text.lines().all(|line| !line.starts_with("::stop"))
    };
    let check = ["check", "bad.jsonl", "--baseline", "good.jsonl", "--annotations", "always"];
    for args in [&check[..], &["compare", "good.jsonl", "bad.jsonl"]] {
        let (_, stdout, stderr) = texts(&program(args, folder.path()).output().unwrap());
        assert!(stdout.contains(" [31mred  ::stop-commands::x"), "{stdout}");
        assert!(safe(&stdout) && safe(&stderr), "{stdout:?}");
    }
}

#[test]
fn a_bare_name_is_the_saved_baseline_and_not_a_file_of_that_name() {
    let folder = folder();
    let save = ["baseline", "save", "main", "good.jsonl"];
    assert_eq!(texts(&program(&save, folder.path()).output().unwrap()).0, Some(0));
    std::fs::write(folder.path().join("main"), "no journal").unwrap();
    let check = |baseline: &str| {
        let args = ["check", "good.jsonl", "--baseline", baseline];
        texts(&program(&args, folder.path()).output().unwrap())
    };
    assert_eq!(check("main").0, Some(0));
    assert_eq!(check("./main").0, Some(2));
    assert_eq!(check("good.jsonl").0, Some(0));
}

#[test]
fn a_saved_baseline_is_the_same_whatever_order_steps_ended_in_and_port_there_was() {
    let saved = |reversed: bool, port: u16| {
        let folder = folder();
        let mut lines = journal(&good(), 1, |_| 1.0);
        for line in &mut lines {
            if let Line::Trial(trial) = line {
                let build = &mut trial.builds[0];
                build.import_errors = vec![format!("127.0.0.1:{port}/made-up:cache: not found")];
                if reversed {
                    build.trace.vertices.reverse();
                }
            }
        }
        write(folder.path(), "journal.jsonl", &lines);
        let save = ["baseline", "save", "main", "journal.jsonl"];
        assert_eq!(texts(&program(&save, folder.path()).output().unwrap()).0, Some(0));
        std::fs::read_to_string(folder.path().join(".cachefrom/baselines/main.jsonl")).unwrap()
    };
    assert_eq!(saved(false, 40001), saved(true, 50002));
}

#[test]
fn a_baseline_saved_of_a_cut_journal_is_told_to_lack_its_last_line() {
    let folder = folder();
    let text = crate::journals::text(&journal(&good(), 1, |_| 1.0));
    std::fs::write(folder.path().join("cut.jsonl"), &text[..text.len() - 9]).unwrap();
    for (journal, told) in [
        ("cut.jsonl", "cut.jsonl: the journal's last line was cut and is left out\n"),
        ("good.jsonl", ""),
    ] {
        let save = ["baseline", "save", "main", journal];
        let (code, _, stderr) = texts(&program(&save, folder.path()).output().unwrap());
        assert_eq!((code, stderr.as_str()), (Some(0), told));
    }
}

#[test]
fn a_run_without_a_built_trial_is_told_to_be_played_and_not_to_be_saved() {
    let folder = folder();
    let mut lines = journal(&good(), 1, |_| 1.0);
    lines.truncate(1);
    write(folder.path(), "none.jsonl", &lines);
    let check = |candidate: &str, baseline: &str| {
        let args = ["check", candidate, "--baseline", baseline];
        texts(&program(&args, folder.path()).output().unwrap())
    };
    let (code, _, stderr) = check("none.jsonl", "good.jsonl");
    assert_eq!(code, Some(4));
    assert!(stderr.contains("the run has no trial that was built"), "{stderr}");
    assert!(stderr.contains("--resume") && !stderr.contains("save"), "{stderr}");
    let (code, _, stderr) = check("good.jsonl", "none.jsonl");
    assert_eq!(code, Some(4));
    assert!(stderr.contains("save a new baseline"), "{stderr}");
}

#[test]
fn a_runs_folder_stands_for_its_journal() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for (name, round) in [("good", 0), ("bad", 0), ("more", 1)] {
        std::fs::create_dir(at(name)).unwrap();
        let steps = if name == "bad" { bad() } else { good() };
        let mut lines = journal(&steps, 2, |_| 1.0);
        lines.retain(|line| !matches!(line, Line::Trial(trial) if trial.key.round != round));
        write(&at(name), "journal.jsonl", &lines);
    }
    std::fs::create_dir(at("empty")).unwrap();
    let said = |args: &[&str]| texts(&program(args, folder.path()).output().unwrap());
    for baseline in ["good", "good/", "./good"] {
        assert_eq!(said(&["check", "bad", "--baseline", baseline]).0, Some(3), "{baseline}");
    }
    let (code, stdout, stderr) = said(&["compare", "good", "bad/"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("missed in bad/"), "{stdout}");
    assert_eq!(said(&["merge", "good", "more", "--out", "whole.jsonl"]).0, Some(0));
    // A name is the saved baseline before it is a folder.
    assert_eq!(said(&["baseline", "save", "bad", "good"]).0, Some(0));
    assert_eq!(said(&["check", "good", "--baseline", "bad"]).0, Some(0));
    assert_eq!(said(&["check", "good", "--baseline", "bad/"]).0, Some(0));
    for args in [&["check", "empty", "--baseline", "good"][..], &["compare", "good", "empty"]] {
        let (code, _, stderr) = said(args);
        assert_eq!(code, Some(2));
        assert!(stderr.contains("empty/journal.jsonl"), "{stderr}");
    }
}

#[test]
fn what_is_not_there_or_there_already_is_told_with_what_to_do() {
    let folder = folder();
    let said = |args: &[&str]| texts(&program(args, folder.path()).output().unwrap());
    let absent = "error: there is no \"nope\": neither a journal or a folder of one at that path, \
                  nor the baseline .cachefrom/baselines/nope.jsonl\n  \
                  `cachefrom baseline list` shows which are saved\n";
    for args in [&["baseline", "show", "nope"][..], &["compare", "nope", "good.jsonl"]] {
        assert_eq!(said(args), (Some(2), String::new(), absent.into()), "{args:?}");
    }
    let (code, _, stderr) = said(&["compare", "good.jsonl", "not/there.jsonl"]);
    assert!(code == Some(2) && stderr.contains("cannot read journal not/there.jsonl"), "{stderr}");
    let (code, _, stderr) = said(&["merge", "not there", "--out", "good.jsonl"]);
    let there = "error: cannot write good.jsonl: it is there already\n  \
                 name another file with --out, or remove that one\n";
    assert_eq!((code, stderr.as_str()), (Some(7), there));
}

#[test]
fn doubts_about_a_run_are_told_where_nothing_was_asked_of_it() {
    let folder = folder();
    let mut lines = journal(&good(), 1, |_| 1.0);
    lines.retain(|line| !matches!(line, Line::End(_)));
    write(folder.path(), "cut.jsonl", &lines);
    let quiet = MADE_UP.split("must-hit").next().unwrap();
    std::fs::write(folder.path().join("quiet.toml"), quiet).unwrap();
    let args = ["check", "cut.jsonl", "--scenario", "quiet.toml"];
    let (code, stdout, stderr) = texts(&program(&args, folder.path()).output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = stdout.lines().collect();
    let [notes @ .., verdict] = lines.as_slice() else { panic!("{stdout}") };
    assert_eq!(*verdict, "made-up: cannot tell (0 of 0 rules passed)");
    assert!(notes.len() >= 2 && notes.iter().all(|note| note.starts_with("note: ")), "{stdout}");
}

#[test]
fn an_edited_scenario_is_told_beside_the_verdict() {
    let folder = folder();
    let mut lines = journal(&good(), 1, |_| 1.0);
    if let Some(Line::Header(header)) = lines.first_mut() {
        header.scenario_sha256 = "11".into();
    }
    write(folder.path(), "edited.jsonl", &lines);
    let said = |args: &[&str]| texts(&program(args, folder.path()).output().unwrap()).1;
    let known = "the scenario file is not the one that";
    let edited = said(&["check", "edited.jsonl", "--baseline", "good.jsonl"]);
    assert!(edited.contains(&format!("{known} the baseline was run from;")), "{edited}");
    let edited = said(&["compare", "good.jsonl", "edited.jsonl"]);
    let expected = format!("edited.jsonl: {known} good.jsonl was run from;");
    assert!(edited.contains(&expected), "{edited}");
    assert!(!said(&["check", "bad.jsonl", "--baseline", "good.jsonl"]).contains(known));
}

#[test]
fn numbers_as_large_as_a_journal_holds_overflow_nothing() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.path().join("good.jsonl")).unwrap();
    let large = |field: &str, most: &str| {
        let key = format!("\"{field}\":");
        let mut pieces = text.split(&*key);
        let first = pieces.next().unwrap().to_owned();
        let digit = |c: char| c.is_ascii_digit();
        let whole = |text: String, rest: &str| match rest.trim_start_matches(digit) {
            after if after.len() < rest.len() => text + &key + most + after,
            _ => text + &key + rest,
        };
        pieces.fold(first, whole)
    };
    let (u64s, u32s) = (u64::MAX.to_string(), u32::MAX.to_string());
    let fields = ["bytes", "requests", "time", "wall", "end", "checkout", "commit", "parent"];
    let fields = fields.map(|field| (field, &u64s));
    for (field, most) in fields.into_iter().chain([("round", &u32s), ("rounds", &u32s)]) {
        let changed = large(field, most);
        assert!(changed != text, "{field}");
        std::fs::write(folder.path().join("large.jsonl"), changed).unwrap();
        for args in [
            &["check", "large.jsonl", "--baseline", "good.jsonl"][..],
            &["check", "good.jsonl", "--baseline", "large.jsonl"],
            &["compare", "large.jsonl", "large.jsonl"],
            &["explain", "large.jsonl"],
            &["report", "large.jsonl", "--format", "html,csv", "--out", "report"],
            &["baseline", "save", "large", "large.jsonl"],
        ] {
            let (code, _, stderr) = texts(&program(args, folder.path()).output().unwrap());
            assert!(!stderr.contains("panicked"), "{field}, {args:?}: {stderr}");
            assert!(code.is_some_and(|code| code < 5), "{field}, {args:?}: {code:?}");
        }
    }
}
