//! Commits of real repositories: what is played, what is told, and that the repository stays as it
//! was to the last byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cachefrom::journal::{Outcome, Recorded};
use git2::{Oid, Repository, Signature};

use super::end_to_end::{cachefrom, left_behind};

/// A repository being scripted.
struct Scripted {
    repository: Repository,
    files: BTreeMap<String, String>,
    made: i64,
}

impl Scripted {
    fn new(folder: &Path) -> Self {
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head("main").external_template(false);
        let repository = Repository::init_opts(folder, &options).unwrap();
        Self { repository, files: BTreeMap::new(), made: 0 }
    }

    fn set(&mut self, path: &str, text: &str) {
        self.files.insert(path.into(), text.into());
    }

    fn commit(&mut self, branch: &str, message: &str, parents: &[Oid]) -> Oid {
        let mut index = git2::Index::new().unwrap();
        for (path, text) in &self.files {
            let zero = git2::IndexTime::new(0, 0);
            let (id, mode) = match text.strip_prefix("submodule ") {
                Some(id) => (Oid::from_str(id).unwrap(), 0o160000),
                None => (self.repository.blob(text.as_bytes()).unwrap(), 0o100644),
            };
            let entry = git2::IndexEntry {
                ctime: zero,
                mtime: zero,
                dev: 0,
                ino: 0,
                mode,
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path: path.clone().into_bytes(),
            };
            index.add(&entry).unwrap();
        }
        self.made += 60;
        let time = git2::Time::new(1_700_000_000 + self.made, 0);
        let author = Signature::new("a", "a@localhost", &time).unwrap();
        let tree = index.write_tree_to(&self.repository).unwrap();
        let tree = self.repository.find_tree(tree).unwrap();
        let parents: Vec<_> =
            parents.iter().map(|id| self.repository.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        let id = self.repository.commit(None, &author, &author, message, &tree, &parents).unwrap();
        let name = format!("refs/heads/{branch}");
        self.repository.reference(&name, id, true, "scripted").unwrap();
        id
    }
}

const DOCKERFILE: &str = "FROM busybox\nCOPY src /src\nRUN cat /src/* > /all.txt\n";

/// A merge, a rename, a deleted Dockerfile, a step that fails, and what none of them mind.
fn scripted(folder: &Path) -> Vec<Oid> {
    let mut script = Scripted::new(folder);
    script.set("Dockerfile", DOCKERFILE);
    script.set(".dockerignore", "*.md\n");
    script.set("src/a.txt", "a\n");
    script.set("README.md", "one\n");
    let first = script.commit("main", "first", &[]);
    script.set("README.md", "two\n");
    let readme = script.commit("main", "only the README", &[first]);
    script.set("src/a.txt", "b\n");
    let side = script.commit("side", "on the side", &[readme]);
    let merge = script.commit("main", "Merge branch 'side'", &[readme, side]);
    script.files.remove("src/a.txt");
    script.set("code/a.txt", "b\n");
    script.set("Dockerfile", &DOCKERFILE.replace("COPY src", "COPY code"));
    let renamed = script.commit("main", "a folder is renamed", &[merge]);
    script.files.remove("Dockerfile");
    let deleted = script.commit("main", "no Dockerfile", &[renamed]);
    script.set("Dockerfile", "FROM busybox\nRUN echo it fails && false\n");
    let failing = script.commit("main", "a step that fails", &[deleted]);
    script.set("Dockerfile", &DOCKERFILE.replace("COPY src", "COPY code"));
    let last = script.commit("main", "as before", &[failing]);
    vec![first, readme, merge, renamed, deleted, failing, last]
}

/// Every file below `folder` with its content and time.
fn bytes(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let time = path.metadata().unwrap().modified().unwrap();
                found.insert(path.clone(), (std::fs::read(&path).unwrap(), time));
            }
        }
    }
    found
}

/// What a dry run says of `repository`: its output, and what it told beside.
fn planned(repository: &Path, more: &[&str]) -> (String, String) {
    let repository = repository.to_str().unwrap();
    let args = [&["replay", "--dry-run", "--repo", repository], more].concat();
    let output = cachefrom(&args, Path::new("/tmp"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cf-").tempdir().unwrap()
}

#[test]
fn a_history_with_a_merge_a_rename_and_failures_is_played_to_its_end() {
    let temporary = temporary();
    let folder = temporary.path().join("My Repo");
    let ids = scripted(&folder);
    // A hook would leave a trace.
    let hook = folder.join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\ntouch hooked\n").unwrap();
    let before = bytes(&folder);
    let out = temporary.path().join("out");
    let paths = [&out, &folder].map(|path| path.to_str().unwrap());
    let args = ["replay", "--progress", "plain", "--strategy", "local", "--last", "9"];
    let args = [&args[..], &["--out", paths[0], "--repo", paths[1]]].concat();
    let output = cachefrom(&args, temporary.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "a build failed: {stderr}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
    assert!(bytes(&folder) == before, "the repository is not as it was");

    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    assert_eq!(recorded.header.scenario, "my-repo");
    let commits = &recorded.header.commits;
    let found: Vec<&str> = commits.iter().map(|commit| commit.id.as_str()).collect();
    let expected: Vec<String> = ids.iter().map(Oid::to_string).collect();
    assert_eq!(found, expected);
    assert!(commits.iter().all(|commit| commit.branch == "main"));
    let built: Vec<bool> =
        recorded.trials.iter().map(|trial| trial.outcome == Outcome::Built).collect();
    assert_eq!(built, [true, true, true, true, false, false, true]);
    let Outcome::BuildFailed { exit_code, log, .. } = &recorded.trials[5].outcome else {
        panic!("{:?}", recorded.trials[5].outcome)
    };
    assert_eq!(*exit_code, Some(1));
    assert!(log.iter().any(|line| line.contains("it fails")), "{log:?}");
    // Nothing that a build sees changed in the second commit.
    assert!(recorded.trials[1].builds[0].trace.steps().all(|step| step.cached));
    assert!(commits[4].dockerfile.is_none() && commits[5].dockerfile.is_some());
    let moved: Vec<&str> = commits[3].changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(moved, ["Dockerfile", "code/a.txt", "src/a.txt"]);
}

#[test]
fn a_dockerfile_outside_the_context_is_read_from_each_commit() {
    let temporary = temporary();
    let folder = temporary.path().join("repository");
    let mut script = Scripted::new(&folder);
    let dockerfile = "FROM busybox\nCOPY a.txt /\nRUN cat /a.txt > /b.txt\n";
    script.set("docker/api.Dockerfile", dockerfile);
    script.set("docker/api.Dockerfile.dockerignore", "*.md\n");
    // Were it used, there would be nothing to copy.
    script.set("services/api/.dockerignore", "a.txt\n");
    script.set("services/api/a.txt", "a\n");
    let first = script.commit("main", "first", &[]);
    script.set("services/api/README.md", "ignored\n");
    let readme = script.commit("main", "only the README", &[first]);
    script.set("docker/web.Dockerfile", "FROM busybox\n");
    let other = script.commit("main", "only another Dockerfile", &[readme]);
    script.set("docker/api.Dockerfile", &dockerfile.replace("cat", "tac"));
    let changed = script.commit("main", "only the Dockerfile", &[other]);
    script.set("docker/api.Dockerfile.dockerignore", "*.md\n*.bak\n");
    let ignore = script.commit("main", "only its ignore file", &[changed]);
    script.files.remove("docker/api.Dockerfile");
    let gone = script.commit("main", "no Dockerfile", &[ignore]);

    let out = temporary.path().join("out");
    let paths = [&out, &folder].map(|path| path.to_str().unwrap());
    let build = ["--context", "services/api", "-f", "../../docker/./api.Dockerfile"];
    let args = ["replay", "--only-relevant", "--progress", "plain", "--strategy", "local"];
    let args = [&args[..], &build, &["--out", paths[0], "--repo", paths[1]]].concat();
    let output = cachefrom(&args, temporary.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "the last build has no Dockerfile: {stderr}");
    assert!(stderr.contains("4 of 6 commits touch the build context"), "{stderr}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());

    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    let commits = &recorded.header.commits;
    let found: Vec<&str> = commits.iter().map(|commit| commit.id.as_str()).collect();
    assert_eq!(found, [first, changed, ignore, gone].map(|id| id.to_string()));
    assert_eq!(commits[0].dockerfile.as_deref(), Some(dockerfile));
    assert_eq!(commits[2].dockerignore.as_deref(), Some("*.md\n*.bak\n"));
    assert_eq!(commits[3].dockerfile, None);
    let built: Vec<bool> =
        recorded.trials.iter().map(|trial| trial.outcome == Outcome::Built).collect();
    assert_eq!(built, [true, true, true, false]);
    let rebuilt = |trial: usize| -> Vec<String> {
        let steps = recorded.trials[trial].builds[0].trace.steps();
        steps.filter(|step| !step.cached).map(|step| step.name.clone()).collect()
    };
    assert_eq!(rebuilt(1), ["[3/3] RUN tac /a.txt > /b.txt"]);
    assert_eq!(rebuilt(2), Vec::<String>::new(), "nothing was there that is ignored now");
    let explained = cachefrom(&["explain", paths[0]], temporary.path());
    let explained = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(explained.contains("line 3"), "{explained}");

    let args = ["replay", "--dry-run", "-f", "../Dockerfile", "--repo", paths[1]];
    let output = cachefrom(&args, temporary.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("../Dockerfile is outside of the repository"), "{stderr}");
}

#[test]
fn policies_find_what_merged_branches_left() {
    let temporary = temporary();
    let folder = temporary.path().join("repository");
    let mut script = Scripted::new(&folder);
    script.set(
        "Dockerfile",
        "FROM busybox\nCOPY list.txt /\nRUN wc -l /list.txt > /count\nCOPY src /src\n",
    );
    script.set("list.txt", "one\n");
    script.set("src/a.txt", "a\n");
    let first = script.commit("main", "first", &[]);
    script.set("src/a.txt", "b\n");
    let side = script.commit("side", "side begins", &[first]);
    script.set("src/a.txt", "a\n");
    script.set("list.txt", "one\ntwo\n");
    let list = script.commit("main", "main has a longer list", &[first]);
    script.set("src/a.txt", "b\n");
    let caught_up = script.commit("side", "Merge branch 'main' into side", &[side, list]);
    script.commit("main", "Merge branch 'side'", &[list, caught_up]);

    let out = temporary.path().join("out");
    let paths = [&out, &folder].map(|path| path.to_str().unwrap());
    let policies = "from-parent,from-merge-base,from-branch,from-shared-ref";
    let args = ["replay", "--merges", "--progress", "plain", "--strategy", policies];
    let args = [&args[..], &["--out", paths[0], "--repo", paths[1]]].concat();
    let output = cachefrom(&args, temporary.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    let branches: Vec<&str> = recorded.header.commits.iter().map(|c| c.branch.as_str()).collect();
    assert_eq!(branches, ["main", "side", "main", "side", "main"]);
    // Of three steps; the third has the sources, the two before it the list.
    let reused = |policy: &str| -> Vec<usize> {
        let mut trials: Vec<_> =
            recorded.trials.iter().filter(|trial| trial.key.strategy == policy).collect();
        trials.sort_by_key(|trial| trial.key.commit);
        let cached = |trial: &&_| -> usize {
            let trial: &cachefrom::journal::TrialRecord = trial;
            trial.builds[0].trace.steps().filter(|step| step.cached).count()
        };
        trials.iter().map(cached).collect()
    };
    // The parent of the merge into side has the old list; what it merged has the new one.
    assert_eq!(reused("from-parent"), [0, 2, 0, 0, 2]);
    assert_eq!(reused("from-merge-base"), [0, 2, 0, 2, 2]);
    assert_eq!(reused("from-branch"), [0, 0, 0, 0, 2]);
    assert_eq!(reused("from-shared-ref"), [0, 2, 0, 2, 3]);
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
}

#[test]
fn which_commits_are_played_is_for_the_caller_to_say() {
    let temporary = temporary();
    let folder = temporary.path().join("repository");
    let ids = scripted(&folder);
    let short = |id: &Oid| id.to_string()[..7].to_owned();
    let (all, _) = planned(&folder, &[]);
    assert!(ids.iter().all(|id| all.contains(&short(id))) && !all.contains("on the side"), "{all}");
    let (merges, _) = planned(&folder, &["--merges"]);
    assert!(merges.contains("on the side (side)"), "{merges}");
    let (relevant, told) = planned(&folder, &["--only-relevant"]);
    assert!(!relevant.contains("only the README"), "{relevant}");
    assert!(told.contains("6 of 7 commits touch the build context"), "{told}");
    assert_eq!(planned(&folder, &["--context", "./", "-f", "./Dockerfile"]).0, all);
    let range = format!("{}..{}", ids[1], ids[3]);
    let (range, _) = planned(&folder, &["--range", &range]);
    assert!(range.contains("Merge branch") && !range.contains("first"), "{range}");
    assert!(range.contains("a folder is renamed") && !range.contains("no Dockerfile"), "{range}");
    let (sampled, _) = planned(&folder, &["--sample", "3"]);
    let count = ids.iter().filter(|id| sampled.contains(&short(id))).count();
    assert!(count == 3 && sampled.contains("as before"), "{sampled}");
    assert_eq!(planned(&folder, &["--sample", "3"]).0, sampled, "the same seed, the same sample");
    let list = temporary.path().join("commits.txt");
    std::fs::write(&list, format!("# two\n{}\nmain # the tip\n", ids[0])).unwrap();
    let (listed, _) = planned(&folder, &["--commits", list.to_str().unwrap()]);
    assert!(listed.contains("1 ") && listed.contains("first") && listed.contains("as before"));
    assert!(!listed.contains("Merge"), "{listed}");
}

#[test]
fn bare_repositories_worktrees_and_subfolders_are_repositories_too() {
    let temporary = temporary();
    let folder = temporary.path().join("repository");
    scripted(&folder);
    let (expected, _) = planned(&folder, &[]);
    let bare = temporary.path().join("repository.git");
    git2::build::RepoBuilder::new().bare(true).clone(folder.to_str().unwrap(), &bare).unwrap();
    assert_eq!(planned(&bare, &[]).0, expected);
    let repository = Repository::open(&folder).unwrap();
    let worktree = temporary.path().join("worktree");
    repository.worktree("worktree", &worktree, None).unwrap();
    let (there, _) = planned(&worktree, &[]);
    assert!(there.contains("as before"), "{there}");
    let below = temporary.path().join("repository/.git");
    assert!(planned(&below, &[]).0.contains("as before"));
}

#[test]
fn what_cannot_be_replayed_as_it_is_is_told() {
    let temporary = temporary();
    let folder = temporary.path().join("repository");
    let mut script = Scripted::new(&folder);
    script.set("Dockerfile", DOCKERFILE);
    script.set("vendor/lib", "submodule 1111111111111111111111111111111111111111");
    script.set(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let first = script.commit("main", "first", &[]);
    script.commit("main", "second", &[first]);
    let (_, told) = planned(&folder, &[]);
    assert!(told.contains("submodules") && told.contains("vendor/lib"), "{told}");
    assert!(told.contains("Git LFS"), "{told}");
    // What git writes into a clone of depth 1.
    let repository = Repository::open(&folder).unwrap();
    let head = repository.head().unwrap().peel_to_commit().unwrap();
    std::fs::write(folder.join(".git/shallow"), format!("{}\n", head.id())).unwrap();
    let (planned, told) = planned(&folder, &[]);
    assert!(told.contains("the repository is shallow"), "{told}");
    assert!(!planned.contains("first"), "{planned}");

    let refused = |args: &[&str]| {
        let output = cachefrom(&[&["replay", "--dry-run"], args].concat(), temporary.path());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        stderr
    };
    let repo = folder.to_str().unwrap();
    assert!(refused(&["--repo", repo, "--range", "nowhere..main"]).contains("nowhere"));
    assert!(refused(&["--repo", repo, "--range", "main..main"]).contains("no commits to replay"));
    assert!(refused(&["--repo", repo, "--range", "main"]).contains("write A..B"));
    assert!(refused(&["--repo", repo, "--range", "main...main"]).contains("write A..B"));
    assert!(refused(&["--repo", repo, "-f", "Nope"]).contains("has Nope"));
    assert!(refused(&["--repo", repo, "--context", "nowhere"]).contains("nowhere/Dockerfile"));
    let unknown = refused(&["--repo", repo, "--target", "nope"]);
    assert!(unknown.contains("no commit that is played has a stage `nope`"), "{unknown}");
    assert!(refused(&["--repo", "/proc"]).contains("open the repository /proc"));
    assert!(refused(&["--repo", repo, "--commits", "/nowhere"]).contains("/nowhere"));
}

/// This project's own history, where there is one: a released crate has none, and then two commits
/// of its files are made.
fn own_history(temporary: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tracked = |repository: Repository| {
        let tree = repository.head().ok()?.peel_to_tree().ok()?;
        tree.get_name("Dockerfile.jq").map(|_| ())
    };
    // A repository around an unpacked crate would not hold its files.
    if Repository::discover(root).ok().and_then(tracked).is_some() {
        return root.to_owned();
    }
    let folder = temporary.join("own");
    let mut script = Scripted::new(&folder);
    script.set("Dockerfile.jq", &std::fs::read_to_string(root.join("Dockerfile.jq")).unwrap());
    script.set("data/1.json", "{}\n");
    let first = script.commit("main", "first", &[]);
    script.set("README.md", "more\n");
    script.commit("main", "second", &[first]);
    folder
}

#[test]
fn this_projects_own_history_is_replayed_and_left_alone() {
    let temporary = temporary();
    let own = own_history(temporary.path());
    let git = Repository::discover(&own).unwrap();
    let kept = || -> Vec<(PathBuf, Option<Vec<u8>>)> {
        let names = ["HEAD", "index", "config", "packed-refs", "logs/HEAD", "ORIG_HEAD"];
        let folders = [git.path(), git.commondir()];
        let paths = folders.iter().flat_map(|folder| names.map(|name| folder.join(name)));
        paths.map(|path| (path.clone(), std::fs::read(path).ok())).collect()
    };
    let refs = || -> Vec<(String, Option<Oid>)> {
        let references = git.references().unwrap().flatten();
        references.map(|found| (found.name().unwrap().to_owned(), found.target())).collect()
    };
    let status = || -> Vec<(String, u32)> {
        let mut options = git2::StatusOptions::new();
        options.include_untracked(true).update_index(false);
        let statuses = git.statuses(Some(&mut options)).unwrap();
        let entry = |entry: git2::StatusEntry<'_>| {
            (String::from_utf8_lossy(entry.path_bytes()).into_owned(), entry.status().bits())
        };
        statuses.iter().map(entry).collect()
    };
    let before = (kept(), refs(), status());
    let out = temporary.path().join("out");
    let paths = [&out, &own].map(|path| path.to_str().unwrap());
    let args = ["replay", "--progress", "plain", "-f", "Dockerfile.jq", "--target", "PRODUCTION"];
    let more = ["--strategy", "local", "--last", "2", "--out", paths[0], "--repo", paths[1]];
    let output = cachefrom(&[&args[..], &more].concat(), temporary.path());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
    assert!((kept(), refs(), status()) == before, "the repository is not as it was");
    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    assert!(recorded.trials.iter().all(|trial| trial.outcome == Outcome::Built));
    assert!(!recorded.trials.is_empty());
}
