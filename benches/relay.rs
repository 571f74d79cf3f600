//! What the relay costs: the same builds against the same `docker-registry`, through the relay ÷ directly.
//!
//! Each side of a pair has new engines that have pulled the base image. The first build makes 40 MB of
//! layers and pushes an image and a `mode=max` cache; the second, on another new engine, takes every step
//! from that cache and pulls its layers. No step takes long, so what crosses is most of the time: a build
//! that also does something costs the relay less. A pair's order is seeded; what is reported is the median
//! of the pairs' ratios.
//!
//! `cargo bench --bench relay [-- --pairs N]`; without `--bench` (as `cargo test --benches` calls it) one
//! pair is played as a smoke test.

#[path = "../tests/it/buildx.rs"]
#[expect(dead_code, reason = "engines with a base image at hand; nothing is built by buildx here")]
mod buildx;
#[path = "../tests/it/docker_registry.rs"]
mod docker_registry;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use buildx::Bench;
use cachefrom::buildkit::{Address, BuildRequest, CacheOption, Connection, ImageOutput, build};
use cachefrom::engine::version;
use cachefrom::measure::median;
use cachefrom::registry::Registry;
use cachefrom::registry::relay::{Relay, Remote};
use docker_registry::Peer;
use rand::{Rng, SeedableRng};

/// Seconds of one side's two builds.
#[derive(Clone, Copy, Default)]
struct Times {
    export: f64,
    import: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("relay: benchmark");
        return;
    }
    let whole = arguments.iter().any(|argument| argument == "--bench")
        && !arguments.iter().any(|argument| argument == "--test");
    let pairs = arguments.iter().position(|argument| argument == "--pairs");
    let pairs = pairs.map_or(10, |at| arguments[at + 1].parse().expect("a number of pairs"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(compare(if whole { pairs } else { 1 }));
}

async fn compare(pairs: usize) {
    let bench = Bench::new().await;
    let peer = Peer::start().await;
    let store = tempfile::tempdir().expect("a folder");
    let registry = Registry::start(store.path().join("registry")).await.expect("a registry");
    let address = format!("{}/relayed/cache", peer.address).parse().expect("an address");
    let remote = Remote { address, ca: None, keep_refs: false };
    let login = Default::default();
    let relay = Relay::connect(&remote, login, "relay/r".into(), "bench", None).await;
    let relay = Arc::new(relay.expect("a relay"));
    relay.try_out().await.expect("a registry that takes caches");
    registry.relay(Arc::clone(&relay));
    let context = context();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut played: Vec<(Times, Times)> = vec![];
    for pair in 0..pairs {
        let mut times = (Times::default(), Times::default());
        let relay_first = random.next_u32() % 2 == 0;
        for relayed in [relay_first, !relay_first] {
            let (side, host) = match relayed {
                true => (&mut times.0, registry.address().to_string()),
                false => (&mut times.1, peer.address.clone()),
            };
            let repository = format!("{host}/relay/r{pair}");
            side.export = one(&bench, context.path(), &repository, false).await;
            side.import = one(&bench, context.path(), &repository, true).await;
        }
        played.push(times);
    }
    let engine = bench.engine().await;
    let version = version(engine.socket()).await.expect("a version");
    engine.stop().await.expect("the engine stops");
    println!("Docker {}, Linux {}; {pairs} pairs\n", version.version, version.kernel);
    println!(
        "| build | through the relay, median | directly, median | ratio, median of pairs | least to greatest |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    row("first, exports", &played, |times| times.export);
    row("again, imports", &played, |times| times.import);
    let cleared = relay.clear(false).await;
    assert_eq!(cleared.left, Vec::<String>::new(), "{}", cleared.because);
}

fn row(name: &str, played: &[(Times, Times)], of: fn(&Times) -> f64) {
    let mut ratios: Vec<f64> = played.iter().map(|(ours, theirs)| of(ours) / of(theirs)).collect();
    ratios.sort_by(f64::total_cmp);
    let middle = |values: Vec<f64>| median(&values).expect("there are pairs");
    println!(
        "| {name} | {:.3} s | {:.3} s | {:.3} | {:.2} to {:.2} |",
        middle(played.iter().map(|(ours, _)| of(ours)).collect()),
        middle(played.iter().map(|(_, theirs)| of(theirs)).collect()),
        middle(ratios.clone()),
        ratios[0],
        ratios[ratios.len() - 1],
    );
}

/// One build on a new engine; seconds from sending it to its answer.
async fn one(bench: &Bench, context: &Path, repository: &str, import: bool) -> f64 {
    let engine = bench.engine().await;
    let socket = engine.socket().to_string_lossy().into_owned();
    let docker = bollard::Docker::connect_with_unix(&socket, 60, bollard::API_DEFAULT_VERSION);
    let options = bollard::query_parameters::CreateImageOptionsBuilder::default();
    let options = options.from_image("busybox:latest").build();
    let docker = docker.expect("a client");
    let pulled = docker.create_image(Some(options), None, None);
    futures_util::TryStreamExt::try_collect::<Vec<_>>(pulled).await.expect("the base is pulled");
    let cache = |attrs: &[(&str, &str)]| {
        let attrs = attrs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut attrs: BTreeMap<String, String> = attrs.collect();
        attrs.insert("ref".to_owned(), format!("{repository}:cache"));
        vec![CacheOption { kind: "registry".to_owned(), attrs }]
    };
    let export = [("mode", "max"), ("image-manifest", "true"), ("oci-mediatypes", "true")];
    let request = BuildRequest {
        context: context.to_owned(),
        dockerfile: "Dockerfile".into(),
        imports: if import { cache(&[]) } else { vec![] },
        exports: if import { vec![] } else { cache(&export) },
        image: Some(ImageOutput {
            names: vec![format!("{repository}:image")],
            push: !import,
            attrs: BTreeMap::new(),
        }),
        network_host: true,
        shared_key: repository.to_owned(),
        ..Default::default()
    };
    let address = Address::Docker(engine.socket().to_path_buf());
    let connection = Connection::open(&address).await.expect("a connection");
    let outcome = build(&connection, &request, None).await.expect("an outcome");
    assert_eq!(outcome.failure, None);
    let cached = outcome.trace.vertices.iter().filter(|vertex| vertex.cached).count();
    assert!(cached >= if import { 2 } else { 0 }, "{cached} steps came from the cache");
    engine.stop().await.expect("the engine stops");
    outcome.wall.seconds()
}

/// 20 MB to copy, and a step that makes as much again.
fn context() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut bytes = vec![0; 1_000_000];
    for number in 0..20 {
        random.fill_bytes(&mut bytes);
        std::fs::write(folder.path().join(format!("f{number}")), &bytes).expect("a file");
    }
    let dockerfile = "FROM busybox\nCOPY . /context\nRUN cat /context/f* > /again\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("a Dockerfile");
    folder
}
