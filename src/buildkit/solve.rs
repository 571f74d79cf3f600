//! One build of a Dockerfile: the request, the clock around it, and what came of it.
//!
//! Uses the engine's own `dockerfile.v0` frontend directly. Surprising: for a Dockerfile the
//! engine reads cache imports only from the frontend attribute `cache-imports`; `Cache.Imports`
//! alone is silently ignored (buildkit `frontend/dockerui/config.go`, `Client.init`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest, StatusRequest, StatusResponse,
};
use tokio::sync::mpsc;

use super::channel::{BuildkitError, Connection};
use super::local_cache::{self, LocalCaches};
use super::session::{Offer, Session};
use super::status::Fold;
use super::update::update;
use crate::trace::{Trace, Update};
use crate::units::Nanos;

/// How long the status stream may be silent after the build before it is given up.
const INACTIVITY: Duration = Duration::from_secs(5);
const IMPORTING: &str = "importing cache manifest from ";

/// What to build, and with which caches.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    pub context: PathBuf,
    /// Relative to `context`, or absolute where it is outside.
    pub dockerfile: String,
    pub frontend: Frontend,
    /// A stage; none means the last.
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub no_cache: bool,
    pub imports: Vec<CacheOption>,
    pub exports: Vec<CacheOption>,
    /// Without an image only the cache is filled.
    pub image: Option<ImageOutput>,
    /// Other names for images: what a `FROM` writes, and the reference to take instead.
    pub contexts: BTreeMap<String, String>,
    pub network_host: bool,
    /// A fresh one sends the whole context, a known one only what changed.
    pub shared_key: String,
    pub secrets: BTreeMap<String, Vec<u8>>,
}

/// What reads the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Frontend {
    /// What the Dockerfile or the build arg `BUILDKIT_SYNTAX` names, else the engine's own.
    #[default]
    Named,
    /// The engine's own, whatever is named.
    Own,
    /// This image, whatever is named.
    Image(String),
}

/// One cache backend, such as `registry` with `ref=…`.
/// The folders of the kind `local`, `src` and `dest`, are ours and absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOption {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// The image to make, for the engine's store or a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOutput {
    pub names: Vec<String>,
    pub push: bool,
    /// Further attributes of the exporter, which win over ours.
    pub attrs: BTreeMap<String, String>,
}

/// What came of one build.
#[derive(Clone, Debug)]
pub struct BuildOutcome {
    /// The build's name in the engine's history.
    pub reference: String,
    /// From sending the request to its answer, on our monotonic clock; connecting, opening the
    /// session and reading the rest of the status stream are left out.
    pub wall: Nanos,
    pub trace: Trace,
    pub exporter_response: BTreeMap<String, String>,
    pub failure: Option<BuildFailure>,
    /// Why imports gave nothing; the build goes on without them, and is then as good as cold.
    pub import_errors: Vec<String>,
}

/// A build that the engine ended with an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFailure {
    /// The failed vertex' name; empty where the build failed outside of one.
    pub step: String,
    pub exit_code: Option<i32>,
    pub message: String,
    pub log: Vec<String>,
}

/// Builds `request`; dropping the future cancels the build. What the engine says meanwhile also goes
/// to `updates`.
pub async fn build(
    connection: &Connection,
    request: &BuildRequest,
    updates: Option<mpsc::UnboundedSender<Update>>,
) -> Result<BuildOutcome, BuildkitError> {
    let reference = unique();
    let session = unique();
    let (directory, _) = split(&request.dockerfile)?;
    let dockerfile = request.context.join(directory);
    let directories = [("context", request.context.clone()), ("dockerfile", dockerfile)];
    let caches = local_cache::prepare(&request.imports, &request.exports);
    let offer = Offer {
        id: session.clone(),
        shared_key: request.shared_key.clone(),
        directories: directories.map(|(name, path)| (name.to_owned(), path)).into(),
        secrets: request.secrets.clone(),
        stores: caches.stores.clone(),
    };
    let _session = Session::open(connection, offer).await?;
    let solve =
        solve_request(request, &caches.imports, connection.is_docker(), &reference, session)?;

    let (sender, mut messages) = mpsc::unbounded_channel();
    let _reader = Reader(tokio::spawn(read_status(connection.clone(), reference.clone(), sender)));
    let mut fold = Fold::default();
    let mut take = |message: StatusResponse| {
        fold.add(&message);
        if let Some(updates) = &updates {
            // A display that is gone does not stop a measurement.
            let _ = updates.send(update(message));
        }
    };
    let mut control = connection.control();
    let started = Instant::now();
    let solving = async {
        let answer = control.solve(solve).await;
        (answer, Nanos::of(started.elapsed()))
    };
    tokio::pin!(solving);
    let mut open = true;
    let (answer, wall) = loop {
        tokio::select! {
            biased;
            done = &mut solving => break done,
            message = messages.recv(), if open => match message {
                Some(message) => take(message),
                None => open = false,
            },
        }
    };
    while let Ok(Some(message)) = tokio::time::timeout(INACTIVITY, messages.recv()).await {
        take(message);
    }
    let trace = fold.finish();
    let (exporter_response, failure) = match answer {
        Ok(response) => (response.into_inner().exporter_response, None),
        Err(status) if is_transport(&status) => {
            return Err(BuildkitError::call("Control.Solve")(status));
        }
        Err(status) => (HashMap::new(), Some(failure(&trace, status.message()))),
    };
    let import_errors = import_errors(&trace, &caches, failure.is_some());
    let exporter_response: BTreeMap<_, _> = exporter_response.into_iter().collect();
    if caches.exports_any()
        && let Some(manifest) = exporter_response.get("cache.manifest")
    {
        caches.finish(manifest).map_err(|source| BuildkitError::LocalCache { source })?;
    }
    Ok(BuildOutcome { reference, wall, trace, exporter_response, failure, import_errors })
}

/// The trace of a build that any client ran on this engine, by the build's ref; from the engine's
/// build history where the build has ended (buildkit `solver/llbsolver/solver.go`, `Solver.Status`).
pub async fn trace_of(connection: &Connection, reference: &str) -> Result<Trace, BuildkitError> {
    let failed = BuildkitError::call("Control.Status");
    let request = StatusRequest { r#ref: reference.to_owned() };
    let mut stream = connection.control().status(request).await.map_err(&failed)?.into_inner();
    let mut fold = Fold::default();
    while let Some(message) = stream.message().await.map_err(&failed)? {
        fold.add(&message);
    }
    Ok(fold.finish())
}

/// Ends the reading of a status stream with the build.
struct Reader(tokio::task::JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read_status(
    connection: Connection,
    reference: String,
    sender: mpsc::UnboundedSender<StatusResponse>,
) {
    let request = StatusRequest { r#ref: reference };
    // A build whose status cannot be read ends with an error of its own, if any.
    let Ok(response) = connection.control().status(request).await else { return };
    let mut stream = response.into_inner();
    while let Ok(Some(message)) = stream.message().await {
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// 25 random characters, as buildx names its builds.
fn unique() -> String {
    use rand::RngExt;
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..25).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// A Dockerfile's directory (empty for the context itself) and its name there.
fn split(dockerfile: &str) -> Result<(&str, &str), BuildkitError> {
    let (directory, name) = dockerfile.rsplit_once('/').unwrap_or(("", dockerfile));
    if matches!(name, "" | "." | "..") {
        return Err(BuildkitError::Dockerfile(dockerfile.to_owned()));
    }
    Ok((directory, name))
}

fn solve_request(
    request: &BuildRequest,
    imports: &[CacheOption],
    docker: bool,
    reference: &str,
    session: String,
) -> Result<SolveRequest, BuildkitError> {
    let (_, filename) = split(&request.dockerfile)?;
    let mut attrs = HashMap::from([
        ("filename".to_owned(), filename.to_owned()),
        // What the docker CLI always sends to its engine.
        ("image-resolve-mode".to_owned(), "local".to_owned()),
    ]);
    if let Some(target) = &request.target {
        attrs.insert("target".to_owned(), target.clone());
    }
    for (name, value) in &request.args {
        attrs.insert(format!("build-arg:{name}"), value.clone());
    }
    match &request.frontend {
        Frontend::Named => {}
        // Where it is present, the engine looks for no other frontend (buildkit
        // `frontend/dockerfile/builder/build.go`, `Build`).
        Frontend::Own => drop(attrs.insert("cmdline".to_owned(), String::new())),
        Frontend::Image(image) => {
            attrs.insert("build-arg:BUILDKIT_SYNTAX".to_owned(), image.clone());
        }
    }
    for (name, reference) in &request.contexts {
        attrs.insert(format!("context:{name}"), format!("docker-image://{reference}"));
    }
    if request.no_cache {
        // Present and empty means every stage.
        attrs.insert("no-cache".to_owned(), String::new());
    }
    if !imports.is_empty() {
        attrs.insert("cache-imports".to_owned(), imports_json(imports));
    }
    let mut entitlements = Vec::new();
    if request.network_host {
        attrs.insert("force-network-mode".to_owned(), "host".to_owned());
        entitlements.push("network.host".to_owned());
    }
    let cache = CacheOptions {
        exports: request.exports.iter().map(entry).collect(),
        imports: imports.iter().map(entry).collect(),
        ..CacheOptions::default()
    };
    Ok(SolveRequest {
        r#ref: reference.to_owned(),
        session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs,
        cache: Some(cache),
        entitlements,
        exporters: request.image.iter().map(|image| exporter(image, docker)).collect(),
        ..SolveRequest::default()
    })
}

fn entry(option: &CacheOption) -> CacheOptionsEntry {
    let attrs = option.attrs.clone().into_iter().collect();
    CacheOptionsEntry { r#type: option.kind.clone(), attrs }
}

fn imports_json(imports: &[CacheOption]) -> String {
    // The capitals are protobuf-Go's, which the frontend decodes.
    let entries = imports
        .iter()
        .map(|import| serde_json::json!({ "Type": import.kind, "Attrs": import.attrs }));
    serde_json::Value::Array(entries.collect()).to_string()
}

fn exporter(image: &ImageOutput, docker: bool) -> Exporter {
    let mut attrs = HashMap::from([("name".to_owned(), image.names.join(","))]);
    if image.push {
        attrs.insert("push".to_owned(), "true".to_owned());
    }
    attrs.extend(image.attrs.clone());
    // dockerd's own exporter also unpacks, and on graph drivers it is the only one.
    let kind = if docker && !image.push { "moby" } else { "image" };
    Exporter { r#type: kind.to_owned(), attrs }
}

/// Whether the call failed rather than the build: the engine answers the latter itself.
fn is_transport(status: &tonic::Status) -> bool {
    let lost = std::error::Error::source(status).is_some();
    lost || matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Cancelled)
}

fn failure(trace: &Trace, message: &str) -> BuildFailure {
    let mut failed: Vec<_> = trace
        .vertices
        .iter()
        .filter(|vertex| !vertex.name.starts_with(IMPORTING))
        .filter_map(|vertex| vertex.error.as_ref().map(|error| (vertex, error)))
        // Steps that were still running when another failed.
        .filter(|(_, error)| !error.contains("context canceled"))
        .collect();
    // The step whose error is the build's comes first, then steps before internal vertices.
    failed.sort_by_key(|(vertex, error)| (!message.contains(error.as_str()), !vertex.is_step()));
    let vertex = failed.first().map(|(vertex, _)| *vertex);
    BuildFailure {
        step: vertex.map(|vertex| vertex.name.clone()).unwrap_or_default(),
        exit_code: exit_code(message),
        message: message.to_owned(),
        log: vertex.map(|vertex| vertex.log.clone()).unwrap_or_default(),
    }
}

fn exit_code(message: &str) -> Option<i32> {
    let (_, tail) = message.rsplit_once("exit code: ")?;
    let digits = tail.find(|c: char| !c.is_ascii_digit()).map_or(tail, |end| &tail[..end]);
    digits.parse().ok()
}

fn import_errors(trace: &Trace, caches: &LocalCaches, failed: bool) -> Vec<String> {
    let named = || trace.vertices.iter().filter(|vertex| vertex.name.starts_with(IMPORTING));
    let mut errors = caches.import_errors.clone();
    errors.extend(named().filter_map(|vertex| {
        let error = vertex.error.as_ref()?;
        Some(format!("{}: {error}", vertex.name.trim_start_matches(IMPORTING)))
    }));
    if !failed && !caches.imports.is_empty() && named().next().is_none() {
        errors.push("the engine tried no cache import".to_owned());
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(reference: &str) -> CacheOption {
        let attrs = BTreeMap::from([("ref".to_owned(), reference.to_owned())]);
        CacheOption { kind: "registry".into(), attrs }
    }

    fn sent(request: &BuildRequest, docker: bool) -> SolveRequest {
        solve_request(request, &request.imports, docker, "ref", "session".into()).unwrap()
    }

    #[test]
    fn imports_are_sent_where_the_frontend_reads_them() {
        let request = BuildRequest {
            dockerfile: "docker/app.Dockerfile".into(),
            imports: vec![registry("r/a:b")],
            ..Default::default()
        };
        let sent = sent(&request, true);
        let expected = r#"[{"Attrs":{"ref":"r/a:b"},"Type":"registry"}]"#;
        assert_eq!(sent.frontend_attrs["cache-imports"], expected);
        assert_eq!(sent.frontend_attrs["filename"], "app.Dockerfile");
        assert_eq!(sent.cache.unwrap().imports[0].attrs["ref"], "r/a:b");
        assert!(!sent.frontend_attrs.contains_key("no-cache"));
    }

    #[test]
    fn only_an_image_that_stays_in_dockerd_is_exported_by_moby() {
        let image =
            |push| ImageOutput { names: vec!["a".into(), "b".into()], push, ..Default::default() };
        assert_eq!(exporter(&image(false), true).r#type, "moby");
        assert_eq!(exporter(&image(true), true).r#type, "image");
        assert_eq!(exporter(&image(false), false).r#type, "image");
        assert_eq!(exporter(&image(true), true).attrs["name"], "a,b");
    }

    #[test]
    fn host_networking_is_also_asked_for_as_an_entitlement() {
        let request = BuildRequest {
            dockerfile: "Dockerfile".into(),
            network_host: true,
            ..Default::default()
        };
        let sent = sent(&request, true);
        assert_eq!(sent.frontend_attrs["force-network-mode"], "host");
        assert_eq!(sent.entitlements, ["network.host"]);
    }

    #[test]
    fn another_frontend_is_asked_for_only_where_one_is_given() {
        let of = |frontend| {
            let request =
                BuildRequest { dockerfile: "Dockerfile".into(), frontend, ..Default::default() };
            let attrs = sent(&request, true).frontend_attrs;
            let attr = |name: &str| attrs.get(name).cloned();
            (attr("cmdline"), attr("build-arg:BUILDKIT_SYNTAX"))
        };
        assert_eq!(of(Frontend::Named), (None, None));
        assert_eq!(of(Frontend::Own), (Some(String::new()), None));
        assert_eq!(of(Frontend::Image("r/a:1".into())), (None, Some("r/a:1".into())));
    }

    #[test]
    fn a_dockerfile_without_a_name_is_refused() {
        assert!(split("docker/").is_err());
        assert_eq!(split("a/b/Dockerfile").unwrap(), ("a/b", "Dockerfile"));
    }

    #[test]
    fn the_exit_code_is_read_from_the_engines_message() {
        let message = "process \"/bin/sh -c false\" did not complete successfully: exit code: 17";
        assert_eq!(exit_code(message), Some(17));
        assert_eq!(exit_code("dockerfile parse error"), None);
    }
}
