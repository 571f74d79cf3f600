//! Uploads to the real registry: opened, streamed through, mounted.
//!
//! Where an upload goes is the registry's secret (its location carries signed state), so the engine
//! is given a number of ours instead.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};
use reqwest::header::HeaderMap;
use reqwest::{Response, Url};

use super::Relay;
use super::client::Payload;
use super::error::RelayError;
use super::forward::refusal;
use super::outgoing::Outgoing;
use crate::registry::faults::RequestBody;
use crate::registry::meter::{Action, Count, Direction, Kind, Meter, Subject};
use crate::registry::reply::{Problem, Reply, empty, header};
use crate::registry::route::query;
use crate::registry::uploads::{UPLOAD_ID, created};
use crate::registry::{Digest, RepositoryName};

type Key = (RepositoryName, String);

/// The uploads that are open, by the repository and the number that the engine knows.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<Key, Session>>);

#[derive(Clone, Debug)]
struct Session {
    /// Where the next part goes.
    url: Url,
    /// What its requests that were answered came to, and nobody has booked.
    count: Count,
}

impl Sessions {
    fn map(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next part goes, and the count, which the request that is begun now takes over.
    fn begin(&self, key: &Key) -> Option<Session> {
        let mut map = self.map();
        let session = map.get_mut(key)?;
        let url = session.url.clone();
        Some(Session { url, count: std::mem::take(&mut session.count) })
    }

    /// The request that was begun is answered; gives back its count where the upload is over.
    fn go_on(&self, key: &Key, url: Url, count: Count) -> Option<Count> {
        let mut map = self.map();
        let Some(session) = map.get_mut(key) else { return Some(count) };
        *session = Session { url, count: session.count.plus(count) };
        None
    }
}

/// `POST …/blobs/uploads/`.
pub async fn start(
    relay: &Relay,
    meter: &Meter,
    repository: RepositoryName,
    request: Request<RequestBody>,
) -> Result<Reply, Problem> {
    let mut url = relay.client.url("blobs/uploads/")?;
    let mounted = mountable(relay, &request)?;
    if let Some((digest, _)) = &mounted {
        let from = relay.client.address.repository.as_str();
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    }
    let whole = query(request.uri(), "digest").map(|text| text.parse::<Digest>()).transpose()?;
    let outgoing = Outgoing::new(meter, &repository, Count::default());
    if let Some(digest) = whole {
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let answer = outgoing.send(&relay.client, Method::POST, url, request).await?;
        return settle(relay, meter, &repository, &digest, answer, outgoing.take()).await;
    }
    let answer =
        relay.client.send(Method::POST, url.clone(), HeaderMap::new(), Payload::none()).await?;
    let count = outgoing.take();
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
    let method = request.method().clone();
    let digest = match method {
        Method::PUT => Some(query(request.uri(), "digest").unwrap_or_default().parse::<Digest>()?),
        Method::PATCH | Method::GET | Method::DELETE => None,
        _ => return Err(Problem::unsupported()),
    };
    let session = relay.sessions.begin(&key).ok_or_else(Problem::upload_unknown)?;
    let outgoing = Outgoing::new(meter, &key.0, session.count);
    let mut url = session.url;
    if let Some(digest) = digest {
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let answer = outgoing.send(&relay.client, method, url, request).await?;
        relay.sessions.map().remove(&key);
        return settle(relay, meter, &key.0, &digest, answer, outgoing.take()).await;
    }
    let answer = outgoing.send(&relay.client, method.clone(), url.clone(), request).await?;
    let url = next(relay, &url, &answer).unwrap_or(url);
    if method == Method::DELETE {
        relay.sessions.map().remove(&key);
    }
    if let Some(count) = relay.sessions.go_on(&key, url, outgoing.take()) {
        meter.count(Some(&key.0), Direction::Push, Subject::Kind(Kind::Other), count);
    }
    let (status, range) = (answer.status(), answer.headers().get(RANGE).cloned());
    let stands = status.is_success() || status == StatusCode::RANGE_NOT_SATISFIABLE;
    if !stands {
        return Ok(refusal(relay, answer).await);
    }
    let range = range.as_ref().and_then(|range| range.to_str().ok()).unwrap_or("0-0");
    Ok(progress(status, &key.0, &key.1, range))
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
