//! What an engine is, and the proof that it has never built anything.
//!
//! The build cache is counted from the engine's raw answer: bollard's models know only the shape that
//! API 1.52 brought, and would read an older engine's cache as none.

use std::path::Path;

use bollard::query_parameters::ListImagesOptionsBuilder;
use serde::{Deserialize, Serialize};

use super::EngineError;
use super::docker::connect;
use super::request::{self, failed};

/// An engine's identity, as far as it may change what is measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineVersion {
    /// `28.5.2+dfsg4`, as the engine says it.
    pub version: String,
    pub api: String,
    /// `overlayfs` with the containerd image store, `overlay2` without.
    pub storage_driver: String,
    pub containerd: String,
    pub runc: String,
    pub kernel: String,
    /// Whether images live in containerd, which cache exports need.
    pub containerd_image_store: bool,
}

/// What an engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineContents {
    pub images: usize,
    pub build_cache: usize,
}

/// Asks the engine at `socket` what it is.
pub async fn version(socket: &Path) -> Result<EngineVersion, EngineError> {
    let docker = connect(socket)?;
    let version = docker.version().await.map_err(failed(socket, "/version"))?;
    let info = docker.info().await.map_err(failed(socket, "/info"))?;
    let component = |name: &str| {
        version
            .components
            .iter()
            .flatten()
            .find(|component| component.name == name)
            .map(|component| component.version.clone())
            .unwrap_or_default()
    };
    Ok(EngineVersion {
        containerd: component("containerd"),
        runc: component("runc"),
        version: version.version.unwrap_or_default(),
        api: version.api_version.unwrap_or_default(),
        kernel: version.kernel_version.unwrap_or_default(),
        storage_driver: info.driver.unwrap_or_default(),
        containerd_image_store: info
            .driver_status
            .iter()
            .flatten()
            .flatten()
            .any(|value| value.starts_with("io.containerd.snapshotter")),
    })
}

/// Counts the images and build cache records of the engine at `socket`.
pub async fn contents(socket: &Path) -> Result<EngineContents, EngineError> {
    let images = images(socket).await?;
    const USAGE: &str = "/system/df?type=build-cache";
    let body = request::get(socket, USAGE).await.map_err(|source| EngineError::Request {
        socket: socket.to_owned(),
        path: USAGE.to_owned(),
        source,
    })?;
    let build_cache = count_build_cache(&body).map_err(failed(socket, USAGE))?;
    Ok(EngineContents { images, build_cache })
}

/// Counts the images of the engine at `socket`, those without a name among them.
pub async fn images(socket: &Path) -> Result<usize, EngineError> {
    let all = ListImagesOptionsBuilder::new().all(true).build();
    let images = connect(socket)?.list_images(Some(all)).await;
    Ok(images.map_err(failed(socket, "/images/json"))?.len())
}

/// Fails unless the engine at `socket` has no build cache and no images but `bases`.
pub async fn prove_empty(socket: &Path, bases: usize) -> Result<(), EngineError> {
    let EngineContents { images, build_cache } = contents(socket).await?;
    if images > bases || build_cache > 0 {
        return Err(EngineError::NotEmpty { socket: socket.to_owned(), images, build_cache });
    }
    Ok(())
}

/// Reads both shapes of the answer: `BuildCache`, and since API 1.52 `BuildCacheUsage`.
fn count_build_cache(body: &[u8]) -> Result<usize, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Usage {
        build_cache: Option<Vec<serde::de::IgnoredAny>>,
        build_cache_usage: Option<BuildCacheUsage>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct BuildCacheUsage {
        total_count: Option<usize>,
    }
    let usage: Usage = serde_json::from_slice(body)?;
    let old = usage.build_cache.map_or(0, |records| records.len());
    let new = usage.build_cache_usage.and_then(|usage| usage.total_count).unwrap_or(0);
    Ok(old.max(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_of_the_build_cache_are_counted() {
        assert_eq!(count_build_cache(br#"{"BuildCache":null}"#).unwrap(), 0);
        assert_eq!(count_build_cache(br#"{"BuildCache":[{"ID":"a"},{"ID":"b"}]}"#).unwrap(), 2);
        assert_eq!(count_build_cache(br#"{"BuildCacheUsage":{"TotalCount":3}}"#).unwrap(), 3);
    }
}
