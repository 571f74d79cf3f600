//! A base image from an OCI layout folder (OCI image-spec 1.1, "image-layout") into the registry.

use std::path::Path;

use serde::Deserialize;

use crate::engine::OciImage;
use crate::engine::image::MANIFEST_TYPE;
use crate::registry::{Digest, Reference, Registry, RegistryError, RepositoryName};

/// Descriptors of `index.json` and of a manifest, as far as they are needed here.
#[derive(Debug, Deserialize)]
pub struct Descriptor {
    pub digest: String,
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// In bytes.
    #[serde(default)]
    pub size: u64,
}

#[derive(Debug, Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
    #[serde(default)]
    annotations: Annotations,
}

/// The index that the image was picked from, for references that name it by digest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "cachefrom.index.digest")]
    index_digest: Option<String>,
    #[serde(rename = "cachefrom.index.type")]
    index_type: String,
}

#[derive(Debug, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("cannot read {path}", path = path.display())]
    Read { path: std::path::PathBuf, source: std::io::Error },
    #[error("{path} is not what an OCI layout holds there", path = path.display())]
    Parse { path: std::path::PathBuf, source: serde_json::Error },
    #[error("{path} lists {found} images; a base image is a layout with exactly one, for this platform", path = path.display())]
    Images { path: std::path::PathBuf, found: usize },
    #[error("it is {found}, not {wanted}")]
    OtherImage { wanted: String, found: String },
    #[error("{digest:?} is not a digest")]
    Digest { digest: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Puts the one image of the layout at `folder` into `repository`, as the tag or digest `wanted`;
/// says the digest of its manifest.
pub async fn serve(
    registry: &Registry,
    repository: &RepositoryName,
    wanted: &Reference,
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
    let own = digest(&image.digest)?;
    let index_digest = index.annotations.index_digest.as_deref().map(digest).transpose()?;
    match wanted {
        Reference::Tag(_) => {
            registry.put_manifest(repository, wanted, &image.media_type, &bytes)?;
        }
        Reference::Digest(wanted) => {
            let by_digest = |digest: &Digest| Reference::Digest(digest.clone());
            registry.put_manifest(repository, &by_digest(&own), &image.media_type, &bytes)?;
            if index_digest.as_ref() == Some(wanted) {
                let bytes = read(&blob(folder, wanted))?;
                let kind = &index.annotations.index_type;
                registry.put_manifest(repository, &by_digest(wanted), kind, &bytes)?;
            } else if own != *wanted {
                let (wanted, found) = (wanted.to_string(), own.to_string());
                return Err(LayoutError::OtherImage { wanted, found });
            }
        }
    }
    Ok(image.digest.clone())
}

/// Makes `folder` a layout without images.
pub fn create(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder.join("blobs/sha256"))?;
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
}

/// Moves `image`, whose layer is a file in the same file system, into the layout at `folder`.
pub fn adopt(folder: &Path, image: &OciImage) -> std::io::Result<()> {
    let name =
        |digest: &str| folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    std::fs::rename(&image.layer.1, name(&image.layer.0))?;
    std::fs::write(name(&image.config.0), &image.config.1)?;
    write_blob(folder, &image.manifest)?;
    let digest = image.manifest_digest.clone();
    let size = image.manifest.len() as u64;
    let descriptor = Descriptor { digest, media_type: MANIFEST_TYPE.to_owned(), size };
    write_index(folder, &descriptor, None)
}

/// Adds a small blob to a layout.
pub fn write_blob(folder: &Path, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::write(blob(folder, &Digest::of(bytes)), bytes)
}

/// Makes `image` the layout's only one; it was picked from `index`, of that media type, if it was
/// picked at all.
pub fn write_index(
    folder: &Path,
    image: &Descriptor,
    index: Option<(Digest, String)>,
) -> std::io::Result<()> {
    let annotations = index.map(|(digest, kind)| {
        serde_json::json!({"cachefrom.index.digest": digest, "cachefrom.index.type": kind})
    });
    let text = serde_json::json!({
        "schemaVersion": 2,
        "manifests": [
            {"mediaType": image.media_type, "digest": image.digest, "size": image.size},
        ],
        "annotations": annotations.unwrap_or_else(|| serde_json::json!({})),
    });
    std::fs::write(folder.join("index.json"), text.to_string())
}

pub fn blob(folder: &Path, digest: &Digest) -> std::path::PathBuf {
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
