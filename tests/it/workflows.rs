//! The workflows of docs/ci.md and the action of action.yml, played step by step as CI would play
//! them: every job in a checkout of its own, artifacts handed from one to the next.
//!
//! Two programs are stand-ins: `cargo`, which finds the program installed, and `sudo`, since tests
//! run as root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::ci::{blocks, tree};
use crate::end_to_end::left_behind;

fn repository_file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// One CI system: its artifacts, and the repository that its jobs check out.
struct Ci {
    folder: tempfile::TempDir,
    path: String,
}

impl Ci {
    /// With a repository that has a baseline `main`.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_BIN_EXE_cachefrom")).parent().unwrap();
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", programs.display(), program.display());
        let stand_ins = [
            (
                "cargo",
                "case \"$*\" in 'install --locked --git https://'* | 'install --locked --path /'*) ;; *) exit 1 ;; esac",
            ),
            ("sudo", "[ \"$1\" = --preserve-env ] && shift && exec \"$@\""),
        ];
        for (name, script) in stand_ins {
            let program = programs.join(name);
            fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let ci = Self { folder, path };
        let repository = ci.at("repository");
        tree(&repository, [0, 1, 2]);
        fs::rename(repository.join("tiny.toml"), repository.join("scenario.toml")).unwrap();
        let save = "cachefrom run scenario.toml --out results/main
            cachefrom baseline save main results/main/journal.jsonl
            rm -r results";
        ci.run(&repository, save, &[]);
        ci
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `script` as GitHub's `run:` does.
    fn run(&self, folder: &Path, script: &str, environment: &[(String, String)]) {
        let summary = self.at("summary.md");
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(folder)
            .env("PATH", &self.path)
            .env("TMPDIR", self.folder.path())
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_ACTION_PATH", env!("CARGO_MANIFEST_DIR"))
            .envs(environment.iter().cloned())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {output:#?}");
    }

    fn checkout(&self, name: &str) -> PathBuf {
        let folder = self.at(name);
        copy(&self.at("repository"), &folder);
        folder
    }

    /// Plays every job of a workflow, once for each part of its matrix.
    fn play(&self, workflow: &Value) {
        let environment = strings(&workflow["env"]);
        let mut jobs: Vec<_> = workflow["jobs"].as_object().unwrap().iter().collect();
        jobs.sort_by_key(|(_, job)| !job["needs"].is_null());
        for (name, job) in jobs {
            let parts = job["strategy"]["matrix"]["part"].as_array().cloned();
            for part in parts.unwrap_or_else(|| vec![Value::Null]) {
                let folder = self.at(&format!("{name}-{part}"));
                for step in job["steps"].as_array().unwrap() {
                    let known = |text: &str| {
                        shortened(&text.replace("${{ matrix.part }}", &part.to_string()))
                    };
                    if let Some(script) = step["run"].as_str() {
                        self.run(&folder, &known(script), &environment);
                        continue;
                    }
                    let with = |key: &str| known(step["with"][key].as_str().unwrap());
                    match step["uses"].as_str().unwrap().split('@').next().unwrap() {
                        "actions/checkout" => copy(&self.at("repository"), &folder),
                        "actions/upload-artifact" => {
                            let (from, into) = (folder.join(with("path")), self.at("artifacts"));
                            upload(&from, &into.join(with("name")));
                        }
                        "actions/download-artifact" => copy(&self.at("artifacts"), &folder),
                        other => panic!("{other} is not played"),
                    }
                }
            }
        }
    }
}

/// With a round for each of the three parts, which is enough to play everything.
fn shortened(script: &str) -> String {
    let Some((before, rest)) = script.split_once("--rounds ") else { return script.to_owned() };
    format!("{before}--rounds 3{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
}

fn strings(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    members.map(|(key, value)| (key.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// Copies what is in one folder into another.
fn copy(from: &Path, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let status = Command::new("cp").arg("-rT").args([from, into]).status().unwrap();
    assert!(status.success());
}

/// A file's artifact holds the file alone, a folder's what is in it.
fn upload(from: &Path, artifact: &Path) {
    if from.is_dir() {
        return copy(from, artifact);
    }
    fs::create_dir_all(artifact).unwrap();
    fs::copy(from, artifact.join(from.file_name().unwrap())).unwrap();
}

#[test]
fn every_workflow_of_the_ci_document_passes_on_a_repository_that_did_not_change() {
    let document = repository_file("docs/ci.md");
    let ci = Ci::new();
    let (mut workflows, mut pipelines) = (0, 0);
    for block in blocks(&document, "yaml") {
        let block: Value = serde_yaml_ng::from_str(block).unwrap();
        if block["jobs"].is_object() {
            ci.play(&block);
            workflows += 1;
            continue;
        }
        for (name, job) in block.as_object().unwrap() {
            let folder = ci.checkout(name);
            let script =
                job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
            let script = script.collect::<Vec<_>>().join("\n");
            ci.run(&folder, &script, &strings(&job["variables"]));
            let reports = job["artifacts"]["reports"]["junit"].as_str().unwrap();
            assert!(folder.join(reports).is_file());
            pipelines += 1;
        }
    }
    assert_eq!((workflows, pipelines), (2, 1));
    for artifact in
        ["cachefrom/junit.xml", "cachefrom/change/journal.jsonl", "part-3/journal.jsonl"]
    {
        assert!(ci.at("artifacts").join(artifact).is_file(), "{artifact}");
    }
    let joined = fs::read_to_string(ci.at("join-null").join("journal.jsonl")).unwrap();
    assert!(joined.contains("of part 3"));
    // The baseline's run, the first workflow's, three parts', the joined journal's, the pipeline's.
    let summary = fs::read_to_string(ci.at("summary.md")).unwrap();
    assert_eq!(summary.matches("### cachefrom: tiny pass").count(), 7, "{summary}");
    for part in 1..=3 {
        let told = format!("part slice:{part}/3 of a run:");
        assert_eq!(summary.matches(&told).count(), 1, "{summary}");
    }
    // Each part says how many trials are its own, and lost none.
    assert_eq!(summary.matches("trials of the run are left to the others").count(), 3, "{summary}");
    assert_eq!(left_behind(ci.folder.path()), Vec::<String>::new());
}

#[test]
fn the_action_runs_its_scenario_against_its_baseline() {
    let action: Value = serde_yaml_ng::from_str(&repository_file("action.yml")).unwrap();
    let ci = Ci::new();
    let folder = ci.checkout("workspace");
    let given = [("scenario", "scenario.toml"), ("baseline", "main")];
    for step in action["runs"]["steps"].as_array().unwrap() {
        assert_eq!(step["shell"], "bash");
        let environment = strings(&step["env"]).into_iter().map(|(name, value)| {
            let input = value.strip_prefix("${{ inputs.").unwrap().strip_suffix(" }}").unwrap();
            let given = given.iter().find(|(name, _)| *name == input);
            let default = || action["inputs"][input]["default"].as_str().unwrap();
            (name, given.map_or_else(default, |(_, value)| *value).to_owned())
        });
        let environment: Vec<_> = environment.collect();
        ci.run(&folder, step["run"].as_str().unwrap(), &environment);
    }
    assert!(folder.join("cachefrom-results/journal.jsonl").is_file());
    assert!(folder.join("cachefrom-results-junit.xml").is_file());
    assert!(fs::read_to_string(ci.at("summary.md")).unwrap().contains("pass"));
    assert_eq!(left_behind(ci.folder.path()), Vec::<String>::new());
}
