//! What a manifest or index says about other content: pure, knows no store and no wire.
//!
//! Surprising: BuildKit's older registry cache is an *index* whose "manifests" are layer blobs
//! and one cache configuration, so an index's children are told apart by their media type.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::meter::Kind;
use super::{Digest, Reference};
use crate::go_json::or_null;

/// The config media type by which BuildKit marks a cache.
/// Source: moby/buildkit `cache/remotecache/v1/spec.go` (`CacheConfigMediaTypeV0`).
pub const CACHE_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// The media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The fields of manifests and indexes, OCI's and Docker's, that a registry acts on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_null")]
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "or_null")]
    pub manifests: Vec<Descriptor>,
    pub subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_null")]
    pub annotations: BTreeMap<String, String>,
}

/// A pointer to content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default, deserialize_with = "or_null")]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Where foreign layers live; those need not be in the repository.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

impl Descriptor {
    /// Whether this names a manifest or an index rather than a blob.
    pub fn is_manifest(&self) -> bool {
        self.media_type.contains("manifest.") || self.media_type.contains("image.index.")
    }
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Whether this is a BuildKit cache, in either of its two shapes.
    pub fn is_cache(&self) -> bool {
        self.config.iter().chain(&self.manifests).any(|d| d.media_type == CACHE_CONFIG)
    }

    /// Manifests that this index points to.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().filter(|d| d.is_manifest())
    }

    /// Blobs that this manifest (or old cache index) points to, each with its kind.
    pub fn blobs(&self) -> impl Iterator<Item = (&Descriptor, Kind)> {
        let cache = self.is_cache();
        let config = self.config.iter().map(|d| (d, Kind::Config));
        let layers = self.layers.iter().map(|d| {
            // BuildKit's attestations are "layers" of in-toto statements.
            let tar = d.media_type.contains("tar") || d.media_type.contains("layer");
            (d, if tar { Kind::Layer } else { Kind::Other })
        });
        let odd = self.manifests.iter().filter(|d| !d.is_manifest()).map(|d| (d, Kind::Layer));
        config
            .chain(layers)
            .chain(odd)
            .map(move |(d, kind)| (d, if cache { Kind::Cache } else { kind }))
    }

    /// What the referrers API calls this manifest's artifact type.
    pub fn artifact_type(&self) -> Option<String> {
        let config = || self.config.as_ref().map(|d| d.media_type.clone());
        self.artifact_type.clone().filter(|t| !t.is_empty()).or_else(config)
    }
}

/// The blobs that the manifests at `roots` lead to, through as many indexes as there are.
pub fn reachable<E>(
    roots: Vec<Reference>,
    mut find: impl FnMut(&Reference) -> Result<Option<(Digest, Manifest)>, E>,
) -> Result<HashSet<Digest>, E> {
    let (mut reachable, mut seen, mut queue) = (HashSet::new(), HashSet::new(), roots);
    while let Some(reference) = queue.pop() {
        let Some((digest, manifest)) = find(&reference)? else { continue };
        if seen.insert(digest) {
            reachable.extend(manifest.blobs().map(|(d, _)| d.digest.clone()));
            queue.extend(manifest.children().map(|d| Reference::Digest(d.digest.clone())));
        }
    }
    Ok(reachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_absence() {
        let text = br#"{"layers":null,"manifests":null,"annotations":null,"config":null}"#;
        let manifest = Manifest::parse(text).unwrap();
        assert!(manifest.layers.is_empty() && manifest.config.is_none());
        assert!(Manifest::parse(br#"{"layers":{}}"#).is_err());
    }
}
