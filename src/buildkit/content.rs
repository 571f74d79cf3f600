//! containerd's Content service over local folders: what a cache of `type=local` is kept in.
//!
//! The engine does the caching and calls us for every blob; which folder it means is in the call's
//! metadata. A folder is an OCI layout. Surprising: no crate has this service, so it is served by hand.

mod messages;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use sha2::{Digest, Sha256};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use messages::{Action, Info, InfoRequest, InfoResponse, WriteRequest, WriteResponse};
pub(super) use messages::{ReadRequest, ReadResponse};

use super::channel::MESSAGE_LIMIT;

pub const METHODS: [&str; 3] = [
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
    "/containerd.services.content.v1.Content/Write",
];
/// Names the folder of a call: `local:` and the cache's `dest` or `src`.
const STORE: &str = "buildkit-attachable-store-id";
/// Contents travel in pieces of this many bytes, as containerd sends them.
const CHUNK: usize = 1 << 20;

/// The folders that the engine may use, by the name it knows them by.
#[derive(Clone, Debug, Default)]
pub struct Content(pub Arc<BTreeMap<String, PathBuf>>);

impl Content {
    /// The folder that a call means.
    fn store<T>(&self, request: &Request<T>) -> Result<PathBuf, Status> {
        let name = request.metadata().get(STORE).and_then(|name| name.to_str().ok());
        let name = name.unwrap_or_default();
        let found = self.0.get(name).cloned();
        found.ok_or_else(|| Status::not_found(format!("no content store {name:?}")))
    }

    fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let store = self.store(&request)?;
        let digest = request.into_inner().digest;
        let file = open(&blob(&store, &digest)?, &digest)?;
        let size = file.metadata().map_err(broken)?.len() as i64;
        Ok(Response::new(InfoResponse { info: Some(Info { digest, size }) }))
    }

    fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<ReceiverStream<Result<ReadResponse, Status>>>, Status> {
        let store = self.store(&request)?;
        let ReadRequest { digest, offset, size } = request.into_inner();
        let mut file = open(&blob(&store, &digest)?, &digest)?;
        let start = u64::try_from(offset).map_err(|_| Status::out_of_range("negative offset"))?;
        file.seek(SeekFrom::Start(start)).map_err(broken)?;
        let left = if size > 0 { size.unsigned_abs() } else { u64::MAX };
        let (sender, pieces) = tokio::sync::mpsc::channel(4);
        tokio::task::spawn_blocking(move || send_file(file.take(left), offset, &sender));
        Ok(Response::new(ReceiverStream::new(pieces)))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<ReceiverStream<Result<WriteResponse, Status>>>, Status> {
        let store = self.store(&request)?;
        let mut incoming = request.into_inner();
        let (sender, answers) = tokio::sync::mpsc::channel(4);
        tokio::spawn(async move {
            let mut ingest = None;
            while let Some(message) = incoming.next().await {
                let answer = message.and_then(|message| take(&store, &mut ingest, message));
                let last = answer.as_ref().map_or(true, |a| a.action == Action::Commit as i32);
                if sender.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

type Pieces = tokio::sync::mpsc::Sender<Result<ReadResponse, Status>>;

fn send_file(mut file: impl Read, mut offset: i64, sender: &Pieces) {
    loop {
        let mut data = vec![0; CHUNK];
        let answer = match file.read(&mut data) {
            Ok(0) => return,
            Ok(length) => {
                data.truncate(length);
                Ok(ReadResponse { offset, data })
            }
            Err(error) => Err(broken(error)),
        };
        let read = answer.as_ref().map_or(0, |answer| answer.data.len());
        if sender.blocking_send(answer).is_err() || read == 0 {
            return;
        }
        offset += read as i64;
    }
}

/// A blob on its way in; what is not committed goes with it.
struct Ingest {
    file: tempfile::NamedTempFile,
    hash: Sha256,
    offset: i64,
    expected: String,
    total: i64,
}

/// Does what one message of a write says.
fn take(
    store: &Path,
    ingest: &mut Option<Ingest>,
    message: WriteRequest,
) -> Result<WriteResponse, Status> {
    let action = Action::try_from(message.action)
        .map_err(|_| Status::invalid_argument(format!("no action {}", message.action)))?;
    let writing = match ingest {
        Some(writing) => writing,
        None => {
            if !message.expected.is_empty() && blob(store, &message.expected)?.exists() {
                return Err(there(&message.expected));
            }
            std::fs::create_dir_all(blobs(store)).map_err(broken)?;
            let file = tempfile::Builder::new().prefix(".ingest-").tempfile_in(store);
            let file = file.map_err(broken)?;
            let expected = message.expected.clone();
            let total = message.total;
            ingest.insert(Ingest { file, hash: Sha256::new(), offset: 0, expected, total })
        }
    };
    if message.total > 0 {
        writing.total = message.total;
    }
    if action != Action::Stat && !message.data.is_empty() {
        if message.offset == 0 && writing.offset > 0 {
            // containerd's clients begin again like this.
            writing.file.as_file().set_len(0).map_err(broken)?;
            writing.file.as_file_mut().rewind().map_err(broken)?;
            writing.hash = Sha256::new();
            writing.offset = 0;
        }
        if message.offset != writing.offset {
            let text = format!("offset {} instead of {}", message.offset, writing.offset);
            return Err(Status::out_of_range(text));
        }
        writing.file.write_all(&message.data).map_err(broken)?;
        writing.hash.update(&message.data);
        writing.offset += message.data.len() as i64;
    }
    let digest = format!("sha256:{}", hexadecimal(&writing.hash.clone().finalize()));
    let answer = WriteResponse {
        action: action as i32,
        offset: writing.offset,
        total: writing.total,
        digest: digest.clone(),
    };
    if action == Action::Commit
        && let Some(writing) = ingest.take()
    {
        let expected =
            if message.expected.is_empty() { writing.expected } else { message.expected };
        if !expected.is_empty() && expected != digest {
            return Err(Status::failed_precondition(format!(
                "content is {digest}, not {expected}"
            )));
        }
        if writing.total > 0 && writing.total != writing.offset {
            let text = format!("{} bytes instead of {}", writing.offset, writing.total);
            return Err(Status::failed_precondition(text));
        }
        let path = blob(store, &digest)?;
        if path.exists() {
            return Err(there(&digest));
        }
        writing.file.persist(&path).map_err(|error| broken(error.error))?;
    }
    Ok(answer)
}

fn there(digest: &str) -> Status {
    Status::already_exists(format!("content {digest} is there"))
}

fn blobs(store: &Path) -> PathBuf {
    store.join("blobs/sha256")
}

/// Where a blob is kept. Only what is a digest becomes a path.
pub fn blob(store: &Path, digest: &str) -> Result<PathBuf, Status> {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Status::invalid_argument(format!("{digest:?} is not a digest")));
    }
    Ok(blobs(store).join(hex))
}

fn open(path: &Path, digest: &str) -> Result<File, Status> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Status::not_found(format!("no content {digest}")),
        _ => broken(error),
    })
}

fn broken(error: std::io::Error) -> Status {
    Status::internal(error.to_string())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl NamedService for Content {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

impl tower_service::Service<http::Request<Body>> for Content {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let content = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match &*method {
                "Info" => grpc().unary(Call(content), request).await,
                "Read" => grpc().server_streaming(Call(content), request).await,
                "Write" => grpc().streaming(Call(content), request).await,
                _ => Status::unimplemented(format!("no method {method}")).into_http(),
            })
        })
    }
}

fn grpc<Out, In>() -> Grpc<ProstCodec<Out, In>>
where
    Out: prost::Message + Default + Send + 'static,
    In: prost::Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT)
}

struct Call(Content);

impl UnaryService<InfoRequest> for Call {
    type Response = InfoResponse;
    type Future = BoxFuture<Response<InfoResponse>, Status>;

    fn call(&mut self, request: Request<InfoRequest>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move { content.info(request) })
    }
}

impl ServerStreamingService<ReadRequest> for Call {
    type Response = ReadResponse;
    type ResponseStream = ReceiverStream<Result<ReadResponse, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<ReadRequest>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move { content.read(request) })
    }
}

impl StreamingService<WriteRequest> for Call {
    type Response = WriteResponse;
    type ResponseStream = ReceiverStream<Result<WriteResponse, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<WriteRequest>>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move { content.write(request).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(action: Action, offset: i64, data: &[u8]) -> WriteRequest {
        WriteRequest { action: action as i32, offset, data: data.into(), ..Default::default() }
    }

    #[test]
    fn a_blob_is_there_only_once_it_is_committed_and_whole() {
        let store = tempfile::tempdir().unwrap();
        let digest = format!("sha256:{}", hexadecimal(&Sha256::digest(b"layer")));
        let path = blob(store.path(), &digest).unwrap();
        let mut ingest = None;
        let mut say = |message| take(store.path(), &mut ingest, message);
        let stat = WriteRequest { expected: digest.clone(), ..message(Action::Stat, 0, b"") };
        assert_eq!(say(stat.clone()).unwrap().offset, 0);
        assert_eq!(say(message(Action::Write, 0, b"lay")).unwrap().offset, 3);
        assert_eq!(
            say(message(Action::Write, 9, b"er")).unwrap_err().code(),
            tonic::Code::OutOfRange
        );
        assert_eq!(say(message(Action::Write, 3, b"er")).unwrap().offset, 5);
        assert!(!path.exists());
        let commit = WriteRequest { total: 5, ..message(Action::Commit, 5, b"") };
        assert_eq!(say(commit).unwrap().digest, digest);
        assert_eq!(std::fs::read(&path).unwrap(), b"layer");
        assert_eq!(say(stat).unwrap_err().code(), tonic::Code::AlreadyExists);
    }

    #[test]
    fn content_that_is_not_what_was_announced_is_refused_and_leaves_nothing() {
        let store = tempfile::tempdir().unwrap();
        let mut ingest = None;
        let expected = format!("sha256:{}", "0".repeat(64));
        let commit = WriteRequest { expected, ..message(Action::Commit, 0, b"other") };
        let error = take(store.path(), &mut ingest, commit).unwrap_err();
        assert_eq!(error.code(), tonic::Code::FailedPrecondition);
        let files = std::fs::read_dir(store.path()).unwrap().count();
        assert_eq!(files, 1, "only the folder of blobs");
    }

    #[test]
    fn no_digest_leads_out_of_the_store() {
        for digest in ["sha256:../../etc/passwd", "", "md5:00", "sha256:"] {
            assert!(blob(Path::new("/x"), digest).is_err(), "{digest}");
        }
    }
}
