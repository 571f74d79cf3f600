//! `FileSync.DiffCopy`: sends local directories to the engine, which asks for what it lacks.
//!
//! We are the sender (fsutil `send.go`): entries are announced while the engine already requests
//! contents, so the stream is never not read. An entry's id is its position in the announcement.
//! Stops at the protocol; what is listed is decided in `walk`. Surprising: packets and requests go
//! from thread to thread in batches, since waking a thread costs more than reading a small file.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc as blocking};
use std::task::{Context, Poll};

use bollard_buildkit_proto::fsutil::types::{Packet, Stat, packet::PacketType};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSync;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::walk::{Filter, WalkError, has_contents, walk};

/// Contents travel in pieces of this many bytes.
const CHUNK: usize = 128 << 10;
/// How many batches of packets may wait for the network.
const IN_FLIGHT: usize = 8;
/// No batch holds more packets than this, and no more bytes of contents than about [`CHUNK`].
const BATCH: usize = 256;
/// How many requests a reader takes at once.
const REQUESTS: usize = 64;
/// How many files are read at once.
const READERS: usize = 2;

type Outgoing = mpsc::Sender<Result<Vec<Packet>, Status>>;
/// The file behind each announced entry, where it has contents.
type Announced = Arc<Mutex<Vec<Option<PathBuf>>>>;

/// The directories that the engine may see, by the name it knows them by.
#[derive(Debug)]
pub struct Directories(pub BTreeMap<String, PathBuf>);

#[tonic::async_trait]
impl FileSync for Directories {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

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
        Ok(Response::new(Packets { batches: packets, now: Vec::new().into_iter() }))
    }

    async fn tar_stream(
        &self,
        _: Request<Streaming<Packet>>,
    ) -> Result<Response<Self::TarStreamStream>, Status> {
        Err(Status::unimplemented("tar streams are not served"))
    }
}

/// The packets of the batches that arrive, one by one.
pub struct Packets {
    batches: mpsc::Receiver<Result<Vec<Packet>, Status>>,
    now: std::vec::IntoIter<Packet>,
}

impl tokio_stream::Stream for Packets {
    type Item = Result<Packet, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(packet) = self.now.next() {
                return Poll::Ready(Some(Ok(packet)));
            }
            match std::task::ready!(self.batches.poll_recv(context)) {
                Some(Ok(batch)) => self.now = batch.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Packets on their way into a batch.
struct Batch<'a> {
    outgoing: &'a Outgoing,
    packets: Vec<Packet>,
    bytes: usize,
    /// Grows from batch to batch, so that the engine has something to do from the start.
    limit: usize,
}

impl<'a> Batch<'a> {
    fn new(outgoing: &'a Outgoing) -> Self {
        Self { outgoing, packets: Vec::new(), bytes: 0, limit: 8 }
    }

    fn push(&mut self, packet: Packet) -> Result<(), WalkError> {
        self.bytes += packet.data.len();
        self.packets.push(packet);
        if self.packets.len() >= self.limit || self.bytes >= CHUNK {
            self.limit = (2 * self.limit).min(BATCH);
            return self.send();
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), WalkError> {
        if self.packets.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let packets = std::mem::take(&mut self.packets);
        self.outgoing.blocking_send(Ok(packets)).map_err(|_| WalkError::Stopped)
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
    let mut batch = Batch::new(outgoing);
    let result = Filter::new(&asked.root, &asked.include, &asked.exclude, &asked.follow)
        .map_err(WalkError::from)
        .and_then(|filter| {
            walk(&asked.root, &filter, &mut |path, stat| {
                let file = has_contents(&stat).then_some(path);
                // Known before it is announced: the answer may come at once.
                announced.lock().unwrap_or_else(PoisonError::into_inner).push(file);
                batch.push(announcement(Some(stat)))
            })
        });
    let last = match result {
        Ok(()) => announcement(None),
        Err(error) => failure(&error),
    };
    // A receiver that is gone has no use for it.
    let _ = batch.push(last).and_then(|()| batch.send());
}

/// Hands requests to the readers until the engine says that it has everything.
async fn answer(
    incoming: Streaming<Packet>,
    wanted: blocking::Sender<Vec<u32>>,
    outgoing: Outgoing,
) {
    let mut incoming = incoming.ready_chunks(REQUESTS);
    // Without a FIN the engine has given up; there is nobody to tell.
    while let Some(packets) = incoming.next().await {
        let mut requests = Vec::with_capacity(packets.len());
        for packet in packets {
            match packet {
                Ok(packet) if packet.r#type == PacketType::PacketReq as i32 => {
                    requests.push(packet.id);
                }
                Ok(packet) if packet.r#type == PacketType::PacketFin as i32 => {
                    let fin = Packet { r#type: PacketType::PacketFin as i32, ..Packet::default() };
                    let _ = outgoing.send(Ok(vec![fin])).await;
                    return;
                }
                Ok(packet) if packet.r#type == PacketType::PacketErr as i32 => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    let _ = outgoing.send(Err(Status::unknown(text))).await;
                    return;
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
        if !requests.is_empty() && wanted.send(requests).is_err() {
            return;
        }
    }
}

fn send_files(
    queue: &Mutex<blocking::Receiver<Vec<u32>>>,
    announced: &Announced,
    outgoing: &Outgoing,
) {
    let mut batch = Batch::new(outgoing);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(ids) = next else { return };
        let mut sent = Ok(());
        for id in ids {
            let file = {
                let announced = announced.lock().unwrap_or_else(PoisonError::into_inner);
                announced.get(id as usize).cloned().flatten()
            };
            let Some(path) = file else {
                let unknown = Status::invalid_argument(format!("no file has the id {id}"));
                let _ = outgoing.blocking_send(Err(unknown));
                return;
            };
            sent = sent.and_then(|()| send_file(id, &path, &mut batch));
        }
        match sent.and_then(|()| batch.send()) {
            Ok(()) => {}
            Err(WalkError::Stopped) => return,
            Err(error) => {
                let _ = outgoing.blocking_send(Ok(vec![failure(&error)]));
                return;
            }
        }
    }
}

fn send_file(id: u32, path: &Path, batch: &mut Batch<'_>) -> Result<(), WalkError> {
    let read = |source| WalkError::Read { path: path.to_owned(), source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        // A socket is announced as a file, as Go's client does, and cannot be opened: it is empty.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            return batch.push(contents(id, Vec::new()));
        }
        Err(error) => return Err(read(error)),
    };
    // Most files of a source tree are far smaller than a chunk; one byte more finds their end.
    let size = file.metadata().map_err(read)?.len();
    let mut room = size.saturating_add(1).min(CHUNK as u64) as usize;
    loop {
        let mut data = vec![0; room];
        let length = fill(&mut file, &mut data).map_err(read)?;
        data.truncate(length);
        let ended = length < room;
        if length > 0 {
            batch.push(contents(id, data))?;
        }
        if ended {
            // An empty piece ends the file.
            return batch.push(contents(id, Vec::new()));
        }
        // The file may have grown since it was asked for its size.
        room = CHUNK;
    }
}

/// Reads until `buffer` is full or the file ends; how much was read.
fn fill(file: &mut std::fs::File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
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
