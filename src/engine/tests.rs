//! Real engines: what they leave behind, which must be nothing.
//!
//! These need root and a Docker engine, which is fetched once into a cache that all runs share.

use std::collections::BTreeMap;
use std::fs;
use std::io::BufRead;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::*;

const CHILD: &str = "CACHEFROM_TEST_ENGINE_CHILD";

fn cache() -> PathBuf {
    let named = std::env::var_os("CACHEFROM_TEST_CACHE").map(PathBuf::from);
    named.unwrap_or_else(|| std::env::temp_dir().join("cachefrom-test-cache"))
}

async fn binaries() -> Binaries {
    find(&cache(), &|line| eprintln!("{line}")).await.unwrap()
}

fn options(run_root: &Path) -> EngineOptions {
    EngineOptions { run_root: run_root.to_owned(), mirror: None, golden: None }
}

/// The processes whose command lines name `directory`.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.to_string_lossy().into_owned();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok())
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&needle))
        .collect()
}

fn mounts_of(directory: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&*directory.to_string_lossy())).count()
}

/// Name → what must not change, of everything below `directory`.
fn checksums(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut sums = BTreeMap::new();
    let mut queue = vec![directory.to_owned()];
    while let Some(folder) = queue.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().unwrap());
            let content = if metadata.is_dir() {
                queue.push(path.clone());
                String::new()
            } else if metadata.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if metadata.is_file() {
                format!("{:?}", Sha256::digest(fs::read(&path).unwrap()))
            } else {
                String::new()
            };
            let owner = (metadata.mode(), metadata.uid(), metadata.gid());
            sums.insert(path, format!("{owner:?} {content}"));
        }
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_starts_empty_and_leaves_nothing() {
    let binaries = binaries().await;
    let root = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let run = RunRoot::create(root.path()).unwrap();
    let engine = PrivateEngine::start(&binaries, options(run.path())).await.unwrap();
    let version = version(engine.socket()).await.unwrap();
    assert!(version.containerd_image_store, "{version:?}");
    prove_empty(engine.socket(), 0).await.unwrap();
    eprintln!("{version:?}\nready after {}\nlog: {}", engine.start_time(), engine.log());
    assert_ne!(processes_of(run.path()), Vec::<String>::new());
    let path = run.path().to_owned();
    let stopped = engine.stop().await.unwrap();
    eprintln!("gone after {stopped}");
    assert_eq!(processes_of(&path), Vec::<String>::new());
    assert_eq!(mounts_of(&path), 0);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "only the lock is left");
    drop(run);
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_engine_leaves_nothing() {
    let binaries = binaries().await;
    let root = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let engine = PrivateEngine::start(&binaries, options(root.path())).await.unwrap();
    drop(engine);
    assert_eq!(processes_of(root.path()), Vec::<String>::new());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_does_not_change_the_golden_data_root() {
    let binaries = binaries().await;
    let root = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let golden = root.path().join("golden");
    let engine = PrivateEngine::start(&binaries, options(root.path())).await.unwrap();
    let base = local_base("busybox", &cache(), &|line| eprintln!("{line}")).await.unwrap().unwrap();
    load(engine.socket(), &base.path).await;
    let graceful = engine.stop_gracefully(&golden).await.unwrap();
    let before = checksums(&golden);

    let with_golden = EngineOptions { golden: Some(golden.clone()), ..options(root.path()) };
    let engine = PrivateEngine::start(&binaries, with_golden.clone()).await.unwrap();
    eprintln!(
        "stopped gracefully in {graceful}; {} files cloned and ready after {}",
        before.len(),
        engine.start_time()
    );
    let held = probe::contents(engine.socket()).await.unwrap();
    assert_eq!(held, probe::EngineContents { images: 1, build_cache: 0 });
    prove_empty(engine.socket(), 1).await.unwrap();
    // A second image makes the engine write blobs, snapshots and all its databases.
    load(engine.socket(), &base.path).await;
    engine.stop_gracefully(&root.path().join("other")).await.unwrap();
    assert!(!checksums(&root.path().join("other")).is_empty());
    assert_eq!(checksums(&golden), before);
}

/// Asks this test program again, as a machine whose apt keeps its lists in an empty folder.
fn without_apt_lists(test: &str, folder: &Path) -> std::process::Output {
    let (lists, configuration) = (folder.join("lists"), folder.join("apt.conf"));
    fs::create_dir_all(lists.join("partial")).unwrap();
    let text = format!("Dir::State::lists \"{}\";\n", lists.display());
    fs::write(&configuration, text).unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD, folder)
        .env("APT_CONFIG", &configuration)
        .output()
        .unwrap()
}

#[test]
fn base_images_are_made_where_apt_lists_were_never_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let output = without_apt_lists("engine::tests::child_that_makes_base_images", folder.path());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("made from busybox-static 1"), "{text}");
    assert!(text.contains("unpacked mmdebstrap"), "{text}");
    let error = text.lines().find(|line| line.starts_with("error: ")).unwrap();
    let expected = "the Debian packages cachefrom-no-such are not to be had: with this machine's lists, apt-get failed";
    assert!(error.contains(expected), "{error}");
    assert!(error.contains("; with new lists of "), "{error}");
    assert_eq!(fs::read_dir(folder.path().join("lists/partial")).unwrap().count(), 0);
}

/// Not a test of its own: what the test above asks for.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_makes_base_images() {
    let (Some(folder), Some(_)) = (std::env::var_os(CHILD), std::env::var_os("APT_CONFIG")) else {
        return;
    };
    let folder = Path::new(&folder);
    let cache = folder.join("cache");
    let base = local_base("busybox", &cache, &|line| eprintln!("{line}")).await.unwrap().unwrap();
    println!("made from {}", base.source);
    // What comes after that for Debian's images takes minutes, and is the same on every machine.
    let unpack = async |package: &str| {
        apt::unpack(&[package], &apt::From::Machine, folder, &folder.join("tools")).await
    };
    unpack("mmdebstrap").await.unwrap();
    assert!(folder.join("tools/usr/bin/mmdebstrap").exists());
    println!("unpacked mmdebstrap");
    let error = unpack("cachefrom-no-such").await.unwrap_err();
    println!("error: {}", error.to_string().replace('\n', " "));
}

/// Imports a root filesystem as an image, which unpacks it into a snapshot.
async fn load(socket: &Path, tar: &Path) {
    use bollard::query_parameters::CreateImageOptionsBuilder;
    use futures_util::TryStreamExt;
    let docker = bollard::Docker::connect_with_unix(
        &socket.to_string_lossy(),
        60,
        &bollard::ClientVersion { major_version: 1, minor_version: 44 },
    )
    .unwrap();
    let options = CreateImageOptionsBuilder::new().from_src("-").repo("base").tag("1").build();
    let body = bollard::body_full(fs::read(tar).unwrap().into());
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

#[test]
fn a_killed_run_leaves_no_process_and_the_sweep_removes_the_rest() {
    let root = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "engine::tests::child_that_is_killed"])
        .env(CHILD, root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("engine is up")));
    assert_ne!(processes_of(root.path()), Vec::<String>::new());
    assert_eq!(sweep(root.path()).unwrap(), Vec::<PathBuf>::new(), "the run lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let since = Instant::now();
    while !processes_of(root.path()).is_empty() {
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", processes_of(root.path()));
        std::thread::sleep(Duration::from_millis(5));
    }
    eprintln!("the engine of a killed run was gone after {:?}", since.elapsed());
    assert_eq!(sweep(root.path()).unwrap().len(), 1);
    assert_eq!(mounts_of(root.path()), 0);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "only the root's lock is left");
}

/// Not a test of its own: the process that the test above kills.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_is_killed() {
    let Some(root) = std::env::var_os(CHILD) else { return };
    let run = RunRoot::create(Path::new(&root)).unwrap();
    let _engine = PrivateEngine::start(&binaries().await, options(run.path())).await.unwrap();
    println!("engine is up");
    tokio::time::sleep(Duration::from_secs(60)).await;
}
