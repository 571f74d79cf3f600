//! The layers of a built image: what they are and how large, uncompressed.
//!
//! Asked after the clock. Surprising: an image that was pushed is measured in the registry, by the
//! sizes that gzip files end with, because the engine may hold it packed; one that was not, as its
//! files lie on the engine's disk.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::{Engine, docker};
use crate::journal::LayerRecord;
use crate::registry::{Digest, Reference, Registry, RepositoryName};
use crate::units::Bytes;

/// Configurations larger than this are not read.
const CONFIG_LIMIT: u64 = 16 << 20;

#[derive(Deserialize)]
struct Manifest {
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Blob {
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: Rootfs,
}

#[derive(Deserialize)]
struct Rootfs {
    diff_ids: Vec<String>,
}

/// The layers of `image`, lowest first; none where neither registry nor engine can say.
///
/// `push` is the image's name where it was pushed: to the registry, whichever of its addresses the
/// name begins with.
pub async fn of(
    engine: &dyn Engine,
    registry: &Registry,
    image: &str,
    push: Option<&str>,
) -> Vec<LayerRecord> {
    let found = match (push.and_then(|name| name.split_once('/')), engine.docker()) {
        (Some((_, name)), _) => pushed(registry, name).await,
        (None, Some(socket)) => docker::layers(socket, image).await,
        (None, None) => None,
    };
    let record = |(diff_id, bytes)| LayerRecord { diff_id, bytes };
    found.into_iter().flatten().map(record).collect()
}

/// The layers of what was pushed as `name`.
async fn pushed(registry: &Registry, name: &str) -> Option<Vec<(String, Bytes)>> {
    let (repository, tag) = name.rsplit_once(':')?;
    let (repository, tag) = (repository.parse().ok()?, tag.parse::<Reference>().ok()?);
    let (_, manifest) = registry.manifest(&repository, &tag).ok()??;
    let manifest: Manifest = serde_json::from_slice(&manifest).ok()?;
    let digest = manifest.config.digest.parse::<Digest>().ok()?;
    let (config, _) = registry.end_of_blob(&repository, &digest, CONFIG_LIMIT).await.ok()??;
    let config: Config = serde_json::from_slice(&config).ok()?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return None;
    }
    let sizes = manifest.layers.iter().map(|layer| uncompressed(registry, &repository, layer));
    let sizes = futures_util::future::join_all(sizes).await;
    config.rootfs.diff_ids.into_iter().zip(sizes).map(|(id, size)| Some((id, size?))).collect()
}

/// A layer's size before it was compressed: a gzip file of one member, as BuildKit writes them, ends
/// with it (RFC 1952, ISIZE), modulo 4 GiB. Other compressions do not tell.
async fn uncompressed(
    registry: &Registry,
    repository: &RepositoryName,
    layer: &Blob,
) -> Option<Bytes> {
    let digest = layer.digest.parse::<Digest>().ok()?;
    let (end, size) = registry.end_of_blob(repository, &digest, 4).await.ok()??;
    if layer.media_type.ends_with(".tar") {
        return Some(Bytes(size));
    }
    // eStargz layers are gzip files of many members.
    let many = layer.annotations.keys().any(|key| key.contains("stargz"));
    if many || !layer.media_type.ends_with("gzip") {
        return None;
    }
    Some(Bytes(u32::from_le_bytes(end.try_into().ok()?).into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pushed_images_layers_are_measured_as_they_were_before_compression() {
        let store = tempfile::tempdir().unwrap();
        let registry = Registry::start(store.path().into()).await.unwrap();
        let name: RepositoryName = "jq/r0/inline".parse().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 5_000]).unwrap();
        let packed = registry.put_blob_bytes(&name, &gzip.finish().unwrap()).unwrap();
        let plain = registry.put_blob_bytes(&name, &[1; 300]).unwrap();
        let config = r#"{"rootfs":{"type":"layers","diff_ids":["sha256:a","sha256:b"]}}"#;
        let config = registry.put_blob_bytes(&name, config.as_bytes()).unwrap();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let layer = |kind: &str, digest| serde_json::json!({"mediaType": format!("application/vnd.oci.image.layer.v1.{kind}"), "digest": digest, "size": 1});
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 1},
            "layers": [layer("tar+gzip", packed), layer("tar", plain)],
        });
        let manifest = manifest.to_string();
        registry
            .put_manifest(&name, &"final_1".parse().unwrap(), kind, manifest.as_bytes())
            .unwrap();
        let expected =
            vec![("sha256:a".to_owned(), Bytes(5_000)), ("sha256:b".to_owned(), Bytes(300))];
        assert_eq!(pushed(&registry, "jq/r0/inline:final_1").await, Some(expected));
        assert_eq!(pushed(&registry, "jq/r0/inline:other").await, None);
    }
}
