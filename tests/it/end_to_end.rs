//! The whole program on real engines: the seed scenario, and what is left behind.

use std::path::Path;
use std::process::{Command, Output};

use cachefrom::journal::{Outcome, Recorded};
use cachefrom::measure::{reuse, steps};

/// `cachefrom ARGS`, with engines below `temporary`; the cache directory is the user's, so that
/// engine and base images are fetched once a machine.
pub fn cachefrom(args: &[&str], temporary: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cachefrom"))
        .args(args)
        .env("TMPDIR", temporary)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

/// The journal of a run of `scenario` that must end well, engines and results below `temporary`.
pub fn played(scenario: &Path, temporary: &Path) -> Recorded {
    let out = temporary.join("out");
    let paths = [&out, scenario].map(|path| path.to_str().unwrap());
    let output = cachefrom(&["run", "--progress", "plain", "--out", paths[0], paths[1]], temporary);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    Recorded::read(&out.join("journal.jsonl")).unwrap()
}

/// What of ours still runs or is mounted below `temporary`.
pub fn left_behind(temporary: &Path) -> Vec<String> {
    let needle = temporary.to_str().unwrap();
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if command.contains(needle) {
            found.push(command);
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(needle)).map(String::from));
    let engines = std::fs::read_dir(temporary.join("cachefrom"));
    // The lock by which runs keep clear of each other's sweeps stays; folders do not.
    let folders = engines.into_iter().flatten().flatten().map(|e| e.path()).filter(|p| p.is_dir());
    found.extend(folders.map(|path| path.display().to_string()));
    found
}

#[test]
fn the_seed_scenario_is_built_verified_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("results");
    let output = cachefrom(
        &["run", "scenarios/jq.toml", "--out", out.to_str().unwrap(), "--progress", "plain"],
        temporary.path(),
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
    for file in ["report.html", "report.md", "report.json", "trials.csv", "charts/reuse-dark.png"] {
        assert!(out.join(file).is_file(), "{file}");
    }

    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    assert_eq!(recorded.trials.len(), 6 * 5);
    for trial in &recorded.trials {
        assert_eq!(trial.outcome, Outcome::Built, "{:?}", trial.key);
        assert_eq!(trial.verifications.len(), 2, "{:?}", trial.key);
        let reuse = reuse(trial);
        if trial.key.strategy == "cold" {
            assert_eq!(reuse.cached, 0, "{:?}", trial.key);
        }
    }
    let cached = |strategy: &str, commit: usize| {
        let trial = recorded
            .trials
            .iter()
            .find(|trial| trial.key.strategy == strategy && trial.key.commit == commit)
            .unwrap();
        let steps = steps(trial);
        steps.into_iter().filter(|step| step.cached).map(|step| step.name).collect::<Vec<_>>()
    };
    // The data edit keeps the apt line and loses the COPY below it.
    for strategy in ["local", "registry-max"] {
        let cached = cached(strategy, 1);
        assert!(cached.iter().any(|name| name.contains("apt-get")), "{strategy}: {cached:?}");
        assert!(!cached.iter().any(|name| name.contains("COPY data")), "{strategy}: {cached:?}");
    }
    // Nothing at all changed for the last commit, and `local` forgets nothing.
    assert_eq!(cached("local", 4).len(), cached("local", 2).len());
}

#[test]
fn a_scenario_that_cannot_be_read_is_usage() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("bad.toml");
    std::fs::write(&path, "schema = 1\nname = \"x\"\nbiuld = 3\n").unwrap();
    let output = cachefrom(&["run", path.to_str().unwrap()], temporary.path());
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("bad.toml:3:1"), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn the_binary_is_a_docker_cli_plugin_under_its_plugin_name() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("docker-cachefrom");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cachefrom"), &plugin).unwrap();
    let output = Command::new(&plugin).arg("docker-cli-plugin-metadata").output().unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    let output = Command::new(&plugin).args(["cachefrom", "schema"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let direct = cachefrom(&["schema"], folder.path());
    assert_eq!(output.stdout, direct.stdout);
}

#[test]
fn a_dry_run_names_every_commit_and_builds_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let output = cachefrom(&["run", "scenarios/jq.toml", "--dry-run"], temporary.path());
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("30 trials, 60 builds"), "{stdout}");
    assert!(stdout.contains("edit one data file"), "{stdout}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}

#[test]
fn an_interrupt_leaves_a_valid_journal_its_report_and_nothing_running() {
    let temporary = tempfile::tempdir().unwrap();
    let out = temporary.path().join("results");
    let child = Command::new(env!("CARGO_BIN_EXE_cachefrom"))
        .args(["run", "scenarios/jq.toml", "--progress", "plain", "--out"])
        .arg(&out)
        .env("TMPDIR", temporary.path())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let journal = out.join("journal.jsonl");
    let trials = || Recorded::read(&journal).map_or(0, |recorded| recorded.trials.len());
    let patience = std::time::Instant::now();
    while trials() == 0 && patience.elapsed().as_secs() < 300 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--resume goes on"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("\nstrategy"));
    assert!(out.join("report.html").exists());
    let recorded = Recorded::read(&journal).unwrap();
    assert!(!recorded.trials.is_empty());
    assert!(recorded.end.is_some_and(|end| end.interrupted && end.wall.0 > 0));
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}
