//! Reaches a BuildKit engine: the gRPC channel, and the reverse connection for a session.
//!
//! Stops at bytes and gRPC; what is served or called is for `session` and `solve`. Surprising:
//! dockerd speaks gRPC natively only since 29.2, before that behind `POST /grpc` and
//! `POST /session` upgrades, which later releases will remove; so it is tried, not asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{BytesMessage, ListWorkersRequest};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::session::SessionError;

/// The daemon's own limit for one message (buildkit `defaults.DefaultMaxRecvMsgSize`); tonic's
/// default is 4 MiB.
pub(super) const MESSAGE_LIMIT: usize = 16 << 20;
/// How long an engine may take to answer whether it speaks gRPC natively.
pub(super) const PROBE: Duration = Duration::from_secs(3);
/// How long it may take to answer where nothing else is left to try: a busy machine is no lost engine.
const ANSWER: Duration = Duration::from_secs(30);

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The Unix socket of dockerd.
    Docker(PathBuf),
    /// The Unix socket of a bare buildkitd.
    Unix(PathBuf),
    /// `host:port` of a bare buildkitd, without TLS.
    Tcp(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Docker(path) | Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

/// What can go wrong between us and the engine; a build that fails is not an error.
#[derive(Debug, thiserror::Error)]
pub enum BuildkitError {
    #[error("connecting to {address}")]
    Connect { address: String, source: tonic::transport::Error },
    #[error("connecting to {path}")]
    Socket { path: PathBuf, source: std::io::Error },
    #[error("{address} is not an address")]
    Address { address: String, source: tonic::transport::Error },
    #[error("asking {path} to upgrade {endpoint}")]
    Upgrade { path: PathBuf, endpoint: &'static str, source: hyper::Error },
    #[error("{path} refused to upgrade {endpoint}: {status}")]
    Refused { path: PathBuf, endpoint: &'static str, status: StatusCode },
    #[error("calling {method}")]
    Call { method: &'static str, source: Box<tonic::Status> },
    #[error("cannot write the index of a local cache")]
    LocalCache { source: std::io::Error },
    #[error("the engine still holds {left} build cache records after it was pruned")]
    NotPruned { left: usize },
    #[error("opening the session")]
    Session(#[from] SessionError),
    #[error("the Dockerfile's path {0:?} has no file name")]
    Dockerfile(String),
}

impl BuildkitError {
    pub(super) fn call(method: &'static str) -> impl Fn(tonic::Status) -> Self {
        move |status| Self::Call { method, source: Box::new(status) }
    }
}

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
    docker: bool,
    /// The socket to upgrade for a session; none where sessions go through `Control.Session`.
    upgrade: Option<PathBuf>,
}

impl Connection {
    pub async fn open(address: &Address) -> Result<Self, BuildkitError> {
        match address {
            Address::Docker(socket) => Self::docker(socket).await,
            Address::Unix(socket) => {
                let channel = unix(socket).await?;
                let connection = Self { channel, docker: false, upgrade: None };
                connection.probe(ANSWER).await?;
                Ok(connection)
            }
            Address::Tcp(authority) => {
                let name = || address.to_string();
                let endpoint = Endpoint::from_shared(format!("http://{authority}"))
                    .map_err(|source| BuildkitError::Address { address: name(), source })?;
                let channel = tune(endpoint)
                    .connect()
                    .await
                    .map_err(|source| BuildkitError::Connect { address: name(), source })?;
                let connection = Self { channel, docker: false, upgrade: None };
                connection.probe(ANSWER).await?;
                Ok(connection)
            }
        }
    }

    async fn docker(socket: &Path) -> Result<Self, BuildkitError> {
        // Told apart from an engine that does not speak gRPC: nothing listens.
        let dial = UnixStream::connect(socket).await;
        dial.map_err(|source| BuildkitError::Socket { path: socket.to_owned(), source })?;
        if let Ok(channel) = unix(socket).await {
            let native = Self { channel, docker: true, upgrade: None };
            if native.probe(PROBE).await.is_ok() {
                return Ok(native);
            }
        }
        let upgraded = upgrade(socket, "/grpc", HeaderMap::new()).await?;
        let once = Arc::new(Mutex::new(Some(upgraded)));
        let connector = service_fn(move |_: http::Uri| {
            let taken = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { taken.ok_or_else(|| std::io::Error::other("the connection was lost")) }
        });
        let channel = connect(connector, socket).await?;
        let connection = Self { channel, docker: true, upgrade: Some(socket.to_owned()) };
        connection.probe(ANSWER).await?;
        Ok(connection)
    }

    /// Whether this is BuildKit inside dockerd, which names its exporters differently.
    pub fn is_docker(&self) -> bool {
        self.docker
    }

    pub(super) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    }

    /// For services other than [`Self::control`]'s.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    async fn probe(&self, patience: Duration) -> Result<(), BuildkitError> {
        let mut request = tonic::Request::new(ListWorkersRequest::default());
        request.set_timeout(patience);
        let mut control = self.control();
        let answer = tokio::time::timeout(patience, control.list_workers(request)).await;
        let late = || format!("no answer in {} s", patience.as_secs());
        let answer = answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded(late())));
        answer.map(|_| ()).map_err(BuildkitError::call("Control.ListWorkers"))
    }

    /// Opens the connection on which the engine calls us.
    pub(super) async fn reverse(&self, headers: HeaderMap) -> Result<Reverse, BuildkitError> {
        match &self.upgrade {
            Some(socket) => {
                let upgraded = upgrade(socket, "/session", headers).await?;
                Ok(Reverse::Upgraded(TokioIo::new(upgraded)))
            }
            None => Ok(self.tunnel(headers)),
        }
    }

    /// Carries the session's bytes in the messages of one `Control.Session` call.
    fn tunnel(&self, headers: HeaderMap) -> Reverse {
        let mut carriers = JoinSet::new();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let (sender, outgoing) = tokio::sync::mpsc::channel(8);
        carriers.spawn(async move {
            let mut buffer = vec![0; 256 << 10];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let message = BytesMessage { data: buffer[..length].to_vec() };
                if sender.send(message).await.is_err() {
                    break;
                }
            }
        });
        let mut request = tonic::Request::new(ReceiverStream::new(outgoing));
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        let mut control = self.control();
        // The answer's headers come only once the engine has called us, so it is not awaited.
        carriers.spawn(async move {
            let Ok(response) = control.session(request).await else { return };
            let mut incoming = response.into_inner();
            while let Some(Ok(message)) = incoming.next().await {
                if writer.write_all(&message.data).await.is_err() {
                    break;
                }
            }
            let _ = writer.shutdown().await;
        });
        Reverse::Tunnel { stream: ours, _carriers: carriers }
    }
}

/// The byte stream on which we are the server.
pub(super) enum Reverse {
    Upgraded(TokioIo<Upgraded>),
    Tunnel {
        stream: DuplexStream,
        /// What carries its bytes, for as long as this lives.
        _carriers: JoinSet<()>,
    },
}

fn tune(endpoint: Endpoint) -> Endpoint {
    endpoint.initial_connection_window_size(8 << 20).initial_stream_window_size(4 << 20)
}

async fn unix(socket: &Path) -> Result<Channel, BuildkitError> {
    let path = socket.to_owned();
    let connector = service_fn(move |_: http::Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    connect(connector, socket).await
}

async fn connect<C>(connector: C, socket: &Path) -> Result<Channel, BuildkitError>
where
    C: tower::Service<http::Uri, Error = std::io::Error> + Send + 'static,
    C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send,
{
    let endpoint = tune(Endpoint::from_static("http://localhost"));
    endpoint
        .connect_with_connector(connector)
        .await
        .map_err(|source| BuildkitError::Connect { address: socket.display().to_string(), source })
}

/// Turns an HTTP/1 request into a raw connection, as dockerd does for `/grpc` and `/session`.
async fn upgrade(
    socket: &Path,
    endpoint: &'static str,
    headers: HeaderMap,
) -> Result<Upgraded, BuildkitError> {
    let path = || socket.to_owned();
    let failed = |source| BuildkitError::Upgrade { path: path(), endpoint, source };
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|source| BuildkitError::Socket { path: path(), source })?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(connection.with_upgrades());
    let mut request = http::Request::new(http_body_util::Empty::<bytes::Bytes>::new());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static(endpoint);
    *request.headers_mut() = headers;
    let h2c = HeaderValue::from_static("h2c");
    let fixed: [(HeaderName, HeaderValue); 3] = [
        (header::HOST, HeaderValue::from_static("docker")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, h2c),
    ];
    request.headers_mut().extend(fixed);
    let response = sender.send_request(request).await.map_err(failed)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let status = response.status();
        return Err(BuildkitError::Refused { path: path(), endpoint, status });
    }
    hyper::upgrade::on(response).await.map_err(failed)
}
