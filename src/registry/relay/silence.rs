//! How long a real registry may be silent: while it is sent something, before it answers, in an answer.
//!
//! Only its own silence counts. An engine that is slow to send or to read, over a shaped link say, is
//! waited for as long as it takes: a request as a whole has no limit.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::error::reason;

/// Since when the registry has been waited for; nothing while the engine is.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Mutex<Option<Instant>>>);

impl Watch {
    /// The registry is waited for from now on.
    pub fn begin() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    /// The registry was sent something, and is waited for from now on.
    pub fn registry(&self) {
        self.set(Some(Instant::now()));
    }

    /// The engine is waited for.
    pub fn engine(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Ends when the registry has been waited for `limit` without a break.
    async fn silent(&self, limit: Duration) {
        loop {
            let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match since {
                // Whenever the wait begins, it lasts at least until then.
                None => sleep(limit).await,
                Some(since) if since.elapsed() >= limit => return,
                Some(since) => sleep_until(since + limit).await,
            }
        }
    }
}

/// Sends `request` and waits for its answer, whose body is watched too; the error says why there is
/// none. `watch` is told by whoever sends the request's body.
pub async fn answered(
    request: RequestBuilder,
    watch: &Watch,
    limit: Duration,
) -> Result<Response, String> {
    watch.registry();
    let answer = tokio::select! {
        answer = request.send() => answer.map_err(|error| reason(&error.without_url()))?,
        () = watch.silent(limit) => return Err(silent_for(limit)),
    };
    let answer: http::Response<reqwest::Body> = answer.into();
    let watched = |inner| Watched { inner, limit, waiting: None };
    Ok(answer.map(|body| reqwest::Body::wrap(watched(body))).into())
}

fn silent_for(limit: Duration) -> String {
    format!("it was silent for {} s", limit.as_secs_f64())
}

/// An answer's body, which fails where the registry is silent in its middle.
struct Watched {
    inner: reqwest::Body,
    limit: Duration,
    /// While the registry is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|e| e.without_url().into())));
        }
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(this.limit)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(silent_for(this.limit).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
