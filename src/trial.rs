//! One trial: the builds of one commit under one strategy, and what was observed.
//!
//! It is handed an engine that is up and a context that is checked out; who made them, in which
//! order trials run and what happens after a failure belong to `run`. A failed build is an
//! outcome, not an error.

mod held;
mod hiding;
mod layers;
mod listing;
mod outputs;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;

use crate::buildkit::{
    self, BuildFailure, BuildOutcome, BuildRequest, BuildkitError, CacheOption, Connection,
    ImageOutput,
};
use crate::engine::{Control, Engine};
use crate::journal::{BuildRecord, Outcome, StepOutput, TrialKey, TrialRecord, Verification};
use crate::registry::Registry;
use crate::scenario::format::Verify;
use crate::secrets::Secrets;
use crate::strategy::{BuildPlan, CacheEntry, CachePlan, EngineUse};
use crate::trace::Update;
use crate::units::Nanos;

pub use crate::buildkit::{Frontend, Worker};
pub use held::Held;
pub use outputs::Outputs;

use hiding::{Hiding, hide};

/// Where what BuildKit says while it builds a target goes.
pub type OnUpdate<'a> = &'a (dyn Fn(Option<&str>, &Update) + Send + Sync);

/// Everything that one trial needs.
pub struct Setting<'a> {
    pub key: TrialKey,
    pub engine: &'a dyn Engine,
    /// Whether the engine's build cache is emptied first, since the engine is not new.
    pub prune: bool,
    /// Whether builds use the machine's network, as on engines that have no other.
    pub host_network: bool,
    /// What to take instead of images that a `FROM` names.
    pub contexts: &'a BTreeMap<String, String>,
    pub registry: &'a Registry,
    /// What a kept engine held during the trial before.
    pub held: Option<&'a Held>,
    /// What steps came out as in the run's trials so far.
    pub outputs: &'a Outputs,
    pub plan: &'a CachePlan,
    pub context: &'a Path,
    /// Relative to the context, or absolute where it is outside.
    pub dockerfile: &'a str,
    pub frontend: Frontend,
    pub args: &'a BTreeMap<String, String>,
    /// Mounted by builds, and in no record.
    pub secrets: &'a Secrets,
    /// Those that apply to this commit.
    pub verify: Vec<&'a Verify>,
    /// Names the images that a strategy does not push.
    pub local_name: String,
    /// Tags them, differently at each commit: an engine that is kept would otherwise take the name
    /// from the previous image while it unpacks the next one onto its layers, and its garbage
    /// collector may then delete the snapshot in between ("parent snapshot … does not exist").
    pub local_tag: String,
    /// Where caches of `type=local` with relative folders are, over a whole sequence.
    pub local_caches: &'a Path,
    /// The run's directory.
    pub run: &'a Path,
    /// Constant over the commits of a kept engine, so that its contexts are sent incrementally.
    pub shared_key: String,
    pub checkout: Nanos,
    pub engine_start: Option<Nanos>,
    pub on_update: Option<OnUpdate<'a>>,
}

/// The longest that one build may take: whatever the registry does, no trial hangs longer.
pub const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

fn too_long() -> Outcome {
    let minutes = BUILD_LIMIT.as_secs() / 60;
    Outcome::Broken { message: format!("the build was given up after {minutes} minutes") }
}

/// What the BuildKit behind `control` says of itself.
pub async fn look(control: Control) -> Result<Worker, BuildkitError> {
    buildkit::worker(&Connection::open(&address(control)).await?).await
}

fn address(control: Control) -> buildkit::Address {
    match control {
        Control::Docker(socket) => buildkit::Address::Docker(socket),
        Control::Unix(socket) => buildkit::Address::Unix(socket),
        Control::Tcp(authority) => buildkit::Address::Tcp(authority),
    }
}

/// A trial whose builds are over.
pub struct Built {
    record: TrialRecord,
    /// The image's name by its target; the last build's where no target was named.
    images: BTreeMap<String, String>,
    /// What the engine's history calls each build.
    references: Vec<String>,
    held: Held,
}

impl Built {
    /// What the engine's build cache held before and after the builds; for kept engines.
    pub fn held(&self) -> Held {
        self.held.clone()
    }
}

/// Runs the builds. Every way in which they can end is in the outcome of [`inspect`]'s record.
pub async fn build(setting: &Setting<'_>) -> Built {
    let record = TrialRecord {
        engine_start: setting.engine_start,
        checkout: setting.checkout,
        ..TrialRecord::new(setting.key.clone(), Outcome::Built)
    };
    let mut built =
        Built { record, images: BTreeMap::new(), references: vec![], held: Held::default() };
    if let Err(outcome) = observe(setting, &mut built).await {
        built.record.outcome = outcome;
    }
    built
}

/// Verifies what was built and looks at its layers, on the same engine; nothing here is timed.
pub async fn inspect(setting: &Setting<'_>, built: Built) -> TrialRecord {
    let mut record = inspected(setting, built).await;
    if setting.secrets.is_hiding() {
        hide(setting.secrets, &mut record);
    }
    record
}

async fn inspected(setting: &Setting<'_>, built: Built) -> TrialRecord {
    let Built { mut record, images, references, .. } = built;
    if record.outcome != Outcome::Built {
        return record;
    }
    let layers = setting.plan.builds.iter().map(|plan| async move {
        let (image, push) = (image_name(setting, plan), plan.push.as_deref());
        layers::of(setting.engine, setting.registry, &image, push).await
    });
    // Side by side, since each of them mostly waits.
    let ((verifications, verified), layers, outputs) = tokio::join!(
        verify_all(setting, &images),
        join_all(layers),
        outputs(setting, &references, &record.builds),
    );
    record.verifications = verifications;
    if let Err(outcome) = verified {
        record.outcome = outcome;
    }
    for (build, layers) in record.builds.iter_mut().zip(layers) {
        build.layers = layers;
    }
    for (build, outputs) in record.builds.iter_mut().zip(outputs) {
        build.outputs = outputs;
    }
    record
}

/// What the steps of each build came out as; nothing from an engine that cannot show it.
async fn outputs(
    setting: &Setting<'_>,
    references: &[String],
    builds: &[BuildRecord],
) -> Vec<Vec<StepOutput>> {
    let address = address(setting.engine.control());
    let Ok(connection) = Connection::open(&address).await else { return vec![] };
    let mut found = vec![];
    for (build, reference) in builds.iter().zip(references) {
        let steps = build.trace.steps();
        let names: HashMap<&str, &str> =
            steps.map(|vertex| (vertex.digest.as_str(), vertex.name.as_str())).collect();
        found.push(setting.outputs.of(&connection, reference, &names).await);
    }
    found
}

async fn observe(setting: &Setting<'_>, built: &mut Built) -> Result<(), Outcome> {
    let Built { record, images, references, held } = built;
    let connection = Connection::open(&address(setting.engine.control())).await.map_err(broken)?;
    if setting.prune {
        buildkit::prune(&connection).await.map_err(broken)?;
    }
    let fresh = setting.plan.engine == EngineUse::Fresh;
    let proved = async { if fresh { setting.engine.prove_new().await } else { Ok(()) } };
    let (records, proved) = tokio::join!(buildkit::disk_usage(&connection), proved);
    let records = records.map_err(broken)?;
    record.cache_records_before = records.len();
    *held = Held::of(&records);
    record.collected = setting.held.and_then(|before| before.lost(held));
    proved.map_err(broken)?;
    if fresh && record.cache_records_before > 0 {
        let count = record.cache_records_before;
        let message = format!("the engine is not new: it holds {count} build cache records");
        return Err(Outcome::Broken { message });
    }
    let before = setting.registry.meter().snapshot();
    for build in &setting.plan.builds {
        let request = request(setting, build);
        let built =
            tokio::time::timeout(BUILD_LIMIT, watched(setting, &connection, &request)).await;
        let built = built.map_err(|_| too_long())?;
        record.metered = setting.registry.meter().snapshot().since(&before);
        setting.registry.weigh(&mut record.metered).map_err(broken)?;
        let BuildOutcome { reference, wall, trace, exporter_response, failure, import_errors } =
            built.map_err(broken)?;
        record.builds.push(BuildRecord {
            target: build.target.clone(),
            wall,
            trace,
            import_errors,
            exporter_response,
            layers: vec![],
            outputs: vec![],
        });
        references.push(reference);
        if let Some(BuildFailure { step, exit_code, message, log }) = failure {
            return Err(Outcome::BuildFailed { step, exit_code, message, log });
        }
        images.insert(build.target.clone().unwrap_or_default(), image_name(setting, build));
    }
    if !fresh {
        let records = buildkit::disk_usage(&connection).await.map_err(broken)?;
        *held = Held::of(&records).or(held);
    }
    Ok(())
}

/// Runs the built images, all at once, where the engine can run any.
async fn verify_all(
    setting: &Setting<'_>,
    images: &BTreeMap<String, String>,
) -> (Vec<Verification>, Result<(), Outcome>) {
    let mut verifications = vec![];
    let Some(docker) = setting.engine.docker() else { return (verifications, Ok(())) };
    let runs = setting.verify.iter().map(|verify| {
        let image = match setting.plan.builds.last() {
            Some(build) if verify.target.is_empty() => image_name(setting, build),
            _ => images.get(&verify.target).cloned().unwrap_or_default(),
        };
        async move {
            let (socket, run) = (docker, setting.run);
            let image = verify::Image { socket, name: &image, run, limit: verify::LIMIT };
            verify::run(&image, verify, setting.secrets).await
        }
    });
    for ran in join_all(runs).await {
        let (verification, problem) = match ran {
            Ok(ran) => ran,
            Err(error) => return (verifications, Err(broken(error))),
        };
        verifications.push(verification);
        if let Some(message) = problem {
            return (verifications, Err(Outcome::WrongImage { message }));
        }
    }
    (verifications, Ok(()))
}

/// Builds `request`, and hands on what is said meanwhile to whoever wants it.
async fn watched(
    setting: &Setting<'_>,
    connection: &Connection,
    request: &BuildRequest,
) -> Result<BuildOutcome, BuildkitError> {
    let Some(on_update) = setting.on_update else {
        return buildkit::build(connection, request, None).await;
    };
    let (sender, mut updates) = mpsc::unbounded_channel();
    let building = buildkit::build(connection, request, Some(sender));
    let showing = async {
        let mut hiding = Hiding::of(setting.secrets);
        while let Some(mut update) = updates.recv().await {
            hiding.hide(&mut update);
            on_update(request.target.as_deref(), &update);
        }
        if let Some(rest) = hiding.rest() {
            on_update(request.target.as_deref(), &rest);
        }
    };
    // The build drops its sender when it ends, and with it the showing.
    tokio::join!(building, showing).0
}

/// With every cause, so that the journal alone explains a broken trial.
fn broken(error: impl std::error::Error) -> Outcome {
    Outcome::Broken { message: causes(&error) }
}

/// The whole chain of causes of `error` in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn request(setting: &Setting<'_>, build: &BuildPlan) -> BuildRequest {
    BuildRequest {
        context: setting.context.to_path_buf(),
        dockerfile: setting.dockerfile.to_owned(),
        frontend: setting.frontend.clone(),
        target: build.target.clone(),
        args: setting.args.clone(),
        no_cache: setting.plan.no_cache,
        imports: build.imports.iter().map(|entry| option(setting, entry)).collect(),
        exports: build.exports.iter().map(|entry| option(setting, entry)).collect(),
        image: Some(ImageOutput {
            names: vec![image_name(setting, build)],
            push: build.push.is_some(),
            attrs: BTreeMap::new(),
        }),
        contexts: setting.contexts.clone(),
        network_host: setting.host_network,
        shared_key: setting.shared_key.clone(),
        secrets: setting.secrets.clone(),
    }
}

fn option(setting: &Setting<'_>, entry: &CacheEntry) -> CacheOption {
    let filled = |(attr, value): (&String, &String)| (attr.clone(), setting.secrets.filled(value));
    let attrs = entry.attrs.iter().map(filled).collect();
    let mut option = CacheOption { kind: entry.kind.clone(), attrs };
    if option.kind == "local" {
        for attr in ["src", "dest"] {
            if let Some(folder) = option.attrs.get_mut(attr) {
                // An absolute path replaces the one before it.
                *folder = setting.local_caches.join(&*folder).to_string_lossy().into_owned();
            }
        }
    }
    option
}

fn image_name(setting: &Setting<'_>, build: &BuildPlan) -> String {
    build.push.clone().unwrap_or_else(|| {
        let target = build.target.as_deref().unwrap_or("image").to_ascii_lowercase();
        format!("{}/{target}:{}", setting.local_name, setting.local_tag)
    })
}
