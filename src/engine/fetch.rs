//! An engine from Debian packages, unpacked into the cache directory and nowhere else.
//!
//! Releases are tried from the newest known; runc always comes from the machine's own release, which
//! has it patched for its kernel. A directory exists only when it is complete.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::apt::{self, From, Machine};
use super::error::at;
use super::find::{Binaries, dockerd_version, is_new_enough};
use super::{EngineError, Notice};

pub(super) const RELEASES: [&str; 2] = ["forky", "trixie"];
const PACKAGES: [&str; 2] = ["docker.io", "containerd"];
const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];

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
pub(super) async fn lock(path: &Path) -> Result<File, EngineError> {
    let path = path.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::create(&path).map_err(at("create", &path))?;
        file.lock().map_err(at("lock", &path))?;
        Ok(file)
    });
    match locked.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// A scratch directory beside what it will become, so that a rename makes it whole at once.
pub(super) fn scratch(parent: &Path) -> Result<tempfile::TempDir, EngineError> {
    tempfile::Builder::new().prefix(".new-").tempdir_in(parent).map_err(at("create", parent))
}

/// The newest complete engine that was fetched before.
async fn fetched(engines: &Path) -> Option<Binaries> {
    for release in fs::read_dir(engines).ok()?.flatten() {
        let name = release.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || !release.path().is_dir() {
            continue;
        }
        if let Ok(binaries) = binaries_in(&release.path(), &name).await {
            return Some(binaries);
        }
    }
    None
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
    if apt::unpack(&["runc"], &From::Machine, &work, &root).await.is_err() {
        // The machine's own lists may never have been fetched; ours of its release can be.
        let machine = Machine::read()?;
        let own = From::Suite(machine.source(&machine.codename)?);
        apt::unpack(&["runc"], &own, &work, &root).await?;
    }
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
