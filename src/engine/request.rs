//! One HTTP/1 GET over an engine's unix socket.
//!
//! For what bollard cannot do: ask a socket that may not be there yet, and read answers whose shape
//! its models no longer have.

use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

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
