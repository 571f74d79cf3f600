//! The whole client against a BuildKit that is faked on the wire, in this process.
//!
//! The fake takes the part of a bare buildkitd: it receives the session through the
//! `Control.Session` tunnel, calls our services on it, and only then answers the build.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bollard_buildkit_proto::fsutil::types::{Packet, packet::PacketType};
use bollard_buildkit_proto::health::HealthCheckRequest;
use bollard_buildkit_proto::health::health_client::HealthClient;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::buildkit::v1::control_server::{Control, ControlServer};
use bollard_buildkit_proto::moby::buildkit::v1::*;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_client::FileSyncClient;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{Address, BuildRequest, Connection, build, disk_usage};
use crate::secrets::Secrets;

type Reply<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Default)]
struct Seen {
    /// Path to contents, of everything that was sent; directories have none.
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    secret: Mutex<Vec<u8>>,
    shared_key: Mutex<String>,
    done: Notify,
    /// The session no longer answers.
    over: Notify,
}

#[derive(Clone, Default)]
struct Fake {
    seen: Arc<Seen>,
    /// Whether the build fails in the end.
    fails: bool,
    /// How long it takes to say that it is there.
    slow: Duration,
}

#[tonic::async_trait]
impl Control for Fake {
    type PruneStream = Reply<UsageRecord>;
    type StatusStream = Reply<StatusResponse>;
    type SessionStream = Reply<BytesMessage>;
    type ListenBuildHistoryStream = Reply<BuildHistoryEvent>;

    async fn disk_usage(
        &self,
        _: Request<DiskUsageRequest>,
    ) -> Result<Response<DiskUsageResponse>, Status> {
        Ok(Response::new(DiskUsageResponse { record: vec![UsageRecord::default(); 3] }))
    }

    async fn prune(&self, _: Request<PruneRequest>) -> Result<Response<Self::PruneStream>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn solve(
        &self,
        request: Request<SolveRequest>,
    ) -> Result<Response<SolveResponse>, Status> {
        self.seen.done.notified().await;
        if self.fails {
            return Err(Status::unknown("process \"x\" did not complete: exit code: 3"));
        }
        let filename = request.into_inner().frontend_attrs.remove("filename");
        let pair = ("filename".to_owned(), filename.unwrap_or_default());
        Ok(Response::new(SolveResponse { exporter_response: [pair].into() }))
    }

    async fn status(
        &self,
        _: Request<StatusRequest>,
    ) -> Result<Response<Self::StatusStream>, Status> {
        let error = if self.fails { "process \"x\" did not complete: exit code: 3" } else { "" };
        let vertex = Vertex {
            digest: "d".into(),
            name: "[2/2] RUN x".into(),
            error: error.into(),
            ..Default::default()
        };
        let message = StatusResponse { vertexes: vec![vertex], ..Default::default() };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(message)))))
    }

    async fn session(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let key = request.metadata().get("x-docker-expose-session-sharedkey").unwrap();
        *self.seen.shared_key.lock().unwrap() = key.to_str().unwrap().to_owned();
        let mut incoming = request.into_inner();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let (sender, outgoing) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Some(Ok(message)) = incoming.next().await {
                if writer.write_all(&message.data).await.is_err() {
                    return;
                }
            }
            writer.shutdown().await.unwrap();
        });
        tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = reader.read(&mut buffer).await {
                let data = buffer[..length].to_vec();
                if sender.send(Ok(BytesMessage { data })).await.is_err() {
                    return;
                }
            }
        });
        let seen = self.seen.clone();
        tokio::spawn(async move {
            let once = Mutex::new(Some(TokioIo::new(ours)));
            let connector = tower::service_fn(move |_: http::Uri| {
                let io = once.lock().unwrap().take();
                async move { io.ok_or_else(|| std::io::Error::other("once")) }
            });
            let endpoint = Endpoint::from_static("http://session");
            let channel = endpoint.connect_with_connector(connector).await.unwrap();
            call_back(channel.clone(), &seen).await;
            seen.done.notify_one();
            let mut health = HealthClient::new(channel);
            while health.check(HealthCheckRequest::default()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            seen.over.notify_one();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }

    async fn list_workers(
        &self,
        _: Request<ListWorkersRequest>,
    ) -> Result<Response<ListWorkersResponse>, Status> {
        tokio::time::sleep(self.slow).await;
        Ok(Response::new(ListWorkersResponse::default()))
    }

    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn listen_build_history(
        &self,
        _: Request<BuildHistoryRequest>,
    ) -> Result<Response<Self::ListenBuildHistoryStream>, Status> {
        Err(Status::unimplemented("fake"))
    }

    async fn update_build_history(
        &self,
        _: Request<UpdateBuildHistoryRequest>,
    ) -> Result<Response<UpdateBuildHistoryResponse>, Status> {
        Err(Status::unimplemented("fake"))
    }
}

/// What an engine asks of a session, as fsutil's receiver does it for the files.
async fn call_back(channel: Channel, seen: &Seen) {
    HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    let secret = GetSecretRequest { id: "token".into(), ..Default::default() };
    let secret = SecretsClient::new(channel.clone()).get_secret(secret).await.unwrap();
    *seen.secret.lock().unwrap() = secret.into_inner().data;

    let (sender, requests) = mpsc::unbounded_channel();
    let mut request = Request::new(UnboundedReceiverStream::new(requests));
    request.metadata_mut().insert("dir-name", "context".parse().unwrap());
    request.metadata_mut().insert("exclude-patterns", "with%20space".parse().unwrap());
    request.metadata_mut().insert("exclude-patterns-encoded", "1".parse().unwrap());
    let mut packets = FileSyncClient::new(channel).diff_copy(request).await.unwrap().into_inner();
    let (mut paths, mut open, mut listed) = (Vec::new(), 0, false);
    let send = |kind: PacketType, id| {
        sender.send(Packet { r#type: kind as i32, id, ..Default::default() }).unwrap();
    };
    while let Some(packet) = packets.message().await.unwrap() {
        match PacketType::try_from(packet.r#type).unwrap() {
            PacketType::PacketStat => match packet.stat {
                Some(stat) => {
                    if super::walk::has_contents(&stat) {
                        send(PacketType::PacketReq, paths.len() as u32);
                        open += 1;
                    }
                    seen.files.lock().unwrap().insert(stat.path.clone(), Vec::new());
                    paths.push(stat.path);
                }
                None => listed = true,
            },
            PacketType::PacketData if packet.data.is_empty() => open -= 1,
            PacketType::PacketData => {
                let path = &paths[packet.id as usize];
                seen.files.lock().unwrap().get_mut(path).unwrap().extend(packet.data);
            }
            PacketType::PacketFin => return,
            other => panic!("{other:?} {packet:?}"),
        }
        if listed && open == 0 {
            send(PacketType::PacketFin, 0);
        }
    }
}

async fn serve(fake: Fake, directory: &std::path::Path) -> Connection {
    let socket = directory.join("engine.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = Server::builder().add_service(ControlServer::new(fake));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    Connection::open(&Address::Unix(socket)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_serves_its_files_and_secrets_through_the_tunnel() {
    let root = tempfile::tempdir().unwrap();
    let context = root.path().join("context");
    std::fs::create_dir_all(context.join("src")).unwrap();
    let large: Vec<u8> = (0..300_000_u32).map(|n| n as u8).collect();
    std::fs::write(context.join("src/large"), &large).unwrap();
    std::fs::write(context.join("src/exact"), &large[..128 << 10]).unwrap();
    std::fs::write(context.join("src/empty"), "").unwrap();
    std::fs::write(context.join("with space"), "excluded").unwrap();
    let fake = Fake::default();
    let connection = serve(fake.clone(), root.path()).await;
    assert_eq!(disk_usage(&connection).await.unwrap().len(), 3);
    let request = BuildRequest {
        context,
        dockerfile: "docker/Dockerfile".into(),
        shared_key: "key".into(),
        secrets: Secrets::of([("token".to_owned(), b"hush".to_vec())].into()).unwrap(),
        ..Default::default()
    };
    let outcome = build(&connection, &request, None).await.unwrap();
    let over = tokio::time::timeout(Duration::from_secs(10), fake.seen.over.notified()).await;
    over.expect("the session is served after its build");
    assert_eq!(outcome.failure, None);
    assert_eq!(outcome.exporter_response["filename"], "Dockerfile");
    assert_eq!(outcome.trace.vertices[0].name, "[2/2] RUN x");
    let files = fake.seen.files.lock().unwrap();
    let sizes: Vec<_> = files.iter().map(|(path, data)| (path.as_str(), data.len())).collect();
    let expected = [("src", 0), ("src/empty", 0), ("src/exact", 128 << 10), ("src/large", 300_000)];
    assert_eq!(sizes, expected);
    assert_eq!(files["src/large"], large);
    assert_eq!(*fake.seen.secret.lock().unwrap(), b"hush");
    assert_eq!(*fake.seen.shared_key.lock().unwrap(), "key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_fails_is_an_outcome_and_names_its_step() {
    let root = tempfile::tempdir().unwrap();
    let fake = Fake { fails: true, ..Fake::default() };
    let connection = serve(fake, root.path()).await;
    let request = BuildRequest {
        context: root.path().into(),
        dockerfile: "Dockerfile".into(),
        secrets: Secrets::of([("token".to_owned(), Vec::new())].into()).unwrap(),
        ..Default::default()
    };
    // The socket itself lies in this context, and is sent as nothing.
    let outcome = build(&connection, &request, None).await.unwrap();
    let failure = outcome.failure.unwrap();
    assert_eq!((failure.step.as_str(), failure.exit_code), ("[2/2] RUN x", Some(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_slow_to_answer_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let fake = Fake { slow: super::channel::PROBE + Duration::from_millis(200), ..Fake::default() };
    let connection = serve(fake, root.path()).await;
    assert_eq!(disk_usage(&connection).await.unwrap().len(), 3);
}
