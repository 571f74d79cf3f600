//! What a run takes in and refuses, as a new user meets it: its own results in the source, what a
//! scenario names and does not have, folders, and what a failing image printed.

use std::path::Path;
use std::process::{Command, Output};

use cachefrom::journal::{Outcome, Recorded};

/// A folder whose Dockerfile copies all of it, and a scenario of it with `more` at its end.
fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    // The step of a user without any right shows that private engines need none of the folder's.
    write("Dockerfile", "FROM busybox\nCOPY . /a\nUSER 65534\nRUN ls /a > /tmp/n\n");
    write("app.txt", "1\n");
    write(
        "scenario.toml",
        &format!(
            "schema = 1\nname = 'here'\nsource = '.'\nstrategies = ['cold', 'registry-max']\n\
             [build]\n[[commit]]\nmessage = 'one'\n[[commit]]\nmessage = 'two'\n\
             edits = [{{ append = 'app.txt', content = \"2\\n\" }}]\n{more}"
        ),
    );
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
    command.args(arguments).current_dir(folder).env("BUILDKIT_PROGRESS", "plain");
    command.env_remove("DOCKER_HOST").env_remove("GITHUB_ACTIONS");
    command
}

#[track_caller]
fn cachefrom(folder: &Path, arguments: &[&str], code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = command(folder, arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

fn ids(folder: &Path, results: &str) -> Vec<String> {
    let recorded = Recorded::read(&folder.join(results).join("journal.jsonl")).unwrap();
    assert!(recorded.trials.iter().all(|trial| trial.outcome == Outcome::Built));
    recorded.header.commits.into_iter().map(|commit| commit.id).collect()
}

#[test]
fn what_cannot_be_played_together_is_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir(at("tree")).unwrap();
    std::fs::write(at("tree/Dockerfile"), "FROM busybox\n").unwrap();
    let scenario = |name: &str, more: &str| {
        let text = format!(
            "schema = 1\nname = \"{name}\"\nsource = \"tree\"\n{more}\n[build]\n[[commit]]\nmessage = \"first\"\n"
        );
        std::fs::write(at(&format!("{name}.toml")), text).unwrap();
        at(&format!("{name}.toml"))
    };
    let own = "[[strategy]]\nname = \"own\"\nengine = \"kept\"\n";
    let (plain, special) = (scenario("plain", ""), scenario("special", own));
    let cold = scenario("cold", "base-images = \"cold\"");
    let run = |args: &[&str], code: i32| cachefrom(folder.path(), &[&["run"], args].concat(), code);
    let (_, told) = run(&[&plain, &special, "--out", &at("out")], 2);
    assert!(told.contains("--out"), "{told}");
    // What one of several cannot do keeps no other from being played.
    let (shown, told) = run(&[&plain, &special, "--strategy", "own", "--dry-run"], 2);
    assert!(told.contains("plain.toml: strategy \"own\""), "{told}");
    assert!(shown.starts_with("special: "), "{shown}");
    let (_, told) = run(&[&cold, "--link", "slow", "--dry-run"], 2);
    assert!(told.contains("`base-images = \"cold\"` cannot be played over a link"), "{told}");
    run(&[&cold, "--dry-run"], 0);
    std::fs::create_dir(at("there")).unwrap();
    std::fs::write(at("there/journal.jsonl"), "").unwrap();
    let (_, told) = run(&[&plain, "--out", &at("there")], 7);
    assert!(told.contains("journal.jsonl is there already\n  go on with it by --resume"), "{told}");
}

#[test]
fn results_in_the_source_are_no_part_of_the_next_run() {
    let folder = folder("");
    let folder = folder.path();
    let run = |more: &[&str], code| {
        let arguments = [&["run", "scenario.toml"], more].concat();
        cachefrom(folder, &arguments, code)
    };
    run(&["--out", "results/main"], 0);
    cachefrom(folder, &["baseline", "save", "main", "results/main/journal.jsonl"], 0);
    run(&["--out", "results/change", "--baseline", "main"], 0);
    run(&["--out", "results/change", "--resume"], 4);
    let first = ids(folder, "results/main");
    assert_eq!(ids(folder, "results/change"), first);

    // Side by side, each with a folder that it chose itself.
    let mut both: Vec<_> = (0..2)
        .map(|_| {
            command(folder, &["run", "scenario.toml", "--strategy", "cold", "--commit", "1"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    assert!(both.iter_mut().all(|run| run.wait().unwrap().success()));
    for results in ["results/here/run-1", "results/here/run-2"] {
        assert_eq!(ids(folder, results), first[..1]);
    }
}

#[test]
fn what_cannot_be_played_is_refused_before_anything_is_made() {
    let folder = folder("");
    let folder = folder.path();
    let scenario = std::fs::read_to_string(folder.join("scenario.toml")).unwrap();
    let with = |build: &str| {
        let text = scenario.replace("[build]\n", &format!("[build]\n{build}\n"));
        std::fs::write(folder.join("other.toml"), text).unwrap();
    };
    for dry in [&["--dry-run"][..], &[]] {
        let refused = |scenario: &str, more: &[&str]| {
            cachefrom(folder, &[&["run", scenario], more, dry].concat(), 2).1
        };
        let said = refused("scenario.toml", &["--commit", "9"]);
        assert!(said.contains("the scenario has 2 commits, there is no commit 9"), "{said}");
        let said = refused("scenario.toml", &["--strategy", "local,local"]);
        assert!(said.contains("the strategy `local` is named twice"), "{said}");
        with("dockerfile = 'Dokerfile'");
        let said = refused("other.toml", &["--out", "made/for/it"]);
        assert!(said.contains("other.toml:6:14: commit 1 (`one`) has no Dockerfile"), "{said}");
        assert!(said.contains("did you mean `Dockerfile`?"), "{said}");
        with("targets = ['nope']");
        let said = refused("other.toml", &[]);
        assert!(said.contains("other.toml:6:12: `nope` is no stage of Dockerfile"), "{said}");
    }
    with("args = { NODE_VERSON = '18' }");
    let (_, said) = cachefrom(folder, &["run", "other.toml", "--dry-run"], 0);
    assert!(said.contains("warning: other.toml:6:10: no `ARG`"), "{said}");
    assert!(!folder.join("results").exists() && !folder.join("made").exists());
}

#[test]
fn a_failing_image_is_shown_with_what_it_printed() {
    let folder = folder(
        "[[verify]]\nargs = ['sh', '-c', 'echo out']\nstdout = '^out$'\n\
         [[verify]]\nargs = ['sh', '-c', 'echo so far; echo went wrong >&2; exit 3']\nstdout = 'so'\n",
    );
    let arguments =
        ["run", "scenario.toml", "--strategy", "cold", "--commit", "1", "--out", "results/v"];
    let (_, said) = cachefrom(folder.path(), &arguments, 3);
    assert!(said.contains("wrong image: the image run with"), "{said}");
    assert!(said.contains("exited with 3; stderr: went wrong; stdout: so far"), "{said}");
}

#[test]
fn no_value_of_the_variable_for_progress_breaks_a_run() {
    let folder = folder("");
    let folder = folder.path();
    // A dry run shows that the command line is taken.
    let run = |variable: &str, more: &[&str]| {
        let arguments = [&["run", "scenario.toml", "--dry-run"], more].concat();
        command(folder, &arguments).env("BUILDKIT_PROGRESS", variable).output().unwrap()
    };
    for variable in ["", "none", "quiet", "fancy", "rawjson"] {
        let output = run(variable, &[]);
        assert_eq!(output.status.code(), Some(0), "{variable}: {output:?}");
    }
    let export = ["--export-json", "-"];
    assert_eq!(run("rawjson", &export).status.code(), Some(2));
    for flag in ["plain", "none"] {
        let output = run("rawjson", &[&export[..], &["--progress", flag]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    assert_eq!(run("plain", &["--progress", "fancy"]).status.code(), Some(2));
}
