//! A unix socket whose every connection is carried to somewhere else.
//!
//! Knows bytes, not protocols. It ends, and its socket file goes, when dropped.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::EngineError;
use super::error::at;

/// A socket that is served for as long as this lives.
#[derive(Debug)]
pub struct Bridge {
    socket: PathBuf,
    server: JoinHandle<()>,
}

impl Bridge {
    /// Listens on `socket`, and carries each connection to one that `connect` makes.
    pub fn open<C, F, S>(socket: &Path, connect: C) -> Result<Self, EngineError>
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = std::io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Self::serve(socket, move |mut ours| {
            let theirs = connect();
            async move {
                let mut theirs = theirs.await?;
                copy_bidirectional(&mut ours, &mut theirs).await.map(drop)
            }
        })
    }

    /// Listens on `socket`, and hands each connection to `carry`.
    pub fn serve<C, F>(socket: &Path, carry: C) -> Result<Self, EngineError>
    where
        C: Fn(UnixStream) -> F + Send + Sync + 'static,
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = UnixListener::bind(socket).map_err(at("listen on", socket))?;
        let server = tokio::spawn(async move {
            // Owned by this task, so that they end with it.
            let mut connections = JoinSet::new();
            while let Ok((ours, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                // Whoever called sees the connection close, and says what it wanted.
                connections.spawn(carry(ours));
            }
        });
        Ok(Self { socket: socket.to_owned(), server })
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.server.abort();
        // The directory it lies in goes anyway.
        let _ = std::fs::remove_file(&self.socket);
    }
}
