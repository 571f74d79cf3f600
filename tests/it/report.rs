//! Reports of journals, whole and damaged: what is written, that it agrees, and that no input
//! makes a panic, a NaN or an empty chart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `cachefrom report ARGS`.
fn report(args: &[&Path], more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
    command.arg("report").args(args).args(more).output().unwrap()
}

pub fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25-debug/journal.jsonl")
}

/// A journal in `folder` with the text of the published one after `change`.
fn journal(folder: &Path, change: impl FnOnce(&str) -> String) -> PathBuf {
    let path = folder.join("journal.jsonl");
    fs::write(&path, change(&fs::read_to_string(published()).unwrap())).unwrap();
    path
}

/// Whether a number that is none stands in a text, an attribute or a value; the page's script and
/// its fonts may hold these letters.
fn shows_nan(content: &str) -> bool {
    ["NaN", "inf", "infinity"].iter().any(|word| {
        [">", "\"", " ", ",", "(", "| "].iter().any(|before| {
            ["<", "\"", " ", ",", ")", "×"]
                .iter()
                .any(|after| content.contains(&format!("{before}{word}{after}")))
        })
    })
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// Every file below `folder`, by its path in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_journal_becomes_every_file_and_the_same_bytes_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    for out in [&first, &second] {
        let output = report(&[&published()], &["--out", out.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("charts (28 files)"), "{}", text(&output.stdout));
    }
    let names = files(&first);
    assert_eq!(names.len(), 4 + 7 * 4);
    assert_eq!(files(&second), names);
    for name in names {
        let content = fs::read(first.join(&name)).unwrap();
        assert_eq!(content, fs::read(second.join(&name)).unwrap(), "{}", name.display());
        if name.extension().is_some_and(|extension| extension == "png") {
            assert_eq!(&content[..8], b"\x89PNG\r\n\x1a\n", "{}", name.display());
        } else {
            let content = text(&content);
            assert!(!shows_nan(&content), "{}", name.display());
        }
    }
    insta::assert_snapshot!(fs::read_to_string(first.join("report.md")).unwrap());
}

#[test]
fn report_json_is_as_its_schema_says_and_the_csv_has_a_row_a_trial() {
    let output = report(&[&published()], &["--export-json", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = Command::new(env!("CARGO_BIN_EXE_cachefrom")).args(["schema", "report"]).output();
    let schema: serde_json::Value = serde_json::from_slice(&schema.unwrap().stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert_eq!(validator.iter_errors(&json).map(|e| e.to_string()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(json["cells"].as_array().unwrap().len(), 30);

    let output = report(&[&published()], &["--export-csv", "-"]);
    let csv = text(&output.stdout);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 30);
    // The seed's messages hold no comma, so every row has as many fields as the header.
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    let column = |name: &str| rows[0].iter().position(|field| *field == name).unwrap();
    let (wall, first) = (column("wall_ns"), column("base_resolve_ns"));
    for row in &rows[1..] {
        let number = |field: &str| field.parse::<u64>().unwrap();
        let phases: u64 = row[first..first + 9].iter().map(|field| number(field)).sum();
        assert_eq!(phases, number(row[wall]));
    }
}

#[test]
fn several_journals_get_a_report_each() {
    let folder = tempfile::tempdir().unwrap();
    let other = journal(folder.path(), |text| {
        text.replacen("\"scenario\":\"jq\"", "\"scenario\":\"../evil\"", 1)
    });
    let out = folder.path().join("out");
    let args = ["--format", "md", "--out", out.to_str().unwrap()];
    let output = report(&[&published(), &other, &published()], &args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let expected = ["--evil/report.md", "jq/report.md", "jq-2/report.md"].map(PathBuf::from);
    assert_eq!(files(&out), expected);
    let output = report(&[&published(), &other], &["--export-json", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there are 2 reports"), "{}", text(&output.stderr));
}

#[test]
fn what_is_no_journal_is_one_error_and_writes_nothing() {
    let cases: [(&str, &str); 4] = [
        ("", "has no header line"),
        ("not a journal\n", "has no header line"),
        ("{\"line\":\"header\",\"schema\":9}\n", "has format 9, this build reads 1"),
        ("{\"line\":\"trial\"", "has no header line"),
    ];
    for (content, message) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), |_| content.to_owned());
        let output = report(&[&path], &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{content:?}: {stderr}");
        assert!(stderr.contains(message) && !stderr.contains("panicked"), "{stderr}");
        assert_eq!(files(folder.path()), [Path::new("journal.jsonl")]);
    }
    let output = report(&[Path::new("/nowhere/journal.jsonl")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("/nowhere/journal.jsonl"));
}

#[test]
fn a_journal_that_says_little_gets_a_report_that_says_what_it_cannot_tell() {
    let header = |text: &str| text.lines().next().unwrap().to_owned() + "\n";
    let failed = |text: &str| {
        let broken = "\"outcome\":{\"is\":\"broken\",\"message\":\"no | <engine>\"}";
        text.replace("\"outcome\":{\"is\":\"built\"}", broken)
    };
    let one = |text: &str| text.lines().take(2).map(|line| format!("{line}\n")).collect();
    type Change<'a> = &'a dyn Fn(&str) -> String;
    let limit = "builds use the own frontend of the engine instead of docker/dockerfile:1";
    let limited = |text: &str| {
        let environment = format!("\"environment\":{{\"limits\":[\"{limit}\"],");
        text.replacen("\"environment\":{", &environment, 1)
    };
    let cases: [(Change<'_>, &str, std::ops::RangeInclusive<usize>); 5] = [
        (&header, "the journal holds no trial", 0..=0),
        (&failed, "none of 30 trials was built", 1..=1),
        (&|text| text[..text.len() - 300].to_owned(), "last line was cut", 7..=7),
        (&one, "1 round cannot tell strategies apart", 4..=7),
        (&limited, limit, 7..=7),
    ];
    for (change, sentence, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = journal(folder.path(), change);
        let output = report(&[&path], &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{sentence}: {stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
        for name in ["report.html", "report.md", "report.json"] {
            let content = fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(content.contains(sentence), "{name} does not say {sentence:?}");
            assert!(sentence != limit || content.matches(limit).count() == 1, "{name}");
            assert!(!shows_nan(&content), "{name}");
        }
        let charts = folder.path().join("charts");
        let drawn = if charts.exists() { files(&charts).len() / 4 } else { 0 };
        // Of trials that failed nothing but the timeline can be drawn; of one, not all.
        assert!(expected.contains(&drawn), "{sentence}: {drawn} charts");
    }
}

#[test]
fn what_cannot_be_written_has_its_own_exit_code_and_leaves_what_was_there() {
    let output = report(&[&published()], &["--out", "/proc/nothing"]);
    assert_eq!(output.status.code(), Some(7));
    assert!(
        text(&output.stderr).contains("cannot write /proc/nothing"),
        "{}",
        text(&output.stderr)
    );
    let output = report(&[&published()], &["--export-json", "/dev/full"]);
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn standard_output_takes_one_thing() {
    let output = report(&[&published()], &["--export-json", "-", "--export-csv", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("error: standard output takes one report"));
    let folder = tempfile::tempdir().unwrap();
    let file = tiny(folder.path(), "");
    for command in [vec!["run", file.to_str().unwrap()], vec!["replay"]] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        program.args(command).args(["--progress", "rawjson", "--export-markdown", "-"]);
        let output = program.current_dir(folder.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        assert!(said.contains("both want standard output"), "{said}");
    }
}

/// A standard output that takes nothing.
fn full() -> fs::File {
    fs::File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_standard_output_that_takes_nothing_costs_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("trials.csv");
    let report = |args: &[&Path], more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        command.arg("report").args(args).args(more).stdout(full()).output().unwrap()
    };
    let exports = ["--export-json", "-", "--export-csv", csv.to_str().unwrap()];
    let output = report(&[&published()], &exports);
    assert_eq!(output.status.code(), Some(7));
    assert!(text(&output.stderr).contains("error: cannot write standard output: No space"));
    assert!(csv.is_file());
    let out = folder.path().join("out");
    let several = ["--format", "md", "--out", out.to_str().unwrap()];
    assert_eq!(report(&[&published(), &published()], &several).status.code(), Some(7));
    assert_eq!(files(&out), ["jq/report.md", "jq-2/report.md"].map(PathBuf::from));
}

/// A scenario in `folder` that one trial plays, with `more` at its end.
fn tiny(folder: &Path, more: &str) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let scenario = format!(
        "schema = 1\nname = \"tiny\"\nsource = \"tree\"\nstrategies = [\"cold\"]\n\
         [build]\n[[commit]]\nmessage = \"first\"\n{more}"
    );
    let file = folder.join("tiny.toml");
    fs::write(&file, scenario).unwrap();
    file
}

#[test]
fn a_run_whose_table_cannot_be_shown_writes_its_reports_and_tells_its_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny(folder.path(), "assert = [{ strategies = [\"cold\"], min-reuse = 1.0 }]\n");
    let at = |name: &str| folder.path().join(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
    command.arg("run").arg(&file).arg("--out").arg(at("out"));
    command.arg("--junit").arg(at("junit.xml")).arg("--badge").arg(at("badge.svg"));
    command.env("TMPDIR", folder.path()).env_remove("GITHUB_ACTIONS");
    let output = command.stdout(full()).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert_eq!(said.matches("error: cannot write standard output").count(), 1, "{said}");
    assert!(said.contains("0 of 1 assertions hold"), "{said}");
    assert!(said.contains("tiny: regressed"), "{said}");
    for written in ["out/report.html", "out/trials.csv", "junit.xml", "badge.svg"] {
        assert!(at(written).is_file(), "{written}");
    }
}

#[test]
fn a_run_writes_its_exports_and_nothing_else_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let file = tiny(folder.path(), "");
    let csv = folder.path().join("exported/trials.csv");
    let run = |scenarios: &[&Path]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        command.arg("run").args(scenarios).args(["--export-json", "-", "--export-csv"]);
        command.arg(&csv).arg("--out").arg(folder.path().join("out"));
        command.env("TMPDIR", folder.path()).output().unwrap()
    };
    let output = run(&[&file, &file]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = run(&[&file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["scenario"], "tiny");
    assert_eq!(fs::read_to_string(csv).unwrap().lines().count(), 2);
    assert!(folder.path().join("out/report.html").is_file());
}
