//! One strategy over the commits of one round, with the engine or engines it needs.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::engine::{Engine, EngineError, Fresh};
use crate::history::{HistoryError, ScriptedCommit};
use crate::journal::{Outcome, TrialKey, TrialRecord};
use crate::registry::FarEnd;
use crate::strategy::{EngineUse, Position, Standing, Strategy, plan};
use crate::trace::Update;
use crate::trial::{self, Held};
use crate::units::Nanos;

use super::{Event, Setup, Turn, Way, local_name};

/// A strategy being played; owns the engine of its next trial, if that is up already.
///
/// New engines start while the trial before is inspected, that of the next sequence too: both are
/// outside the clocks, and a run is over sooner.
pub struct Sequence<'a> {
    setup: &'a Setup<'a>,
    strategy: &'a Strategy,
    /// A repository no other strategy, round or link writes to, so that every first push is a first.
    repo: String,
    shared_key: String,
    local_caches: PathBuf,
    /// The place of the last commit to be played.
    last: usize,
    /// Whether another sequence follows on the same builder.
    more: bool,
    ready: Option<Waiting>,
    /// What the kept engine's build cache held during the trial before.
    held: Option<Held>,
    /// The place of the commit that the engine kept over the sequence did not get through.
    lost: Option<usize>,
}

/// An engine for the next trial, or why there is none.
pub type Ready = Result<Box<dyn Engine>, EngineError>;

/// The engine of the next trial.
struct Waiting {
    engine: Ready,
    /// Whether it has built nothing yet.
    new: bool,
}

/// What a sequence begins with.
pub struct Beginning<'a> {
    pub setup: &'a Setup<'a>,
    pub strategy: &'a Strategy,
    pub turn: Turn,
    pub way: &'a Way,
    /// The place of the last commit to be played.
    pub last: usize,
    /// Whether another sequence follows on the same builder.
    pub more: bool,
    /// A new engine that the sequence before has started.
    pub ready: Option<Ready>,
}

impl<'a> Sequence<'a> {
    pub fn new(beginning: Beginning<'a>) -> Self {
        let Beginning { setup, strategy, turn, way, last, more, ready } = beginning;
        let ready = ready.map(|engine| Waiting { engine, new: true });
        let name = &setup.loaded.scenario.name;
        let address = way.far.as_ref().map_or(setup.registry.address(), FarEnd::address);
        let Turn { round, link, .. } = turn;
        let repo = format!("{address}/{name}/r{round}/l{link}/{}", strategy.name);
        let shared_key = format!("cachefrom:{name}:r{round}:l{link}:{}", strategy.name);
        let folder = format!("r{round}-l{link}-{}", strategy.name);
        let local_caches = setup.scratch.join("caches").join(folder);
        let (held, lost) = (None, None);
        Self { setup, strategy, local_caches, repo, shared_key, last, more, ready, held, lost }
    }

    /// The trial of the commit at `index`.
    ///
    /// A kept engine that did not get through a commit has not the cache that the next ones would
    /// find, and a new engine even less: they are not built, since their numbers would be another's.
    pub async fn trial(&mut self, key: TrialKey, index: usize) -> TrialRecord {
        let observed = match self.lost {
            Some(place) => Err(format!("the kept engine was lost at commit {}", place + 1)),
            None => self.observe(key.clone(), index).await,
        };
        let broken = |message| TrialRecord::new(key, Outcome::Broken { message });
        let record = observed.unwrap_or_else(broken);
        let kept = self.strategy.engine == EngineUse::Kept;
        if kept && matches!(record.outcome, Outcome::Broken { .. }) {
            self.lost.get_or_insert(index);
        }
        record
    }

    async fn observe(&mut self, key: TrialKey, index: usize) -> Result<TrialRecord, String> {
        let setup = self.setup;
        let scenario = &setup.loaded.scenario;
        let commits = setup.history.commits();
        let commit = &commits[index];
        let standings: Vec<Standing<'_>> = commits.iter().map(ScriptedCommit::standing).collect();
        let position = Position {
            repo: self.repo.clone(),
            targets: scenario.build.targets.clone(),
            ..Position::at(&standings, index, setup.history.default_branch())
        };
        let cache_plan = plan(self.strategy, &position);

        let clock = Instant::now();
        let context = temporary(setup, "context-")?;
        let mut files = vec![(setup.history.take(index).map_err(told)?, context.path().to_owned())];
        let mut dockerfile = scenario.build.dockerfile.clone();
        let outside = setup.history.take_dockerfile(index, &dockerfile).map_err(told)?;
        let beside = outside.is_some().then(|| temporary(setup, "dockerfile-")).transpose()?;
        if let (Some(outside), Some(beside)) = (outside, &beside) {
            let name = Path::new(&dockerfile).file_name().unwrap_or_default();
            dockerfile = beside.path().join(name).to_string_lossy().into_owned();
            files.push((outside, beside.path().to_owned()));
        }
        // Another builder may be building meanwhile, and its clock must not wait for ours.
        let write = move || files.iter().try_for_each(|(files, into)| files.write(into));
        tokio::task::spawn_blocking(write)
            .await
            .map_err(|error| format!("cannot check a commit out: {error}"))?
            .map_err(told)?;
        let checkout = Nanos::of(clock.elapsed());

        let fresh = self.strategy.engine == EngineUse::Fresh;
        let (ready, started) = match self.ready.take() {
            Some(Waiting { engine, new }) => (engine, new),
            None => (setup.engines.start().await, true),
        };
        let engine = ready.map_err(|error| super::causes(&error))?;
        let engine_start = engine.start_time().filter(|_| started);
        let terms = setup.engines.terms();
        let status_key = key.clone();
        let on_update = |target: Option<&str>, update: &Update| {
            (setup.on_event)(Event::Status { key: &status_key, target, update });
        };
        setup.registry.arm(&scenario.faults);
        let setting = trial::Setting {
            key,
            engine: &*engine,
            prune: started && terms.fresh == Fresh::Pruned,
            host_network: terms.host_network,
            contexts: &setup.bases.contexts,
            registry: setup.registry,
            held: if started { None } else { self.held.as_ref() },
            outputs: &setup.outputs,
            plan: &cache_plan,
            context: context.path(),
            dockerfile: &dockerfile,
            frontend: setup.bases.frontend(setup, index).map_err(told)?,
            args: &commit.args,
            secrets: setup.secrets,
            verify: scenario
                .verify
                .iter()
                .filter(|v| v.commits.is_empty() || v.commits.contains(&commit.message))
                .collect(),
            local_name: local_name(setup.loaded),
            local_tag: commit.id.clone(),
            local_caches: &self.local_caches,
            run: setup.scratch,
            shared_key: self.shared_key.clone(),
            checkout,
            engine_start,
            on_update: if setup.options.status { Some(&on_update) } else { None },
        };
        let built = trial::build(&setting).await;
        setup.registry.arm(&[]);
        let held = built.held();
        let last = index == self.last;
        let next = async {
            let wanted = terms.fresh == Fresh::New && if last { self.more } else { fresh };
            if wanted { Some(setup.engines.start().await) } else { None }
        };
        let (mut record, next) = tokio::join!(trial::inspect(&setting, built), next);
        if !fresh && !last {
            self.held = Some(held);
            // An engine that broke is not used again.
            if !matches!(record.outcome, Outcome::Broken { .. }) {
                self.ready = Some(Waiting { engine: Ok(engine), new: false });
            }
            return Ok(record);
        }
        self.ready = next.map(|engine| Waiting { engine, new: true });
        let clock = Instant::now();
        match engine.stop().await {
            Ok(()) if fresh => record.engine_stop = Some(Nanos::of(clock.elapsed())),
            Ok(()) => {}
            // What was measured before stands; the engine's guard has done what it could.
            Err(error) => super::not_cleared(setup.on_event, &error),
        }
        Ok(record)
    }

    /// The new engine that is left, for the next sequence. One that was kept is stopped.
    pub async fn finish(mut self) -> Option<Ready> {
        let Waiting { engine, new } = self.ready.take()?;
        if new {
            return Some(engine);
        }
        if let Ok(engine) = engine
            && let Err(error) = engine.stop().await
        {
            super::not_cleared(self.setup.on_event, &error);
        }
        None
    }
}

/// A folder that goes with the trial.
fn temporary(setup: &Setup<'_>, prefix: &str) -> Result<tempfile::TempDir, String> {
    let made = tempfile::Builder::new().prefix(prefix).tempdir_in(setup.scratch);
    made.map_err(|error| format!("cannot create a build context: {error}"))
}

fn told(error: HistoryError) -> String {
    super::causes(&error)
}
