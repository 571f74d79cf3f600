//! One build through cachefrom ÷ the same build by `docker buildx build`, in pairs.
//!
//! Each side has an engine of its own in the same state and makes the same output (an image in the
//! engine's store, no provenance). A pair is played in a seeded random order; what is reported is the
//! median of the pairs' ratios. Ours is timed from opening the connection to the build's end, theirs
//! from starting the process to its end: both are what a user waits for.
//!
//! `cargo bench --bench side_by_side [-- --pairs N --files N --markdown FILE]`, `--files` for the context
//! of that many files only (10 or 20000; the latter takes about a minute a pair); without `--bench` (as
//! `cargo test --benches` calls it) one small pair is played as a smoke test.

#[path = "../tests/it/buildx.rs"]
#[expect(dead_code, reason = "the tests read steps, this bench times")]
mod buildx;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use buildx::Bench;
use cachefrom::buildkit::{Address, BuildRequest, Connection, ImageOutput, build};
use cachefrom::engine::{PrivateEngine, version};
use cachefrom::measure::median;
use cachefrom::strategy::{BuildPlan, CachePlan, EngineUse};
use rand::{Rng, SeedableRng};

struct Context {
    name: &'static str,
    files: usize,
    /// Bytes a file.
    size: usize,
}

const CONTEXTS: [Context; 2] = [
    Context { name: "10 files", files: 10, size: 1_000 },
    Context { name: "20,000 files, 200 MB", files: 20_000, size: 10_000 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("side_by_side: benchmark");
        return;
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let whole = arguments.iter().any(|argument| argument == "--bench")
        && !arguments.iter().any(|argument| argument == "--test");
    let pairs = value("--pairs").and_then(|text| text.parse().ok()).unwrap_or(10);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let files = value("--files").and_then(|text| text.parse().ok());
    let files = if whole { files } else { Some(CONTEXTS[0].files) };
    let report = runtime.block_on(compare(if whole { pairs } else { 1 }, files));
    if let Some(path) = value("--markdown") {
        std::fs::write(path, report).expect("the report is written");
    }
}

/// Plays the contexts, or only the one of `files` files; rows are also printed as they come.
async fn compare(pairs: usize, files: Option<usize>) -> String {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let engine_version = version(engine.socket()).await.expect("a version");
    engine.stop().await.expect("the engine stops");
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut report = format!(
        "Docker {}, Linux {}, {cpu}, {cores} cores; {pairs} pairs a row, order seeded.\n\n\
         | context | state | cachefrom, median | buildx, median | ratio, median of pairs | ratio, least to greatest |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n",
        engine_version.version, engine_version.kernel
    );
    print!("{report}");
    for context in CONTEXTS.iter().filter(|context| files.is_none_or(|n| n == context.files)) {
        let folder = generate(context);
        let (mut first, mut again) = (vec![], vec![]);
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..pairs {
            let (ours, theirs) = (warm(&bench).await, warm(&bench).await);
            for times in [&mut first, &mut again] {
                let ours_first = random.next_u32() % 2 == 0;
                let mut pair = (Duration::ZERO, Duration::ZERO);
                for ours_now in [ours_first, !ours_first] {
                    if ours_now {
                        pair.0 = by_cachefrom(&ours, folder.path()).await;
                    } else {
                        pair.1 = by_buildx(&bench, &theirs, folder.path());
                    }
                }
                times.push(pair);
            }
            for engine in [ours, theirs] {
                engine.stop().await.expect("the engine stops");
            }
        }
        for (state, times) in
            [("first build of a new engine", &first), ("unchanged rebuild", &again)]
        {
            let row = row(context.name, state, times);
            print!("{row}");
            report.push_str(&row);
        }
    }
    report
}

fn row(context: &str, state: &str, times: &[(Duration, Duration)]) -> String {
    let seconds = |of: fn(&(Duration, Duration)) -> f64| {
        median(&times.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0)
    };
    let mut ratios: Vec<f64> =
        times.iter().map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    format!(
        "| {context} | {state} | {:.3} s | {:.3} s | {:.2} | {:.2} to {:.2} |\n",
        seconds(|pair| pair.0.as_secs_f64()),
        seconds(|pair| pair.1.as_secs_f64()),
        median(&ratios).unwrap_or(0.0),
        ratios.first().copied().unwrap_or(0.0),
        ratios.last().copied().unwrap_or(0.0),
    )
}

/// A context whose files hold bytes that do not compress to nothing.
fn generate(context: &Context) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    for number in 0..context.files {
        let below = folder.path().join(format!("d{}", number / 100));
        std::fs::create_dir_all(&below).expect("a folder");
        let mut bytes = vec![0; context.size];
        random.fill_bytes(&mut bytes[..context.size / 2]);
        std::fs::write(below.join(format!("f{number}")), bytes).expect("a file");
    }
    let dockerfile = "FROM busybox\nCOPY . /context\n";
    std::fs::write(folder.path().join("Dockerfile"), dockerfile).expect("a Dockerfile");
    folder
}

/// An engine that has pulled the base and built nothing.
async fn warm(bench: &Bench) -> PrivateEngine {
    let engine = bench.engine().await;
    let socket = engine.socket().to_string_lossy().into_owned();
    let docker = bollard::Docker::connect_with_unix(&socket, 60, bollard::API_DEFAULT_VERSION)
        .expect("a client");
    let options = bollard::query_parameters::CreateImageOptionsBuilder::default();
    let options = options.from_image("busybox:latest").build();
    let pulled = docker.create_image(Some(options), None, None);
    futures_util::TryStreamExt::try_collect::<Vec<_>>(pulled).await.expect("the base is pulled");
    engine
}

async fn by_cachefrom(engine: &PrivateEngine, context: &Path) -> Duration {
    let request = BuildRequest {
        context: context.to_owned(),
        dockerfile: "Dockerfile".into(),
        image: Some(ImageOutput {
            names: vec!["side/by-side:1".into()],
            push: false,
            attrs: BTreeMap::new(),
        }),
        network_host: true,
        shared_key: "side-by-side".into(),
        ..Default::default()
    };
    let clock = Instant::now();
    let address = Address::Docker(engine.socket().to_path_buf());
    let connection = Connection::open(&address).await.expect("a connection");
    let outcome = build(&connection, &request, None).await.expect("an outcome");
    let time = clock.elapsed();
    assert_eq!(outcome.failure, None);
    time
}

fn by_buildx(bench: &Bench, engine: &PrivateEngine, context: &Path) -> Duration {
    let plan = CachePlan { engine: EngineUse::Kept, no_cache: false, builds: vec![] };
    let build = BuildPlan { target: None, imports: vec![], exports: vec![], push: None };
    let clock = Instant::now();
    bench.build(engine, &plan, &build, context, "side/by-side:1");
    clock.elapsed()
}
