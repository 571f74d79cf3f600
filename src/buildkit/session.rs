//! The session of one build: the services that the engine calls on us while it solves.
//!
//! Serves health, files, credentials, secrets and local caches on one reverse connection, until it is dropped.
//! Surprising: the engine checks our health every 5 s and ends the build if we are late, so
//! nothing here may block the runtime.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, Server};
use tonic::{Request, Response, Status};

use super::channel::{BuildkitError, Connection, MESSAGE_LIMIT, Reverse};
use super::content::{self, Content};
use super::filesync::Directories;
use crate::credentials::credentials;

const UUID: HeaderName = HeaderName::from_static("x-docker-expose-session-uuid");
const SHARED_KEY: HeaderName = HeaderName::from_static("x-docker-expose-session-sharedkey");
const NAME: HeaderName = HeaderName::from_static("x-docker-expose-session-name");
const METHOD: HeaderName = HeaderName::from_static("x-docker-expose-session-grpc-method");

const METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
];

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the {name} {value:?} cannot be sent as a header")]
    Header { name: &'static str, value: String, source: http::header::InvalidHeaderValue },
}

/// What a session offers to the engine.
#[derive(Debug)]
pub struct Offer {
    pub id: String,
    /// Contexts sent under the same key are compared with each other and sent only where changed.
    pub shared_key: String,
    pub directories: BTreeMap<String, std::path::PathBuf>,
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// Folders for caches of `type=local`, by the names that the engine uses.
    pub stores: BTreeMap<String, std::path::PathBuf>,
}

/// A session that is served for as long as this lives, and not a moment longer.
#[derive(Debug)]
pub struct Session {
    server: tokio::task::JoinHandle<()>,
    /// The server has a task for the connection, which knows nothing of the server's own end.
    over: CancellationToken,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.over.cancel();
        self.server.abort();
    }
}

impl Session {
    pub async fn open(connection: &Connection, offer: Offer) -> Result<Self, BuildkitError> {
        let headers = headers(&offer)?;
        let reverse = connection.reverse(headers).await?;
        let over = CancellationToken::new();
        let io = Io { reverse, over: Box::pin(over.clone().cancelled_owned()) };
        Ok(Self { server: tokio::spawn(serve(io, offer)), over })
    }
}

fn headers(offer: &Offer) -> Result<HeaderMap, SessionError> {
    let value = |name, value: &str| {
        HeaderValue::from_str(value).map_err(|source| SessionError::Header {
            name,
            value: value.to_owned(),
            source,
        })
    };
    let mut headers = HeaderMap::new();
    headers.insert(UUID, value("session id", &offer.id)?);
    headers.insert(SHARED_KEY, value("shared key", &offer.shared_key)?);
    headers.insert(NAME, HeaderValue::from_static("cachefrom"));
    for method in METHODS.into_iter().chain(content::METHODS) {
        headers.append(METHOD, HeaderValue::from_static(method));
    }
    Ok(headers)
}

async fn serve(io: Io, offer: Offer) {
    let files = FileSyncServer::new(Directories(offer.directories))
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let router = Server::builder()
        // A long .dockerignore and many COPY sources come as metadata; hyper stops at 16 KiB.
        .http2_max_header_list_size(MESSAGE_LIMIT as u32)
        .add_service(HealthServer::new(AlwaysHealthy))
        .add_service(files)
        .add_service(AuthServer::new(DockerConfig))
        .add_service(Content(std::sync::Arc::new(offer.stores)))
        .add_service(SecretsServer::new(GivenSecrets(offer.secrets)));
    // After the last connection tonic would shut down, so another one is always expected.
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(io));
    let incoming = incoming.chain(tokio_stream::pending());
    // The build notices by itself when its session ends early, and says so.
    let _ = router.serve_with_incoming(incoming).await;
}

struct AlwaysHealthy;

#[tonic::async_trait]
impl Health for AlwaysHealthy {
    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving as i32 }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only Check is served"))
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only Check is served"))
    }
}

struct DockerConfig;

#[tonic::async_trait]
impl Auth for DockerConfig {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let found = credentials(&request.into_inner().host).await;
        let (username, secret) = (found.username, found.secret);
        Ok(Response::new(CredentialsResponse { username, secret }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unimplemented("the engine fetches tokens itself"))
    }
}

struct GivenSecrets(BTreeMap<String, Vec<u8>>);

#[tonic::async_trait]
impl Secrets for GivenSecrets {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let data = self.0.get(&id).cloned();
        let data = data.ok_or_else(|| Status::not_found(format!("no secret {id:?}")))?;
        Ok(Response::new(GetSecretResponse { data }))
    }
}

/// Makes either kind of byte stream one that tonic can serve, until the session is over.
struct Io {
    reverse: Reverse,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Io {
    /// Whether the session is over; else `context` is woken when it is.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        self.over.as_mut().poll(context).is_ready()
    }
}

impl Connected for Io {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_over(context) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.reverse {
            Reverse::Upgraded(io) => Pin::new(io).poll_read(context, buffer),
            Reverse::Tunnel { stream: io, .. } => Pin::new(io).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        match &mut self.reverse {
            Reverse::Upgraded(io) => Pin::new(io).poll_write(context, bytes),
            Reverse::Tunnel { stream: io, .. } => Pin::new(io).poll_write(context, bytes),
        }
    }

    // HTTP/2 then writes a frame's head and its contents with one call.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        if self.is_over(context) {
            return Poll::Ready(Err(std::io::ErrorKind::BrokenPipe.into()));
        }
        match &mut self.reverse {
            Reverse::Upgraded(io) => Pin::new(io).poll_write_vectored(context, pieces),
            Reverse::Tunnel { stream: io, .. } => Pin::new(io).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.reverse {
            Reverse::Upgraded(io) => io.is_write_vectored(),
            Reverse::Tunnel { stream: io, .. } => io.is_write_vectored(),
        }
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.reverse {
            Reverse::Upgraded(io) => Pin::new(io).poll_flush(context),
            Reverse::Tunnel { stream: io, .. } => Pin::new(io).poll_flush(context),
        }
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        match &mut self.reverse {
            Reverse::Upgraded(io) => Pin::new(io).poll_shutdown(context),
            Reverse::Tunnel { stream: io, .. } => Pin::new(io).poll_shutdown(context),
        }
    }
}
