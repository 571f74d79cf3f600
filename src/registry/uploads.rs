//! Uploads of blobs: at once, in parts, resumed, cancelled, or replaced by a mount.
//!
//! An upload lives in memory and in one temporary file, so it does not outlive the registry.
//! Its bytes are metered when it ends, under the blob it became, or when one of its requests breaks
//! off: nobody may ever go on with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderName, LOCATION, RANGE};
use hyper::{Method, Request, StatusCode};

use super::faults::RequestBody;
use super::incoming::Incoming;
use super::meter::{Action, Count, Direction, Kind, Meter, Subject};
use super::reply::{DOCKER_CONTENT_DIGEST, Problem, Reply, empty, header};
use super::route::{content_range, query};
use super::transfer::receive;
use super::{Digest, RepositoryName, Shared};

pub const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// The uploads that are open, by repository and id.
#[derive(Debug, Default)]
pub struct Uploads(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Upload>>>>);

type Key = (RepositoryName, String);

#[derive(Debug)]
struct Upload {
    repository: RepositoryName,
    meter: Meter,
    count: Count,
    /// `None` once published.
    incoming: Option<Incoming>,
}

impl Upload {
    /// Books what was counted since the last time.
    fn book(&mut self, subject: Subject) {
        let count = std::mem::take(&mut self.count);
        if count != Count::default() {
            self.meter.count(Some(&self.repository), Direction::Push, subject, count);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.incoming.is_some() {
            self.book(Subject::Kind(Kind::Other));
        }
    }
}

/// A request whose body arrives. Where that ends early, by an error or because nobody waits for it
/// any more, what the upload came to is booked as of no blob.
struct Arriving<'a> {
    upload: &'a mut Upload,
    whole: bool,
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if !self.whole {
            self.upload.book(Subject::Kind(Kind::Other));
        }
    }
}

impl Uploads {
    fn open(&self, key: Key, upload: Upload) {
        self.map().insert(key, Arc::new(tokio::sync::Mutex::new(upload)));
    }

    fn find(&self, key: &Key) -> Result<Arc<tokio::sync::Mutex<Upload>>, Problem> {
        self.map().get(key).cloned().ok_or_else(Problem::upload_unknown)
    }

    fn close(&self, key: &Key) -> bool {
        self.map().remove(key).is_some()
    }

    fn map(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<Upload>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `POST …/blobs/uploads/`: a mount, a whole blob, or the start of an upload.
pub async fn start(
    shared: &Shared,
    repository: RepositoryName,
    request: Request<RequestBody>,
) -> Result<Reply, Problem> {
    if let Some(reply) = mount(shared, &repository, &request)? {
        return Ok(reply);
    }
    let mut upload = Upload {
        repository: repository.clone(),
        meter: shared.meter.clone(),
        count: Count::default(),
        incoming: Some(shared.store.incoming()?),
    };
    if let Some(digest) = query(request.uri(), "digest") {
        let digest: Digest = digest.parse()?;
        take(&mut upload, request).await?;
        return finish(shared, &mut upload, &digest);
    }
    // The request that opens an upload counts as one of the upload's.
    upload.count.requests = 1;
    let id = format!("{:032x}", rand::random::<u128>());
    shared.uploads.open((repository.clone(), id.clone()), upload);
    Ok(progress(StatusCode::ACCEPTED, &repository, &id, 0))
}

/// Everything at `…/blobs/uploads/ID`.
pub async fn proceed(
    shared: &Shared,
    repository: RepositoryName,
    id: String,
    request: Request<RequestBody>,
) -> Result<Reply, Problem> {
    let key = (repository, id);
    let upload = shared.uploads.find(&key)?;
    // A part that is still arriving is waited for: parts of one upload never interleave.
    let mut upload = upload.lock().await;
    let (repository, id) = &key;
    match *request.method() {
        Method::GET => Ok(progress(StatusCode::NO_CONTENT, repository, id, offset(&upload))),
        Method::PATCH => match take(&mut upload, request).await {
            Ok(()) => Ok(progress(StatusCode::ACCEPTED, repository, id, offset(&upload))),
            Err(problem) if problem.status == StatusCode::RANGE_NOT_SATISFIABLE => {
                Ok(progress(problem.status, repository, id, offset(&upload)))
            }
            Err(problem) => Err(problem),
        },
        Method::PUT => {
            let digest = query(request.uri(), "digest").unwrap_or_default().parse()?;
            take(&mut upload, request).await?;
            shared.uploads.close(&key);
            finish(shared, &mut upload, &digest)
        }
        Method::DELETE => {
            shared.uploads.close(&key);
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Problem::unsupported()),
    }
}

fn mount(
    shared: &Shared,
    repository: &RepositoryName,
    request: &Request<RequestBody>,
) -> Result<Option<Reply>, Problem> {
    let Some(digest) = query(request.uri(), "mount") else { return Ok(None) };
    let digest: Digest = digest.parse()?;
    // Without a source there is nothing to mount: a blob is never taken from just anywhere.
    let Some(from) = query(request.uri(), "from") else { return Ok(None) };
    let from = from.parse()?;
    if shared.seeded().contains(&from) {
        return Ok(None);
    }
    let Some((_, size)) = shared.store.blob(&from, &digest)? else { return Ok(None) };
    shared.store.link(repository, &digest)?;
    let count = Count { requests: 1, ..Count::default() };
    let subject = Subject::Blob(digest.clone());
    shared.meter.count(Some(repository), Direction::Push, subject, count);
    shared.meter.event(repository, Action::Mounted, &digest, size);
    Ok(Some(created(repository, &digest)))
}

/// Adds a request's body to the upload, if it continues where the upload stands.
async fn take(upload: &mut Upload, request: Request<RequestBody>) -> Result<(), Problem> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(range) = text(CONTENT_RANGE) {
        let invalid = || {
            let message = format!("Content-Range {range:?} does not fit the body");
            Problem::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message)
        };
        let part = content_range(range).ok_or_else(invalid)?;
        if part.first != offset(upload) {
            let (status, code) = (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID");
            return Err(Problem::new(status, code, "the part does not follow the last one"));
        }
        let length = text(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let fits = |length| {
            part.last.checked_sub(part.first).and_then(|n| n.checked_add(1)) == Some(length)
        };
        if length.is_some_and(|length| !fits(length)) {
            return Err(invalid());
        }
    }
    let mut arriving = Arriving { upload, whole: false };
    let Upload { incoming: Some(incoming), count, .. } = &mut *arriving.upload else {
        return Err(Problem::upload_unknown());
    };
    receive(request.into_body(), incoming, count).await?;
    arriving.whole = true;
    Ok(())
}

fn finish(shared: &Shared, upload: &mut Upload, digest: &Digest) -> Result<Reply, Problem> {
    let incoming = upload.incoming.take().ok_or_else(Problem::upload_unknown)?;
    let published = shared.store.publish(&upload.repository, digest, incoming);
    let subject = match published {
        Ok(_) => Subject::Blob(digest.clone()),
        Err(_) => Subject::Kind(Kind::Other),
    };
    upload.book(subject);
    shared.meter.event(&upload.repository, Action::Pushed, digest, published?);
    Ok(created(&upload.repository, digest))
}

fn offset(upload: &Upload) -> u64 {
    upload.incoming.as_ref().map_or(0, Incoming::len)
}

pub fn created(repository: &RepositoryName, digest: &Digest) -> Reply {
    let reply = header(empty(StatusCode::CREATED), DOCKER_CONTENT_DIGEST, digest);
    header(reply, LOCATION, format!("/v2/{repository}/blobs/{digest}"))
}

/// Says where the upload stands. An empty one says `0-0`, as Docker's registry does.
fn progress(status: StatusCode, repository: &RepositoryName, id: &str, offset: u64) -> Reply {
    let reply = header(empty(status), UPLOAD_ID, id);
    let reply = header(reply, RANGE, format!("0-{}", offset.saturating_sub(1)));
    header(reply, LOCATION, format!("/v2/{repository}/blobs/uploads/{id}"))
}
