//! A base image from the registry that its reference names, into an OCI layout folder.
//!
//! Pulls without logging in, and only what this machine's platform needs. A registry that cannot be
//! reached is asked once a run, for a few seconds; a tag is resolved once, and then kept by digest.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::layout::{self, Descriptor, Manifest};
use super::reference::ImageReference;
use crate::engine::image::architecture;
use crate::registry::relay::{is_loopback, small};
use crate::registry::{Digest, Reference};

/// How long a registry may take to answer at all before it is out of reach.
const REACH: Duration = Duration::from_secs(4);
/// How long it may be silent while it sends something.
const SILENCE: Duration = Duration::from_secs(30);
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// The registries of one run, and which of them did not answer.
#[derive(Debug, Default)]
pub struct Upstream {
    out_of_reach: Mutex<BTreeMap<String, String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("{host} cannot be reached: {reason}")]
    OutOfReach { host: String, reason: String },
    #[error("{url}: {reason}")]
    Broken { url: String, reason: String },
    #[error("{url} answered {status}")]
    Refused { url: String, status: StatusCode },
    #[error("{url} sent {found} instead of {wanted}")]
    WrongContent { url: String, wanted: String, found: String },
    #[error("{reference} has no image for linux/{architecture}", architecture = architecture())]
    NoPlatform { reference: String },
    #[error("cannot write {path}", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Child>,
}

#[derive(Deserialize)]
struct Child {
    digest: String,
    #[serde(default)]
    platform: Platform,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Platform {
    os: String,
    architecture: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    token: String,
    access_token: String,
}

impl Upstream {
    /// Pulls `reference` into `folder`, which is there and empty.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        folder: &Path,
    ) -> Result<(), UpstreamError> {
        let mut repository = self.reach(reference).await?;
        let wanted = reference.wanted.to_string();
        let (top, kind) = repository.manifest(&wanted).await?;
        if let Reference::Digest(digest) = &reference.wanted {
            repository.check("manifests", &top, digest.as_str())?;
        }
        layout::write_blob(folder, &top).map_err(write(folder))?;
        let parsed: Index = repository.parse(&top)?;
        let (manifest, kind, index) = if parsed.manifests.is_empty() {
            (top, kind, None)
        } else {
            let ours = parsed.manifests.iter().find(|child| {
                child.platform.os == "linux" && child.platform.architecture == architecture()
            });
            let ours =
                ours.ok_or_else(|| UpstreamError::NoPlatform { reference: reference.to_string() })?;
            let (manifest, child_kind) = repository.manifest(&ours.digest).await?;
            repository.check("manifests", &manifest, &ours.digest)?;
            layout::write_blob(folder, &manifest).map_err(write(folder))?;
            (manifest, child_kind, Some((Digest::of(&top), kind)))
        };
        let parsed: Manifest = repository.parse(&manifest)?;
        for part in parsed.layers.iter().chain([&parsed.config]) {
            repository.blob(part, folder).await?;
        }
        let image = Descriptor {
            digest: Digest::of(&manifest).to_string(),
            media_type: kind,
            size: manifest.len() as u64,
        };
        layout::write_index(folder, &image, index).map_err(write(folder))
    }

    async fn reach(&self, reference: &ImageReference) -> Result<Repository, UpstreamError> {
        let host = match reference.is_hub() {
            // Docker Hub's registry has another name than its images.
            true => "registry-1.docker.io".to_owned(),
            false => reference.host.clone(),
        };
        let known = || self.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = known().get(&host).cloned() {
            return Err(UpstreamError::OutOfReach { host, reason });
        }
        // As Docker does: no TLS on this machine, and no proxy on the way to it.
        let loopback = is_loopback(&host);
        let scheme = if loopback { "http" } else { "https" };
        let mut builder =
            Client::builder().connect_timeout(REACH).read_timeout(SILENCE).user_agent("cachefrom");
        if loopback {
            builder = builder.no_proxy();
        }
        let out_of_reach = |reason: String| {
            known().insert(host.clone(), reason.clone());
            UpstreamError::OutOfReach { host: host.clone(), reason }
        };
        let client = builder.build().map_err(|error| out_of_reach(causes(&error)))?;
        let base = format!("{scheme}://{host}/v2/");
        // Any answer will do; whoever only accepts connections is out of reach too.
        match tokio::time::timeout(REACH, client.get(&base).send()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(out_of_reach(causes(&error))),
            Err(_) => return Err(out_of_reach(format!("no answer in {} s", REACH.as_secs()))),
        }
        let base = format!("{base}{}", reference.repository);
        Ok(Repository { client, base, token: None })
    }
}

struct Repository {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Repository {
    async fn manifest(&mut self, wanted: &str) -> Result<(Vec<u8>, String), UpstreamError> {
        let url = format!("{}/manifests/{wanted}", self.base);
        let response = self.get(&url, MANIFESTS).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
        let bytes =
            small(response).await.map_err(|reason| UpstreamError::Broken { url, reason })?;
        Ok((bytes, kind))
    }

    /// Streams a blob into the layout, unless it is there: no byte more than `part` says.
    async fn blob(&mut self, part: &Descriptor, folder: &Path) -> Result<(), UpstreamError> {
        let Descriptor { digest, size, .. } = part;
        let url = format!("{}/blobs/{digest}", self.base);
        let wrong = |found: String| UpstreamError::WrongContent {
            url: url.clone(),
            wanted: digest.clone(),
            found,
        };
        let parsed = digest.parse::<Digest>().map_err(|error| wrong(error.to_string()))?;
        let path = layout::blob(folder, &parsed);
        if path.exists() {
            return Ok(());
        }
        let mut response = self.get(&url, "*/*").await?;
        let mut file = std::fs::File::create(&path).map_err(write(&path))?;
        let (mut hash, mut left) = (Sha256::new(), *size);
        while let Some(piece) = response.chunk().await.map_err(broken(&url))? {
            let rest = left.checked_sub(piece.len() as u64);
            left = rest.ok_or_else(|| wrong(format!("more than its {size} bytes")))?;
            hash.update(&piece);
            file.write_all(&piece).map_err(write(&path))?;
        }
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if found != parsed.hex() {
            return Err(wrong(format!("sha256:{found}")));
        }
        Ok(())
    }

    /// A successful answer, after fetching a token if one is asked for.
    async fn get(&mut self, url: &str, accept: &str) -> Result<Response, UpstreamError> {
        let mut response = self.send(url, accept).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let header = response.headers().get(WWW_AUTHENTICATE).and_then(|h| h.to_str().ok());
            if let Some(challenge) = header.and_then(bearer) {
                self.token = Some(self.fetch_token(&challenge).await?);
                response = self.send(url, accept).await?;
            }
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            status => Err(UpstreamError::Refused { url: url.to_owned(), status }),
        }
    }

    async fn send(&self, url: &str, accept: &str) -> Result<Response, UpstreamError> {
        let mut request = self.client.get(url).header(ACCEPT, accept);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.send().await.map_err(broken(url))
    }

    async fn fetch_token(&self, challenge: &Challenge) -> Result<String, UpstreamError> {
        let url = &challenge.realm;
        let separator = if url.contains('?') { '&' } else { '?' };
        // Services and scopes hold no character that a query could not.
        let query =
            format!("{url}{separator}service={}&scope={}", challenge.service, challenge.scope);
        let response = self.client.get(query).send().await.map_err(broken(url))?;
        if !response.status().is_success() {
            return Err(UpstreamError::Refused { url: url.clone(), status: response.status() });
        }
        let broken = |reason| UpstreamError::Broken { url: url.clone(), reason };
        let body = small(response).await.map_err(broken)?;
        let token: Token = self.parse(&body)?;
        Ok(if token.token.is_empty() { token.access_token } else { token.token })
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, bytes: &[u8]) -> Result<T, UpstreamError> {
        serde_json::from_slice(bytes).map_err(|error| UpstreamError::Broken {
            url: self.base.clone(),
            reason: error.to_string(),
        })
    }

    fn check(&self, kind: &str, bytes: &[u8], wanted: &str) -> Result<(), UpstreamError> {
        let found = Digest::of(bytes).to_string();
        if found == wanted {
            return Ok(());
        }
        let (url, wanted) = (format!("{}/{kind}/{wanted}", self.base), wanted.to_owned());
        Err(UpstreamError::WrongContent { url, wanted, found })
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    realm: String,
    service: String,
    scope: String,
}

/// Reads `Bearer realm="…",service="…",scope="…"` (distribution `docs/spec/auth/token.md`).
fn bearer(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        let (_, rest) = rest.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Some(Challenge {
        realm: value("realm")?,
        service: value("service").unwrap_or_default(),
        scope: value("scope").unwrap_or_default(),
    })
}

fn broken(url: &str) -> impl FnOnce(reqwest::Error) -> UpstreamError {
    let url = url.to_owned();
    move |error| UpstreamError::Broken { url, reason: causes(&error) }
}

fn write(path: &Path) -> impl FnOnce(std::io::Error) -> UpstreamError {
    let path = path.to_owned();
    move |source| UpstreamError::Write { path, source }
}

/// The innermost cause, which is the one that says something: "connection refused".
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn a_challenge_is_read_in_any_order_and_basic_is_none() {
        let header = r#"Bearer service="s",realm="https://a.test/t",scope="repository:a/b:pull""#;
        let challenge = bearer(header).unwrap();
        assert_eq!((&*challenge.realm, &*challenge.service), ("https://a.test/t", "s"));
        assert_eq!(challenge.scope, "repository:a/b:pull");
        assert_eq!(bearer("Basic realm=\"x\""), None);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_index_is_pulled_for_this_platform_and_served_again_under_its_digest() {
        let store = tempfile::tempdir().unwrap();
        let upstream = Registry::start(store.path().join("up")).await.unwrap();
        let name = "team/base".parse().unwrap();
        let config = upstream.put_blob_bytes(&name, b"{}").unwrap();
        let layer = upstream.put_blob_bytes(&name, b"layer").unwrap();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let describe = |digest: &Digest, size: usize| serde_json::json!({"mediaType": "application/x", "digest": digest, "size": size});
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": describe(&config, 2), "layers": [describe(&layer, 5)],
        });
        let manifest = manifest.to_string().into_bytes();
        let child = Digest::of(&manifest);
        upstream.put_manifest(&name, &Reference::Digest(child.clone()), kind, &manifest).unwrap();
        let other = Digest::of(b"other");
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [
            {"mediaType": kind, "digest": other, "size": 1,
             "platform": {"os": "linux", "architecture": "mips"}},
            {"mediaType": kind, "digest": child, "size": manifest.len(),
             "platform": {"os": "linux", "architecture": architecture()}},
        ]});
        let index = index.to_string().into_bytes();
        let index_kind = "application/vnd.oci.image.index.v1+json";
        upstream.put_manifest(&name, &"1".parse().unwrap(), index_kind, &index).unwrap();

        let own = Registry::start(store.path().join("own")).await.unwrap();
        let pinned = format!("{}/team/base@{}", upstream.address(), Digest::of(&index));
        for written in [format!("{}/team/base:1", upstream.address()), pinned] {
            let reference = ImageReference::parse(&written).unwrap();
            let folder = tempfile::tempdir().unwrap();
            layout::create(folder.path()).unwrap();
            Upstream::default().pull(&reference, folder.path()).await.unwrap();
            let repository = reference.served_as().unwrap();
            let served =
                layout::serve(&own, &repository, &reference.wanted, folder.path()).await.unwrap();
            assert_eq!(served, child.to_string());
            assert!(own.manifest(&repository, &reference.wanted).unwrap().is_some(), "{written}");
        }
        let lying = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": describe(&config, 2), "layers": [describe(&layer, 4)],
        });
        let lying = lying.to_string().into_bytes();
        upstream.put_manifest(&name, &"lying".parse().unwrap(), kind, &lying).unwrap();
        let reference = format!("{}/team/base:lying", upstream.address());
        let folder = tempfile::tempdir().unwrap();
        layout::create(folder.path()).unwrap();
        let reference = ImageReference::parse(&reference).unwrap();
        let error = Upstream::default().pull(&reference, folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("sent more than its 4 bytes"), "{error}");
        let missing = format!("{}/team/base:2", upstream.address());
        let folder = tempfile::tempdir().unwrap();
        layout::create(folder.path()).unwrap();
        let error = Upstream::default()
            .pull(&ImageReference::parse(&missing).unwrap(), folder.path())
            .await
            .unwrap_err();
        assert!(matches!(error, UpstreamError::Refused { .. }), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_is_out_of_reach_is_asked_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let upstream = Upstream::default();
        let reference = ImageReference::parse(&format!("{address}/a:1")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = upstream.pull(&reference, folder.path()).await.unwrap_err();
        assert!(matches!(error, UpstreamError::OutOfReach { .. }), "{error}");
        // Now somebody listens there, and is not asked.
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        upstream.pull(&reference, folder.path()).await.unwrap_err();
        assert!(listener.accept().is_err());
    }
}
