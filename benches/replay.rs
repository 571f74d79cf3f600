//! Planning a replay over a large repository: which commits, what changed, whether it matters.
//!
//! A repository of 50,000 commits over 20,000 files is made once, in one pack; then the program plans
//! replays of it (`--dry-run`) and its time and memory are taken. `-- --test`, and `cargo test
//! --benches`, do the same with a hundredth of the commits. No criterion: one run is seconds.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cachefrom::units::{Bytes, Nanos};
use git2::{Buf, Oid, Repository, Signature};

const FOLDERS: usize = 100;
const FILES_EACH: usize = 200;
/// Objects that are written to one pack, so that the process stays small.
const COMMITS_A_PACK: usize = 5_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    if given("--list") {
        println!("replay: benchmark");
        return;
    }
    let commits = if given("--bench") && !given("--test") { 50_000 } else { 500 };
    let folder = tempfile::Builder::new().prefix("cf-").tempdir().expect("a folder");
    let path = folder.path().join("large.git");
    made(&path, commits);
    println!("{commits} commits, {} files\n", FOLDERS * FILES_EACH);
    println!("| plan of | took | most memory | mapped files |\n| --- | ---: | ---: | ---: |");
    let range = format!("main~{}..main", commits - 1);
    let last: &[&str] = &["--last", "20"];
    let relevant: &[&str] = &["--last", "200", "--only-relevant"];
    let all: &[&str] = &["--range", &range, "--sample", "20"];
    let all_relevant: &[&str] = &["--range", &range, "--only-relevant", "--sample", "20"];
    let merges: &[&str] = &["--range", &range, "--merges", "--sample", "20"];
    for args in [last, relevant, all, all_relevant, merges] {
        let (time, [memory, mapped]) = planned(&path, args);
        let args = args.join(" ").replace(&range, "ALL");
        println!("| `{args}` | {time} | {memory} | {mapped} |");
    }
}

/// The median of three plans, and the most that any of them held: of memory, and in it of files.
fn planned(repository: &Path, args: &[&str]) -> (Nanos, [Bytes; 2]) {
    let mut times = vec![];
    let mut most = [Bytes(0); 2];
    for _ in 0..3 {
        let since = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cachefrom"))
            .args(["replay", "--dry-run", "--strategy", "local", "--repo"])
            .arg(repository)
            .args(args)
            .stdout(Stdio::null())
            .spawn()
            .expect("cachefrom starts");
        let status = loop {
            // What it held at its very end may be missed by one look.
            for (most, held) in most.iter_mut().zip(held(child.id()).unwrap_or_default()) {
                *most = held.max(*most);
            }
            if let Some(status) = child.try_wait().expect("cachefrom is a child") {
                break status;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        times.push(Nanos::of(since.elapsed()));
        assert!(status.success(), "{status}");
    }
    times.sort_unstable();
    (times[1], most)
}

/// The most memory that a process held at once until now, and what of files it holds: the program's
/// and those that it maps (`VmHWM` and `RssFile` of proc(5)).
fn held(process: u32) -> Option<[Bytes; 2]> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| Bytes(kib * 1024))
    };
    Some([bytes("VmHWM:")?, bytes("RssFile:")?])
}

/// A bare repository in which each commit changes one file, every third one a document.
fn made(path: &Path, commits: usize) {
    let repository = Repository::init_bare(path).expect("a repository");
    let odb = repository.odb().expect("its objects");
    let mut folders: Vec<Vec<Oid>> = vec![];
    let mut tip: Option<Oid> = None;
    let mut trees: Vec<Oid> = vec![];
    let memory = odb.add_new_mempack_backend(1000).expect("a place for new objects");
    for start in (0..commits).step_by(COMMITS_A_PACK) {
        if folders.is_empty() {
            let blob = repository.blob(b"text\n").expect("a blob");
            folders = vec![vec![blob; FILES_EACH]; FOLDERS];
            trees = folders.iter().map(|files| folder(&repository, files)).collect();
        }
        for number in start..(start + COMMITS_A_PACK).min(commits) {
            let changed = number * 7 % FOLDERS;
            let text = format!("commit {number}\n");
            folders[changed][number % FILES_EACH] =
                repository.blob(text.as_bytes()).expect("a blob");
            trees[changed] = folder(&repository, &folders[changed]);
            let root = root(&repository, &trees, number);
            let time = git2::Time::new(1_600_000_000 + number as i64 * 60, 0);
            let author = Signature::new("a", "a@localhost", &time).expect("an author");
            let tree = repository.find_tree(root).expect("a tree");
            let parent = tip.map(|id| repository.find_commit(id).expect("the parent"));
            let parents: Vec<_> = parent.iter().collect();
            let message = format!("commit number {number}");
            let id = repository.commit(None, &author, &author, &message, &tree, &parents);
            tip = Some(id.expect("a commit"));
        }
        let mut pack = Buf::new();
        memory.dump(&repository, &mut pack).expect("a pack");
        let mut writer = odb.packwriter().expect("a pack to write");
        std::io::Write::write_all(&mut writer, &pack).expect("the pack");
        writer.commit().expect("the pack's index");
        memory.reset().expect("room for more");
    }
    let tip = tip.expect("there are commits");
    repository.reference("refs/heads/main", tip, true, "made").expect("a branch");
    repository.set_head("refs/heads/main").expect("a head");
}

fn folder(repository: &Repository, files: &[Oid]) -> Oid {
    let mut builder = repository.treebuilder(None).expect("a tree");
    for (number, blob) in files.iter().enumerate() {
        builder.insert(format!("{number}.txt"), *blob, 0o100644).expect("a file");
    }
    builder.write().expect("a folder")
}

fn root(repository: &Repository, trees: &[Oid], number: usize) -> Oid {
    let mut builder = repository.treebuilder(None).expect("a tree");
    let file = |text: &str| repository.blob(text.as_bytes()).expect("a blob");
    builder.insert("Dockerfile", file("FROM busybox\nCOPY d0 /d\n"), 0o100644).expect("a file");
    builder.insert(".dockerignore", file("d?[1-9]\n"), 0o100644).expect("a file");
    let readme = format!("{}\n", number / 3);
    builder.insert("README.md", file(&readme), 0o100644).expect("a file");
    for (number, tree) in trees.iter().enumerate() {
        builder.insert(format!("d{number}"), *tree, 0o040000).expect("a folder");
    }
    builder.write().expect("a root")
}
