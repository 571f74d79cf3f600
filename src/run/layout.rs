//! A base image from an OCI layout folder (OCI image-spec 1.1, "image-layout") into the registry.

use std::path::Path;

use serde::Deserialize;

use crate::registry::{Digest, Reference, Registry, RegistryError, RepositoryName};

/// Descriptors of `index.json` and of a manifest, as far as they are needed here.
#[derive(Debug, Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(rename = "mediaType", default)]
    media_type: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("cannot read {path}", path = path.display())]
    Read { path: std::path::PathBuf, source: std::io::Error },
    #[error("{path} is not what an OCI layout holds there", path = path.display())]
    Parse { path: std::path::PathBuf, source: serde_json::Error },
    #[error("{path} lists {found} images; a base image is a layout with exactly one, for this platform", path = path.display())]
    Images { path: std::path::PathBuf, found: usize },
    #[error("{digest:?} is not a digest")]
    Digest { digest: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Puts the one image of the layout at `folder` into `repository` as `tag`; says its digest.
pub async fn serve(
    registry: &Registry,
    repository: &RepositoryName,
    tag: &Reference,
    folder: &Path,
) -> Result<String, LayoutError> {
    let path = folder.join("index.json");
    let index: Index = parse(&path, &read(&path)?)?;
    let [image] = index.manifests.as_slice() else {
        return Err(LayoutError::Images { path, found: index.manifests.len() });
    };
    let path = blob(folder, &digest(&image.digest)?);
    let bytes = read(&path)?;
    let manifest: Manifest = parse(&path, &bytes)?;
    for part in manifest.layers.iter().chain([&manifest.config]) {
        let digest = digest(&part.digest)?;
        registry.put_blob_file(repository, &digest, &blob(folder, &digest)).await?;
    }
    registry.put_manifest(repository, tag, &image.media_type, &bytes)?;
    Ok(image.digest.clone())
}

fn blob(folder: &Path, digest: &Digest) -> std::path::PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

fn digest(text: &str) -> Result<Digest, LayoutError> {
    text.parse().map_err(|_| LayoutError::Digest { digest: text.into() })
}

fn read(path: &Path) -> Result<Vec<u8>, LayoutError> {
    std::fs::read(path).map_err(|source| LayoutError::Read { path: path.into(), source })
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(bytes).map_err(|source| LayoutError::Parse { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_one_image_of_a_layout_is_served_under_its_tag() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            std::fs::write(blobs.join(digest.hex()), bytes).unwrap();
            format!("sha256:{}", digest.hex())
        };
        let describe = |kind: &str, digest: &str, size: usize| {
            serde_json::json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size
            })
        };
        let (config, layer) = (put(b"{}"), put(b"layer"));
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("config.v1+json", &config, 2),
            "layers": [describe("layer.v1.tar", &layer, 5)],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let id = put(&manifest);
        let index = serde_json::json!({
            "schemaVersion": 2, "manifests": [describe("manifest.v1+json", &id, manifest.len())]
        });
        std::fs::write(folder.path().join("index.json"), index.to_string()).unwrap();

        let store = tempfile::tempdir().unwrap();
        let registry = Registry::start(store.path().to_path_buf()).await.unwrap();
        let (repository, tag) = ("library/base".parse().unwrap(), "1".parse().unwrap());
        let served = serve(&registry, &repository, &tag, folder.path()).await.unwrap();
        assert_eq!(served, id);
        assert_eq!(registry.manifest(&repository, &tag).unwrap().unwrap().1, manifest);
    }
}
