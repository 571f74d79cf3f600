//! The matrix of a run: which trials, in which order, on which engines, into which journal.
//!
//! It survives the failure of any trial. Trials themselves are `trial`'s; numbers are nobody's
//! here. The surprising rule: a strategy's commits of one round form a *sequence* whose caches
//! build on each other, so a resumed run plays an unfinished sequence again from its first
//! commit and records only what the journal lacks.

mod abilities;
mod bases;
mod doctor;
mod environment;
mod order;
mod sequence;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::engine::{self, EngineAddress, EngineError, Engines, Fresh, Place, RunRoot};
use crate::history::{History, HistoryError};
use crate::journal::{
    CommitRecord, End, Environment, Header, Journal, JournalError, Line, Recorded, SCHEMA, Skipped,
    TrialKey, TrialRecord,
};
use crate::registry::{Registry, RegistryError};
use crate::scenario::Loaded;
use crate::strategy::{Strategy, built_in};
use crate::trace::Update;
use crate::trial;
use crate::units::Nanos;

pub use abilities::{Abilities, divide, foreseen};
pub use doctor::doctor;
pub use order::sequences;

/// What was asked for beside the scenario.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u32,
    pub seed: u64,
    /// Only these strategies; the scenario's when empty.
    pub strategies: Vec<String>,
    /// The place in the sequence of the last commit that is played; all are when absent.
    pub last_commit: Option<usize>,
    /// The folder of the results; must not hold a journal unless `resume`.
    pub out: PathBuf,
    pub resume: bool,
    /// Which engines to build on; private ones where they can be had when absent.
    pub builder: Option<EngineAddress>,
    /// Whether engines that were there before may be pruned, to serve strategies that want new ones.
    pub allow_prune: bool,
    /// Whether [`Event::Status`] is wanted: it costs a little while the clock runs.
    pub status: bool,
    /// Engines and base images that later runs use again.
    pub cache_dir: PathBuf,
    /// Where engines live while they run.
    pub run_root: PathBuf,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A sentence about something slow that was begun or found.
    Notice(&'a str),
    /// Preparations are over; this many trials follow.
    Planned {
        trials: usize,
    },
    /// A strategy that was asked for will not be played.
    Skipped(&'a Skipped),
    TrialStarted(&'a TrialKey),
    /// What BuildKit says while a trial builds one of its targets.
    Status {
        key: &'a TrialKey,
        target: Option<&'a str>,
        update: &'a Update,
    },
    TrialEnded(&'a TrialRecord),
}

/// Where a run's events go.
pub type OnEvent<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// What the journal holds; none where it was interrupted before there was one.
    pub recorded: Option<Recorded>,
    pub interrupted: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the embedded registry cannot be started")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot create {path}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("strategy {name:?} is neither built in nor a [[strategy]] of the scenario")]
    UnknownStrategy { name: String },
    #[error("the scenario has {commits} commits, there is no commit {asked}")]
    NoSuchCommit { asked: usize, commits: usize },
    #[error("nothing to do: every trial that was asked for is in the journal")]
    NothingToDo,
    #[error("none of the strategies can be played on these engines\n{}", reasons(.0))]
    AllSkipped(Vec<Skipped>),
    #[error("cannot ask the engine what it is: {reason}")]
    Look { reason: String },
    #[error(
        "base image {reference} is not to be had: {reason}\n  declare a local source with [[image]] in the scenario"
    )]
    BaseImage { reference: String, reason: String },
    #[error("{path} belongs to another scenario, seed or set of commits\n  choose another folder with --out", path = path.display())]
    OtherRun { path: PathBuf },
}

/// The strategies that `loaded` and `options` name, in that order.
pub fn strategies(loaded: &Loaded, options: &Options) -> Result<Vec<Strategy>, RunError> {
    let names = if options.strategies.is_empty() {
        &loaded.scenario.strategies
    } else {
        &options.strategies
    };
    let known = || loaded.scenario.own_strategies.iter().chain(built_in());
    names
        .iter()
        .map(|name| {
            known()
                .find(|strategy| strategy.name == *name)
                .cloned()
                .ok_or_else(|| RunError::UnknownStrategy { name: name.clone() })
        })
        .collect()
}

/// Plays the whole run into the journal of `options.out`, or until `interrupt` is over.
///
/// Dropping the returned future stops its engines; what ended before is in the journal.
pub async fn run(
    loaded: &Loaded,
    options: &Options,
    on_event: OnEvent<'_>,
    interrupt: impl Future<Output = ()>,
) -> Result<Ended, RunError> {
    let begun = Instant::now();
    let mut playing = Playing::default();
    let played = tokio::select! {
        played = play(loaded, options, on_event, &mut playing) => Some(played),
        () = interrupt => None,
    };
    // What was played is dropped here, and with it all engines.
    if let Some(Err(error)) = played {
        return Err(error);
    }
    let interrupted = played.is_none();
    let Some(mut journal) = playing.journal else {
        return Ok(Ended { recorded: None, interrupted });
    };
    let wall = playing.clock.map_or(Nanos::default(), |clock| Nanos::of(clock.elapsed()));
    journal.append(&Line::End(End {
        interrupted,
        wall,
        whole: Some(Nanos::of(begun.elapsed())),
        bases: playing.bases,
        peak_memory: environment::peak_memory(),
    }))?;
    Ok(Ended { recorded: Some(Recorded::read(journal.path())?), interrupted })
}

/// What outlives an interrupt.
#[derive(Default)]
struct Playing {
    journal: Option<Journal>,
    /// Since the first trial's start.
    clock: Option<Instant>,
    /// How long the base images took.
    bases: Option<Nanos>,
}

async fn play(
    loaded: &Loaded,
    options: &Options,
    on_event: OnEvent<'_>,
    playing: &mut Playing,
) -> Result<(), RunError> {
    let asked = strategies(loaded, options)?;
    create(&options.out)?;
    create(&options.cache_dir)?;
    create(&options.run_root)?;
    engine::sweep(&options.run_root)?;
    let run_root = RunRoot::create(&options.run_root)?;
    let scratch = run_root.path();
    let history = History::script(loaded, scratch)?;
    let commits = commits_of(&history, options)?;
    let registry = Registry::start(scratch.join("registry")).await?;
    let place = Place {
        cache_dir: options.cache_dir.clone(),
        run_root: scratch.into(),
        registry: Some(registry.address()),
        own_images: vec![format!("{}/", local_name(loaded)), format!("{}/", registry.address())],
        allow_prune: options.allow_prune,
    };
    let notice = |text: &str| on_event(Event::Notice(text));
    let engines = engine::open(options.builder.as_ref(), place, &notice).await?;
    let control = engines.look().await?;
    let worker = trial::look(control.clone())
        .await
        .map_err(|error| RunError::Look { reason: causes(&error) })?;
    let mut environment = environment::environment(&*engines, &control, &worker).await?;
    let abilities = Abilities {
        fresh: engines.terms().fresh.clone(),
        local: engines.terms().local,
        worker: Some(worker),
    };
    let (strategies, skipped) = divide(&asked, &abilities);
    skipped.iter().for_each(|skipped| on_event(Event::Skipped(skipped)));
    if strategies.is_empty() {
        return Err(RunError::AllSkipped(skipped));
    }
    let mut setup = Setup {
        loaded,
        options,
        on_event,
        history: &history,
        registry: &registry,
        engines: &*engines,
        scratch,
        bases: bases::Bases::default(),
    };
    let clock = Instant::now();
    setup.bases = bases::ready(&setup, commits).await?;
    playing.bases = Some(Nanos::of(clock.elapsed()));
    environment.limits = limits(&setup);
    environment.limits.iter().for_each(|limit| on_event(Event::Notice(limit)));
    let played = Played { strategies: &strategies, skipped, commits, environment };
    let (journal, done) = open_journal(&setup, played)?;
    let journal = playing.journal.insert(journal);
    let order = sequences(&strategies, options.rounds, options.seed);
    let keys: BTreeSet<TrialKey> = order
        .iter()
        .flat_map(|&(round, strategy)| {
            let name = strategies[strategy].name.clone();
            (0..commits).map(move |commit| TrialKey {
                round,
                strategy: name.clone(),
                link: None,
                commit,
            })
        })
        .filter(|key| !done.contains(key))
        .collect();
    if keys.is_empty() {
        return Err(RunError::NothingToDo);
    }
    on_event(Event::Planned { trials: keys.len() });
    playing.clock = Some(Instant::now());
    for (round, strategy) in order {
        let strategy = &strategies[strategy];
        let key = |commit| TrialKey { round, strategy: strategy.name.clone(), link: None, commit };
        let last = (0..commits).rev().find(|commit| keys.contains(&key(*commit)));
        let Some(last) = last else { continue };
        let mut sequence = sequence::Sequence::new(&setup, strategy, round);
        for commit in 0..=last {
            let key = key(commit);
            on_event(Event::TrialStarted(&key));
            let record = sequence.trial(key, commit).await;
            if keys.contains(&record.key) {
                journal.append(&Line::Trial(Box::new(record.clone())))?;
                on_event(Event::TrialEnded(&record));
            }
        }
        sequence.finish().await;
    }
    engines.close().await?;
    Ok(())
}

/// What every part of a run needs to know.
struct Setup<'a> {
    loaded: &'a Loaded,
    options: &'a Options,
    on_event: OnEvent<'a>,
    history: &'a History,
    registry: &'a Registry,
    engines: &'a dyn Engines,
    scratch: &'a Path,
    bases: bases::Bases,
}

/// What images that are not pushed are called, before their stage.
fn local_name(loaded: &Loaded) -> String {
    format!("cachefrom/{}", loaded.scenario.name)
}

/// What was asked for and will not be done, a sentence each.
fn limits(setup: &Setup<'_>) -> Vec<String> {
    let (terms, address) = (setup.engines.terms(), setup.engines.address());
    let mut limits = setup.bases.limits.clone();
    if !terms.docker_api && !setup.loaded.scenario.verify.is_empty() {
        limits.push(format!("no image is verified, since {address} cannot run one"));
    }
    match terms.fresh {
        Fresh::New => {}
        Fresh::Pruned => limits.push(format!(
            "engines are not new but pruned: {address} keeps image blobs and what it knows of registries"
        )),
        Fresh::No(_) => limits.push(format!(
            "{address} keeps its build cache from one strategy and round to the next"
        )),
    }
    limits
}

/// The whole chain of causes of `error` in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn reasons(skipped: &[Skipped]) -> String {
    let lines: Vec<String> = skipped
        .iter()
        .map(|skipped| format!("  {}: {}", skipped.strategy, skipped.because))
        .collect();
    lines.join("\n")
}

fn create(path: &Path) -> Result<(), RunError> {
    std::fs::create_dir_all(path).map_err(|source| RunError::Folder { path: path.into(), source })
}

/// How many commits of the sequence are played.
fn commits_of(history: &History, options: &Options) -> Result<usize, RunError> {
    let commits = history.commits().len();
    match options.last_commit {
        None => Ok(commits),
        Some(last) if last < commits => Ok(last + 1),
        Some(last) => Err(RunError::NoSuchCommit { asked: last, commits }),
    }
}

/// What the journal's header says of a run beside what was asked for.
struct Played<'a> {
    strategies: &'a [Strategy],
    skipped: Vec<Skipped>,
    commits: usize,
    environment: Environment,
}

fn open_journal(
    setup: &Setup<'_>,
    played: Played<'_>,
) -> Result<(Journal, BTreeSet<TrialKey>), RunError> {
    let scenario = &setup.loaded.scenario;
    let path = setup.options.out.join("journal.jsonl");
    let header = Header {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        scenario_sha256: environment::sha256_of(&setup.loaded.path),
        seed: setup.options.seed,
        rounds: setup.options.rounds,
        strategies: played.strategies.to_vec(),
        skipped: played.skipped,
        commits: setup.history.commits()[..played.commits]
            .iter()
            .map(|commit| CommitRecord {
                id: commit.id.clone(),
                message: commit.message.clone(),
                branch: commit.branch.clone(),
                parent: commit.parent,
                args: commit.args.clone(),
                dockerfile: None,
                dockerignore: None,
                changes: vec![],
            })
            .collect(),
        targets: scenario.build.targets.clone(),
        environment: played.environment,
        images: setup.bases.images.clone(),
    };
    if setup.options.resume && path.exists() {
        let (journal, recorded) = Journal::resume(&path)?;
        let same = recorded.header.scenario_sha256 == header.scenario_sha256
            && recorded.header.seed == header.seed
            && recorded.header.commits == header.commits;
        if !same {
            return Err(RunError::OtherRun { path });
        }
        return Ok((journal, recorded.done()));
    }
    Ok((Journal::create(&path, &header)?, Default::default()))
}
