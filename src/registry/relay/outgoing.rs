//! The requests of an upload on their way to the real registry: counted, and watched.
//!
//! Surprising: what was sent is booked even where nobody is left to take it, because the registry gave
//! no answer or the engine went away.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use hyper::{Method, Request};
use reqwest::{Response, Url};

use super::client::{Client, Payload};
use super::error::RelayError;
use super::forward::copied;
use super::silence::Watch;
use crate::registry::RepositoryName;
use crate::registry::faults::RequestBody;
use crate::registry::meter::{Count, Direction, Kind, Meter, Subject};
use crate::units::{self, Nanos};

/// One request of an upload. What it and those before it sent is booked as of no blob when this is
/// dropped, unless it was taken.
pub struct Outgoing {
    meter: Meter,
    repository: RepositoryName,
    begun: Instant,
    /// What the upload's requests before this one came to.
    before: Count,
    /// Bytes of this request's body that were handed on.
    sent: Arc<AtomicU64>,
    taken: bool,
}

impl Outgoing {
    pub fn new(meter: &Meter, repository: &RepositoryName, before: Count) -> Self {
        Self {
            meter: meter.clone(),
            repository: repository.clone(),
            begun: Instant::now(),
            before,
            sent: Arc::default(),
            taken: false,
        }
    }

    /// Sends the request's body on.
    pub async fn send(
        &self,
        client: &Client,
        method: Method,
        url: Url,
        request: Request<RequestBody>,
    ) -> Result<Response, RelayError> {
        let mut headers = copied(request.headers(), &[CONTENT_TYPE, CONTENT_RANGE]);
        let body = request.into_body();
        let payload = match body.size_hint().exact() {
            Some(0) => Payload::none(),
            exact => {
                if let Some(exact) = exact {
                    headers.insert(CONTENT_LENGTH, exact.into());
                }
                let (sent, watch) = (Arc::clone(&self.sent), Watch::begin());
                let (inner, watched) = (Mutex::new(body), watch.clone());
                let body = Sent { inner, sent, exact, watch: watched };
                Payload::Stream(reqwest::Body::wrap(body), watch)
            }
        };
        client.send(method, url, headers, payload).await
    }

    /// What was sent so far, which is now for others to book.
    pub fn take(mut self) -> Count {
        self.taken = true;
        self.count()
    }

    fn count(&self) -> Count {
        let bytes = units::Bytes(self.sent.load(Ordering::Relaxed));
        self.before.plus(Count { requests: 1, bytes, time: Nanos::of(self.begun.elapsed()) })
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.taken {
            let other = Subject::Kind(Kind::Other);
            self.meter.count(Some(&self.repository), Direction::Push, other, self.count());
        }
    }
}

/// A body on its way to the registry.
struct Sent {
    /// Only ever polled by one task; the lock is what lets a client hold it.
    inner: Mutex<RequestBody>,
    sent: Arc<AtomicU64>,
    exact: Option<u64>,
    watch: Watch,
}

impl Sent {
    /// Whether everything is on its way: nobody asks for more then, or for the body's end.
    fn is_whole(&self) -> bool {
        self.exact.is_some_and(|exact| self.sent.load(Ordering::Relaxed) >= exact)
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Poll::Ready(frame) = Pin::new(inner).poll_frame(context) else {
            if !self.is_whole() {
                self.watch.engine();
            }
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.sent.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        self.watch.registry();
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
