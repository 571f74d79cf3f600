//! One HTTP/1 GET over an engine's unix socket.
//!
//! For what bollard cannot do: ask a socket that may not be there yet, and read answers whose shape
//! its models no longer have.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::EngineError;

/// How long a socket that is none of ours may take to say whether it speaks HTTP/1.
const PATIENCE: Duration = Duration::from_secs(3);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a successful GET of `path`; any other status is an error.
pub async fn get(socket: &Path, path: &str) -> Result<Bytes, AnyError> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get(path)
        .header(http::header::HOST, "docker")
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    if !status.is_success() {
        return Err(format!("status {status}: {}", String::from_utf8_lossy(&body)).into());
    }
    Ok(body)
}

/// Whether a Docker engine answers at `socket`, and not something else or nothing.
pub async fn ping(socket: &Path) -> Result<(), AnyError> {
    tokio::time::timeout(PATIENCE, get(socket, "/_ping")).await??;
    Ok(())
}

/// Adds which engine was asked, and for what, to the error of a request.
pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(
    socket: &Path,
    path: &str,
) -> impl FnOnce(E) -> EngineError {
    let (socket, path) = (socket.to_owned(), path.to_owned());
    move |source| EngineError::Request { socket, path, source: Box::new(source) }
}
