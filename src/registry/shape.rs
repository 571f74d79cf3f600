//! A connection that obeys a link profile: it moves no more bytes a second than the link carries.
//!
//! All connections of one link share two buckets, one a direction. A bucket lends: bytes pass at
//! once and the next ones wait until the time that these take is over, so that rates are exact on
//! average whatever the timer's grain. Latency is not here: it is a request's, not a byte's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::link::LinkProfile;

/// How many bytes pass at once; small against what any link carries in a second.
const PIECE: usize = 16 << 10;
/// Time that a late timer may lose and the next bytes may make up for.
const GRAIN: Duration = Duration::from_millis(10);

/// Bandwidth in one direction, lent in advance.
#[derive(Debug)]
pub struct Bucket {
    bits_per_second: u64,
    /// When everything that was lent will have been paid back.
    free_at: Mutex<Instant>,
}

impl Bucket {
    fn new(bits_per_second: u64) -> Arc<Self> {
        Arc::new(Self { bits_per_second, free_at: Mutex::new(Instant::now()) })
    }

    /// Lends `bytes`; says when the next ones may pass.
    fn lend(&self, bytes: usize) -> Instant {
        let seconds = bytes as f64 * 8.0 / self.bits_per_second as f64;
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        *free_at = (*free_at).max(now.checked_sub(GRAIN).unwrap_or(now))
            + Duration::from_secs_f64(seconds);
        *free_at
    }

    /// When the next bytes may pass.
    fn free_at(&self) -> Instant {
        *self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both directions of one engine's link.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    down: Option<Arc<Bucket>>,
    up: Option<Arc<Bucket>>,
}

impl Buckets {
    pub fn of(link: &LinkProfile) -> Self {
        Self { down: link.down.map(Bucket::new), up: link.up.map(Bucket::new) }
    }
}

/// `inner`, no faster than its link. Reading from it is the engine's upload.
pub struct Shaped<T> {
    inner: T,
    reading: Gate,
    writing: Gate,
}

/// One direction of one connection.
struct Gate {
    bucket: Option<Arc<Bucket>>,
    sleep: Pin<Box<Sleep>>,
}

impl Gate {
    fn new(bucket: Option<Arc<Bucket>>) -> Self {
        Self { bucket, sleep: Box::pin(tokio::time::sleep(Duration::ZERO)) }
    }

    /// Ready once bytes may pass: other connections may have borrowed in the meantime.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(bucket) = &self.bucket else { return Poll::Ready(()) };
        loop {
            let free_at = bucket.free_at();
            if free_at <= Instant::now() {
                return Poll::Ready(());
            }
            if self.sleep.deadline() != free_at {
                self.sleep.as_mut().reset(free_at);
            }
            ready!(self.sleep.as_mut().poll(context));
        }
    }

    fn limit(&self, bytes: usize) -> usize {
        if self.bucket.is_some() { bytes.min(PIECE) } else { bytes }
    }

    fn passed(&self, bytes: usize) {
        if let Some(bucket) = &self.bucket {
            bucket.lend(bytes);
        }
    }
}

impl<T> Shaped<T> {
    pub fn new(inner: T, buckets: &Buckets) -> Self {
        let (up, down) = (buckets.up.clone(), buckets.down.clone());
        Self { inner, reading: Gate::new(up), writing: Gate::new(down) }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Shaped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.reading.bucket.is_none() {
            return Pin::new(&mut this.inner).poll_read(context, buffer);
        }
        ready!(this.reading.poll_open(context));
        let mut piece = [0; PIECE];
        let limit = this.reading.limit(buffer.remaining());
        let mut piece = ReadBuf::new(&mut piece[..limit]);
        ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
        buffer.put_slice(piece.filled());
        this.reading.passed(piece.filled().len());
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Shaped<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.writing.poll_open(context));
        let limit = this.writing.limit(bytes.len());
        let written = ready!(Pin::new(&mut this.inner).poll_write(context, &bytes[..limit]))?;
        this.writing.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// The time that `connections` take to move `bytes` each, both ways at once.
    async fn moved(link: &str, connections: usize, bytes: usize) -> Duration {
        let buckets = Buckets::of(&link.parse().unwrap());
        let since = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (engine, registry) = tokio::io::duplex(1 << 20);
            let (mut up, mut down) = tokio::io::split(Shaped::new(registry, &buckets));
            let (mut sink, mut source) = tokio::io::split(engine);
            tasks.spawn(async move { down.write_all(&vec![1; bytes]).await.unwrap() });
            tasks.spawn(async move { assert_eq!(all(&mut sink, bytes).await, bytes) });
            tasks.spawn(async move { source.write_all(&vec![2; bytes]).await.unwrap() });
            tasks.spawn(async move { assert_eq!(all(&mut up, bytes).await, bytes) });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        since.elapsed()
    }

    async fn all(from: &mut (impl AsyncRead + Unpin), bytes: usize) -> usize {
        let mut buffer = vec![0; bytes];
        from.read_exact(&mut buffer).await.unwrap()
    }

    /// On a clock that only moves while everything waits, so that a busy machine changes nothing; its
    /// timers have the grain of real ones, a millisecond.
    #[tokio::test(start_paused = true)]
    async fn the_delivered_rate_is_the_asked_one_to_5_percent_whatever_the_connections() {
        // The slower direction decides.
        for (link, connections, seconds) in [
            ("down=64Mbit", 1, 0.5),
            ("down=64Mbit", 4, 2.0),
            ("up=64Mbit", 2, 1.0),
            ("down=128Mbit,up=32Mbit", 1, 1.0),
            ("up=1Gbit", 1, 0.032),
        ] {
            let share = moved(link, connections, 4_000_000).await.as_secs_f64() / seconds;
            assert!((0.95..1.05).contains(&share), "{link} × {connections}: {share} of the time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_without_a_rate_delays_nothing() {
        assert_eq!(moved("latency=5ms", 3, 4_000_000).await, Duration::ZERO);
    }

    #[test]
    fn lent_bytes_are_paid_back_to_the_nanosecond() {
        let bucket = Bucket::new(8_000_000);
        let first = bucket.lend(1_000_000);
        assert_eq!(bucket.lend(500_000) - first, Duration::from_millis(500));
    }

    #[test]
    fn a_link_without_limits_has_no_gate_to_wait_at() {
        let buckets = Buckets::of(&"latency=5ms".parse().unwrap());
        assert!(buckets.down.is_none() && buckets.up.is_none());
    }
}
