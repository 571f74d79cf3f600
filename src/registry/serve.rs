//! Connections and dispatch, and the reading and deleting of blobs.
//!
//! One task a connection; all of them end with the accepting task.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::faults::{self, RequestBody};
use super::meter::{Action, Count, Direction, Kind, Subject, Tally};
use super::reply::{DOCKER_CONTENT_DIGEST, Problem, Reply, empty, header, with_body};
use super::route::{Part, Target, range, reads};
use super::shape::{Buckets, Shaped};
use super::transfer::FileBody;
use super::{Digest, RepositoryName, Shared, manifests, uploads};
use crate::fault::Wrong;
use crate::link::LinkProfile;

const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Serves every connection until dropped, over `link` where there is one.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>, link: Option<LinkProfile>) {
    let latency = link.as_ref().map_or(Duration::ZERO, |l| Duration::from_nanos(l.latency.0));
    let buckets = link.as_ref().map(Buckets::of);
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others must close theirs first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // A small answer must not wait for the acknowledgement of the one before it.
        let _ = stream.set_nodelay(true);
        while connections.try_join_next().is_some() {}
        let (shared, buckets) = (Arc::clone(&shared), buckets.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), latency, request));
            let http = hyper::server::conn::http1::Builder::new();
            // A connection that broke is the client's to report.
            let _ = match buckets {
                None => http.serve_connection(TokioIo::new(stream), service).await,
                Some(buckets) => {
                    let stream = Shaped::new(stream, &buckets);
                    http.serve_connection(TokioIo::new(stream), service).await
                }
            };
        });
    }
}

/// An error closes the connection.
async fn answer(
    shared: Arc<Shared>,
    latency: Duration,
    request: Request<Incoming>,
) -> io::Result<Reply> {
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let Some((fault, fired)) = shared.faults.meet(&request) else {
        let head = request.method() == Method::HEAD;
        let request = request.map(|body| RequestBody::new(body, None));
        return Ok(finished(dispatch(&shared, request, false).await, head));
    };
    shared.meter.fired(fired.clone());
    if let Some(refusal) = faults::refusal(&fault) {
        let direction = if reads(request.method()) { Direction::Pull } else { Direction::Push };
        let count = Count { requests: 1, ..Count::default() };
        let other = Subject::Kind(Kind::Other);
        shared.meter.count(fired.repository.as_ref(), direction, other, count);
        return Ok(finished(Ok(refusal), request.method() == Method::HEAD));
    }
    if fault.does == Wrong::Stall {
        tokio::time::sleep(fault.wait()).await;
    }
    let (reading, head) = (reads(request.method()), request.method() == Method::HEAD);
    let request = request.map(|body| RequestBody::new(body, Some(&fault)));
    let cut = reading && !head && [Wrong::Close, Wrong::Truncate].contains(&fault.does);
    let reply = dispatch(&shared, request, cut).await;
    if fault.does == Wrong::Close && (!reading || head || reply.is_err()) {
        return Err(faults::closed());
    }
    let reply = finished(reply, head);
    Ok(if reading && !head { faults::spoil_reply(reply, &fault) } else { reply })
}

fn finished(reply: Result<Reply, Problem>, head: bool) -> Reply {
    let mut reply = header(reply.unwrap_or_else(Problem::reply), API_VERSION, "registry/2.0");
    if head {
        // The headers stay, the length among them.
        *reply.body_mut() = empty(StatusCode::OK).into_body();
    }
    reply
}

/// `cut` says that a fault will end the reply in its middle.
async fn dispatch(
    shared: &Shared,
    request: Request<RequestBody>,
    cut: bool,
) -> Result<Reply, Problem> {
    let started = Instant::now();
    let target = Target::of(request.uri())?;
    let subject = match &target {
        Target::Blob(_, digest) => Subject::Blob(digest.clone()),
        Target::Manifest(..) => Subject::Kind(Kind::Manifest),
        Target::Version
        | Target::Uploads(_)
        | Target::Upload(..)
        | Target::Tags(_)
        | Target::Referrers(..) => Subject::Kind(Kind::Other),
    };
    let direction = if reads(request.method()) { Direction::Pull } else { Direction::Push };
    let (meter, repository) = (shared.meter.clone(), target.repository().cloned());
    let (forgotten, whole) = (false, None);
    let tally = || Tally {
        meter,
        repository,
        direction,
        subject,
        bytes: 0,
        started,
        forgotten,
        cut,
        whole,
    };
    if let Some(relay) = shared.relay.get()
        && target.repository().is_some_and(|repository| relay.serves(repository))
    {
        return relay.answer(target, request, tally()).await;
    }
    match target {
        Target::Version => {
            let _tally = tally();
            Ok(with_body(StatusCode::OK, "application/json", "{}"))
        }
        Target::Blob(repository, digest) => blob(shared, &repository, &digest, &request, tally()),
        // Uploads are counted under the blob that they become.
        Target::Uploads(repository) if request.method() == Method::POST => {
            uploads::start(shared, repository, request).await
        }
        Target::Upload(repository, id) => uploads::proceed(shared, repository, id, request).await,
        Target::Manifest(repository, reference) => {
            let mut tally = tally();
            manifests::manifest(shared, &repository, &reference, request, &mut tally).await
        }
        Target::Tags(repository) if request.method() == Method::GET => {
            counted(manifests::tags(shared, &repository, request.uri()), tally())
        }
        Target::Referrers(repository, digest) if request.method() == Method::GET => {
            counted(manifests::referrers(shared, &repository, &digest, request.uri()), tally())
        }
        Target::Uploads(_) | Target::Tags(_) | Target::Referrers(..) => Err(Problem::unsupported()),
    }
}

/// Books an answer that is all in memory.
fn counted(reply: Result<Reply, Problem>, mut tally: Tally) -> Result<Reply, Problem> {
    let size = reply.as_ref().ok().and_then(|r| hyper::body::Body::size_hint(r.body()).exact());
    tally.bytes += size.unwrap_or_default();
    reply
}

fn blob(
    shared: &Shared,
    repository: &RepositoryName,
    digest: &Digest,
    request: &Request<RequestBody>,
    tally: Tally,
) -> Result<Reply, Problem> {
    let method = request.method();
    if method == Method::DELETE {
        return match shared.store.unlink_blob(repository, digest)? {
            true => Ok(empty(StatusCode::ACCEPTED)),
            false => Err(Problem::blob_unknown()),
        };
    }
    if !reads(method) {
        return Err(Problem::unsupported());
    }
    let (file, size) = shared.store.blob(repository, digest)?.ok_or_else(Problem::blob_unknown)?;
    let described = |reply| {
        let reply = header(reply, DOCKER_CONTENT_DIGEST, digest);
        let reply = header(reply, ACCEPT_RANGES, "bytes");
        header(reply, CONTENT_TYPE, "application/octet-stream")
    };
    if method == Method::HEAD {
        shared.meter.event(repository, Action::Skipped, digest, size);
        return Ok(described(header(empty(StatusCode::OK), CONTENT_LENGTH, size)));
    }
    let asked = request.headers().get(hyper::header::RANGE).and_then(|value| value.to_str().ok());
    let (status, part) = match asked.map(|asked| range(asked, size)) {
        None | Some(Ok(None)) if size == 0 => return Ok(described(empty(StatusCode::OK))),
        None | Some(Ok(None)) => (StatusCode::OK, Part { first: 0, last: size - 1 }),
        Some(Ok(Some(part))) => (StatusCode::PARTIAL_CONTENT, part),
        Some(Err(())) => {
            let reply = empty(StatusCode::RANGE_NOT_SATISFIABLE);
            return Ok(header(reply, CONTENT_RANGE, format!("bytes */{size}")));
        }
    };
    let mut reply = described(empty(status));
    if status == StatusCode::PARTIAL_CONTENT {
        let Part { first, last } = part;
        reply = header(reply, CONTENT_RANGE, format!("bytes {first}-{last}/{size}"));
    }
    reply = header(reply, CONTENT_LENGTH, part.last - part.first + 1);
    *reply.body_mut() = FileBody::new(file, part, tally).boxed_unsync();
    Ok(reply)
}
