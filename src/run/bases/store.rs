//! Base images kept between runs, each an OCI layout folder in the cache directory.
//!
//! A folder is there only when it is whole. An upstream's image is kept under its reference, a root
//! filesystem's compressed form under the file's path, size and time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::layout;
use super::reference::ImageReference;
use crate::engine::{self, EngineError};
use crate::registry::Digest;

/// The folders of one cache directory.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    pub fn new(cache_dir: &Path) -> Self {
        Self { folder: cache_dir.join("images") }
    }

    /// Where an upstream's image is kept, whether or not it is there.
    pub fn upstream(&self, reference: &ImageReference) -> PathBuf {
        let text = reference.to_string();
        self.folder.join("upstream").join(named(&text, &text))
    }

    /// The day, in UTC, on which the image at `folder` was put there.
    pub fn since(folder: &Path) -> Option<String> {
        let written = std::fs::metadata(folder.join("index.json")).ok()?.modified().ok()?;
        let written = jiff::Timestamp::try_from(written).ok()?;
        Some(written.strftime("%Y-%m-%d").to_string())
    }

    /// Any image that is kept.
    pub fn any(&self) -> Option<PathBuf> {
        ["upstream", "rootfs"].iter().find_map(|kind| {
            let entries = std::fs::read_dir(self.folder.join(kind)).ok()?;
            entries
                .flatten()
                .map(|entry| entry.path())
                .find(|path| path.join("index.json").exists())
        })
    }

    /// The image of the root filesystem `tar`, compressed if it has not been before.
    pub fn of_rootfs(&self, tar: &Path) -> Result<PathBuf, EngineError> {
        let at = |source| EngineError::File { action: "look at", path: tar.into(), source };
        let metadata = std::fs::metadata(tar).map_err(at)?;
        let name = tar.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        let path = tar.canonicalize().map_err(at)?;
        let stamp = format!("{} {} {seconds}.{nanoseconds}", path.display(), metadata.len());
        let folder = self.folder.join("rootfs").join(named(&name, &stamp));
        if folder.exists() {
            return Ok(folder);
        }
        let scratch = self.scratch()?;
        let image = engine::oci_image(tar, scratch.path())?;
        let write =
            |source| EngineError::File { action: "write", path: scratch.path().into(), source };
        layout::create(scratch.path()).map_err(write)?;
        layout::adopt(scratch.path(), &image).map_err(write)?;
        self.keep(scratch, &folder)?;
        Ok(folder)
    }

    /// An empty folder for an image in the making.
    pub fn scratch(&self) -> Result<tempfile::TempDir, EngineError> {
        let at = |source| EngineError::File { action: "create", path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(at)?;
        engine::scratch(&self.folder)
    }

    /// Makes `scratch` the image at `folder`, unless another run was faster.
    pub fn keep(&self, scratch: tempfile::TempDir, folder: &Path) -> Result<(), EngineError> {
        let at = |source| EngineError::File { action: "create", path: folder.into(), source };
        std::fs::create_dir_all(folder.parent().unwrap_or(&self.folder)).map_err(at)?;
        match std::fs::rename(scratch.path(), folder) {
            Err(error) if !folder.exists() => Err(at(error)),
            _ => Ok(()),
        }
    }
}

/// A readable name that no other key gives.
fn named(readable: &str, key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '_' };
    let readable: String = readable.chars().map(plain).take(100).collect();
    format!("{readable}-{}", &Digest::of(key.as_bytes()).hex()[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_kept_since_its_index_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Store::since(folder.path()), None);
        let index = std::fs::File::create(folder.path().join("index.json")).unwrap();
        let day = std::time::Duration::from_secs(1_700_000_000);
        index.set_modified(std::time::SystemTime::UNIX_EPOCH + day).unwrap();
        assert_eq!(Store::since(folder.path()).as_deref(), Some("2023-11-14"));
    }

    #[test]
    fn a_rootfs_is_compressed_once_and_again_when_it_changed() {
        let cache = tempfile::tempdir().unwrap();
        let tar = cache.path().join("rootfs.tar");
        std::fs::write(&tar, [0u8; 10240]).unwrap();
        let store = Store::new(cache.path());
        let first = store.of_rootfs(&tar).unwrap();
        std::fs::write(first.join("mark"), "").unwrap();
        assert!(store.of_rootfs(&tar).unwrap().join("mark").exists());
        std::fs::write(&tar, [0u8; 20480]).unwrap();
        assert_ne!(store.of_rootfs(&tar).unwrap(), first);
    }
}
