//! Debian packages unpacked for their programs: the peers that cachefrom is measured against.
//!
//! Nothing in a run needs them. Like the engine itself they are fetched once, from the machine's own
//! mirror, into the cache directory, and never installed.

use std::fs;
use std::path::{Path, PathBuf};

use super::apt::{self, From, Machine};
use super::error::at;
use super::fetch::{RELEASES, lock, scratch};
use super::{EngineError, Notice};

/// The root below which `packages` are unpacked, `<root>/usr/bin` and so on; fetched if need be.
///
/// Releases are tried from the newest known, then the machine's own. Dependencies are not followed.
pub async fn packages(
    cache_dir: &Path,
    packages: &[&str],
    notice: Notice<'_>,
) -> Result<PathBuf, EngineError> {
    unpacked(cache_dir, packages, &RELEASES, notice).await
}

/// The same of the machine's own release alone: for programs that are linked to its libraries.
pub async fn machine_packages(
    cache_dir: &Path,
    packages: &[&str],
    notice: Notice<'_>,
) -> Result<PathBuf, EngineError> {
    unpacked(cache_dir, packages, &[], notice).await
}

/// From the first of `releases`, and then of the machine's own, that has all of them.
async fn unpacked(
    cache_dir: &Path,
    packages: &[&str],
    releases: &[&str],
    notice: Notice<'_>,
) -> Result<PathBuf, EngineError> {
    let parent = cache_dir.join("packages");
    fs::create_dir_all(&parent).map_err(at("create", &parent))?;
    let _lock = lock(&parent.join("lock")).await?;
    let name = packages.join("+");
    let root = parent.join(&name);
    if root.is_dir() {
        return Ok(root);
    }
    notice(&format!("fetching {name} into {} (once; nothing is installed)", parent.display()));
    let machine = Machine::read()?;
    let mut sources = vec![];
    for release in releases {
        sources.push((*release, From::Suite(machine.source(release)?)));
    }
    sources.push((machine.codename.as_str(), From::Machine));
    let mut reasons = vec![];
    for (release, from) in sources {
        let scratch = scratch(&parent)?;
        let (work, unpacked) = (scratch.path().join("work"), scratch.path().join("root"));
        for folder in [&work, &unpacked] {
            fs::create_dir(folder).map_err(at("create", folder))?;
        }
        match apt::unpack(packages, &from, &work, &unpacked).await {
            Ok(_) => {
                fs::rename(&unpacked, &root).map_err(at("create", &root))?;
                return Ok(root);
            }
            Err(error) => reasons.push(format!("{release}: {error}")),
        }
    }
    Err(EngineError::NoPackages { packages: name, reason: reasons.join("; ") })
}
