//! The programs that make an engine: this machine's, if they are new enough, else fetched ones.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{EngineError, Notice, apt, fetch};

/// The oldest engine that can keep images in containerd and export caches.
const OLDEST_MAJOR_VERSION: u32 = 25;

/// dockerd and the programs that it starts.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub dockerd: PathBuf,
    /// Searched before the PATH for containerd, its shim and runc.
    pub directory: PathBuf,
    /// `28.5.2`, as `dockerd --version` says it.
    pub version: String,
    /// Where the programs came from, for the journal and `doctor`.
    pub source: String,
}

impl Binaries {
    /// The PATH for dockerd.
    pub(crate) fn search_path(&self) -> OsString {
        let mut path = self.directory.as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        for usual in ["/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
            path.push(":");
            path.push(usual);
        }
        path
    }
}

/// This machine's engine if it is version 25 or newer, else one that is fetched once into `cache_dir`.
pub async fn find(cache_dir: &Path, notice: Notice<'_>) -> Result<Binaries, EngineError> {
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::NotRoot);
    }
    if let Some(dockerd) = on_path("dockerd")
        && on_path("containerd").is_some()
        && on_path("runc").is_some()
        && let Ok(binaries) = at_path(&dockerd).await
    {
        return Ok(binaries);
    }
    fetch::fetch(cache_dir, notice).await
}

/// The engine whose dockerd is `dockerd`, with its containerd and runc beside it or on the PATH.
pub async fn at_path(dockerd: &Path) -> Result<Binaries, EngineError> {
    let version = dockerd_version(dockerd).await?;
    if !is_new_enough(&version) {
        let reason = format!("{} is version {version}", dockerd.display());
        return Err(EngineError::NoEngine { reason });
    }
    Ok(Binaries {
        directory: dockerd.parent().unwrap_or(Path::new("/usr/bin")).to_owned(),
        source: dockerd.display().to_string(),
        dockerd: dockerd.to_owned(),
        version,
    })
}

/// The version that a dockerd says it is.
pub(super) async fn dockerd_version(dockerd: &Path) -> Result<String, EngineError> {
    let output = apt::run(tokio::process::Command::new(dockerd).arg("--version")).await?;
    Ok(parse_version(&output).unwrap_or_default().to_owned())
}

/// Whether `version` is one we take.
pub(super) fn is_new_enough(version: &str) -> bool {
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= OLDEST_MAJOR_VERSION)
}

/// The first executable file of that name on the PATH.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|candidate| {
        candidate
            .metadata()
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    })
}

/// `Docker version 28.5.2+dfsg4, build 1234` → `28.5.2+dfsg4`
fn parse_version(output: &str) -> Option<&str> {
    output.trim().strip_prefix("Docker version ")?.split(',').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_can_export_caches_are_taken() {
        assert_eq!(
            parse_version("Docker version 28.5.2+dfsg4, build c0ffee"),
            Some("28.5.2+dfsg4")
        );
        assert!(is_new_enough("28.5.2+dfsg4") && is_new_enough("25.0.0"));
        assert!(!is_new_enough("20.10.24+dfsg1") && !is_new_enough("") && !is_new_enough("dev"));
    }
}
