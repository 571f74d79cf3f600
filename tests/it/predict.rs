//! `cachefrom predict` and `explain` on a published journal, as a person calls them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cachefrom::journal::{FileChange, Line};

use crate::journals::{self, journal, steps};

fn cachefrom(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cachefrom")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn published() -> String {
    root().join("results/jq/2026-11-25").to_str().unwrap().to_owned()
}

/// The tree of the journal's last commit, as its scenario made it.
fn last_commit(folder: &Path) -> PathBuf {
    let loaded = cachefrom::scenario::load(&root().join("scenarios/jq.toml")).unwrap();
    let nothing = cachefrom::history::Written::NOTHING;
    let history = cachefrom::history::History::script(&loaded, nothing, folder).unwrap();
    let whole = folder.join("whole");
    history.checkout(history.commits().len() - 1, &whole).unwrap();
    whole
}

#[test]
fn an_unchanged_tree_hits_and_an_edit_misses_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let tree = last_commit(folder.path());
    let said = |strategy: &str| {
        let journal = published();
        let tree = tree.to_str().unwrap();
        let args = ["predict", &journal, "--dir", tree, "-f", "Dockerfile.jq"];
        let output = cachefrom(&[&args[..], &["--strategy", strategy]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(said("registry-max").starts_with("registry-max: 7 of 7 steps would be reused"));
    assert!(said("cold").starts_with("cold: 0 of 7 steps would be reused"));
    fs::write(tree.join("data/2.json"), "{}\n").unwrap();
    let edited = said("registry-max");
    assert!(edited.starts_with("registry-max: 4 of 7 steps would be reused"), "{edited}");
    assert!(
        edited.contains(
            "COPY data /collected/data: data/2.json changed (commit 6 “the working tree”)"
        ),
        "{edited}"
    );
    assert!(edited.contains("rebuilt unless its stage comes out the same"), "{edited}");
}

/// A folder beside what is copied, as a `target` or `node_modules`, could not even be listed.
#[test]
fn what_no_copy_takes_is_not_looked_at_and_what_is_new_is_not_read() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let tree = last_commit(folder.path());
    let journal = published();
    let said = || {
        let tree = tree.to_str().unwrap();
        let args = ["predict", &journal, "--dir", tree, "-f", "Dockerfile.jq"];
        let output = cachefrom(&[&args[..], &["--strategy", "registry-max"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    fs::create_dir(tree.join("target")).unwrap();
    // Root may list everything, but nobody can read 1 TB into memory.
    let huge = |path: &str| {
        let file = fs::File::create(tree.join(path)).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    huge("target/huge");
    fs::set_permissions(tree.join("target"), fs::Permissions::from_mode(0o000)).unwrap();
    assert!(said().starts_with("registry-max: 7 of 7 steps would be reused"));
    symlink("nowhere", tree.join("data/new-link")).unwrap();
    huge("data/new");
    let edited = said();
    assert!(edited.starts_with("registry-max: 4 of 7 steps would be reused"), "{edited}");
    assert!(edited.contains("data/new is new"), "{edited}");
    fs::set_permissions(tree.join("target"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `predict` says of `tree` after a run of `dockerfile` whose commit had `paths` as they are there.
fn predicted(folder: &Path, tree: &Path, dockerfile: &str, paths: &[(&str, &[u8])]) -> String {
    let step = dockerfile.lines().nth(1).unwrap();
    let mut lines = journal(&steps(&[(step, true)]), 1, |_| 1.0);
    let Line::Header(header) = &mut lines[0] else { panic!() };
    for commit in &mut header.commits {
        commit.dockerfile = Some(dockerfile.to_owned());
    }
    let change = |(path, content): &(&str, &[u8])| {
        let object = git2::Oid::hash_object(git2::ObjectType::Blob, content).unwrap();
        let is_link = tree.join(path).is_symlink();
        let mode = if is_link { 0o120000 } else { 0o100644 };
        FileChange { path: (*path).into(), object: Some(object.to_string()), mode, target: None }
    };
    header.commits[0].changes = paths.iter().map(change).collect();
    let path = folder.join("journal.jsonl");
    fs::write(&path, journals::text(&lines)).unwrap();
    let (journal, tree) = (path.to_str().unwrap(), tree.to_str().unwrap());
    let args = ["predict", journal, "--dir", tree, "--strategy", "registry-max"];
    text(&cachefrom(&args).stdout)
}

/// A run of a scenario never takes it; a repository's commits may have one.
#[test]
fn a_build_folder_is_part_of_the_tree_only_where_commits_had_it() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let dockerfile = "FROM busybox\nCOPY . /w\n";
    let files = [("Dockerfile", dockerfile), ("deep/target/a", "a"), ("target/b", "b")];
    for (path, content) in files {
        fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        fs::write(tree.join(path), content).unwrap();
    }
    let files = files.map(|(path, content)| (path, content.as_bytes()));
    let source = || predicted(folder.path(), &tree, dockerfile, &files[..2]);
    let repository = || predicted(folder.path(), &tree, dockerfile, &files);
    assert!(source().starts_with("registry-max: 1 of 1 steps"), "{}", source());
    assert!(repository().starts_with("registry-max: 1 of 1 steps"), "{}", repository());
    fs::write(tree.join("target/c"), "c").unwrap();
    assert!(source().starts_with("registry-max: 1 of 1 steps"), "{}", source());
    assert!(repository().contains("target/c is new"), "{}", repository());
}

/// The journal is of a time when it was not recorded where links lead.
#[test]
fn what_a_symlink_leads_to_that_is_copied_or_mounted_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let dockerfile = "FROM busybox\nCOPY conf lib*/one /w\n";
    fs::create_dir_all(tree.join("real")).unwrap();
    for (path, content) in [("Dockerfile", dockerfile), ("real/conf", "1"), ("real/one", "1")] {
        fs::write(tree.join(path), content).unwrap();
    }
    std::os::unix::fs::symlink("real/conf", tree.join("conf")).unwrap();
    std::os::unix::fs::symlink("real", tree.join("lib")).unwrap();
    let files: [(&str, &[u8]); 5] = [
        ("Dockerfile", dockerfile.as_bytes()),
        ("real/conf", b"1"),
        ("real/one", b"1"),
        ("conf", b"real/conf"),
        ("lib", b"real"),
    ];
    let mounts =
        "--mount=type=bind,source=conf,target=/c --mount=type=bind,source=lib/one,target=/o";
    for dockerfile in [dockerfile, &format!("FROM busybox\nRUN {mounts} cat /c /o > /w\n")] {
        fs::write(tree.join("Dockerfile"), dockerfile).unwrap();
        let said = || predicted(folder.path(), &tree, dockerfile, &files);
        assert!(said().starts_with("registry-max: 1 of 1 steps"), "{}", said());
        for path in ["real/conf", "real/one"] {
            fs::write(tree.join(path), "2").unwrap();
            assert!(said().contains(&format!("{path} changed")), "{}", said());
            fs::write(tree.join(path), "1").unwrap();
        }
    }
}

#[test]
fn what_is_not_there_is_named() {
    let journal = published();
    let refused = |args: &[&str]| {
        let output = cachefrom(args);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    assert!(refused(&["predict", &journal, "--dir", "/nowhere"]).contains("/nowhere/Dockerfile"));
    assert!(refused(&["explain", &journal, "--strategy", "x"]).contains("it has: cold, "));
    let commit = refused(&["explain", &journal, "--commit", "9"]);
    assert!(commit.contains("no commit \"9\"") && commit.contains("  2 edit one data file"));
    assert!(refused(&["explain", &journal, "--step", "[z"]).contains("is not a pattern"));
    let step = refused(&["explain", &journal, "--step", "NOSUCH*"]);
    assert!(step.contains("no step that matches \"NOSUCH*\"; it has:\n  [builder 2/7] "), "{step}");
    let served = ["explain", &journal, "--commit", "3", "--strategy", "local", "--step", "*COPY*"];
    let served = cachefrom(&served);
    assert_eq!((served.status.code(), &*text(&served.stdout)), (Some(0), ""));
    assert!(text(&served.stderr).contains("no step that was asked for was rebuilt"));
    let old = root().join("results/jq/2026-11-25-debug");
    let output = cachefrom(&["explain", old.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("holds no Dockerfile") && output.stdout.is_empty());
    let missing = cachefrom(&["explain", "/nowhere.jsonl"]);
    assert!(text(&missing.stderr).contains("/nowhere.jsonl"));
}

#[test]
fn explain_says_it_to_people_and_to_programs() {
    let journal = published();
    let args = ["explain", &journal, "--commit", "2", "--strategy", "registry-max"];
    let said = text(&cachefrom(&[&args[..], &["--step", "*COPY data*"]].concat()).stdout);
    assert!(said.contains("line 13: [builder 6/7] COPY data /collected/data"), "{said}");
    assert!(said.contains("data/1.json changed (commit 2 “edit one data file”) (known)"), "{said}");
    let json = cachefrom(&[&args[..], &["--format", "json"]].concat()).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let misses = json["trials"][0]["misses"].as_array().unwrap();
    assert_eq!(misses.len(), 3);
    assert_eq!(misses[0]["cause"]["is"], "files");
    assert_eq!(misses[0]["evidence"], "known");
    assert_eq!(json["costs"][0]["cause"], "files");
}
