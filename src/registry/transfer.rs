//! Bodies on the move: a file out to a client, a client's body into the store.
//!
//! These two are the only places through which blob bytes pass. Reading and writing a piece
//! is done inline, so a transfer that is dropped midway never loses a piece it had counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Frame, SizeHint};

use super::faults::RequestBody;
use super::incoming::Incoming;
use super::meter::{Count, Tally};
use super::reply::Problem;
use super::route::Part;
use crate::units;

/// Files are read in pieces of this size: it fits a core's cache, and the allocator has such pieces
/// at hand, which it has not above 128 KiB.
const PIECE: usize = 64 * 1024;

/// A part of a file as a response's body.
pub struct FileBody {
    file: File,
    offset: u64,
    left: u64,
    /// Booked with the last piece, before a client can have seen it: whoever takes a snapshot
    /// after a pull finds the pull in it.
    tally: Option<Tally>,
}

impl FileBody {
    pub fn new(file: File, part: Part, mut tally: Tally) -> Self {
        let left = part.last - part.first + 1;
        tally.whole = Some(left);
        Self { file, offset: part.first, left, tally: Some(tally) }
    }
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(PIECE).min(PIECE)];
        if let Err(error) = self.file.read_exact_at(&mut piece, self.offset) {
            return Poll::Ready(Some(Err(error)));
        }
        let size = piece.len() as u64;
        self.offset += size;
        self.left -= size;
        if let Some(tally) = &mut self.tally {
            tally.bytes += size;
        }
        if self.left == 0 {
            self.tally = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Takes all of a request's body into `incoming`, adding to `count` as it arrives.
pub async fn receive(
    mut body: RequestBody,
    incoming: &mut Incoming,
    count: &mut Count,
) -> Result<(), Problem> {
    let mut since = Instant::now();
    count.requests += 1;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(cut_short)?;
        if let Some(data) = frame.data_ref() {
            incoming.write(data)?;
            count.bytes = count.bytes + units::Bytes(data.len() as u64);
        }
        count.time = count.time + units::Nanos::of(since.elapsed());
        since = Instant::now();
    }
    Ok(())
}

/// Takes a body of at most `limit` bytes into memory.
pub async fn receive_small(body: RequestBody, limit: usize) -> Result<Bytes, Problem> {
    let limited = http_body_util::Limited::new(body, limit).collect().await;
    limited.map(|collected| collected.to_bytes()).map_err(|error| {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        Problem::new(status, "SIZE_INVALID", format!("failed to take the body: {error}"))
    })
}

fn cut_short(error: io::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", format!("body cut short: {error}"))
}
