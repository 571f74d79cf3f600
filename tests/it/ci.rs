//! What a CI job sees of real engines' runs: exit codes, annotations, files.

use std::path::Path;
use std::process::Command;

use crate::end_to_end::{cachefrom, left_behind};
use crate::outputs::assert_valid_junit;

const TINY: &str = r#"
schema = 1
name = "tiny"
source = "app"
strategies = ["cold", "registry-max"]
[build]
dockerfile = "Dockerfile"
[[commit]]
message = "first"
[[commit]]
message = "edit the source"
edits = [{ write = "main.c", content = "int edited;" }]
assert = [{ strategies = ["registry-*"], max-pulled = "50 MB", max-cache-size = "1 GB" }]
"#;

const ORDER: [&str; 3] = ["COPY lock .\n", "RUN cp lock installed\n", "COPY . .\n"];

pub fn tree(folder: &Path, order: [usize; 3]) {
    std::fs::create_dir_all(folder.join("app")).unwrap();
    let instructions: String = order.into_iter().map(|place| ORDER[place]).collect();
    let dockerfile = format!("FROM busybox\nWORKDIR /src\n{instructions}RUN cat main.c > made\n");
    std::fs::write(folder.join("app/Dockerfile"), dockerfile).unwrap();
    std::fs::write(folder.join("app/lock"), "1\n").unwrap();
    std::fs::write(folder.join("app/main.c"), "int main;\n").unwrap();
    std::fs::write(folder.join("tiny.toml"), TINY).unwrap();
}

#[test]
fn a_ruined_cache_ends_in_exit_3_with_step_line_and_junit_and_its_repair_in_exit_0() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("repository");
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let run = |out: &str, more: &[&str]| {
        let (scenario, out) = (at("tiny.toml"), at(out));
        let mut args = vec!["run", &scenario, "--out", &out, "--progress", "quiet"];
        args.extend(more);
        let output = cachefrom(&args, temporary.path());
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let saved = at("saved");
    let save = |name: &str, out: &str| {
        let journal = at(&format!("{out}/journal.jsonl"));
        let args = ["baseline", "save", name, &journal, "--baseline-dir", &saved];
        assert_eq!(cachefrom(&args, temporary.path()).status.code(), Some(0));
    };
    let early = run("none", &["--baseline", "missing", "--baseline-dir", &saved]);
    assert_eq!(early.0, Some(2), "{early:?}");

    tree(&folder, [0, 1, 2]);
    let first = run("good", &[]);
    assert_eq!(first.0, Some(0), "{first:?}");
    save("good", "good");

    tree(&folder, [2, 0, 1]);
    let xml = at("junit.xml");
    let gate = ["--baseline-dir", &saved, "--annotations", "always", "--junit", &xml];
    let ruined = run("bad", &[&["--baseline", "good"], &gate[..]].concat());
    assert_eq!(ruined.0, Some(3), "{ruined:?}");
    assert!(ruined.1.contains("[5/6] RUN cp lock installed was reused and is rebuilt"));
    let line = ruined.1.lines().find(|line| line.starts_with("::error") && line.contains("[5/6]"));
    assert!(line.unwrap().contains("app/Dockerfile,line=5,"), "{line:?}");
    assert_valid_junit(Path::new(&xml));
    assert!(std::fs::read_to_string(&xml).unwrap().contains("<failure type=\"reuse\""));
    save("bad", "bad");

    tree(&folder, [0, 1, 2]);
    let repaired = run("again", &[&["--baseline", "bad"], &gate[..]].concat());
    assert_eq!(repaired.0, Some(0), "{repaired:?}");
    assert!(repaired.1.contains("tiny: improved"), "{repaired:?}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}

/// The blocks of `document` that are written in `language`.
pub fn blocks<'d>(document: &'d str, language: &str) -> impl Iterator<Item = &'d str> {
    let blocks: Vec<&str> = document.split(&format!("```{language}\n")).skip(1).collect();
    blocks.into_iter().map(|block| block.split("```").next().unwrap())
}

#[test]
fn every_shell_command_of_the_ci_document_works_in_its_order() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ci.md");
    let document = std::fs::read_to_string(document).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("repository");
    tree(&folder, [0, 1, 2]);
    std::fs::rename(folder.join("tiny.toml"), folder.join("scenario.toml")).unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_cachefrom")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for line in blocks(&document, "sh").flat_map(str::lines) {
        let output = Command::new("sh")
            .args(["-ec", line])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("TMPDIR", temporary.path())
            .env_remove("GITHUB_STEP_SUMMARY")
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        commands += 1;
    }
    assert_eq!(commands, 6);
    for written in ["junit.xml", "bmf.json", "benchmark.json", "badge.svg", "summary.md"] {
        assert!(folder.join("results").join(written).is_file(), "{written}");
    }
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}
