//! The matrix of a run: which trials, in which order, on which engines, into which journal.
//!
//! It survives the failure of any trial. Trials themselves are `trial`'s; numbers are nobody's
//! here. The surprising rule: a strategy's commits of one round form a *sequence* whose caches
//! build on each other, so a resumed run plays an unfinished sequence again from its first
//! commit and records only what the journal lacks.

mod environment;
mod layout;
mod order;
mod partition;
mod prepare;
mod sequence;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::engine::{self, Binaries, EngineError, RunRoot};
use crate::history::{History, HistoryError};
use crate::journal::{
    CommitRecord, End, Header, Journal, JournalError, Line, Recorded, SCHEMA, TrialKey, TrialRecord,
};
use crate::registry::{Registry, RegistryError};
use crate::scenario::Loaded;
use crate::strategy::{Strategy, built_in};
use crate::units::Nanos;

pub use order::sequences;
pub use partition::Partition;

/// What was asked for beside the scenario.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u32,
    pub seed: u64,
    /// Only these strategies; the scenario's when empty.
    pub strategies: Vec<String>,
    /// The place in the sequence of the last commit that is played; all are when absent.
    pub last_commit: Option<usize>,
    /// Only this part of the sequences; all when absent.
    pub partition: Option<Partition>,
    /// The folder of the results; must not hold a journal unless `resume`.
    pub out: PathBuf,
    pub resume: bool,
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
    TrialStarted(&'a TrialKey),
    TrialEnded(&'a TrialRecord),
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

/// Plays the whole run into the journal of `options.out`.
///
/// Dropping the returned future stops its engines; what ended before is in the journal.
pub async fn run(
    loaded: &Loaded,
    options: &Options,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Recorded, RunError> {
    let strategies = strategies(loaded, options)?;
    create(&options.out)?;
    create(&options.cache_dir)?;
    create(&options.run_root)?;
    engine::sweep(&options.run_root)?;
    let run_root = RunRoot::create(&options.run_root)?;
    let scratch = run_root.path();
    let history = History::script(loaded, scratch)?;
    let commits = commits_of(&history, options)?;
    let binaries = engine::find(&options.cache_dir, &notice).await?;
    let registry = Registry::start(scratch.join("registry")).await?;
    let setup = Setup {
        loaded,
        options,
        history: &history,
        registry: &registry,
        binaries: &binaries,
        scratch,
    };
    let bases = prepare::base_images(&setup, commits, on_event).await?;
    let (mut journal, done) = open_journal(&setup, &strategies, commits, &bases).await?;
    let mut order = sequences(&strategies, options.rounds, options.seed);
    if let Some(partition) = options.partition {
        order = partition.of(order, &strategies, options.rounds);
    }
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
    let clock = Instant::now();
    for (round, strategy) in order {
        let strategy = &strategies[strategy];
        let key = |commit| TrialKey { round, strategy: strategy.name.clone(), link: None, commit };
        let last = (0..commits).rev().find(|commit| keys.contains(&key(*commit)));
        let Some(last) = last else { continue };
        let mut sequence = sequence::Sequence::new(&setup, strategy, round, &bases);
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
    journal.append(&Line::End(End { interrupted: false, wall: Nanos::of(clock.elapsed()) }))?;
    Ok(Recorded::read(journal.path())?)
}

/// What every part of a run needs to know.
struct Setup<'a> {
    loaded: &'a Loaded,
    options: &'a Options,
    history: &'a History,
    registry: &'a Registry,
    binaries: &'a Binaries,
    scratch: &'a Path,
}

/// Says what is being fetched, before there is anything to draw a progress bar over.
fn notice(text: &str) {
    // A closed stderr must not stop a run.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{text}\n"));
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

async fn open_journal(
    setup: &Setup<'_>,
    strategies: &[Strategy],
    commits: usize,
    bases: &prepare::Bases,
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
        strategies: strategies.to_vec(),
        skipped: vec![],
        commits: setup.history.commits()[..commits]
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
        environment: bases.environment.clone(),
        images: bases.images.clone(),
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

/// What `cachefrom doctor` says: the engine that would be used, proved by starting it once.
pub async fn doctor(cache_dir: &Path, run_root: &Path) -> Result<String, RunError> {
    create(cache_dir)?;
    create(run_root)?;
    let swept = engine::sweep(run_root)?.len();
    let folder = RunRoot::create(run_root)?;
    let binaries = engine::find(cache_dir, &notice).await?;
    let options =
        engine::EngineOptions { run_root: folder.path().into(), mirror: None, golden: None };
    let started = engine::PrivateEngine::start(&binaries, options).await?;
    let version = engine::version(started.socket()).await?;
    let ready = started.start_time();
    let stopped = started.stop().await?;
    Ok(format!(
        "engine   {}\nversion  {} ({})\nready    in {ready}\nstopped  in {stopped}\nswept    {swept} dead runs\n",
        binaries.dockerd.display(),
        version.version,
        version.storage_driver,
    ))
}
