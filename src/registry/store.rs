//! Content on disk: blobs once each by digest, and small files that link them into repositories.
//!
//! ```text
//! lock                                   held while a registry serves this directory
//! blobs/sha256/HEX                       content, renamed here only once it is whole and checked
//! incoming/N                             content on its way; swept at the next start
//! repositories/NAME/_blobs/HEX           empty: this repository may see that blob
//! repositories/NAME/_manifests/HEX       holds the media type
//! repositories/NAME/_tags/TAG            holds HEX
//! ```
//!
//! Nothing is synced: after a power cut the store may be short, never wrong in what a digest
//! names while the process lives. Knows no HTTP. Deleting unlinks; bytes go at the next start.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::disk::{
    found, make_directory, names_in, read_text, reading, remove, write_small, writing,
};
use super::incoming::Incoming;
use super::manifest::{Manifest, reachable};
use super::name::{Tag, place};
use super::{Digest, Reference, RegistryError, RepositoryName};
use crate::units::Bytes;

#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    next: AtomicU64,
    /// Dropping it unlocks the directory.
    _lock: File,
}

/// The blobs that one repository links to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheSize {
    pub blobs: u64,
    /// Manifests are left out.
    pub bytes: Bytes,
    /// The part of `bytes` that no tag leads to any more.
    pub unreachable_bytes: Bytes,
}

/// A manifest as it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Store {
    /// Opens or creates the store, and sweeps what a crash or a deletion left over.
    pub fn open(directory: PathBuf) -> Result<Self, RegistryError> {
        for part in ["blobs/sha256", "incoming", "repositories"] {
            make_directory(&directory.join(part))?;
        }
        let path = directory.join("lock");
        let lock = File::create(&path).map_err(writing(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RegistryError::InUse { directory }),
            Err(TryLockError::Error(source)) => return Err(RegistryError::Write { path, source }),
        }
        let store = Self { directory, next: AtomicU64::new(0), _lock: lock };
        for name in names_in(&store.directory.join("incoming"))? {
            remove(&store.directory.join("incoming").join(name))?;
        }
        let mut linked = HashSet::new();
        collect_links(&store.directory.join("repositories"), &mut linked)?;
        for hex in names_in(&store.directory.join("blobs/sha256"))? {
            if !linked.contains(&hex) {
                remove(&store.directory.join("blobs/sha256").join(hex))?;
            }
        }
        Ok(store)
    }

    /// Begins content whose digest is not known yet.
    pub fn incoming(&self) -> Result<Incoming, RegistryError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join("incoming").join(number.to_string());
        Incoming::begin(path)
    }

    /// Publishes `incoming` as `digest` in `repository`, if that is what it is.
    pub fn publish(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        incoming: Incoming,
    ) -> Result<u64, RegistryError> {
        let size = incoming.end(digest, &self.content(digest))?;
        self.link(repository, digest)?;
        Ok(size)
    }

    /// Makes a blob that is in the store visible in `repository`.
    pub fn link(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), RegistryError> {
        let path = self.link_path(repository, "_blobs", digest.hex());
        write_small(&path, b"")
    }

    /// The blob, open for reading, with its size, where `repository` may see it.
    pub fn blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Option<(File, u64)>, RegistryError> {
        if !self.link_path(repository, "_blobs", digest.hex()).exists() {
            return Ok(None);
        }
        self.open_content(digest)
    }

    /// Whether there was such a blob in `repository`, which now has none.
    pub fn unlink_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        remove(&self.link_path(repository, "_blobs", digest.hex()))
    }

    /// Whether the store holds the bytes, for whichever repository.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.content(digest).exists()
    }

    /// Stores a manifest under its digest and, for a tag, moves the tag to it.
    pub fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let actual = Digest::of(bytes);
        if let Reference::Digest(expected) = reference
            && *expected != actual
        {
            return Err(RegistryError::DigestMismatch { expected: expected.clone(), actual });
        }
        self.replace(&self.content(&actual), bytes)?;
        let link = self.link_path(repository, "_manifests", actual.hex());
        self.replace(&link, media_type.as_bytes())?;
        if let Reference::Tag(tag) = reference {
            let path = self.link_path(repository, "_tags", tag.as_str());
            self.replace(&path, actual.hex().as_bytes())?;
        }
        Ok(actual)
    }

    pub fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<Stored>, RegistryError> {
        let digest = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => {
                let path = self.link_path(repository, "_tags", tag.as_str());
                match read_text(&path)? {
                    Some(hex) => Digest::from_hex(&hex),
                    None => return Ok(None),
                }
            }
        };
        let link = self.link_path(repository, "_manifests", digest.hex());
        let (Some(media_type), Some((mut file, size))) =
            (read_text(&link)?, self.open_content(&digest)?)
        else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(reading(&self.content(&digest)))?;
        Ok(Some(Stored { digest, media_type, bytes }))
    }

    /// Removes a tag, or a manifest with every tag on it. False if there was none.
    pub fn delete_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<bool, RegistryError> {
        match reference {
            Reference::Tag(tag) => remove(&self.link_path(repository, "_tags", tag.as_str())),
            Reference::Digest(digest) => {
                for tag in self.tags(repository)?.unwrap_or_default() {
                    let path = self.link_path(repository, "_tags", tag.as_str());
                    if read_text(&path)?.is_some_and(|hex| hex == digest.hex()) {
                        remove(&path)?;
                    }
                }
                remove(&self.link_path(repository, "_manifests", digest.hex()))
            }
        }
    }

    /// The tags in the order of [`place`]; `None` if nothing was ever put into `repository`.
    pub fn tags(&self, repository: &RepositoryName) -> Result<Option<Vec<Tag>>, RegistryError> {
        let home = self.home(repository);
        if !["_blobs", "_manifests", "_tags"].iter().any(|part| home.join(part).is_dir()) {
            return Ok(None);
        }
        let mut tags: Vec<Tag> =
            names_in(&home.join("_tags"))?.iter().filter_map(|name| name.parse().ok()).collect();
        tags.sort_by(|a, b| place(a.as_str()).cmp(&place(b.as_str())));
        Ok(Some(tags))
    }

    /// Every manifest of `repository`, tagged or not, in the order of their digests.
    pub fn manifests(&self, repository: &RepositoryName) -> Result<Vec<Stored>, RegistryError> {
        let mut names = names_in(&self.home(repository).join("_manifests"))?;
        names.sort();
        let stored = names.iter().map(|hex| {
            self.manifest(repository, &Reference::Digest(Digest::from_hex(hex))).transpose()
        });
        stored.flatten().collect()
    }

    pub fn cache_size(&self, repository: &RepositoryName) -> Result<CacheSize, RegistryError> {
        let tags = self.tags(repository)?.unwrap_or_default();
        let reachable = reachable(tags.into_iter().map(Reference::Tag).collect(), |reference| {
            let stored = self.manifest(repository, reference)?;
            let parsed = stored.map(|stored| (Manifest::parse(&stored.bytes), stored.digest));
            Ok::<_, RegistryError>(parsed.and_then(|(parsed, digest)| Some((digest, parsed.ok()?))))
        })?;
        let mut size = CacheSize::default();
        for hex in names_in(&self.home(repository).join("_blobs"))? {
            let digest = Digest::from_hex(&hex);
            let Some((_, bytes)) = self.open_content(&digest)? else { continue };
            size.blobs += 1;
            size.bytes = size.bytes + Bytes(bytes);
            if !reachable.contains(&digest) {
                size.unreachable_bytes = size.unreachable_bytes + Bytes(bytes);
            }
        }
        Ok(size)
    }

    fn content(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    fn home(&self, repository: &RepositoryName) -> PathBuf {
        self.directory.join("repositories").join(repository.as_str())
    }

    fn link_path(&self, repository: &RepositoryName, part: &str, name: &str) -> PathBuf {
        self.home(repository).join(part).join(name)
    }

    fn open_content(&self, digest: &Digest) -> Result<Option<(File, u64)>, RegistryError> {
        let path = self.content(digest);
        let Some(file) = found(File::open(&path)).map_err(reading(&path))? else {
            return Ok(None);
        };
        let size = file.metadata().map_err(reading(&path))?.len();
        Ok(Some((file, size)))
    }

    /// Writes a small file so that a reader sees the old one or the new one.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join("incoming").join(number.to_string());
        write_small(&temporary, bytes)?;
        if let Some(parent) = path.parent() {
            make_directory(parent)?;
        }
        fs::rename(&temporary, path).map_err(writing(path))
    }
}

/// Adds every blob and manifest that a repository below `directory` links to.
fn collect_links(directory: &Path, linked: &mut HashSet<String>) -> Result<(), RegistryError> {
    for name in names_in(directory)? {
        let path = directory.join(&name);
        match name.as_str() {
            "_blobs" | "_manifests" => linked.extend(names_in(&path)?),
            "_tags" => {}
            _ => collect_links(&path, linked)?,
        }
    }
    Ok(())
}
