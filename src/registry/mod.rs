//! The embedded OCI distribution registry: caches and base images live here while builds run.
//!
//! It serves HTTP on the loopback interface only, keeps everything in one directory, and its
//! meter counts every byte that crosses. It knows neither builds nor strategies. A mirror's
//! query `?ns=docker.io` is ignored: `library/debian` is served as the repository of that name.

mod disk;
mod faults;
mod incoming;
pub mod manifest;
mod manifests;
pub mod meter;
mod name;
pub mod relay;
mod reply;
mod route;
mod serve;
mod shape;
mod store;
mod transfer;
mod uploads;

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::fault::Fault;
use crate::link::LinkProfile;

pub use faults::Fired;
pub use meter::{Count, Direction, Flow, Kind, Meter, Metered};
use relay::{Relay, RelayError};

pub use name::{Digest, Reference, RepositoryName, Tag};
pub use store::CacheSize;

/// A registry that serves until it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// A shaped way to a registry; see [`Registry::far`].
#[derive(Debug)]
pub struct FarEnd {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl FarEnd {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the server's tasks and the handle have in common.
#[derive(Debug)]
struct Shared {
    store: store::Store,
    meter: Meter,
    uploads: uploads::Uploads,
    faults: faults::Faults,
    /// The real registry that some repositories are in.
    relay: OnceLock<Arc<Relay>>,
    /// The repositories that were seeded: they stand for other registries, from which nothing can be
    /// mounted into this one.
    seeded: Mutex<HashSet<RepositoryName>>,
}

impl Registry {
    /// Serves the store in `dir`, created if need be, on a free port of 127.0.0.1.
    pub async fn start(dir: PathBuf) -> Result<Self, RegistryError> {
        let store = open_when_free(dir).await?;
        let meter = Meter::default();
        let (uploads, faults, relay, seeded) = Default::default();
        let shared = Arc::new(Shared { store, meter, uploads, faults, relay, seeded });
        let bind = |source| RegistryError::Bind { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let server = tokio::spawn(serve::accept(listener, Arc::clone(&shared), None));
        Ok(Self { address, shared, server })
    }

    /// A further way to the same registry, as far away as `link` says; closed when dropped.
    ///
    /// Bandwidth is shared by all connections to it, so an engine gets one of its own.
    pub async fn far(&self, link: &LinkProfile) -> Result<FarEnd, RegistryError> {
        let bind = |source| RegistryError::Bind { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let shared = Arc::clone(&self.shared);
        let server = tokio::spawn(serve::accept(listener, shared, Some(link.clone())));
        Ok(FarEnd { address, server })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// From now on requests meet `faults`, each counting its requests from here; an empty list ends
    /// all faults. Which of them fired is in the meter.
    pub fn arm(&self, faults: &[Fault]) {
        self.shared.faults.arm(faults);
    }

    /// From now on the repositories that `relay` serves are in its real registry. Done once: a second
    /// relay is dropped.
    pub fn relay(&self, relay: Arc<Relay>) {
        let _ = self.shared.relay.set(relay);
    }

    /// The relay that serves `repository`.
    fn relayed(&self, repository: &RepositoryName) -> Option<&Relay> {
        self.shared.relay.get().map(|relay| &**relay).filter(|relay| relay.serves(repository))
    }

    /// Writes into `metered` what the repositories that it names now hold.
    pub fn weigh(&self, metered: &mut Metered) -> Result<(), RegistryError> {
        let mut named: Vec<_> =
            metered.flows.iter().filter_map(|flow| flow.repository.clone()).collect();
        named.dedup();
        for repository in named {
            let size = self.cache_size(&repository)?;
            if size.blobs > 0 {
                metered.stored.insert(repository, size);
            }
        }
        Ok(())
    }

    /// Puts the file at `path` into `repository`, unmetered, if its digest is `digest`. Where
    /// the store already has that blob, for whichever repository, the file is not read.
    pub async fn put_blob_file(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        path: &Path,
    ) -> Result<(), RegistryError> {
        let shared = Arc::clone(&self.shared);
        let (repository, digest, file) = (repository.clone(), digest.clone(), path.to_owned());
        let copy = move || {
            if shared.store.holds(&digest) {
                return shared.store.link(&repository, &digest);
            }
            let mut incoming = shared.store.incoming()?;
            incoming.write_file(&file)?;
            shared.store.publish(&repository, &digest, incoming).map(drop)
        };
        let joined = tokio::task::spawn_blocking(copy).await;
        joined.unwrap_or_else(|panicked| {
            let source = io::Error::other(panicked);
            Err(RegistryError::Read { path: path.to_owned(), source })
        })
    }

    /// Puts a small blob into `repository`, unmetered.
    pub fn put_blob_bytes(
        &self,
        repository: &RepositoryName,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let mut incoming = self.shared.store.incoming()?;
        incoming.write(bytes)?;
        self.shared.store.publish(repository, &digest, incoming)?;
        Ok(digest)
    }

    /// Puts a manifest, unmetered. Its blobs must be there; an index may lack children, since
    /// a base image is seeded for one platform only. From then on nothing is mounted from the
    /// repository: it stands for another registry's.
    pub fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let put =
            self.shared.put_manifest(repository, reference, media_type, bytes, Children::MayLack);
        self.shared.seeded().insert(repository.clone());
        put
    }

    /// The media type and bytes of a manifest.
    pub fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<(String, Vec<u8>)>, RegistryError> {
        if let Some(relay) = self.relayed(repository) {
            return Ok(relay.manifest(repository, reference));
        }
        let stored = self.shared.store.manifest(repository, reference)?;
        Ok(stored.map(|stored| (stored.media_type, stored.bytes)))
    }

    /// The last bytes of a blob, `most` at most, and its whole size in bytes; unmetered.
    pub async fn end_of_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<(Vec<u8>, u64)>, RegistryError> {
        if let Some(relay) = self.relayed(repository) {
            return Ok(relay.end_of_blob(repository, digest, most).await?);
        }
        let Some((file, size)) = self.shared.store.blob(repository, digest)? else {
            return Ok(None);
        };
        let mut end = vec![0; usize::try_from(most.min(size)).unwrap_or(usize::MAX)];
        let read = file.read_exact_at(&mut end, size - most.min(size));
        let path = || PathBuf::from(digest.as_str());
        read.map_err(|source| RegistryError::Read { path: path(), source })?;
        Ok(Some((end, size)))
    }

    /// What `repository` holds, and how much of it no tag leads to.
    pub fn cache_size(&self, repository: &RepositoryName) -> Result<CacheSize, RegistryError> {
        match self.relayed(repository) {
            Some(relay) => Ok(relay.cache_size(repository)),
            None => self.shared.store.cache_size(repository),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // The accepting task owns the connections, so they end with it.
        self.server.abort();
    }
}

/// A registry that was dropped just now holds its lock until its tasks have ended: waits for it.
async fn open_when_free(dir: PathBuf) -> Result<store::Store, RegistryError> {
    let given_up = Instant::now() + Duration::from_secs(1);
    loop {
        match store::Store::open(dir.clone()) {
            Err(RegistryError::InUse { .. }) if Instant::now() < given_up => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened,
        }
    }
}

/// Whether an index may point to manifests that are not in the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Children {
    MustExist,
    MayLack,
}

impl Shared {
    fn seeded(&self) -> MutexGuard<'_, HashSet<RepositoryName>> {
        self.seeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks what the manifest points to, stores it and learns from it.
    fn put_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
        children: Children,
    ) -> Result<Digest, RegistryError> {
        let parsed = manifest::Manifest::parse(bytes)
            .map_err(|source| RegistryError::ManifestInvalid { source })?;
        if let Some(own) = parsed.media_type.as_deref().filter(|own| *own != media_type) {
            let (own, given) = (own.to_owned(), media_type.to_owned());
            return Err(RegistryError::MediaTypeMismatch { own, given });
        }
        for (descriptor, _) in parsed.blobs().filter(|(d, _)| d.urls.is_empty()) {
            if self.store.blob(repository, &descriptor.digest)?.is_none() {
                let (repository, digest) = (repository.clone(), descriptor.digest.clone());
                return Err(RegistryError::BlobMissing { repository, digest });
            }
        }
        for child in parsed.children().filter(|_| children == Children::MustExist) {
            let reference = Reference::Digest(child.digest.clone());
            if self.store.manifest(repository, &reference)?.is_none() {
                let (repository, digest) = (repository.clone(), child.digest.clone());
                return Err(RegistryError::BlobMissing { repository, digest });
            }
        }
        let digest = self.store.put_manifest(repository, reference, media_type, bytes)?;
        self.meter.learn(repository, &parsed);
        Ok(digest)
    }
}

/// Why the registry could not start, store or serve something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("failed to listen on 127.0.0.1")]
    Bind { source: io::Error },
    #[error("another process serves the registry in {}", directory.display())]
    InUse { directory: PathBuf },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("invalid repository name {name:?}")]
    NameInvalid { name: String },
    #[error("invalid digest {digest:?} (expected sha256 and 64 lower-case hex digits)")]
    DigestInvalid { digest: String },
    #[error("invalid tag {tag:?}")]
    TagInvalid { tag: String },
    #[error("content is {actual}, not {expected}")]
    DigestMismatch { expected: Digest, actual: Digest },
    #[error("invalid manifest")]
    ManifestInvalid { source: serde_json::Error },
    #[error("manifest says it is {own}, but was sent as {given}")]
    MediaTypeMismatch { own: String, given: String },
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error("{repository} lacks {digest}, which the manifest names")]
    BlobMissing { repository: RepositoryName, digest: Digest },
}
