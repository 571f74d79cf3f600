//! What an engine says of itself and of what it holds, and the emptying of it.
//!
//! Asks the control API only, which every kind of engine has. Surprising: a version says nothing
//! about what works, since a distribution's dockerd may report none; the worker's labels do.

use std::time::{Duration, Instant};

use bollard_buildkit_proto::moby::buildkit::v1::{
    DiskUsageRequest, ListWorkersRequest, PruneRequest, UsageRecord,
};

use super::channel::{BuildkitError, Connection};
use crate::units::Bytes;

/// How long results that a build just let go of may keep an engine from being empty.
const PRUNING: Duration = Duration::from_secs(30);
const PRUNE_AGAIN: Duration = Duration::from_millis(100);

/// An engine's BuildKit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    /// `v0.25.1`; empty where it is not told.
    pub version: String,
    /// What it builds for where nothing is said, `linux/amd64`; empty where it is not told.
    pub platform: String,
    /// `overlayfs`; empty on an engine that keeps images in graph drivers.
    pub snapshotter: String,
    /// Whether it is the one inside dockerd.
    pub in_docker: bool,
}

/// Asks the engine's first worker, which is the one that builds.
pub async fn worker(connection: &Connection) -> Result<Worker, BuildkitError> {
    let answer = connection.control().list_workers(ListWorkersRequest::default()).await;
    let answer = answer.map_err(BuildkitError::call("Control.ListWorkers"))?.into_inner();
    let Some(record) = answer.record.into_iter().next() else { return Ok(Worker::default()) };
    // dockerd sets this label only where its images are containerd's (moby `worker/worker.go`).
    let label = |name: &str| record.labels.get(name).cloned().unwrap_or_default();
    // The first is the machine's own (buildkit `util/archutil`, `SupportedPlatforms`).
    let platform = record.platforms.first().map(|platform| {
        let parts = [&platform.os, &platform.architecture, &platform.variant];
        let parts = parts.into_iter().map(String::as_str).filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("/")
    });
    Ok(Worker {
        platform: platform.unwrap_or_default(),
        snapshotter: label("org.mobyproject.buildkit.worker.snapshotter"),
        in_docker: connection.is_docker()
            || record
                .labels
                .keys()
                .any(|key| key.starts_with("org.mobyproject.buildkit.worker.moby.")),
        version: record.buildkit_version.map(|version| version.version).unwrap_or_default(),
    })
}

/// One record of an engine's build cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRecord {
    /// What it is of, in BuildKit's words: a step's name, a pulled image, a cache mount.
    pub description: String,
    /// `regular`, `exec.cachemount`, `source.local` and others (buildkit `client/diskusage.go`).
    pub kind: String,
    pub bytes: Bytes,
}

/// What the engine's build cache holds.
pub async fn disk_usage(connection: &Connection) -> Result<Vec<CacheRecord>, BuildkitError> {
    let answer = connection.control().disk_usage(DiskUsageRequest::default()).await;
    let answer = answer.map_err(BuildkitError::call("Control.DiskUsage"))?.into_inner();
    let record = |record: UsageRecord| CacheRecord {
        description: record.description,
        kind: record.record_type,
        bytes: Bytes(u64::try_from(record.size).unwrap_or(0)),
    };
    Ok(answer.record.into_iter().map(record).collect())
}

/// Empties the engine's build cache. That is not the same as an engine that never built: blobs of
/// images stay, and so does what it remembers of registries.
pub async fn prune(connection: &Connection) -> Result<(), BuildkitError> {
    let since = Instant::now();
    loop {
        let request = PruneRequest { all: true, ..PruneRequest::default() };
        let call = BuildkitError::call("Control.Prune");
        let mut pruned = connection.control().prune(request).await.map_err(&call)?.into_inner();
        while pruned.message().await.map_err(&call)?.is_some() {}
        // Results are let go of a moment after the build that made them.
        let left = disk_usage(connection).await?.len();
        if left == 0 {
            return Ok(());
        }
        if since.elapsed() > PRUNING {
            return Err(BuildkitError::NotPruned { left });
        }
        tokio::time::sleep(PRUNE_AGAIN).await;
    }
}
