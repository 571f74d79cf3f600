//! Uploads to the real registry: opened, streamed through, mounted.
//!
//! Where an upload goes is the registry's secret (its location carries signed state), so the engine
//! is given a number of ours instead.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};
use reqwest::header::HeaderMap;
use reqwest::{Response, Url};

use super::Relay;
use super::client::Payload;
use super::error::RelayError;
use super::forward::{copied, refusal};
use crate::registry::faults::RequestBody;
use crate::registry::meter::{Action, Count, Direction, Kind, Meter, Subject};
use crate::registry::reply::{Problem, Reply, empty, header};
use crate::registry::route::query;
use crate::registry::uploads::{UPLOAD_ID, created};
use crate::registry::{Digest, RepositoryName};
use crate::units::{self, Nanos};

/// The uploads that are open, by the repository and the number that the engine knows.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<(RepositoryName, String), Session>>);

#[derive(Clone, Debug)]
struct Session {
    /// Where the next part goes.
    url: Url,
    count: Count,
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<(RepositoryName, String), Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST …/blobs/uploads/`.
pub async fn start(
    relay: &Relay,
    meter: &Meter,
    repository: RepositoryName,
    request: Request<RequestBody>,
) -> Result<Reply, Problem> {
    let begun = Instant::now();
    let mut url = relay.client.url("blobs/uploads/")?;
    let mounted = mountable(relay, &request)?;
    if let Some((digest, _)) = &mounted {
        let from = relay.client.address.repository.as_str();
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    }
    if let Some(digest) = query(request.uri(), "digest") {
        let digest: Digest = digest.parse()?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let (answer, count) = pass(relay, Method::POST, url, request).await?;
        return settle(relay, meter, &repository, &digest, answer, count).await;
    }
    let answer =
        relay.client.send(Method::POST, url.clone(), HeaderMap::new(), Payload::none()).await?;
    let count = Count { requests: 1, time: Nanos::of(begun.elapsed()), ..Count::default() };
    match (answer.status(), mounted) {
        (StatusCode::CREATED, Some((digest, size))) => {
            relay.ledger.add_blob(&repository, &digest, size);
            let subject = Subject::Blob(digest.clone());
            meter.count(Some(&repository), Direction::Push, subject, count);
            meter.event(&repository, Action::Mounted, &digest, size);
            Ok(created(&repository, &digest))
        }
        (StatusCode::ACCEPTED, _) => {
            let url = next(relay, &url, &answer)?;
            let id = format!("{:032x}", rand::random::<u128>());
            relay.sessions.map().insert((repository.clone(), id.clone()), Session { url, count });
            Ok(progress(StatusCode::ACCEPTED, &repository, &id, "0-0"))
        }
        _ => {
            meter.count(Some(&repository), Direction::Push, Subject::Kind(Kind::Other), count);
            Ok(refusal(relay, answer).await)
        }
    }
}

/// The blob that the request wants mounted, and its size, where one of the run's repositories has it.
/// Base images are the embedded registry's: a real registry cannot mount from there.
fn mountable(
    relay: &Relay,
    request: &Request<RequestBody>,
) -> Result<Option<(Digest, u64)>, Problem> {
    let wanted = query(request.uri(), "mount").zip(query(request.uri(), "from"));
    let Some((digest, from)) = wanted else { return Ok(None) };
    let digest: Digest = digest.parse()?;
    let size = relay.ledger.blob(&from.parse()?, &digest);
    Ok(size.map(|size| (digest, size)))
}

/// Everything at `…/blobs/uploads/ID`.
pub async fn proceed(
    relay: &Relay,
    meter: &Meter,
    repository: RepositoryName,
    id: String,
    request: Request<RequestBody>,
) -> Result<Reply, Problem> {
    let key = (repository, id);
    let session = relay.sessions.map().get(&key).cloned().ok_or_else(Problem::upload_unknown)?;
    let method = request.method().clone();
    let mut url = session.url.clone();
    if method == Method::PUT {
        let digest: Digest = query(request.uri(), "digest").unwrap_or_default().parse()?;
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let (answer, count) = pass(relay, method, url, request).await?;
        relay.sessions.map().remove(&key);
        let count = session.count.plus(count);
        return settle(relay, meter, &key.0, &digest, answer, count).await;
    }
    if ![Method::PATCH, Method::GET, Method::DELETE].contains(&method) {
        return Err(Problem::unsupported());
    }
    let (answer, count) = pass(relay, method.clone(), url.clone(), request).await?;
    let url = next(relay, &url, &answer).unwrap_or(url);
    let count = session.count.plus(count);
    if method == Method::DELETE {
        relay.sessions.map().remove(&key);
        meter.count(Some(&key.0), Direction::Push, Subject::Kind(Kind::Other), count);
    } else {
        relay.sessions.map().insert(key.clone(), Session { url, count });
    }
    let (status, range) = (answer.status(), answer.headers().get(RANGE).cloned());
    let stands = status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE;
    if !stands {
        return Ok(refusal(relay, answer).await);
    }
    let range = range.as_ref().and_then(|range| range.to_str().ok()).unwrap_or("0-0");
    Ok(progress(status, &key.0, &key.1, range))
}

/// Sends the request's body on; says how much of it went.
async fn pass(
    relay: &Relay,
    method: Method,
    url: Url,
    request: Request<RequestBody>,
) -> Result<(Response, Count), RelayError> {
    let begun = Instant::now();
    let mut headers = copied(request.headers(), &[CONTENT_TYPE, CONTENT_RANGE]);
    let body = request.into_body();
    let sent = Arc::new(AtomicU64::new(0));
    let payload = match body.size_hint().exact() {
        Some(0) => Payload::none(),
        exact => {
            if let Some(exact) = exact {
                headers.insert(CONTENT_LENGTH, exact.into());
            }
            let sent = Arc::clone(&sent);
            Payload::Stream(reqwest::Body::wrap(Sent { inner: Mutex::new(body), sent, exact }))
        }
    };
    let answer = relay.client.send(method, url, headers, payload).await?;
    let bytes = units::Bytes(sent.load(Ordering::Relaxed));
    Ok((answer, Count { requests: 1, bytes, time: Nanos::of(begun.elapsed()) }))
}

/// Books an upload that is over.
async fn settle(
    relay: &Relay,
    meter: &Meter,
    repository: &RepositoryName,
    digest: &Digest,
    answer: Response,
    count: Count,
) -> Result<Reply, Problem> {
    if answer.status() != StatusCode::CREATED {
        meter.count(Some(repository), Direction::Push, Subject::Kind(Kind::Other), count);
        return Ok(refusal(relay, answer).await);
    }
    relay.ledger.add_blob(repository, digest, count.bytes.0);
    meter.count(Some(repository), Direction::Push, Subject::Blob(digest.clone()), count);
    meter.event(repository, Action::Pushed, digest, count.bytes.0);
    Ok(created(repository, digest))
}

/// Where the next part of an upload goes.
fn next(relay: &Relay, from: &Url, answer: &Response) -> Result<Url, RelayError> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| RelayError::Unreachable {
        host: relay.client.host(),
        reason: "it opened an upload without saying where".to_owned(),
    })?;
    relay.client.resolve(from, location)
}

fn progress(status: StatusCode, repository: &RepositoryName, id: &str, range: &str) -> Reply {
    let reply = header(empty(status), UPLOAD_ID, id);
    let reply = header(reply, RANGE, range);
    header(reply, LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"))
}

/// A body on its way to the registry.
struct Sent {
    /// Only ever polled by one task; the lock is what lets a client hold it.
    inner: Mutex<RequestBody>,
    sent: Arc<AtomicU64>,
    exact: Option<u64>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let frame = ready!(Pin::new(inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
