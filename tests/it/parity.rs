//! cachefrom against `docker buildx build --progress=rawjson`: the same commits, the same cache
//! flags, an engine and a registry of its own for each side, and the same answers asked of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cachefrom::buildkit::{Address, Connection, trace_of};
use cachefrom::engine::PrivateEngine;
use cachefrom::history::{History, Written};
use cachefrom::journal::BuildRecord;
use cachefrom::scenario::{self, Loaded};
use cachefrom::strategy::{CachePlan, EngineUse, Position, Strategy, built_in, plan};

use crate::buildx::{Bench, Seen, seen, steps};
use crate::end_to_end::played;

const DOCKERFILE: &str = "\
FROM busybox AS dependencies
COPY lock /lock
RUN cat /lock > /installed && seq 1 20000 >> /installed

FROM dependencies AS builder
COPY src /src
RUN cat /installed /src/* | md5sum > /out

FROM busybox AS production
COPY note /note
COPY --from=builder /out /out
RUN cat /note /out > /all
";

const SCENARIO: &str = r#"
schema = 1
name = "parity"
source = "tree"
strategies = ["cold", "no-cache", "local", "inline", "stages", "registry-min", "registry-max"]
[build]
targets = ["builder", "production"]
[[commit]]
message = "first"
[[commit]]
message = "source"
edits = [{ append = "src/a", content = "more\n" }]
[[commit]]
message = "nothing that is built"
edits = [{ write = "unused", content = "x\n" }]
[[commit]]
message = "what the image copies"
edits = [{ append = "note", content = "more\n" }]
"#;

/// The scenario's file, with its source tree beside it.
pub fn scenario(folder: &Path) -> PathBuf {
    let tree = folder.join("tree");
    std::fs::create_dir_all(tree.join("src")).unwrap();
    let files = [("Dockerfile", DOCKERFILE), ("lock", "1\n"), ("note", "n\n"), ("src/a", "a\n")];
    for (path, text) in files {
        std::fs::write(tree.join(path), text).unwrap();
    }
    // Read by no instruction: a context that BuildKit does not send.
    std::fs::write(tree.join(".dockerignore"), "unused\n").unwrap();
    let path = folder.join("parity.toml");
    std::fs::write(&path, SCENARIO).unwrap();
    path
}

/// Step name → cached, as our journal has it.
fn ours(build: &BuildRecord) -> BTreeMap<String, bool> {
    let mut steps = BTreeMap::new();
    for step in build.trace.steps() {
        *steps.entry(step.name.clone()).or_insert(true) &= step.cached;
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_every_strategy_is_cached_exactly_where_buildx_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = scenario(folder.path());
    let recorded = played(&scenario, folder.path());
    let loaded = scenario::load(&scenario).unwrap();
    let history = History::script(&loaded, Written::NOTHING, folder.path()).unwrap();
    let bench = Bench::new().await;

    let mut compared = 0;
    let mut wrong = vec![];
    for strategy in built_in() {
        let theirs = played_by_buildx(&bench, &loaded, &history, strategy).await;
        for (commit, builds) in theirs.iter().enumerate() {
            let trial = recorded
                .trials
                .iter()
                .find(|t| t.key.strategy == strategy.name && t.key.commit == commit)
                .unwrap();
            let got: Vec<_> = trial.builds.iter().map(ours).collect();
            compared += got.iter().map(BTreeMap::len).sum::<usize>();
            if got == *builds {
                continue;
            }
            let place = format!("{} commit {commit}", strategy.name);
            let differs = format!("{place}\n  ours   {got:?}\n  buildx {builds:?}");
            if strategy.imports.len() < 2 {
                wrong.push(differs);
                continue;
            }
            // With several imports BuildKit picks one at random (moby/buildkit#6418): buildx itself
            // must then be seen to answer both ways from the same state.
            let again = answers_of_buildx(&bench, &loaded, &history, strategy, commit, &got).await;
            eprintln!("{place}: buildx answered {again:?} in repetitions");
            if !again.contains(&got) {
                wrong.push(format!("{differs}\n  again  {again:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // 4 commits, 7 strategies, 4 steps of `builder` and at least as many of `production`.
    assert!(compared >= 4 * 7 * 8, "only {compared} steps were compared");
}

/// The different answers that buildx gives to one commit on new engines, until `wanted` is among
/// them or [`REPETITIONS`] are over.
async fn answers_of_buildx(
    bench: &Bench,
    loaded: &Loaded,
    history: &History,
    strategy: &Strategy,
    commit: usize,
    wanted: &Vec<BTreeMap<String, bool>>,
) -> Vec<Vec<BTreeMap<String, bool>>> {
    let mut answers = vec![];
    for _ in 0..REPETITIONS {
        let mut plan = plan_at(bench, loaded, history, strategy, commit);
        // What is imported must stay as it is.
        for build in &mut plan.builds {
            build.push = None;
            build.exports = vec![];
        }
        let engine = bench.engine().await;
        let answer = built(bench, &engine, history, &plan, commit).await;
        engine.stop().await.unwrap();
        let found = answer == *wanted;
        if !answers.contains(&answer) {
            answers.push(answer);
        }
        if found {
            break;
        }
    }
    answers
}

/// How often a build with several imports is repeated before our answer is called wrong.
const REPETITIONS: usize = 12;

/// Every commit's builds, each as step name → cached.
async fn played_by_buildx(
    bench: &Bench,
    loaded: &Loaded,
    history: &History,
    strategy: &Strategy,
) -> Vec<Vec<BTreeMap<String, bool>>> {
    let mut played = vec![];
    let mut kept: Option<PrivateEngine> = None;
    for commit in 0..history.commits().len() {
        let plan = plan_at(bench, loaded, history, strategy, commit);
        let engine = match kept.take() {
            Some(engine) => engine,
            None => bench.engine().await,
        };
        played.push(built(bench, &engine, history, &plan, commit).await);
        match strategy.engine {
            EngineUse::Fresh => drop(engine.stop().await.unwrap()),
            EngineUse::Kept => kept = Some(engine),
        }
    }
    played
}

fn plan_at(
    bench: &Bench,
    loaded: &Loaded,
    history: &History,
    strategy: &Strategy,
    commit: usize,
) -> CachePlan {
    let commit = &history.commits()[commit];
    let position = Position {
        repo: format!("{}/parity/{}", bench.registry.address(), strategy.name),
        commit: commit.id.clone(),
        ancestors: commit
            .parent
            .iter()
            .map(|&parent| history.commits()[parent].id.clone())
            .collect(),
        branch: commit.branch.clone(),
        targets: loaded.scenario.build.targets.clone(),
        ..Position::default()
    };
    plan(strategy, &position)
}

/// The builds of one commit on `engine`, by buildx; and our reading of them held against its own.
async fn built(
    bench: &Bench,
    engine: &PrivateEngine,
    history: &History,
    plan: &CachePlan,
    commit: usize,
) -> Vec<BTreeMap<String, bool>> {
    let context = tempfile::tempdir().unwrap();
    history.checkout(commit, context.path()).unwrap();
    let address = Address::Docker(engine.socket().to_path_buf());
    let connection = Connection::open(&address).await.unwrap();
    let mut builds = vec![];
    for build in &plan.builds {
        let local_tag = format!("parity/{}:{commit}", build.target.as_deref().unwrap());
        let (statuses, reference) = bench.build(engine, plan, build, context.path(), &local_tag);
        let theirs = seen(&statuses);
        same_times(&theirs, &trace_of(&connection, &reference).await.unwrap());
        builds.push(steps(&theirs));
    }
    builds
}

/// Our reading of the very build that buildx reported: each vertex took the time it says, to 2 %.
fn same_times(theirs: &BTreeMap<String, (String, Seen)>, ours: &cachefrom::trace::Trace) {
    for vertex in &ours.vertices {
        let Some((name, seen)) = theirs.get(&vertex.digest) else {
            panic!("buildx did not mention {}", vertex.name);
        };
        let expected: i128 =
            seen.runs.iter().map(|(start, end)| end.as_nanosecond() - start.as_nanosecond()).sum();
        let got: i128 =
            vertex.intervals.iter().map(|i| i128::from(i.end.0) - i128::from(i.start.0)).sum();
        // Below a millisecond 2 % is less than what two clocks of one machine agree on.
        let tolerance = (expected / 50).max(1_000_000);
        assert!((got - expected).abs() <= tolerance, "{name}: ours {got} ns, buildx {expected} ns");
    }
}
