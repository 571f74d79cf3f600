//! Requests of an engine, asked again of the real registry: reads, and manifests that are pushed.
//!
//! Whatever is counted is counted between the engine and here, as with the embedded registry, so
//! links, faults and figures mean the same. What an answer costs in time is the real registry's: one
//! that only the ledger could give is still asked for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION,
    RANGE, RETRY_AFTER,
};
use hyper::{Method, Request, StatusCode};
use reqwest::header::HeaderMap;
use reqwest::{Response, Url};

use super::Relay;
use super::client::Payload;
use super::error::RelayError;
use super::ledger::Stored;
use crate::registry::faults::RequestBody;
use crate::registry::manifest::Manifest;
use crate::registry::manifests::{MANIFEST_LIMIT, OCI_SUBJECT};
use crate::registry::meter::{Action, Meter, Tally};
use crate::registry::reply::{
    DOCKER_CONTENT_DIGEST, Problem, Reply, empty, header, refused, with_body,
};
use crate::registry::route::reads;
use crate::registry::transfer::receive_small;
use crate::registry::{Digest, Reference, RegistryError, RepositoryName};

/// What an engine may learn of a blob.
const OF_A_BLOB: [HeaderName; 4] = [CONTENT_LENGTH, CONTENT_RANGE, ACCEPT_RANGES, CONTENT_TYPE];

impl From<RelayError> for Problem {
    fn from(error: RelayError) -> Self {
        let (status, code) = match &error {
            RelayError::Unreachable { .. } => (StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
            // Engines push again after a 5xx, and the next try logs in anew.
            RelayError::LoginLost { .. } => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
            RelayError::List { .. } | RelayError::NoTag { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN")
            }
            // An engine that saw a 401 would ask this process for a login.
            _ => (StatusCode::FORBIDDEN, "DENIED"),
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::new(status, code, format!("{error}{}", cause.unwrap_or_default()))
    }
}

pub async fn blob(
    relay: &Relay,
    repository: &RepositoryName,
    digest: &Digest,
    request: &Request<RequestBody>,
    mut tally: Tally,
) -> Result<Reply, Problem> {
    let method = request.method().clone();
    if !reads(&method) {
        return Err(Problem::unsupported());
    }
    let url = relay.client.url(&format!("blobs/{digest}"))?;
    if relay.ledger.blob(repository, digest).is_none() {
        // Other strategies may have pushed it; a repository of its own would not have it.
        absent(relay, url).await?;
        return Err(Problem::blob_unknown());
    }
    let headers = copied(request.headers(), &[RANGE, ACCEPT]);
    let answer = relay.client.send(method.clone(), url, headers, Payload::none()).await?;
    if !answer.status().is_success() {
        return Ok(refusal(relay, answer).await);
    }
    let status = answer.status();
    let mut reply = header(empty(status), DOCKER_CONTENT_DIGEST, digest);
    for name in OF_A_BLOB {
        if let Some(value) = answer.headers().get(&name) {
            reply.headers_mut().insert(name, value.clone());
        }
    }
    if method == Method::HEAD {
        let size = relay.ledger.blob(repository, digest).unwrap_or_default();
        tally.meter.event(repository, Action::Skipped, digest, size);
        return Ok(reply);
    }
    let left = answer.content_length();
    tally.whole = left;
    let body: http::Response<reqwest::Body> = answer.into();
    *reply.body_mut() =
        Counted { inner: body.into_body(), left, tally: Some(tally) }.boxed_unsync();
    Ok(reply)
}

/// Everything at `…/manifests/REFERENCE`.
pub async fn manifest(
    relay: &Relay,
    repository: &RepositoryName,
    reference: &Reference,
    request: Request<RequestBody>,
    tally: &mut Tally,
) -> Result<Reply, Problem> {
    let method = request.method().clone();
    if method == Method::PUT {
        return put(relay, repository, reference, request, tally).await;
    }
    if !reads(&method) {
        return Err(Problem::unsupported());
    }
    let url = relay.client.url(&format!("manifests/{}", real(relay, repository, reference)?))?;
    if matches!(reference, Reference::Digest(_))
        && relay.ledger.manifest(repository, reference).is_none()
    {
        absent(relay, url).await?;
        return Err(Problem::manifest_unknown());
    }
    let headers = copied(request.headers(), &[ACCEPT]);
    let answer = relay.client.send(method.clone(), url, headers, Payload::none()).await?;
    if !answer.status().is_success() {
        return Ok(refusal(relay, answer).await);
    }
    let text = |name| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let media_type = text(CONTENT_TYPE).unwrap_or_default();
    let given = text(DOCKER_CONTENT_DIGEST);
    let length = text(CONTENT_LENGTH);
    if method == Method::HEAD {
        let reply = header(empty(StatusCode::OK), CONTENT_TYPE, media_type);
        let reply = length.into_iter().fold(reply, |r, length| header(r, CONTENT_LENGTH, length));
        let known = relay.ledger.manifest(repository, reference);
        let digest = given.or_else(|| known.map(|m| Digest::of(&m.bytes).to_string()));
        return Ok(digest.into_iter().fold(reply, |r, d| header(r, DOCKER_CONTENT_DIGEST, d)));
    }
    let bytes = small(relay, answer).await?;
    if let Ok(manifest) = Manifest::parse(&bytes) {
        tally.meter.learn(repository, &manifest);
    }
    tally.bytes += bytes.len() as u64;
    let digest = Digest::of(&bytes);
    Ok(header(with_body(StatusCode::OK, &media_type, bytes), DOCKER_CONTENT_DIGEST, digest))
}

async fn put(
    relay: &Relay,
    repository: &RepositoryName,
    reference: &Reference,
    request: Request<RequestBody>,
    tally: &mut Tally,
) -> Result<Reply, Problem> {
    let headers = copied(request.headers(), &[CONTENT_TYPE]);
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let bytes = receive_small(request.into_body(), MANIFEST_LIMIT).await?;
    tally.bytes += bytes.len() as u64;
    let parsed =
        Manifest::parse(&bytes).map_err(|source| RegistryError::ManifestInvalid { source })?;
    let digest = Digest::of(&bytes);
    let name = real(relay, repository, reference)?;
    let tag = matches!(reference, Reference::Tag(_)).then_some(&*name);
    relay.ledger.pushing(tag, &digest)?;
    let url = relay.client.url(&format!("manifests/{name}"))?;
    let payload = Payload::Small(bytes.clone());
    let answer = relay.client.send(Method::PUT, url, headers, payload).await?;
    if !answer.status().is_success() {
        return Ok(refusal(relay, answer).await);
    }
    learn(&tally.meter, relay, repository, &parsed);
    let stored = Stored { media_type, bytes: bytes.to_vec() };
    relay.ledger.add_manifest(repository, reference, &digest, stored);
    let reply = header(empty(StatusCode::CREATED), DOCKER_CONTENT_DIGEST, &digest);
    let reply = match answer.headers().get(&OCI_SUBJECT).and_then(|value| value.to_str().ok()) {
        Some(subject) => header(reply, OCI_SUBJECT, subject),
        None => reply,
    };
    Ok(header(reply, LOCATION, format!("/v2/{repository}/manifests/{digest}")))
}

/// A registry that took a manifest holds its blobs, whether it was sent them or found them.
fn learn(meter: &Meter, relay: &Relay, repository: &RepositoryName, manifest: &Manifest) {
    meter.learn(repository, manifest);
    for (descriptor, _) in manifest.blobs() {
        relay.ledger.add_blob(repository, &descriptor.digest, descriptor.size);
    }
}

/// What `reference` is called in the real repository.
fn real(
    relay: &Relay,
    repository: &RepositoryName,
    reference: &Reference,
) -> Result<String, RelayError> {
    Ok(match reference {
        Reference::Digest(digest) => digest.to_string(),
        Reference::Tag(tag) => relay.ledger.real_tag(repository, tag)?.to_string(),
    })
}

/// Asks for what is not there for whoever asks, only so that not finding it takes its time.
async fn absent(relay: &Relay, url: Url) -> Result<(), Problem> {
    relay.client.send(Method::HEAD, url, HeaderMap::new(), Payload::none()).await?;
    Ok(())
}

/// Those of `headers` that may cross.
pub fn copied(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut copy = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            copy.append(name.clone(), value.clone());
        }
    }
    copy
}

/// An answer that must be small, in memory.
pub async fn small(relay: &Relay, answer: Response) -> Result<Vec<u8>, Problem> {
    let broken = |reason| RelayError::Unreachable { host: relay.client.host(), reason };
    Ok(super::answer::small(answer).await.map_err(broken)?)
}

/// The real registry's refusal in its own words, without what an engine must not see.
pub async fn refusal(relay: &Relay, answer: Response) -> Reply {
    let status = match answer.status() {
        StatusCode::UNAUTHORIZED => StatusCode::FORBIDDEN,
        status => status,
    };
    let later = answer.headers().get(RETRY_AFTER).cloned();
    let body = small(relay, answer).await.unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let first = &json["errors"][0];
    let code = first["code"].as_str().unwrap_or("UNKNOWN");
    let mut message = relay.client.scrubbed(first["message"].as_str().unwrap_or_default());
    message.truncate(message.floor_char_boundary(500));
    let mut reply = refused(status, code, &format!("{} says: {message}", relay.client.host()));
    if let Some(later) = later {
        reply.headers_mut().insert(RETRY_AFTER, later);
    }
    reply
}

/// A body on its way to the engine.
struct Counted {
    inner: reqwest::Body,
    /// Bytes that are still to come, where the registry said how many there are.
    left: Option<u64>,
    /// Booked with the last byte, before the engine can have seen it.
    tally: Option<Tally>,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let size = data.len() as u64;
            if let Some(tally) = &mut this.tally {
                tally.bytes += size;
            }
            this.left = this.left.map(|left| left.saturating_sub(size));
        }
        if frame.is_none() || this.left == Some(0) {
            this.tally = None;
        }
        let broken = |error: reqwest::Error| io::Error::other(error.without_url());
        Poll::Ready(frame.map(|frame| frame.map_err(broken)))
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
