//! A base image from the registry that its reference names, into an OCI layout folder.
//!
//! Pulls only what this machine's platform needs, logged in where the registry asks for it and Docker
//! has a login; one that is refused costs no image that anybody may have. A registry that cannot be
//! reached is asked once a run, for a few seconds; a tag is resolved once, and then kept by digest.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::layout::{self, Descriptor, Manifest};
use super::reference::ImageReference;
use crate::credentials::{self, Credentials};
use crate::engine::image::architecture;
use crate::registry::relay::{Client, Payload, RelayError, RemoteAddress, is_loopback, small};
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
    #[error("{url} answered {status}{login}")]
    Refused { url: String, status: StatusCode, login: String },
    /// Registries do not tell these two apart to those who may not know.
    #[error(
        "{host} wants a login for {repository}, or has no such image; {found}\n  \
         docker login {host}, or name the folder of config.json in DOCKER_CONFIG"
    )]
    NoLogin { host: String, repository: String, found: String },
    #[error(transparent)]
    Registry(RelayError),
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

impl Upstream {
    /// Pulls `reference` into `folder`, which is there and empty, with Docker's login.
    pub async fn pull(
        &self,
        reference: &ImageReference,
        folder: &Path,
    ) -> Result<(), UpstreamError> {
        let mut repository = self.reach(reference).await?;
        let host = repository.client.address.connected().to_owned();
        repository.pull_as(credentials::stored(&host).await, reference, folder).await
    }

    async fn reach(&self, reference: &ImageReference) -> Result<Repository, UpstreamError> {
        let host = reference.host.clone();
        let name = reference.repository.parse();
        let address = RemoteAddress {
            // As Docker does: no TLS on this machine.
            tls: Some(!is_loopback(&host)),
            host: host.clone(),
            repository: name.map_err(|error: crate::registry::RegistryError| {
                UpstreamError::Broken { url: reference.to_string(), reason: error.to_string() }
            })?,
        };
        let known = || self.out_of_reach.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = known().get(&host).cloned() {
            return Err(UpstreamError::OutOfReach { host, reason });
        }
        // Whoever only accepts connections is out of reach too.
        match Client::reader(address, REACH, SILENCE).await {
            Ok(client) => Ok(Repository { client }),
            Err(error) => {
                let reason = match error {
                    RelayError::Unreachable { reason, .. } => reason,
                    other => other.to_string(),
                };
                known().insert(host.clone(), reason.clone());
                Err(UpstreamError::OutOfReach { host, reason })
            }
        }
    }
}

struct Repository {
    client: Client,
}

impl Repository {
    /// Pulls with `login`; without one if that is refused, since the image may be anybody's.
    async fn pull_as(
        &mut self,
        login: (Credentials, Option<String>),
        reference: &ImageReference,
        folder: &Path,
    ) -> Result<(), UpstreamError> {
        self.client.log_in(login);
        let refused = match self.pull(reference, folder).await {
            Err(UpstreamError::Registry(error @ RelayError::LoginRefused { .. })) => error,
            pulled => return pulled,
        };
        self.client.log_in(Default::default());
        self.pull(reference, folder).await.map_err(|error| match error {
            UpstreamError::NoLogin { .. } => UpstreamError::Registry(refused),
            other => other,
        })
    }

    async fn pull(&self, reference: &ImageReference, folder: &Path) -> Result<(), UpstreamError> {
        let wanted = reference.wanted.to_string();
        let (top, kind) = self.manifest(&wanted).await?;
        if let Reference::Digest(digest) = &reference.wanted {
            self.check("manifests", &top, digest.as_str())?;
        }
        layout::write_blob(folder, &top).map_err(write(folder))?;
        let parsed: Index = self.parse(&top)?;
        let (manifest, kind, index) = if parsed.manifests.is_empty() {
            (top, kind, None)
        } else {
            let ours = parsed.manifests.iter().find(|child| {
                child.platform.os == "linux" && child.platform.architecture == architecture()
            });
            let ours =
                ours.ok_or_else(|| UpstreamError::NoPlatform { reference: reference.to_string() })?;
            let (manifest, child_kind) = self.manifest(&ours.digest).await?;
            self.check("manifests", &manifest, &ours.digest)?;
            layout::write_blob(folder, &manifest).map_err(write(folder))?;
            (manifest, child_kind, Some((Digest::of(&top), kind)))
        };
        let parsed: Manifest = self.parse(&manifest)?;
        for part in parsed.layers.iter().chain([&parsed.config]) {
            self.blob(part, folder).await?;
        }
        let image = Descriptor {
            digest: Digest::of(&manifest).to_string(),
            media_type: kind,
            size: manifest.len() as u64,
        };
        layout::write_index(folder, &image, index).map_err(write(folder))
    }

    /// The address of something in the repository, for people.
    fn url(&self, part: &str) -> String {
        format!("{}/{part}", self.client.address)
    }

    async fn manifest(&self, wanted: &str) -> Result<(Vec<u8>, String), UpstreamError> {
        let part = format!("manifests/{wanted}");
        let url = self.url(&part);
        let response = self.get(&part, MANIFESTS).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
        let bytes =
            small(response).await.map_err(|reason| UpstreamError::Broken { url, reason })?;
        Ok((bytes, kind))
    }

    /// Streams a blob into the layout, unless it is there: no byte more than `part` says.
    async fn blob(&self, part: &Descriptor, folder: &Path) -> Result<(), UpstreamError> {
        let Descriptor { digest, size, .. } = part;
        let url = self.url(&format!("blobs/{digest}"));
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
        let mut response = self.get(&format!("blobs/{digest}"), "*/*").await?;
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

    /// A successful answer.
    async fn get(&self, part: &str, accept: &'static str) -> Result<Response, UpstreamError> {
        let told = |error| match error {
            RelayError::NoCredentials { host, found } => {
                let repository = self.client.address.repository.to_string();
                UpstreamError::NoLogin { host, repository, found }
            }
            other => UpstreamError::Registry(other),
        };
        let url = self.client.url(part).map_err(told)?;
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        let response = self.client.send(Method::GET, url, headers, Payload::none()).await;
        let response = response.map_err(told)?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let asks_who = status == StatusCode::FORBIDDEN;
                let login =
                    if asks_who { format!("; {}", self.client.found()) } else { String::new() };
                Err(UpstreamError::Refused { url: self.url(part), status, login })
            }
        }
    }

    fn parse<T: for<'a> Deserialize<'a>>(&self, bytes: &[u8]) -> Result<T, UpstreamError> {
        serde_json::from_slice(bytes).map_err(|error| UpstreamError::Broken {
            url: self.client.address.to_string(),
            reason: error.to_string(),
        })
    }

    fn check(&self, kind: &str, bytes: &[u8], wanted: &str) -> Result<(), UpstreamError> {
        let found = Digest::of(bytes).to_string();
        if found == wanted {
            return Ok(());
        }
        let (url, wanted) = (self.url(&format!("{kind}/{wanted}")), wanted.to_owned());
        Err(UpstreamError::WrongContent { url, wanted, found })
    }
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
    use super::super::guard::{Asks, Guard};
    use super::*;
    use crate::registry::Registry;

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

    /// A registry that has `team/base:1`.
    async fn with_an_image(folder: &Path) -> Registry {
        let registry = Registry::start(folder.join("up")).await.unwrap();
        let name = "team/base".parse().unwrap();
        let config = registry.put_blob_bytes(&name, b"{}").unwrap();
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "layers": [],
            "config": {"mediaType": "application/x", "digest": config, "size": 2},
        });
        let manifest = manifest.to_string().into_bytes();
        registry.put_manifest(&name, &"1".parse().unwrap(), kind, &manifest).unwrap();
        registry
    }

    /// Pulls what `guard` holds, as whom `login` says.
    async fn pulled(guard: &Guard, login: Option<(&str, &str)>) -> Result<(), UpstreamError> {
        let reference = ImageReference::parse(&format!("{}/team/base:1", guard.address)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        layout::create(folder.path()).unwrap();
        let login = login.map(|(username, secret)| Credentials {
            username: username.to_owned(),
            secret: secret.to_owned(),
        });
        let mut repository = Upstream::default().reach(&reference).await?;
        let login = (login.unwrap_or_default(), None);
        repository.pull_as(login, &reference, folder.path()).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_image_behind_a_login_is_pulled_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let behind = with_an_image(folder.path()).await;
        let (right, wrong) = (Some(("me", "correct-horse")), Some(("me", "wrong-horse")));
        for (asks, login, said) in [
            (Asks::Basic, right, None),
            (Asks::Basic, wrong, Some("refuses the credentials that are stored for it (401)")),
            (Asks::Basic, None, Some("wants a login for team/base, or has no such image; ")),
            (Asks::Token, right, None),
            (Asks::Token, wrong, Some("refuses the credentials that are stored for it (401)")),
            (Asks::Token, None, Some("holds no login for it\n  docker login 127.0.0.1:")),
            (Asks::OpenToken, None, None),
            // A login that is out of date costs nothing that anybody may have.
            (Asks::OpenToken, wrong, None),
            (Asks::PlainToken, right, Some("tokens.test wants a password over plain HTTP")),
            (Asks::Forbids, right, Some("answered 403 Forbidden; ")),
            (Asks::Forbids, right, Some("config.json holds a login for it")),
            (Asks::Forbids, None, Some("config.json holds no login for it")),
        ] {
            let behind = behind.address().to_string();
            let guard = Guard::start(behind, asks, "me", "correct-horse").await;
            let result = pulled(&guard, login).await.map_err(|error| error.to_string());
            let seen = guard.seen.lock().unwrap().clone();
            let Some(said) = said else {
                assert_eq!(result, Ok(()));
                assert!(!seen.is_empty());
                continue;
            };
            let error = result.unwrap_err();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("horse") && !error.contains("Og=="), "{error}");
            let blocked = [Asks::PlainToken, Asks::Forbids].contains(&asks) || login.is_none();
            assert_eq!(seen.is_empty(), blocked, "{seen:?}");
        }
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
