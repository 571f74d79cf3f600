//! `FileSync.DiffCopy`: sends local directories to the engine, which asks for what it lacks.
//!
//! We are the sender (fsutil `send.go`): entries are announced while the engine already requests
//! contents, so the stream is never not read. An entry's id is its position in the announcement.
//! Stops at the protocol; what is listed is decided in `walk`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};

use bollard_buildkit_proto::fsutil::types::{Packet, Stat, packet::PacketType};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSync;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::walk::{Filter, WalkError, has_contents, walk};

/// Contents travel in pieces of this many bytes.
const CHUNK: usize = 128 << 10;
/// How many packets may wait for the network.
const IN_FLIGHT: usize = 64;
/// How many files are read at once.
const READERS: usize = 2;

type Outgoing = mpsc::Sender<Result<Packet, Status>>;
/// The file behind each announced entry, where it has contents.
type Announced = Arc<Mutex<Vec<Option<PathBuf>>>>;

/// The directories that the engine may see, by the name it knows them by.
#[derive(Debug)]
pub struct Directories(pub BTreeMap<String, PathBuf>);

#[tonic::async_trait]
impl FileSync for Directories {
    type DiffCopyStream = ReceiverStream<Result<Packet, Status>>;
    type TarStreamStream = ReceiverStream<Result<Packet, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let (metadata, _, incoming) = request.into_parts();
        let name = values(&metadata, "dir-name").into_iter().next().unwrap_or_default();
        let root = self.0.get(&name).cloned();
        let root =
            root.ok_or_else(|| Status::not_found(format!("no access allowed to dir {name:?}")))?;
        let asked = Asked {
            root,
            include: values(&metadata, "include-patterns"),
            exclude: values(&metadata, "exclude-patterns"),
            follow: values(&metadata, "followpaths"),
        };
        let (outgoing, packets) = mpsc::channel(IN_FLIGHT);
        let announced = Announced::default();
        let (wanted, queue) = blocking::channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..READERS {
            let (queue, announced, outgoing) = (queue.clone(), announced.clone(), outgoing.clone());
            tokio::task::spawn_blocking(move || send_files(&queue, &announced, &outgoing));
        }
        let sender = outgoing.clone();
        tokio::task::spawn_blocking(move || announce(&asked, &announced, &sender));
        tokio::spawn(answer(incoming, wanted, outgoing));
        Ok(Response::new(ReceiverStream::new(packets)))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("tar streams are not served"))
    }
}

struct Asked {
    root: PathBuf,
    include: Vec<String>,
    exclude: Vec<String>,
    follow: Vec<String>,
}

/// Announces every wanted entry, then the end of the list.
fn announce(asked: &Asked, announced: &Announced, outgoing: &Outgoing) {
    let result = Filter::new(&asked.root, &asked.include, &asked.exclude, &asked.follow)
        .map_err(WalkError::from)
        .and_then(|filter| {
            walk(&asked.root, &filter, &mut |path, stat| {
                let file = has_contents(&stat).then_some(path);
                // Known before it is announced: the answer may come at once.
                announced.lock().unwrap_or_else(PoisonError::into_inner).push(file);
                outgoing.blocking_send(Ok(announcement(Some(stat)))).map_err(|_| WalkError::Stopped)
            })
        });
    let last = match result {
        Ok(()) => announcement(None),
        Err(error) => failure(&error),
    };
    // A receiver that is gone has no use for it.
    let _ = outgoing.blocking_send(Ok(last));
}

/// Hands requests to the readers until the engine says that it has everything.
async fn answer(
    mut incoming: Streaming<Packet>,
    wanted: blocking::Sender<u32>,
    outgoing: Outgoing,
) {
    loop {
        match incoming.message().await {
            Ok(Some(packet)) if packet.r#type == PacketType::PacketReq as i32 => {
                if wanted.send(packet.id).is_err() {
                    return;
                }
            }
            Ok(Some(packet)) if packet.r#type == PacketType::PacketFin as i32 => {
                let fin = Packet { r#type: PacketType::PacketFin as i32, ..Packet::default() };
                let _ = outgoing.send(Ok(fin)).await;
                return;
            }
            Ok(Some(packet)) if packet.r#type == PacketType::PacketErr as i32 => {
                let text = String::from_utf8_lossy(&packet.data).into_owned();
                let _ = outgoing.send(Err(Status::unknown(text))).await;
                return;
            }
            Ok(Some(_)) => {}
            // Without a FIN the engine has given up; there is nobody to tell.
            Ok(None) | Err(_) => return,
        }
    }
}

fn send_files(queue: &Mutex<blocking::Receiver<u32>>, announced: &Announced, outgoing: &Outgoing) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(id) = next else { return };
        let file = {
            let announced = announced.lock().unwrap_or_else(PoisonError::into_inner);
            announced.get(id as usize).cloned().flatten()
        };
        let sent = match file {
            Some(path) => send_file(id, &path, outgoing),
            None => {
                let unknown = Status::invalid_argument(format!("no file has the id {id}"));
                outgoing.blocking_send(Err(unknown)).map_err(|_| WalkError::Stopped)
            }
        };
        match sent {
            Ok(()) => {}
            Err(WalkError::Stopped) => return,
            Err(error) => {
                let _ = outgoing.blocking_send(Ok(failure(&error)));
                return;
            }
        }
    }
}

fn send_file(id: u32, path: &Path, outgoing: &Outgoing) -> Result<(), WalkError> {
    let read = |source| WalkError::Read { path: path.to_owned(), source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        // A socket is announced as a file, as Go's client does, and cannot be opened: it is empty.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            let end = contents(id, Vec::new());
            return outgoing.blocking_send(Ok(end)).map_err(|_| WalkError::Stopped);
        }
        Err(error) => return Err(read(error)),
    };
    // Most files of a source tree are far smaller than a chunk.
    let size = file.metadata().map_err(read)?.len();
    let limit = CHUNK as u64;
    loop {
        let mut data = Vec::with_capacity(size.min(limit) as usize + 1);
        (&mut file).take(limit).read_to_end(&mut data).map_err(read)?;
        let ended = data.is_empty();
        let short = data.len() < CHUNK;
        outgoing.blocking_send(Ok(contents(id, data))).map_err(|_| WalkError::Stopped)?;
        if ended {
            return Ok(());
        }
        if short {
            // An empty piece ends the file.
            let end = contents(id, Vec::new());
            return outgoing.blocking_send(Ok(end)).map_err(|_| WalkError::Stopped);
        }
    }
}

fn announcement(stat: Option<Stat>) -> Packet {
    Packet { r#type: PacketType::PacketStat as i32, stat, ..Packet::default() }
}

fn contents(id: u32, data: Vec<u8>) -> Packet {
    Packet { r#type: PacketType::PacketData as i32, id, data, ..Packet::default() }
}

fn failure(error: &WalkError) -> Packet {
    let cause = std::error::Error::source(error);
    let text = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    Packet { r#type: PacketType::PacketErr as i32, data: text.into(), ..Packet::default() }
}

/// The values of a repeated key; `<key>-encoded` says that they are query-escaped.
fn values(metadata: &MetadataMap, key: &str) -> Vec<String> {
    let encoded = metadata.get(format!("{key}-encoded")).is_some_and(|value| value == "1");
    let all = metadata.get_all(key).iter().map(|value| value.as_bytes());
    all.map(|bytes| {
        let bytes = if encoded { unescape(bytes) } else { bytes.to_vec() };
        String::from_utf8_lossy(&bytes).into_owned()
    })
    .collect()
}

/// Go's `url.QueryUnescape`, which leaves malformed escapes as they are.
fn unescape(text: &[u8]) -> Vec<u8> {
    let hex = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => plain.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    plain.push(high << 4 | low);
                    rest = after;
                }
                _ => plain.push(b'%'),
            },
            (byte, _) => plain.push(*byte),
        }
    }
    plain
}
