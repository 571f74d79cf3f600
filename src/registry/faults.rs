//! Doing on demand what registries do on bad days: which request meets which fault, and how.
//!
//! Armed while a trial builds, and only then. A fault spoils what crosses the wire, never the
//! store: a corrupt push is a push of corrupt bytes, which the store then refuses.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_LENGTH, RETRY_AFTER};
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use super::RepositoryName;
use super::reply::{Problem, Reply, header};
use super::route::Target;
use crate::fault::{About, Fault, Wrong};

/// A fault that a request met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    pub does: Wrong,
    pub method: String,
    pub kind: About,
    pub repository: Option<RepositoryName>,
    /// The request's path, without its query.
    pub path: String,
}

/// The faults that are armed, each with how many requests it has matched.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<(Fault, u32)>>);

impl Faults {
    /// From now on requests meet `faults`, counted from the first.
    pub fn arm(&self, faults: &[Fault]) {
        *self.armed() = faults.iter().map(|fault| (fault.clone(), 0)).collect();
    }

    /// The first fault that this request meets.
    pub fn meet<B>(&self, request: &Request<B>) -> Option<(Fault, Fired)> {
        let mut armed = self.armed();
        if armed.is_empty() {
            return None;
        }
        let target = Target::of(request.uri()).ok()?;
        let repository = target.repository().cloned();
        let about = match &target {
            Target::Manifest(..) => About::Manifest,
            Target::Blob(..) => About::Blob,
            Target::Uploads(_) | Target::Upload(..) => About::Upload,
            Target::Version | Target::Tags(_) | Target::Referrers(..) => About::Other,
        };
        let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
        let name = repository.as_ref().map_or("", RepositoryName::as_str);
        let mut met = None;
        for (fault, count) in armed.iter_mut() {
            if fault.matches(&method, about, name) {
                *count = count.saturating_add(1);
                if met.is_none() && fault.fires_at(*count) {
                    met = Some(fault.clone());
                }
            }
        }
        let fault = met?;
        Some((fault.clone(), Fired { does: fault.does, method, kind: about, repository, path }))
    }

    fn armed(&self) -> MutexGuard<'_, Vec<(Fault, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer with which a fault refuses a request outright.
pub fn refusal(fault: &Fault) -> Option<Reply> {
    let (status, code) = match fault.does {
        Wrong::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"),
        Wrong::InternalError => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        Wrong::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"),
        Wrong::Close | Wrong::Stall | Wrong::Truncate | Wrong::Corrupt => return None,
    };
    let reply = Problem::new(status, code, "a fault that the scenario asked for").reply();
    Some(match fault.does {
        Wrong::TooManyRequests => header(reply, RETRY_AFTER, fault.wait().as_secs()),
        _ => reply,
    })
}

/// A body, as it is or spoiled on its way.
pub struct Passing<B> {
    inner: B,
    spoil: Option<Spoil>,
    /// What the body says of its size, where that is not what `inner` says.
    length: Option<u64>,
}

/// A request's body.
pub type RequestBody = Passing<Incoming>;

impl<B: hyper::body::Body> Passing<B> {
    pub fn new(inner: B, fault: Option<&Fault>) -> Self {
        let half = inner.size_hint().exact().unwrap_or_default() / 2;
        let spoil = fault.and_then(|fault| Spoil::new(fault.does, half));
        let length = spoil.as_ref().filter(|spoil| spoil.does == Wrong::Truncate).map(|_| half);
        Self { inner, spoil, length }
    }
}

impl<B> hyper::body::Body for Passing<B>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(spoil) = &mut this.spoil
            && spoil.does == Wrong::Close
            && spoil.whole == 0
        {
            if spoil.done {
                return Poll::Ready(Some(Err(closed())));
            }
            // What was good is sent before the connection closes: hyper flushes when it must wait.
            spoil.done = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        let frame = frame.map(|frame| frame.map_err(io::Error::other));
        let Some(spoil) = &mut this.spoil else { return Poll::Ready(frame) };
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(spoil.frame(frame)),
            None if spoil.does == Wrong::Close => Some(Err(closed())),
            frame => frame,
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(|| self.inner.size_hint(), SizeHint::with_exact)
    }
}

/// `reply` with its body spoiled.
pub fn spoil_reply(reply: Reply, fault: &Fault) -> Reply {
    let reply = reply.map(|body| Passing::new(body, Some(fault)).boxed_unsync());
    match (fault.does, reply.body().size_hint().exact()) {
        (Wrong::Truncate, Some(size)) => header(reply, CONTENT_LENGTH, size),
        _ => reply,
    }
}

/// The error with which a connection is closed on purpose.
pub fn closed() -> io::Error {
    io::Error::other("a fault closes the connection")
}

/// Spoils the bytes of one body from its middle on.
struct Spoil {
    does: Wrong,
    /// Bytes that still pass as they are.
    whole: u64,
    /// Whether it has done what it does only once.
    done: bool,
}

impl Spoil {
    fn new(does: Wrong, whole: u64) -> Option<Self> {
        matches!(does, Wrong::Close | Wrong::Truncate | Wrong::Corrupt).then_some(Self {
            does,
            whole,
            done: false,
        })
    }

    fn frame(&mut self, frame: Frame<Bytes>) -> io::Result<Frame<Bytes>> {
        let Ok(data) = frame.into_data() else { return Ok(Frame::data(Bytes::new())) };
        let before = usize::try_from(self.whole).unwrap_or(usize::MAX).min(data.len());
        self.whole -= before as u64;
        if before == data.len() || (self.done && self.does == Wrong::Corrupt) {
            return Ok(Frame::data(data));
        }
        match self.does {
            Wrong::Truncate | Wrong::Close => Ok(Frame::data(data.slice(..before))),
            _ => {
                self.done = true;
                let mut data = BytesMut::from(data.as_ref());
                data[before] ^= 1;
                Ok(Frame::data(data.freeze()))
            }
        }
    }
}
