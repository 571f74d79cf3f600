//! What goes wrong in a run: each time one clear message, the exit code of DESIGN §7, a journal that
//! can be read, and nothing left.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cachefrom::journal::{Outcome, Recorded};
use rustix::process::{Pid, Signal, kill_process};

use crate::end_to_end::{cachefrom, left_behind};

/// A scenario of two commits in a folder of its own.
pub struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    pub fn new(dockerfile: &str, more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("Dockerfile"), dockerfile).unwrap();
        std::fs::write(tree.join("file"), "1\n").unwrap();
        let scenario = format!(
            "schema = 1\nname = \"fault\"\nsource = \"tree\"\n{more}\n\
             [[commit]]\nmessage = \"first\"\n\
             [[commit]]\nmessage = \"second\"\nedits = [{{ append = \"file\", content = \"2\\n\" }}]\n"
        );
        std::fs::write(folder.path().join("fault.toml"), scenario).unwrap();
        Self { folder }
    }

    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// `cachefrom run` of it with `more` arguments, engines below its folder.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        command
            .args(["run", "--progress", "plain", "--out"])
            .args([self.out(), self.folder.path().join("fault.toml")])
            .args(more)
            .env("TMPDIR", self.folder.path());
        command
    }

    pub fn run(&self) -> Output {
        self.command(&[]).output().unwrap()
    }

    pub fn recorded(&self) -> Recorded {
        Recorded::read(&self.out().join("journal.jsonl")).unwrap()
    }

    pub fn assert_nothing_left(&self) {
        assert_eq!(left_behind(self.folder.path()), Vec::<String>::new());
    }
}

/// The exit code and what was said, for failure messages.
pub fn ended(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (output.status.code(), stderr)
}

const COLD: &str = "strategies = [\"cold\"]\n[build]\n";

#[test]
fn a_dockerfile_or_stage_that_a_scenario_does_not_have_is_refused_and_leaves_no_folder() {
    for (build, place) in [
        (
            "dockerfile = \"Dockerfile.gone\"",
            "fault.toml:6:14: commit 1 (`first`) has no Dockerfile",
        ),
        ("targets = [\"nowhere\"]", "fault.toml:6:12: `nowhere` is no stage of Dockerfile"),
    ] {
        let case =
            Case::new("FROM busybox\n", &format!("strategies = [\"cold\"]\n[build]\n{build}"));
        let (code, stderr) = ended(&case.run());
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(place), "{stderr}");
        assert!(!case.out().exists());
        case.assert_nothing_left();
    }
}

#[test]
fn a_failing_step_is_kept_with_its_exit_code_and_last_words() {
    let case = Case::new("FROM busybox\nCOPY file /\nRUN echo the last words && exit 17\n", COLD);
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(5), "{stderr}");
    assert!(stderr.contains("the last words") && stderr.contains("exit code 17"), "{stderr}");
    for trial in &case.recorded().trials {
        let Outcome::BuildFailed { step, exit_code, log, .. } = &trial.outcome else {
            panic!("{:?}", trial.outcome);
        };
        assert!(step.contains("RUN echo the last words"), "{step}");
        assert_eq!(*exit_code, Some(17));
        assert_eq!(log.last().map(String::as_str), Some("the last words"));
    }
    case.assert_nothing_left();
}

#[test]
fn a_base_image_that_is_not_to_be_had_is_named_with_the_remedy() {
    let case = Case::new("FROM nowhere.invalid/none:1\n", COLD);
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(6), "{stderr}");
    assert!(stderr.contains("nowhere.invalid/none:1") && stderr.contains("[[image]]"), "{stderr}");
    case.assert_nothing_left();
}

/// A strategy of the scenario's own whose cache is in a registry that nobody serves.
fn unreachable(more: &str) -> String {
    format!(
        "strategies = [\"own\"]\n[build]\n[[strategy]]\nname = \"own\"\nengine = \"fresh\"\n{more}\n"
    )
}

#[test]
fn a_cache_that_would_be_exported_elsewhere_is_refused() {
    let export =
        "export = [{ type = \"registry\", ref = \"127.0.0.1:1/cache:a\", mode = \"max\" }]";
    let case = Case::new("FROM busybox\nCOPY file /\n", &unreachable(export));
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("127.0.0.1:1") && stderr.contains("{repo}"), "{stderr}");
    case.assert_nothing_left();
}

#[test]
fn a_cache_that_cannot_be_imported_is_in_the_journal_and_the_build_goes_on() {
    let import = "import = [{ type = \"registry\", ref = \"127.0.0.1:1/cache:a\" }]";
    let case = Case::new("FROM busybox\nCOPY file /\n", &unreachable(import));
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(0), "{stderr}");
    for trial in &case.recorded().trials {
        let errors = &trial.builds[0].import_errors;
        assert!(errors.len() == 1 && errors[0].contains("127.0.0.1:1"), "{errors:?}");
    }
    case.assert_nothing_left();
}

#[test]
fn an_engine_that_dies_in_a_build_breaks_one_trial_and_the_run_goes_on() {
    let case = Case::new("FROM busybox\nCOPY file /\nRUN grep -q 2 /file || sleep 600\n", COLD);
    let child = case.command(&[]).stderr(Stdio::piped()).spawn().unwrap();
    let owner = Owner::of(&case, &child);
    wait_until("a step runs", || !owner.processes("sleep 600").is_empty());
    for pid in owner.processes("dockerd --config-file") {
        kill_process(pid, Signal::KILL).unwrap();
    }
    let (code, stderr) = ended(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(6), "{stderr}");
    let outcomes: Vec<Outcome> =
        case.recorded().trials.into_iter().map(|trial| trial.outcome).collect();
    assert!(matches!(&outcomes[..], [Outcome::Broken { .. }, Outcome::Built]), "{outcomes:?}");
    case.assert_nothing_left();
}

#[test]
fn a_run_without_root_says_what_to_do() {
    let case = Case::new("FROM busybox\n", COLD);
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(case.folder.path(), readable).unwrap();
    // The binary may lie where only root can read: nobody gets a copy.
    let copy = case.folder.path().join("cachefrom-copy");
    std::fs::copy(env!("CARGO_BIN_EXE_cachefrom"), &copy).unwrap();
    let mut command = Command::new(&copy);
    std::os::unix::process::CommandExt::uid(&mut command, 65534);
    command
        .args(["run", "--out"])
        .args([case.out(), case.folder.path().join("fault.toml")])
        .env("TMPDIR", case.folder.path())
        .env("XDG_CACHE_HOME", case.folder.path().join("cache"));
    let (code, stderr) = ended(&command.output().unwrap());
    assert_eq!(code, Some(6), "{stderr}");
    assert!(stderr.contains("root"), "{stderr}");
    let folders = std::fs::read_dir(case.folder.path()).unwrap().flatten();
    let folders: Vec<_> = folders.filter(|entry| entry.path().is_dir()).collect();
    assert!(matches!(&folders[..], [tree] if tree.file_name() == "tree"), "{folders:?}");
    case.assert_nothing_left();
}

#[test]
fn results_that_cannot_be_written_are_said_before_anything_is_built() {
    let case = Case::new("FROM busybox\nCOPY file /\n", COLD);
    std::fs::write(case.out(), "a file where the folder should be").unwrap();
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(7), "{stderr}");
    assert!(stderr.contains(case.out().to_str().unwrap()), "{stderr}");
    case.assert_nothing_left();
}

/// A file system of a given size, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let option = format!("size={size}");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success());
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_for_the_results_ends_the_run_and_keeps_what_was_written() {
    let case = Case::new("FROM busybox\nCOPY file /\nRUN cat /file\n", COLD);
    // Room for the header and a part of the trials.
    let disk = SmallDisk::mount(&case.out(), "8k");
    let output = case.command(&["--rounds", "4"]).output().unwrap();
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(7), "{stderr}");
    assert!(stderr.contains("journal.jsonl"), "{stderr}");
    assert!(case.recorded().trials.len() < 8);
    drop(disk);
    case.assert_nothing_left();
}

#[test]
fn a_full_disk_for_the_engines_is_said_and_leaves_nothing() {
    let case = Case::new("FROM busybox\nRUN dd if=/dev/urandom of=/big bs=1M count=400\n", COLD);
    let disk = SmallDisk::mount(&case.folder.path().join("disk"), "120m");
    let mut command = case.command(&[]);
    let (code, stderr) = ended(&command.env("TMPDIR", &disk.0).output().unwrap());
    assert!(matches!(code, Some(5 | 6)), "{code:?} {stderr}");
    assert!(stderr.to_lowercase().contains("no space left on device"), "{stderr}");
    assert_eq!(left_behind(&disk.0).len(), 1, "only the disk itself is mounted");
    drop(disk);
    case.assert_nothing_left();
}

#[test]
fn a_journal_cut_in_mid_line_is_resumed_and_completed() {
    let case = Case::new(
        "FROM busybox\nCOPY file /\nRUN cat /file\n",
        "strategies = [\"cold\", \"local\"]\n[build]\n",
    );
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(0), "{stderr}");
    let path = case.out().join("journal.jsonl");
    let whole = std::fs::read_to_string(&path).unwrap();
    // The header, two trials and a half.
    let lines: Vec<&str> = whole.lines().collect();
    let half = &lines[3][..lines[3].len() / 2];
    std::fs::write(&path, format!("{}\n{half}", lines[..3].join("\n"))).unwrap();
    let (code, stderr) = ended(&case.command(&["--resume"]).output().unwrap());
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("[2/2]"), "only what is missing is played:\n{stderr}");
    let resumed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(resumed.lines().take(3).collect::<Vec<_>>(), lines[..3]);
    assert_eq!(case.recorded().trials.len(), 4);
    let (code, stderr) = ended(&case.command(&["--resume"]).output().unwrap());
    assert_eq!(code, Some(4), "{stderr}");
    case.assert_nothing_left();
}

#[test]
fn a_request_to_end_that_comes_between_two_runs_is_heard() {
    let case = Case::new("FROM busybox\nRUN true\n", COLD);
    let second = case.folder.path().join("second.toml");
    let text = std::fs::read_to_string(case.folder.path().join("fault.toml")).unwrap();
    std::fs::write(&second, text.replace("\"fault\"", "\"second\"")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_cachefrom"))
        .args(["run", "--progress", "plain", "fault.toml", "second.toml"])
        .current_dir(case.folder.path())
        .env("TMPDIR", case.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The journal of the first ends when all is played, and its reports are written after that.
    let journal = case.folder.path().join("results/fault/run-1/journal.jsonl");
    let given_up = std::time::Instant::now() + Duration::from_secs(120);
    while !std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"line\":\"end\"")) {
        assert!(std::time::Instant::now() < given_up);
        std::thread::sleep(Duration::from_millis(2));
    }
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(case.folder.path().join("results/fault/run-1/report.json").is_file());
    assert!(!case.folder.path().join("results/second/run-1/journal.jsonl").exists());
    case.assert_nothing_left();
}

#[test]
fn who_is_told_to_outlive_its_terminal_does() {
    let case = Case::new("FROM busybox\nRUN sleep 2\n", COLD);
    let run = case.command(&[]);
    let mut child = Command::new("nohup")
        .arg(run.get_program())
        .args(run.get_args())
        .envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    case.assert_nothing_left();
}

#[test]
fn an_interrupt_at_any_moment_leaves_a_readable_journal_and_nothing_else() {
    let slow = "FROM busybox\nCOPY file /\nRUN sleep 30\n";
    // From the first preparations over an engine's start to the middle of a step.
    for (milliseconds, signal) in [
        // A shell lets what it runs in the background ignore SIGINT until there is a handler.
        (5, Signal::TERM),
        (300, Signal::TERM),
        (900, Signal::INT),
        (1700, Signal::HUP),
        (2600, Signal::INT),
    ] {
        let case = Case::new(slow, COLD);
        let mut child = case.command(&[]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let code = child.wait().unwrap().code();
        // Before the handlers are there, which a busy machine may take its time for, the signal ends
        // the process as it ends any other.
        assert!(
            code == Some(130) || code.is_none() && milliseconds < 500,
            "{milliseconds}: {code:?}"
        );
        case.assert_nothing_left();
        if case.out().join("journal.jsonl").exists() {
            assert!(case.recorded().end.is_some_and(|end| end.interrupted), "{milliseconds}");
        }
    }
}

#[test]
fn a_killed_run_leaves_no_process_and_the_next_one_sweeps_the_rest() {
    let case = Case::new("FROM busybox\nCOPY file /\nRUN grep -q 2 /file || sleep 600\n", COLD);
    let mut child: Child = case.command(&[]).stderr(Stdio::null()).spawn().unwrap();
    let owner = Owner::of(&case, &child);
    wait_until("a step runs", || !owner.processes("sleep 600").is_empty());
    assert_ne!(owner.groups(), Vec::<PathBuf>::new());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("all processes are gone", || owner.processes("").is_empty());
    let output = cachefrom(&["doctor"], case.folder.path());
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 dead run"), "{output:?}");
    case.assert_nothing_left();
    assert_eq!(owner.groups(), Vec::<PathBuf>::new());
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(120), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whose engines and steps are meant: the run's folder, and its process, after which control
/// groups are named.
struct Owner {
    folder: PathBuf,
    pid: u32,
}

impl Owner {
    fn of(case: &Case, child: &Child) -> Self {
        Self { folder: case.folder.path().to_owned(), pid: child.id() }
    }

    fn group(&self) -> String {
        format!("cachefrom-run-{:x}-", self.pid)
    }

    /// Processes whose command line holds `text`, but for the run itself. A step's processes do not
    /// name the folder; their control group tells them.
    fn processes(&self, text: &str) -> Vec<Pid> {
        let folder = self.folder.to_str().unwrap();
        let mut found = vec![];
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(number) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
            let read = |name: &str| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let command = read("cmdline");
            let ours = command.contains(folder) || read("cgroup").contains(&self.group());
            if ours && number != self.pid && command.contains(text) {
                found.extend(Pid::from_raw(number as i32));
            }
        }
        found
    }

    /// Control groups that nobody removed.
    fn groups(&self) -> Vec<PathBuf> {
        let mut found = vec![];
        let mut queue = vec![PathBuf::from("/sys/fs/cgroup")];
        while let Some(folder) = queue.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    if entry.file_name().to_string_lossy().starts_with(&self.group()) {
                        found.push(path.clone());
                    }
                    queue.push(path);
                }
            }
        }
        found
    }
}
