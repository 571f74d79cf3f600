//! `docker buildx` from a Debian package, on an engine and a registry of its own: the peer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefrom::engine::{
    EngineOptions, PrivateEngine, RunRoot, cache_dir, find, local_base, oci_image, packages,
};
use cachefrom::registry::Registry;
use cachefrom::strategy::{BuildPlan, CacheEntry, CachePlan};
use jiff::Timestamp;
use serde::Deserialize;

/// A registry that serves `busybox`, the root for engines that mirror it, and buildx itself.
pub struct Bench {
    pub registry: Registry,
    pub run: RunRoot,
    buildx: PathBuf,
    config: tempfile::TempDir,
    _store: tempfile::TempDir,
    _temporary: tempfile::TempDir,
}

impl Bench {
    pub async fn new() -> Self {
        let store = tempfile::tempdir().unwrap();
        let registry = Registry::start(store.path().to_path_buf()).await.unwrap();
        let notice = |text: &str| eprintln!("{text}");
        let base = local_base("busybox", &cache_dir(), &notice).await.unwrap().unwrap();
        let image = oci_image(&base.path, &store.path().join("made")).unwrap();
        let (repository, tag) = ("library/busybox".parse().unwrap(), "latest".parse().unwrap());
        registry.put_blob_bytes(&repository, &image.config.1).unwrap();
        let layer = image.layer.0.parse().unwrap();
        registry.put_blob_file(&repository, &layer, &image.layer.1).await.unwrap();
        let kind = cachefrom::engine::image::MANIFEST_TYPE;
        registry.put_manifest(&repository, &tag, kind, &image.manifest).unwrap();
        let root = packages(&cache_dir(), &["docker-buildx"], &notice).await.unwrap();
        let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
        Self {
            registry,
            run: RunRoot::create(temporary.path()).unwrap(),
            buildx: root.join("usr/libexec/docker/cli-plugins/docker-buildx"),
            config: tempfile::tempdir().unwrap(),
            _store: store,
            _temporary: temporary,
        }
    }

    pub async fn engine(&self) -> PrivateEngine {
        let binaries = find(&cache_dir(), &|text| eprintln!("{text}")).await.unwrap();
        let options = EngineOptions {
            run_root: self.run.path().to_path_buf(),
            mirror: Some(self.registry.address()),
            golden: None,
        };
        PrivateEngine::start(&binaries, options).await.unwrap()
    }

    /// Builds as `plan` says; what buildx printed with `--progress=rawjson`, and the build's ref.
    pub fn build(
        &self,
        engine: &PrivateEngine,
        plan: &CachePlan,
        build: &BuildPlan,
        context: &Path,
        local_tag: &str,
    ) -> (Vec<SolveStatus>, String) {
        let metadata = self.config.path().join("metadata.json");
        let mut command = Command::new(&self.buildx);
        command
            .env("DOCKER_HOST", format!("unix://{}", engine.socket().display()))
            .env("DOCKER_CONFIG", self.config.path())
            .args(["build", "--progress=rawjson", "--provenance=false", "--network=host"])
            .args(["--allow=network.host", "--metadata-file"])
            .arg(&metadata);
        if plan.no_cache {
            command.arg("--no-cache");
        }
        if let Some(target) = &build.target {
            command.args(["--target", target]);
        }
        for (flag, entries) in [("--cache-from", &build.imports), ("--cache-to", &build.exports)] {
            for entry in entries {
                command.args([flag, &words(entry)]);
            }
        }
        match &build.push {
            Some(name) => command.args(["--push", "--tag", name]),
            None => command.args(["--load", "--tag", local_tag]),
        };
        let output = command.arg(context).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "buildx failed:\n{stderr}");
        let statuses = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let metadata: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&metadata).unwrap()).unwrap();
        let reference = metadata["buildx.build.ref"].as_str().unwrap();
        (statuses, reference.rsplit('/').next().unwrap().to_owned())
    }
}

fn words(entry: &CacheEntry) -> String {
    let attrs = entry.attrs.iter().map(|(key, value)| format!(",{key}={value}"));
    format!("type={}{}", entry.kind, attrs.collect::<String>())
}

/// One line of `--progress=rawjson` (buildkit `client.SolveStatus`), as far as it is needed.
#[derive(Debug, Deserialize)]
pub struct SolveStatus {
    #[serde(default)]
    pub vertexes: Vec<Vertex>,
}

#[derive(Debug, Deserialize)]
pub struct Vertex {
    pub digest: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub cached: bool,
    #[serde(default, deserialize_with = "timestamp")]
    pub started: Option<Timestamp>,
    #[serde(default, deserialize_with = "timestamp")]
    pub completed: Option<Timestamp>,
}

fn timestamp<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// What buildx said of one vertex: read here without any of cachefrom's own code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub cached: bool,
    /// Start and end of each run of it, by start; a later message about the same start wins.
    pub runs: BTreeMap<Timestamp, Timestamp>,
}

/// By vertex: its name and what was said of it.
pub fn seen(statuses: &[SolveStatus]) -> BTreeMap<String, (String, Seen)> {
    let mut found: BTreeMap<String, (String, Seen)> = BTreeMap::new();
    for vertex in statuses.iter().flat_map(|status| &status.vertexes) {
        let (name, seen) = found.entry(vertex.digest.clone()).or_default();
        if name.is_empty() {
            name.clone_from(&vertex.name);
        }
        seen.cached |= vertex.cached;
        if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            seen.runs.insert(started, completed);
        }
    }
    found
}

/// Step name → whether every vertex of that name was cached; `FROM` and internal vertices left out.
pub fn steps(seen: &BTreeMap<String, (String, Seen)>) -> BTreeMap<String, bool> {
    let mut steps = BTreeMap::new();
    let is_step = |name: &str| {
        let position = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        position.is_some_and(|(head, text)| head.contains('/') && !text.starts_with("FROM "))
    };
    for (name, seen) in seen.values().filter(|(name, _)| is_step(name)) {
        let all = steps.entry(name.clone()).or_insert(true);
        *all &= seen.cached;
    }
    steps
}
