//! One build of a Dockerfile: the clock around its request, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bollard_buildkit_proto::moby::buildkit::v1::{StatusRequest, StatusResponse};
use tokio::sync::mpsc;

use super::channel::{BuildkitError, Connection};
use super::local_cache::{self, LocalCaches};
use super::request::{BuildRequest, solve_request, split};
use super::session::{Offer, Session};
use super::status::Fold;
use super::update::update;
use crate::trace::{Trace, Update};
use crate::units::Nanos;

/// How long the status stream may be silent after the build before it is given up.
const INACTIVITY: Duration = Duration::from_secs(5);
const IMPORTING: &str = "importing cache manifest from ";

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
        secrets: request.secrets.values().clone(),
        stores: caches.stores.clone(),
    };
    let _session = Session::open(connection, offer).await?;
    let solve =
        solve_request(request, &caches.imports, connection.is_docker(), &reference, session)?;

    let (sender, mut messages) = mpsc::unbounded_channel();
    let _reader = Reader(tokio::spawn(read_status(connection.clone(), reference.clone(), sender)));
    let mut fold = Fold::hiding(request.secrets.clone());
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

/// 25 random characters, as buildx names its builds.
fn unique() -> String {
    use rand::RngExt;
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..25).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_read_from_the_engines_message() {
        let message = "process \"/bin/sh -c false\" did not complete successfully: exit code: 17";
        assert_eq!(exit_code(message), Some(17));
        assert_eq!(exit_code("dockerfile parse error"), None);
    }
}
