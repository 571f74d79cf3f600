//! Claims about scripted histories: the same everywhere, and every edit does what it says.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::SystemTime;

use super::*;

/// A source tree and a scenario file beside it; nothing is left when it is dropped.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        for (path, content) in [
            ("Dockerfile", "FROM scratch\nCOPY data /data\n"),
            ("data/1.json", "{\"version\": 1}\n"),
            ("data/2.json", "{\"version\": 1}\n"),
            ("run.sh", "#!/bin/sh\n"),
            (".git/config", "[core]\n"),
            ("target/debug/x", "binary"),
        ] {
            let path = source.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("data/1.json", source.join("latest")).unwrap();
        Fixture { folder }
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn script(&self, text: &str) -> Result<History, HistoryError> {
        self.written(text, Written::NOTHING)
    }

    fn written(&self, text: &str, written: Written<'_>) -> Result<History, HistoryError> {
        let path = self.folder.path().join("s.toml");
        let head = "schema = 1\nname = \"a\"\n";
        let source = if text.contains("source =") { "" } else { "source = \"source\"\n" };
        let (top, commits) = text.split_once("[[commit]]").unwrap();
        let build = "[build]\nargs = { SLEEPTIME = \"0\" }\n";
        fs::write(&path, format!("{head}{source}{top}{build}[[commit]]{commits}")).unwrap();
        let loaded = crate::scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        // Not inside the fixture, which many a test drops before the history.
        History::script(&loaded, written, &std::env::temp_dir())
    }

    /// A first commit and a second with one edit.
    fn edited(&self, edit: &str) -> Result<History, HistoryError> {
        self.script(&format!(
            "[[commit]]\nmessage = \"first\"\n[[commit]]\nmessage = \"second\"\nedits = [{edit}]\n"
        ))
    }

    fn refused(&self, edit: &str) -> String {
        let error = self.edited(edit).err().expect("the edit is refused");
        let HistoryError::Edit { source, .. } = error else { panic!("{error}") };
        source.to_string()
    }
}

/// Checks a commit out, and keeps it as long as the value.
fn checkout(history: &History, index: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    history.checkout(index, folder.path()).unwrap();
    folder
}

/// What a commit's file holds; `None` where there is none.
fn file(history: &History, index: usize, path: &str) -> Option<String> {
    fs::read_to_string(checkout(history, index).path().join(path)).ok()
}

fn modified(history: &History, index: usize, path: &str) -> SystemTime {
    let folder = checkout(history, index);
    fs::symlink_metadata(folder.path().join(path)).unwrap().modified().unwrap()
}

fn same_tree(history: &History) -> bool {
    history.tree_id(0).unwrap() == history.tree_id(1).unwrap()
}

const BRANCHES: &str = r#"
[[commit]]
message = "first"
[[commit]]
message = "on new"
branch = "new"
edits = [{ write = "data/1.json", content = "{}" }, { set-arg = "SLEEPTIME", value = "1" }]
[[commit]]
message = "again on main"
branch = "main"
edits = [{ append = "data/1.json", content = "x" }]
[[commit]]
message = "unchanged"
[[commit]]
message = "from the second"
branch = "other"
from = "on new"
"#;

#[test]
fn the_same_scenario_has_the_same_commit_ids_everywhere() {
    let ids = |history: History| -> Vec<String> {
        history.commits().iter().map(|commit| commit.id.clone()).collect()
    };
    let once = ids(Fixture::new().script(BRANCHES).unwrap());
    assert_eq!(once, ids(Fixture::new().script(BRANCHES).unwrap()));
    assert_eq!(
        once,
        [
            "65ed326a7e803e9684f9571d7868132b9ddd6c8f",
            "5556f4687578a5b376fc0567b53e401b59b312bf",
            "4016752b759aa2bdd58b9f9deed06a3f837e4843",
            "a21979611cdb727b44377f4c52e6dd306be85fdb",
            "54703c64b512c4add415e57c8937ab01e5572eb2"
        ]
    );
}

#[test]
fn a_branch_continues_at_its_tip_and_args_are_inherited() {
    let history = Fixture::new().script(BRANCHES).unwrap();
    let graph: Vec<_> = history
        .commits()
        .iter()
        .map(|c| (c.branch.as_str(), c.parent, c.args["SLEEPTIME"].as_str()))
        .collect();
    let expected = [
        ("main", None, "0"),
        ("new", Some(0), "1"),
        ("main", Some(0), "0"),
        ("main", Some(2), "0"),
        ("other", Some(1), "1"),
    ];
    assert_eq!(graph, expected);
}

#[test]
fn a_merge_base_is_the_nearest_common_commit() {
    let history = Fixture::new().script(BRANCHES).unwrap();
    assert_eq!(history.merge_base(1, 3).unwrap(), Some(0));
    assert_eq!(history.merge_base(4, 1).unwrap(), Some(1));
    assert_eq!(history.merge_base(4, 4).unwrap(), Some(4));
    assert!(matches!(history.merge_base(0, 9), Err(HistoryError::NoCommit { index: 9, .. })));
}

#[test]
fn a_checkout_has_git_modes_links_and_nothing_that_is_not_the_sources() {
    let history = Fixture::new().edited("").unwrap();
    let folder = checkout(&history, 0);
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("run.sh"), 0o755);
    assert_eq!(mode("Dockerfile"), 0o644);
    assert_eq!(mode("data"), 0o755);
    let link = fs::read_link(folder.path().join("latest")).unwrap();
    assert_eq!(link, Path::new("data/1.json"));
    assert!(!folder.path().join(".git").exists());
    assert!(!folder.path().join("target").exists());
    let again = history.checkout(0, folder.path());
    assert!(matches!(again, Err(HistoryError::NotEmpty { .. })));
}

#[test]
fn times_follow_content_and_nothing_else() {
    let history = Fixture::new().script(BRANCHES).unwrap();
    let again = Fixture::new().script(BRANCHES).unwrap();
    assert_eq!(modified(&history, 0, "data"), modified(&history, 1, "data"));
    for path in ["Dockerfile", "latest", "data/2.json"] {
        assert_eq!(modified(&history, 0, path), modified(&history, 4, path), "{path}");
    }
    let edited: Vec<_> = (0..5).map(|index| modified(&history, index, "data/1.json")).collect();
    assert_eq!(edited, (0..5).map(|i| modified(&again, i, "data/1.json")).collect::<Vec<_>>());
    assert!(edited[0] != edited[1] && edited[1] != edited[2] && edited[0] != edited[2]);
    assert_eq!((edited[2], edited[1]), (edited[3], edited[4]));
}

#[test]
fn include_takes_files_folders_and_patterns_only() {
    let fixture = Fixture::new();
    let take = |include: &str| {
        fixture.script(&format!("include = [{include}]\n[[commit]]\nmessage = \"first\"\n"))
    };
    let history = take("\"Dockerfile\", \"data/*1*\"").unwrap();
    assert!(file(&history, 0, "Dockerfile").is_some());
    assert!(file(&history, 0, "data/1.json").is_some());
    assert_eq!(file(&history, 0, "data/2.json"), None);
    assert_eq!(file(&history, 0, "run.sh"), None);
    for refused in ["\"nothing*\"", "\"target/debug\"", "\"**/x\""] {
        assert!(matches!(take(refused), Err(HistoryError::Include { .. })), "{refused}");
    }
}

#[test]
fn a_symlink_of_the_source_that_leaves_it_is_refused() {
    for target in ["/etc/passwd", "../s.toml", "data/../../s.toml"] {
        let fixture = Fixture::new();
        symlink(target, fixture.source().join("out")).unwrap();
        let error = fixture.edited("").err().unwrap();
        assert!(error.to_string().contains("leaves the tree"), "{error}");
    }
    // The folder that `up` names is the root, so what is above it is outside.
    let fixture = Fixture::new();
    symlink("..", fixture.source().join("data/up")).unwrap();
    symlink("data/up/..", fixture.source().join("out")).unwrap();
    assert!(matches!(fixture.edited(""), Err(HistoryError::Source { .. })));
}

#[test]
fn write_and_append_give_content_and_keep_the_mode() {
    let history = Fixture::new().edited(r#"{ write = "run.sh", content = "x" }"#).unwrap();
    assert_eq!(file(&history, 1, "run.sh").unwrap(), "x");
    let mode = fs::metadata(checkout(&history, 1).path().join("run.sh")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o755);
    let history = Fixture::new().edited(r#"{ append = "run.sh", content = "x" }"#).unwrap();
    assert_eq!(file(&history, 1, "run.sh").unwrap(), "#!/bin/sh\nx");
    let history = Fixture::new().edited(r#"{ write = "new/deep", content = "x" }"#).unwrap();
    assert_eq!(file(&history, 1, "new/deep").unwrap(), "x");
}

#[test]
fn replace_changes_exactly_as_many_places_as_it_says() {
    let edit = |times: usize| {
        format!(r#"{{ replace = "Dockerfile", pattern = "data", with = "d", times = {times} }}"#)
    };
    let history = Fixture::new().edited(&edit(2)).unwrap();
    assert_eq!(file(&history, 1, "Dockerfile").unwrap(), "FROM scratch\nCOPY d /d\n");
    assert_eq!(Fixture::new().refused(&edit(1)), "the pattern is there 2 times, not 1");
}

#[test]
fn delete_rename_and_copy_take_files_and_folders() {
    let history = Fixture::new().edited(r#"{ delete = "run.sh" }"#).unwrap();
    assert_eq!(file(&history, 1, "run.sh"), None);
    let history = Fixture::new().edited(r#"{ copy = "data", to = "more/data" }"#).unwrap();
    assert!(file(&history, 1, "data/1.json").is_some());
    assert!(file(&history, 1, "more/data/2.json").is_some());
    let history = Fixture::new().edited(r#"{ rename = "data/1.json", to = "3.json" }"#).unwrap();
    assert_eq!(file(&history, 1, "data/1.json"), None);
    assert!(file(&history, 1, "3.json").is_some());
    assert_eq!(
        Fixture::new().refused(r#"{ rename = "run.sh", to = "data/1.json" }"#),
        "`data/1.json` is already there"
    );
}

#[test]
fn chmod_changes_the_mode_only() {
    let history = Fixture::new().edited(r#"{ chmod = "run.sh", mode = "644" }"#).unwrap();
    let mode = fs::metadata(checkout(&history, 1).path().join("run.sh")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(modified(&history, 0, "run.sh"), modified(&history, 1, "run.sh"));
    assert!(!same_tree(&history));
}

#[test]
fn touch_changes_the_time_from_its_commit_on_and_not_the_tree() {
    let text = "[[commit]]\nmessage = \"1\"\n[[commit]]\nmessage = \"2\"\n\
                edits = [{ touch = \"data/1.json\" }]\n[[commit]]\nmessage = \"3\"\n";
    let history = Fixture::new().script(text).unwrap();
    let times: Vec<_> = (0..3).map(|index| modified(&history, index, "data/1.json")).collect();
    assert!(times[0] < times[1]);
    assert_eq!(times[1], times[2]);
    assert!(same_tree(&history));
    assert_ne!(history.commits()[0].id, history.commits()[1].id);
}

#[test]
fn set_arg_and_no_edits_at_all_leave_the_tree() {
    let history = Fixture::new().edited(r#"{ set-arg = "NEW", value = "1" }"#).unwrap();
    assert!(same_tree(&history));
    assert_eq!(history.commits()[1].args["NEW"], "1");
    assert!(same_tree(&Fixture::new().edited("").unwrap()));
}

#[test]
fn a_patch_changes_creates_and_deletes_files() {
    let patch = "--- a/Dockerfile\n+++ b/Dockerfile\n@@ -1,2 +1,2 @@\n-FROM scratch\n+FROM busybox\n \
                 COPY data /data\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n--- a/run.sh\n\
                 +++ /dev/null\n@@ -1 +0,0 @@\n-#!/bin/sh\n";
    let history = Fixture::new().edited(&format!("{{ patch = '''{patch}''' }}")).unwrap();
    assert_eq!(file(&history, 1, "Dockerfile").unwrap(), "FROM busybox\nCOPY data /data\n");
    assert_eq!(file(&history, 1, "new").unwrap(), "x\n");
    assert_eq!(file(&history, 1, "run.sh"), None);

    let wrong = patch.replace("-FROM scratch", "-FROM nothing");
    let reason = Fixture::new().refused(&format!("{{ patch = '''{wrong}''' }}"));
    assert!(reason.starts_with("the patch does not apply to `Dockerfile`"), "{reason}");
    let outside = patch.replace("b/new", "b/../new");
    let reason = Fixture::new().refused(&format!("{{ patch = '''{outside}''' }}"));
    assert_eq!(reason, "the path `../new` leaves the tree");
}

#[test]
fn a_patch_by_git_renames_and_sets_modes_but_makes_no_link_that_leaves() {
    let patch = "diff --git a/data/1.json b/data/one.json\nsimilarity index 100%\n\
                 rename from data/1.json\nrename to data/one.json\n\
                 diff --git a/Dockerfile b/Dockerfile\nold mode 100644\nnew mode 100755\n";
    // The link to what is renamed then leads nowhere, which is no reason to refuse it.
    let history = Fixture::new().edited(&format!("{{ patch = '''{patch}''' }}")).unwrap();
    assert!(file(&history, 1, "data/one.json").is_some());
    let mode = fs::metadata(checkout(&history, 1).path().join("Dockerfile")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o755);

    let link = "diff --git a/out b/out\nnew file mode 120000\n--- /dev/null\n+++ b/out\n\
                @@ -0,0 +1 @@\n+../s.toml\n\\ No newline at end of file\n";
    assert_eq!(
        Fixture::new().refused(&format!("{{ patch = '''{link}''' }}")),
        "the symlink `out` to `../s.toml` leaves the tree"
    );
}

#[test]
fn generate_makes_the_same_bytes_from_the_same_seed() {
    let edit =
        |seed: u64| format!(r#"{{ generate = "big", files = 2, size = 10, seed = {seed} }}"#);
    let bytes = |seed: u64| {
        let history = Fixture::new().edited(&edit(seed)).unwrap();
        let folder = checkout(&history, 1);
        let read = |name: &str| fs::read(folder.path().join("big").join(name)).unwrap();
        (read("00000.bin"), read("00001.bin"))
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
    assert_ne!(bytes(1).0, bytes(1).1);
    assert_eq!(bytes(1).0.len(), 10);
}

#[test]
fn an_edit_that_changes_nothing_is_an_error_that_names_it() {
    for edit in [
        r##"{ write = "run.sh", content = "#!/bin/sh\n" }"##,
        r#"{ append = "run.sh", content = "" }"#,
        r#"{ replace = "run.sh", pattern = "sh", with = "sh" }"#,
        r#"{ chmod = "run.sh", mode = "755" }"#,
        r#"{ copy = "run.sh", to = "run.sh" }"#,
        r#"{ set-arg = "SLEEPTIME", value = "0" }"#,
    ] {
        assert_eq!(Fixture::new().refused(edit), "it changes nothing", "{edit}");
    }
    let fixture = Fixture::new();
    let error = fixture.edited(r#"{ chmod = "run.sh", mode = "755" }"#).err().unwrap().to_string();
    let expected = "s.toml:10:10: commit `second`, edit 1 (`chmod` of `run.sh`)";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn an_edit_of_what_is_not_there_or_no_file_is_refused() {
    assert_eq!(Fixture::new().refused(r#"{ delete = "x" }"#), "there is no `x`");
    assert_eq!(Fixture::new().refused(r#"{ touch = "x" }"#), "there is no `x`");
    assert_eq!(Fixture::new().refused(r#"{ write = "data", content = "" }"#), "`data` is a folder");
    assert_eq!(
        Fixture::new().refused(r#"{ write = "latest", content = "" }"#),
        "`latest` is a symlink, not a file"
    );
    assert_eq!(
        Fixture::new().refused(r#"{ write = "latest/x", content = "" }"#),
        "`latest/x` goes through the symlink `latest`"
    );
    // One folder up, the link's target would be outside.
    let fixture = Fixture::new();
    symlink("../Dockerfile", fixture.source().join("data/up")).unwrap();
    assert_eq!(
        fixture.refused(r#"{ rename = "data/up", to = "up" }"#),
        "the symlink `up` to `../Dockerfile` leaves the tree"
    );
}

#[test]
fn a_repository_inside_the_source_tree_does_not_become_part_of_it() {
    let fixture = Fixture::new();
    let id = fixture.edited("").unwrap().commits()[0].id.clone();
    let loaded = crate::scenario::load(&fixture.folder.path().join("s.toml")).unwrap();
    let history = History::script(&loaded, Written::NOTHING, &loaded.source).unwrap();
    assert_eq!(history.commits()[0].id, id);
}

#[test]
fn the_repository_goes_with_its_history() {
    let fixture = Fixture::new();
    let history = fixture.edited("").unwrap();
    let repository = history.repository.path().to_owned();
    assert!(repository.exists());
    drop(history);
    assert!(!repository.exists());
}

#[test]
fn changes_are_of_content_and_mode_against_the_commit_before() {
    let fixture = Fixture::new();
    let history = fixture
        .script(
            r#"
            [[commit]]
            message = "first"
            [[commit]]
            message = "second"
            edits = [
                { write = "data/1.json", content = "2" },
                { chmod = "run.sh", mode = "644" },
                { delete = "data/2.json" },
                { touch = "Dockerfile" },
            ]
            "#,
        )
        .unwrap();
    let first = history.changes(0).unwrap();
    let paths: Vec<&str> = first.iter().map(|change| change.path.as_str()).collect();
    assert!(paths.contains(&"Dockerfile") && paths.contains(&"latest"), "{paths:?}");
    let second: Vec<(String, Option<u32>)> = history
        .changes(1)
        .unwrap()
        .into_iter()
        .map(|change| (change.path, change.now.map(|(_, mode)| mode)))
        .collect();
    let expected = [
        ("data/1.json".to_owned(), Some(0o100644)),
        ("data/2.json".to_owned(), None),
        ("run.sh".to_owned(), Some(0o100644)),
    ];
    assert_eq!(second, expected);
    assert!(matches!(history.changes(2), Err(HistoryError::NoCommit { .. })));
}

impl Fixture {
    fn write(&self, path: &str, content: &str) {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The paths of the only commit, where a run writes into `results` of the source.
    fn taken(&self, top: &str, results: &str) -> Result<Vec<String>, HistoryError> {
        let results = self.source().join(results);
        let written = Written {
            results: Some(&results),
            is_results: |folder| folder.join("journal.jsonl").exists(),
        };
        let history = self.written(&format!("{top}[[commit]]\nmessage = \"first\"\n"), written)?;
        history.paths(0)
    }

    fn track(&self, paths: &[&str]) {
        fs::remove_dir_all(self.source().join(".git")).unwrap();
        let repository = Repository::init(self.source()).unwrap();
        let mut index = repository.index().unwrap();
        paths.iter().for_each(|path| index.add_path(Path::new(path)).unwrap());
        index.write().unwrap();
    }
}

#[test]
fn what_runs_wrote_into_the_source_is_no_input_of_the_next() {
    let fixture = Fixture::new();
    let before = fixture.taken("", "out").unwrap();
    for written in [
        "out/report.html",
        "results/a/run-1/journal.jsonl",
        "results/a/run-1/report.md",
        ".cachefrom/baselines/main.jsonl",
        "data/.cachefrom/b",
    ] {
        fixture.write(written, "x");
    }
    assert_eq!(fixture.taken("", "out").unwrap(), before);
    // What only has the name of something that a run writes is the user's.
    fixture.write("results/mine.txt", "x");
    assert!(fixture.taken("", "out").unwrap().contains(&"results/mine.txt".to_owned()));
    let named = fixture.taken("include = [\"results/a/run-1\"]\n", "out").unwrap();
    assert_eq!(named.len(), 2, "results are taken by their own name: {named:?}");
}

#[test]
fn the_working_tree_is_what_a_first_commit_of_it_would_have() {
    let fixture = Fixture::new();
    fixture.write(".cachefrom/baselines/a.jsonl", "x");
    fixture.write("data/.GIT/config", "x");
    fixture.write("data/target/x", "x");
    let source = fixture.source();
    let paths = |asked: Asked<'_>| -> Vec<String> {
        let files = working_tree(&source, &[], Written::NOTHING, asked).unwrap();
        files.into_iter().map(|file| file.path).collect()
    };
    assert_eq!(paths(Asked::ALL), fixture.edited("").unwrap().paths(0).unwrap());
    let with_build_folder = paths(Asked { build_folder: true, ..Asked::ALL });
    assert!(with_build_folder.contains(&"target/debug/x".to_owned()));
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
    fs::write(source.join(name), "x").unwrap();
    let told = std::cell::RefCell::new(vec![]);
    let on_unnamed = |path: &str| told.borrow_mut().push(path.to_owned());
    let without = paths(Asked { build_folder: true, on_unnamed: &on_unnamed, ..Asked::ALL });
    assert_eq!(without, with_build_folder);
    assert!(matches!(&told.borrow()[..], [one] if one.ends_with("/caf\\xe9")), "{told:?}");
}

#[test]
fn results_are_not_written_among_the_files_of_the_source() {
    let fixture = Fixture::new();
    let error = fixture.taken("", ".").unwrap_err().to_string();
    assert!(error.contains("--out"), "{error}");
    assert_eq!(fixture.taken("include = [\"data\"]\n", ".").unwrap().len(), 2);
}

#[test]
fn what_git_ignores_is_taken_only_by_its_name() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "/built/\n*.log\n");
    for path in ["built/app", "built/kept", "a.log", "data/b.log", "data/tracked.log"] {
        fixture.write(path, "x");
    }
    fixture.track(&["Dockerfile", "built/kept", "data/tracked.log"]);
    let taken = |top: &str| fixture.taken(top, "out").unwrap();
    let rest = [
        ".gitignore",
        "Dockerfile",
        "built/kept",
        "data/1.json",
        "data/2.json",
        "data/tracked.log",
        "latest",
        "run.sh",
    ];
    assert_eq!(taken(""), rest);
    assert_eq!(taken("include = [\"built\", \"a.log\"]\n"), ["a.log", "built/app", "built/kept"]);
    assert_eq!(taken("include = [\"built/app\"]\n"), ["built/app"]);
    assert_eq!(taken("include = [\"data/*.log\"]\n"), ["data/tracked.log"]);
    let error = fixture.taken("include = [\"*.log\"]\n", "out").unwrap_err().to_string();
    assert!(error.contains("that git does not ignore"), "{error}");
    // The same as of a folder below the work tree.
    let below = fixture.source().join("data").canonicalize().unwrap();
    let paths = |include: &[String]| -> Vec<String> {
        let files = working_tree(&below, include, Written::NOTHING, Asked::ALL).unwrap();
        files.into_iter().map(|file| file.path).collect()
    };
    assert_eq!(paths(&[]), ["1.json", "2.json", "tracked.log"]);
    assert_eq!(paths(&["b.log".into()]), ["1.json", "2.json", "b.log", "tracked.log"]);
}

#[test]
fn a_folder_that_git_ignores_as_a_whole_is_taken_by_its_name_as_a_whole() {
    let fixture = Fixture::new();
    fixture.write(".gitignore", "/built/\n");
    fixture.write("built/app", "x");
    fixture.write("built/deep/app", "x");
    fixture.track(&["Dockerfile"]);
    assert_eq!(
        fixture.taken("include = [\"built\"]\n", "out").unwrap(),
        ["built/app", "built/deep/app"]
    );
    assert_eq!(fixture.taken("include = [\"built/d*\"]\n", "out").unwrap(), ["built/deep/app"]);
}

#[test]
fn a_symlink_out_of_the_tree_is_refused_only_where_a_build_may_see_it() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.source().join(".venv/bin")).unwrap();
    symlink("/usr/bin/python3", fixture.source().join(".venv/bin/python")).unwrap();
    let error = fixture.taken("", "out").unwrap_err().to_string();
    assert!(error.contains("which leaves the tree\n  name it in .dockerignore"), "{error}");
    fixture.write(".dockerignore", "**/.venv\n");
    let history = fixture.edited("{ append = \"data/1.json\", content = \"2\" }").unwrap();
    assert_eq!(history.paths(1).unwrap().len(), 7);
    // What is read through the link on the way to the Dockerfile is seen however that is ignored.
    symlink("/etc", fixture.source().join("etc")).unwrap();
    fixture.write(".dockerignore", "etc\n.venv\n");
    assert!(fixture.taken("", "out").is_ok());
    let build = "[build]\ndockerfile = \"etc/passwd\"\n[[commit]]\nmessage = \"first\"\n";
    let path = fixture.folder.path().join("t.toml");
    fs::write(&path, format!("schema = 1\nname = \"a\"\nsource = \"source\"\n{build}")).unwrap();
    let loaded = crate::scenario::load(&path).unwrap();
    let error = History::script(&loaded, Written::NOTHING, &std::env::temp_dir());
    assert!(error.err().unwrap().to_string().contains("leaves the tree"));
}

/// The mode of a folder, which in [`with_entries`] holds a file `x`.
const FOLDER: &str = "40000";

/// A repository of two commits, of which the second also has `entries`, whatever they are called.
fn with_entries(folder: &Path, entries: &[(&str, &[u8])]) -> Repository {
    let repository = Repository::init(folder).unwrap();
    {
        let author = Signature::new("a", "a@localhost", &git2::Time::new(0, 0)).unwrap();
        let blob = repository.blob(b"FROM scratch\n").unwrap();
        let mut below = repository.treebuilder(None).unwrap();
        below.insert("x", blob, 0o100644).unwrap();
        let below = below.write().unwrap();
        let mut first = vec![("100644", &b"Dockerfile"[..])];
        let mut parent = None;
        for more in [&[][..], entries] {
            first.extend(more);
            let mut text = vec![];
            for (mode, name) in &first {
                let id = if *mode == FOLDER { below } else { blob };
                text.extend([mode.as_bytes(), b" ", name, b"\0", id.as_bytes()].concat());
            }
            // git2's own builder would refuse the names.
            let tree = repository.odb().unwrap().write(git2::ObjectType::Tree, &text).unwrap();
            let tree = repository.find_tree(tree).unwrap();
            let parents: Vec<_> = parent.iter().collect();
            let id = repository.commit(Some("HEAD"), &author, &author, "a", &tree, &parents);
            parent = Some(repository.find_commit(id.unwrap()).unwrap());
        }
    }
    repository
}

/// What there is to replay of it.
fn replayed(folder: &Path, more: Replay) -> Result<(History, Vec<String>), HistoryError> {
    let (repository, dockerfile) = (folder.to_owned(), "Dockerfile".to_owned());
    History::replay(&Replay { repository, dockerfile, ..more })
}

#[test]
fn what_a_tree_calls_its_entries_is_refused_before_anything_is_written_if_it_leads_elsewhere() {
    let hostile: [(&str, &[u8], &str); 8] = [
        ("100644", b"/tmp/evil", "slash in its name"),
        ("120000", b"/tmp/evil", "slash in its name"),
        ("100644", b"a/../../evil", "slash in its name"),
        (FOLDER, b"a/b", "slash in its name"),
        ("100644", b"..", "leads elsewhere"),
        (FOLDER, b"..", "leads elsewhere"),
        ("100644", b".", "leads elsewhere"),
        ("100644", b".Git", "git's own folder"),
    ];
    for (mode, name, problem) in hostile {
        let folder = tempfile::tempdir().unwrap();
        let repository = with_entries(folder.path(), &[(mode, name)]);
        // Wherever in the sequence the commit is.
        for listed in [["HEAD~1", "HEAD"], ["HEAD", "HEAD~1"]] {
            let which = Which::Listed(listed.map(str::to_owned).into());
            let error = replayed(folder.path(), Replay { which, ..Replay::default() });
            let error = error.err().unwrap();
            assert!(error.to_string().contains(problem), "{error}");
            let HistoryError::NoFile { commit, entry, .. } = error else { panic!("{error}") };
            assert_eq!(commit, repository.head().unwrap().target().unwrap().to_string());
            assert_eq!(entry, name.escape_ascii().to_string());
        }
        // As the error advises.
        let which = Which::Listed(vec!["HEAD~1".into()]);
        assert!(replayed(folder.path(), Replay { which, ..Replay::default() }).is_ok());
    }
}

#[test]
fn a_name_that_a_tree_has_twice_is_not_one_file() {
    for (first, second) in [("120000", "100644"), ("100644", FOLDER)] {
        let folder = tempfile::tempdir().unwrap();
        with_entries(folder.path(), &[(first, b"a"), (second, b"a")]);
        let error = replayed(folder.path(), Replay::default()).err().unwrap().to_string();
        assert!(error.contains("`a`") && error.contains("is there twice"), "{error}");
    }
}

#[test]
fn what_has_a_name_that_is_not_utf_8_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let names: [(&str, &[u8]); 4] =
        [("100644", b"caf\xe9"), (FOLDER, b"d\xff"), (FOLDER, b"e"), ("100644", b"f")];
    with_entries(folder.path(), &names);
    let (history, told) = replayed(folder.path(), Replay::default()).unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("can hold it: caf\\xe9, d\\xff"), "{told:?}");
    assert_eq!(history.paths(1).unwrap(), ["Dockerfile", "e/x", "f"]);
    let changes: Vec<String> =
        history.changes(1).unwrap().into_iter().map(|change| change.path).collect();
    assert_eq!(changes, ["e/x", "f"]);
    let into = folder.path().join("checkout");
    history.checkout(1, &into).unwrap();
    assert_eq!(fs::read_dir(&into).unwrap().count(), 3);
    // A commit that is told of whichever it is, and that changes nothing else, changes nothing.
    let folder = tempfile::tempdir().unwrap();
    with_entries(folder.path(), &names[..2]);
    let which = || Which::Listed(vec!["HEAD".into(), "HEAD~1".into()]);
    let (_, told) =
        replayed(folder.path(), Replay { which: which(), ..Replay::default() }).unwrap();
    assert!(told[0].contains("not UTF-8"), "{told:?}");
    let (history, told) =
        replayed(folder.path(), Replay { only_relevant: true, ..Replay::default() }).unwrap();
    assert_eq!((history.commits().len(), &*told[0]), (1, "1 of 2 commits touch the build context"));
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Takes out of a repository, as a partial clone of it would not have it, the object `id`.
fn lose(repository: &Repository, id: Oid) {
    let id = id.to_string();
    fs::remove_file(repository.path().join("objects").join(&id[..2]).join(&id[2..])).unwrap();
}

#[test]
fn what_a_partial_clone_lacks_is_told_with_the_command_that_brings_it() {
    let folder = tempfile::tempdir().unwrap();
    let repository = with_entries(folder.path(), &[("100644", b"more")]);
    let author = Signature::new("a", "a@localhost", &git2::Time::new(9, 0)).unwrap();
    let mut last = repository.head().unwrap().peel_to_commit().unwrap();
    let kept = repository.blob(b"FROM busybox\n").unwrap();
    let other = repository.blob(b"other").unwrap();
    let mut below = repository.treebuilder(None).unwrap();
    below.insert("x", other, 0o100644).unwrap();
    let below = below.write().unwrap();
    for (name, id, mode) in [("Dockerfile", kept, 0o100644), ("deep", below, 0o040000)] {
        let mut tree = repository.treebuilder(Some(&last.tree().unwrap())).unwrap();
        tree.insert(name, id, mode).unwrap();
        let tree = repository.find_tree(tree.write().unwrap()).unwrap();
        let id = repository.commit(Some("HEAD"), &author, &author, "a", &tree, &[&last]);
        last = repository.find_commit(id.unwrap()).unwrap();
    }
    let path = folder.path().display();
    let replayed = |more: Replay| replayed(folder.path(), more).map(|(history, _)| history);
    let told = |more: Replay| replayed(more).err().unwrap().to_string();
    assert_eq!(replayed(Replay::default()).unwrap().commits().len(), 4);

    // Of a repository that is meant to be whole, it is broken.
    lose(&repository, other);
    let history = replayed(Replay::default()).unwrap();
    assert!(matches!(
        history.checkout(3, &folder.path().join("out")),
        Err(HistoryError::Git { .. })
    ));
    drop(history);
    let mut config = repository.config().unwrap();
    config.set_str("remote.origin.url", "file:///nowhere").unwrap();
    config.set_bool("remote.origin.promisor", true).unwrap();
    let error = told(Replay::default());
    let expected = format!(
        "failed to read \"deep/x\" of the commit {}: {path} is a partial clone and lacks it\n  \
         bring all that is missing with: git -C {path} fetch --refetch --no-filter origin \
         'refs/heads/*:refs/heads/*'",
        last.id()
    );
    assert_eq!(error, expected);
    config.set_str("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*").unwrap();
    assert!(told(Replay::default()).ends_with("fetch --refetch --no-filter origin"));
    assert!(
        replayed(Replay { which: Which::Range("HEAD~2..HEAD~1".into()), ..Replay::default() })
            .is_ok()
    );
    // A folder that is missing may hold the Dockerfile.
    lose(&repository, below);
    let context = || Replay { context: "deep".into(), ..Replay::default() };
    let error = told(context());
    assert!(error.contains("partial clone"), "{error}");
    assert!(told(Replay { only_relevant: true, ..context() }).contains("partial clone"));
    lose(&repository, kept);
    assert!(told(Replay::default()).contains("read the content of Dockerfile"));
    // As git wrote it before it had several such remotes.
    config.remove("remote.origin.promisor").unwrap();
    config.set_i32("core.repositoryformatversion", 1).unwrap();
    config.set_str("extensions.partialClone", "origin").unwrap();
    assert!(told(Replay::default()).contains("partial clone"));
}
