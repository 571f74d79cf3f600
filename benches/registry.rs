//! Pushes and pulls through our registry and through Debian's `docker-registry`, side by side.
//!
//! Both are processes of their own on loopback with a store on the same disk, both are driven by the
//! same client, and they take turns. What is printed is theirs ÷ ours of the best time of each, so
//! that more than 1 means that ours is faster, and the memory that each one ever had resident.
//!
//! `cargo bench --bench registry [-- --rounds N]`; without `--bench` (as `cargo test --benches` calls
//! it) a thousandth of the bytes crosses once as a smoke test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cachefrom::engine::packages;
use cachefrom::registry::{Digest, Registry};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Client};
use sha2::Digest as _;

/// Blobs of one size that cross at the same time, at most [`AT_ONCE`] of them.
struct Load {
    name: &'static str,
    blobs: usize,
    bytes: usize,
}

const LOADS: [Load; 3] = [
    Load { name: "one blob of 1 GiB", blobs: 1, bytes: 1 << 30 },
    Load { name: "2,000 blobs of 16 KiB", blobs: 2000, bytes: 16 << 10 },
    Load { name: "16 blobs of 64 MiB at once", blobs: 16, bytes: 64 << 20 },
];
const AT_ONCE: usize = 16;
/// What a client hands over at once.
const PIECE: usize = 256 << 10;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    if let Some(at) = arguments.iter().position(|argument| argument == "--serve") {
        return runtime.block_on(serve(Path::new(&arguments[at + 1])));
    }
    let full = arguments.iter().any(|argument| argument == "--bench");
    let rounds = arguments.iter().position(|argument| argument == "--rounds");
    let rounds = rounds.map_or(3, |at| arguments[at + 1].parse().expect("a number of rounds"));
    runtime.block_on(measure(if full { 1 } else { 1000 }, if full { rounds } else { 1 }));
}

/// Our registry, until the parent closes the pipe.
async fn serve(store: &Path) {
    let registry = Registry::start(store.to_owned()).await.expect("registry");
    println!("listening on {},", registry.address());
    let closed = || std::io::stdin().read_to_end(&mut vec![]);
    tokio::task::spawn_blocking(closed).await.expect("joined").expect("read");
}

struct Server {
    child: Child,
    address: String,
    _store: tempfile::TempDir,
}

impl Server {
    fn start(mut command: Command, store: tempfile::TempDir) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a registry");
        let (sender, address) = std::sync::mpsc::channel();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, rest)) = line.split_once("listening on ") {
                        let end = rest.find([',', '"', ' ']).unwrap_or(rest.len());
                        let _ = sender.send(rest[..end].to_owned());
                    }
                }
            });
        }
        let address = address.recv_timeout(Duration::from_secs(60)).expect("it listens");
        Self { child, address, _store: store }
    }

    fn ours() -> Self {
        let store = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(std::env::current_exe().expect("our path"));
        command.arg("--serve").arg(store.path());
        Self::start(command, store)
    }

    async fn theirs() -> Self {
        let home = std::env::var_os("HOME").map(std::path::PathBuf::from).unwrap_or_default();
        let cache = home.join(".cache/cachefrom");
        let notice = |text: &str| eprintln!("{text}");
        let root = packages(&cache, &["docker-registry"], &notice).await.expect("docker-registry");
        let store = tempfile::tempdir().expect("a temporary directory");
        let config = serde_json::json!({
            "version": "0.1",
            "log": { "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": store.path() } },
            "http": { "addr": "127.0.0.1:0" },
        });
        let path = store.path().join("config.yml");
        std::fs::write(&path, config.to_string()).expect("a configuration");
        let mut command = Command::new(root.join("usr/bin/docker-registry"));
        command.arg("serve").arg(path);
        Self::start(command, store)
    }

    /// The most memory that it ever had resident, in MB.
    fn memory(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).map(str::parse::<f64>);
        kib.expect("VmHWM").expect("a number") * 1024.0 / 1e6
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blob: a head of its own and then the same piece again and again.
#[derive(Clone)]
struct Blob {
    pieces: Vec<Bytes>,
    bytes: usize,
    digest: Digest,
}

impl Blob {
    fn new(number: usize, bytes: usize, piece: &Bytes) -> Self {
        let mut head = piece.slice(..PIECE.min(bytes)).to_vec();
        let mark = number.to_le_bytes();
        head[..mark.len()].copy_from_slice(&mark);
        let mut pieces = vec![Bytes::from(head)];
        let mut left = bytes - pieces[0].len();
        while left > 0 {
            let size = left.min(PIECE);
            pieces.push(piece.slice(..size));
            left -= size;
        }
        let mut hasher = sha2::Sha256::new();
        pieces.iter().for_each(|piece| hasher.update(piece));
        let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}").parse().expect("a digest");
        Self { pieces, bytes, digest }
    }
}

/// Pushes all of `blobs`, then pulls them; how long each took.
async fn play(client: &Client, server: &Server, blobs: &[Blob]) -> (Duration, Duration) {
    let base = format!("http://{}/v2/bench/blobs", server.address);
    let push = async |blob: Blob| {
        let reply = client.post(format!("{base}/uploads/")).send().await.expect("an upload");
        let location = reply.headers()["location"].to_str().expect("text").to_owned();
        let at = location.find("/v2/").expect("a path");
        let join = if location.contains('?') { '&' } else { '?' };
        let url =
            format!("http://{}{}{join}digest={}", server.address, &location[at..], blob.digest);
        let pieces = stream::iter(blob.pieces.into_iter().map(Ok::<_, std::io::Error>));
        let put = client.put(url).header("content-length", blob.bytes);
        let put = put.header("content-type", "application/octet-stream");
        let reply = put.body(Body::wrap_stream(pieces)).send().await.expect("a push");
        assert_eq!(reply.status(), 201);
    };
    let since = Instant::now();
    stream::iter(blobs.iter().cloned()).for_each_concurrent(AT_ONCE, push).await;
    let pushed = since.elapsed();
    let pull = async |blob: &Blob| {
        let mut reply = client.get(format!("{base}/{}", blob.digest)).send().await.expect("a pull");
        let mut bytes = 0;
        while let Some(piece) = reply.chunk().await.expect("a piece") {
            bytes += piece.len();
        }
        assert_eq!(bytes, blob.bytes);
    };
    let since = Instant::now();
    stream::iter(blobs).for_each_concurrent(AT_ONCE, pull).await;
    (pushed, since.elapsed())
}

async fn measure(divisor: usize, rounds: usize) {
    let client = Client::new();
    let (theirs, ours) = (Server::theirs().await, Server::ours());
    let mut random = vec![0; PIECE];
    rand::Rng::fill_bytes(&mut rand::rng(), &mut random);
    let piece = Bytes::from(random);
    let mut number = 0;
    let mut ratios = vec![];
    println!("| load | | docker-registry | ours | ratio |\n| --- | --- | ---: | ---: | ---: |");
    for load in &LOADS {
        // Best push and pull of each side.
        let mut best = [[f64::MAX; 2]; 2];
        for round in 0..rounds {
            let count = if load.blobs > 100 { load.blobs.div_ceil(divisor) } else { load.blobs };
            let bytes = if load.blobs > 100 { load.bytes } else { load.bytes / divisor };
            for turn in 0..2 {
                let side = (round + turn) % 2;
                let blobs: Vec<Blob> = (0..count)
                    .map(|_| {
                        number += 1;
                        Blob::new(number, bytes, &piece)
                    })
                    .collect();
                let server = [&theirs, &ours][side];
                let (push, pull) = play(&client, server, &blobs).await;
                best[side][0] = best[side][0].min(push.as_secs_f64());
                best[side][1] = best[side][1].min(pull.as_secs_f64());
            }
        }
        for (at, what) in ["push", "pull"].into_iter().enumerate() {
            let (theirs, ours) = (best[0][at], best[1][at]);
            ratios.push(theirs / ours);
            println!(
                "| {} | {what} | {theirs:.3} s | {ours:.3} s | {:.2} |",
                load.name,
                theirs / ours
            );
        }
    }
    let mean = ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64;
    println!("| geometric mean | | | | {:.2} |", mean.exp());
    println!("| memory at most | | {:.0} MB | {:.0} MB | |", theirs.memory(), ours.memory());
}
