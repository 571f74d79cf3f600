//! An engine from Debian packages, unpacked into the cache directory and nowhere else.
//!
//! Releases are tried from the newest known; runc always comes from the machine's own release, which
//! has it patched for its kernel. A directory exists only when it is complete.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::apt::{self, From, Machine};
use super::error::at;
use super::find::{Binaries, dockerd_version, is_new_enough};
use super::{EngineError, Notice};

pub(super) const RELEASES: [&str; 2] = ["forky", "trixie"];
const PACKAGES: [&str; 2] = ["docker.io", "containerd"];
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];

/// How often a lock that another process holds is asked for.
const LOCK_POLL: Duration = Duration::from_millis(100);
const SCRATCH_PREFIX: &str = ".new-";
/// No fetching takes as long.
const SCRATCH_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where fetched engines and base images are kept unless another place is asked for:
/// `$XDG_CACHE_HOME/cachefrom`.
pub fn cache_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("cachefrom")
}

/// The fetched engine of `cache_dir`; fetches it where there is none yet.
pub async fn fetch(cache_dir: &Path, notice: Notice<'_>) -> Result<Binaries, EngineError> {
    let engines = cache_dir.join("engine");
    fs::create_dir_all(&engines).map_err(at("create", &engines))?;
    let _lock = lock(&engines.join("lock")).await?;
    if let Some(binaries) = fetched(&engines).await {
        return Ok(binaries);
    }
    let machine = Machine::read()?;
    let mut releases = vec![];
    for release in RELEASES {
        releases.push((release.to_owned(), From::Suite(machine.source(release)?)));
    }
    // Another Debian-like machine may itself carry a Docker that is new enough.
    if is_new_enough(&apt::machine_version("docker.io").await) {
        releases.push((machine.codename.clone(), From::Machine));
    }
    let mut reasons = Vec::new();
    for (release, from) in releases {
        notice(&format!(
            "fetching a Docker engine from Debian {release} into {} (once; nothing is installed)",
            engines.display()
        ));
        match fetch_release(&release, &from, &engines).await {
            Ok(binaries) => return Ok(binaries),
            Err(error) => reasons.push(format!("{release}: {error}")),
        }
    }
    Err(EngineError::NoEngine { reason: reasons.join("; ") })
}

/// A lock that other processes fetching into the same cache wait for.
///
/// Asked for again and again, since a thread that waits for it could not be interrupted.
pub(super) async fn lock(path: &Path) -> Result<File, EngineError> {
    let file = File::create(path).map_err(at("create", path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_POLL).await,
            Err(TryLockError::Error(error)) => return Err(at("lock", path)(error)),
        }
    }
}

/// A scratch directory beside what it will become, so that a rename makes it whole at once. Those
/// that killed runs left there go.
pub fn scratch(parent: &Path) -> Result<tempfile::TempDir, EngineError> {
    for entry in fs::read_dir(parent).map_err(at("list", parent))?.flatten() {
        let ours = entry.file_name().as_encoded_bytes().starts_with(SCRATCH_PREFIX.as_bytes());
        let modified = entry.metadata().and_then(|found| found.modified());
        let age = modified.ok().and_then(|modified| modified.elapsed().ok());
        if ours && age.is_some_and(|age| age > SCRATCH_LIFE) {
            // Another run may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let made = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempdir_in(parent);
    made.map_err(at("create", parent))
}

/// The newest complete engine that was fetched before.
async fn fetched(engines: &Path) -> Option<Binaries> {
    let mut found = vec![];
    for release in fs::read_dir(engines).ok()?.flatten() {
        let name = release.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !release.path().is_dir() {
            continue;
        }
        found.extend(binaries_in(&release.path(), &name).await.ok());
    }
    found.into_iter().max_by_key(|binaries| numbers(&binaries.version))
}

/// The numbers of a version, in their order.
fn numbers(version: &str) -> Vec<u64> {
    let digits = version.split(|c: char| !c.is_ascii_digit());
    digits.filter_map(|number| number.parse().ok()).collect()
}

async fn fetch_release(
    release: &str,
    from: &From,
    engines: &Path,
) -> Result<Binaries, EngineError> {
    let scratch = scratch(engines)?;
    let (work, root, bin) =
        (scratch.path().join("work"), scratch.path().join("root"), scratch.path().join("bin"));
    for folder in [&work, &root, &bin] {
        fs::create_dir(folder).map_err(at("create", folder))?;
    }
    apt::unpack(&PACKAGES, from, &work, &root).await?;
    apt::unpack(&["runc"], &From::Machine, &work, &root).await?;
    for folder in ["usr/sbin", "usr/bin", "sbin", "bin"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for entry in entries.flatten() {
            let target = bin.join(entry.file_name());
            // Debian's usr/bin/runc is a link to usr/sbin/runc, and must not replace it.
            if target.exists() {
                continue;
            }
            fs::rename(entry.path(), &target).map_err(at("move", &target))?;
        }
    }
    let version = dockerd_version(&bin.join("dockerd")).await?;
    if !is_new_enough(&version) {
        return Err(EngineError::NoEngine { reason: format!("it carries Docker {version}") });
    }
    for folder in [&work, &root] {
        fs::remove_dir_all(folder).map_err(at("remove", folder))?;
    }
    let name = format!("{release}-{version}");
    let target = engines.join(&name);
    let _ = fs::remove_dir_all(&target);
    fs::rename(scratch.path(), &target).map_err(at("create", &target))?;
    binaries_in(&target, &name).await
}

async fn binaries_in(engine: &Path, name: &str) -> Result<Binaries, EngineError> {
    let directory: PathBuf = engine.join("bin");
    for program in PROGRAMS {
        let path = directory.join(program);
        path.metadata().map_err(at("look at", &path))?;
    }
    let dockerd = directory.join("dockerd");
    let version = dockerd_version(&dockerd).await?;
    let source = format!("Debian packages, {name}");
    Ok(Binaries { dockerd, directory, version, source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn waiting_for_a_lock_can_be_interrupted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let held = runtime.block_on(lock(&path)).unwrap();
        let waiting = async { tokio::time::timeout(Duration::from_millis(50), lock(&path)).await };
        assert!(runtime.block_on(waiting).is_err());
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            sender.send(()).unwrap();
        });
        ended.recv_timeout(Duration::from_secs(10)).expect("the runtime waits for the lock");
        drop(held);
    }

    #[test]
    fn what_killed_runs_left_in_the_making_goes_after_a_day() {
        let parent = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - SCRATCH_LIFE - Duration::from_secs(60);
        let [dead, living, other] = [".new-a", ".new-b", "engine"].map(|n| parent.path().join(n));
        for folder in [&dead, &living, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "").unwrap();
        }
        for folder in [&dead, &other] {
            File::open(folder).unwrap().set_modified(old).unwrap();
        }
        let made = scratch(parent.path()).unwrap();
        assert!(!dead.exists() && living.exists() && other.exists() && made.path().exists());
    }

    #[tokio::test]
    async fn the_newest_of_several_fetched_engines_is_used() {
        let engines = tempfile::tempdir().unwrap();
        let versions = ["26.1.5", "28.5.2+dfsg4", "28.10.1", "28.9.9", "25.0.0"];
        for version in versions {
            let bin = engines.path().join(format!("a-{version}/bin"));
            fs::create_dir_all(&bin).unwrap();
            for program in PROGRAMS {
                let path = bin.join(program);
                let text = format!("#!/bin/sh\necho Docker version {version}, build 1\n");
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let found = fetched(engines.path()).await.unwrap();
        assert_eq!(found.version, "28.10.1");
    }
}
