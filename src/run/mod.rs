//! The matrix of a run: which trials, in which order, on which engines, into which journal.
//!
//! It survives the failure of any trial. Trials themselves are `trial`'s; numbers are nobody's
//! here. The surprising rule: a strategy's commits of one round form a *sequence* whose caches
//! build on each other, so a resumed run plays an unfinished sequence again from its first
//! commit and records only what the journal lacks.

mod abilities;
mod bases;
mod commit;
mod deal;
mod doctor;
mod environment;
mod error;
mod folder;
mod foretold;
mod header;
mod order;
mod partition;
mod real;
mod sequence;
mod site;
mod turns;
#[cfg(test)]
mod turns_tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{
    self, EngineAddress, EngineError, Engines, Fresh, Machine, RunRoot, TlsOptions,
};
use crate::history::{History, Replay, Written};
use crate::journal::{
    End, ImageSource, Journal, Line, Recorded, Skipped, TrialKey, TrialRecord, holds_journal,
};
use crate::link::LinkProfile;
use crate::registry::relay::{Relay, Remote};
use crate::registry::{FarEnd, Registry};
use crate::scenario::Loaded;
use crate::secrets::{SecretError, Secrets};
use crate::strategy::{Strategy, built_in, is_credential, policies};
use crate::trace::Update;
use crate::trial::{self, causes};
use crate::units::Nanos;

pub use abilities::{Abilities, divide, foreseen};
pub use deal::deal;
pub use doctor::doctor;
pub use environment::sha256_of;
pub use error::RunError;
pub use folder::{Folder, next_in};
pub use foretold::undeclared_args;
pub use order::{Turn, sequences};
pub use partition::Partition;

use foretold::foretold;
use header::{Played, open_journal};
use site::{Opening, Site};
use turns::Turns;

/// What was asked for beside the scenario.
#[derive(Clone, Debug)]
pub struct Options {
    pub rounds: u32,
    pub seed: u64,
    /// Commits of a real repository, instead of the scenario's own.
    pub replay: Option<Replay>,
    /// Only these strategies; the scenario's when empty.
    pub strategies: Vec<String>,
    /// Every strategy is played over each of these; the scenario's when empty.
    pub links: Vec<LinkProfile>,
    /// The real registry that serves the run's repositories, instead of the embedded one.
    pub remote: Option<Remote>,
    /// The place in the sequence of the last commit that is played; all are when absent.
    pub last_commit: Option<usize>,
    /// Only this part of the sequences; all when absent.
    pub partition: Option<Partition>,
    /// The folder of the results; must not hold a journal unless `resume`.
    pub out: PathBuf,
    pub resume: bool,
    /// Which engines to build on, rounds being dealt to several; private ones where they can be had
    /// when none is named.
    pub builders: Vec<EngineAddress>,
    /// How `tcp://` builders are spoken to; without TLS when absent.
    pub tls: Option<TlsOptions>,
    /// Given to builds that mount them.
    pub secrets: Secrets,
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

/// The strategies that `loaded` and `options` name, in that order.
pub fn strategies(loaded: &Loaded, options: &Options) -> Result<Vec<Strategy>, RunError> {
    let names = if options.strategies.is_empty() {
        &loaded.scenario.strategies
    } else {
        &options.strategies
    };
    let known = || loaded.scenario.own_strategies.iter().chain(built_in()).chain(policies());
    let twice = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name));
    if let Some((_, name)) = twice {
        return Err(RunError::StrategyTwice { name: name.clone() });
    }
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

/// The secrets of `options`, and those that `strategies` log in to caches with.
fn secrets(strategies: &[Strategy], options: &Options) -> Result<Secrets, SecretError> {
    let mut secrets = options.secrets.clone();
    for (attr, value) in strategies.iter().flat_map(Strategy::attrs) {
        secrets.look_up(value)?;
        if is_credential(attr) {
            secrets.conceal(value);
        }
    }
    Ok(secrets)
}

/// The links that `loaded` or `options` name: none means that the registry is as near as can be.
pub fn links(loaded: &Loaded, options: &Options) -> Vec<LinkProfile> {
    if options.links.is_empty() { loaded.scenario.links() } else { options.links.clone() }
}

/// The commits that `options` or `loaded` name, and what to know about them, a sentence each.
/// Nothing is built with them that is known to fail. `folder` is for a scenario's repository.
pub fn history(
    loaded: &Loaded,
    options: &Options,
    folder: &Path,
) -> Result<(History, Vec<String>), RunError> {
    let (history, mut told) = match &options.replay {
        Some(replay) => History::replay(replay)?,
        None => {
            let written = Written { results: Some(&options.out), is_results: holds_journal };
            (History::script(loaded, written, folder)?, vec![])
        }
    };
    told.extend(foretold(loaded, options, &history)?);
    Ok((history, told))
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
    for builder in
        options.builders.iter().map(Some).chain(options.builders.is_empty().then_some(None))
    {
        engine::permitted(builder).await?;
    }
    let _out = Folder::at(&options.out)?;
    let mut playing = Playing::default();
    let played = tokio::select! {
        played = play(loaded, options, on_event, &mut playing) => Some(played),
        () = interrupt => None,
    };
    // What was played is dropped here, and with it all engines.
    let refs = match &playing.relay {
        Some(relay) => Some(real::clear(relay, options, on_event).await),
        None => None,
    };
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
        refs,
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
    /// From before anything is pushed through it.
    relay: Option<Arc<Relay>>,
}

async fn play(
    loaded: &Loaded,
    options: &Options,
    on_event: OnEvent<'_>,
    playing: &mut Playing,
) -> Result<(), RunError> {
    let asked = strategies(loaded, options)?;
    let secrets = secrets(&asked, options)?;
    create(&options.cache_dir)?;
    engine::sweep(&options.run_root)?;
    let run_root = RunRoot::create(&options.run_root)?;
    let scratch = run_root.path();
    let (history, told) = history(loaded, options, scratch)?;
    told.iter().for_each(|notice| on_event(Event::Notice(notice)));
    let commits = commits_of(&history, options)?;
    let real = real::open(loaded, options, on_event, &mut playing.relay).await?;
    let relay = playing.relay.clone();
    let opening = Opening { loaded, options, on_event, scratch, relay: relay.as_ref() };
    let sites = site::open(&opening).await?;
    let able = |site: &Site| (site.engines.address(), site.abilities(real.clone()));
    let (strategies, skipped) = divide(&asked, &sites.iter().map(able).collect::<Vec<_>>());
    skipped.iter().for_each(|skipped| on_event(Event::Skipped(skipped)));
    if strategies.is_empty() {
        return Err(RunError::AllSkipped(skipped));
    }
    let links = sites.first().map_or(1, |site| site.ways.len());
    let mut order = sequences(&strategies, links, options.rounds, options.seed);
    if let Some(partition) = options.partition {
        order = partition.of(order, &strategies, options.rounds);
    }
    let dealt = deal(&order, sites.len())?;
    let mut setups: Vec<Setup<'_>> = sites
        .iter()
        .map(|site| Setup {
            loaded,
            options,
            on_event,
            history: &history,
            registry: &site.registry,
            engines: &*site.engines,
            ways: &site.ways,
            machine: &site.machine,
            builder: (sites.len() > 1).then(|| site.engines.address()),
            scratch,
            secrets: &secrets,
            bases: bases::Bases::default(),
            outputs: trial::Outputs::default(),
        })
        .collect();
    let clock = Instant::now();
    for setup in &mut setups {
        setup.bases = bases::ready(setup, commits).await?;
    }
    playing.bases = Some(Nanos::of(clock.elapsed()));
    // There is one builder at least.
    let Some(first) = setups.first() else { return Err(RunError::NothingToDo) };
    let mut environment = environment::of_all(sites.iter().map(|site| &site.environment));
    environment.registry = real;
    for limit in setups.iter().flat_map(limits) {
        if !environment.limits.contains(&limit) {
            on_event(Event::Notice(&limit));
            environment.limits.push(limit);
        }
    }
    let mut images: Vec<ImageSource> = vec![];
    for image in setups.iter().flat_map(|setup| &setup.bases.images) {
        if !images.contains(image) {
            images.push(image.clone());
        }
    }
    let played = Played { strategies: &strategies, skipped, commits, environment, images };
    let (journal, done) = open_journal(first, played)?;
    let journal = playing.journal.insert(journal);
    let turns = Turns { strategies: &strategies, order, dealt, commits };
    let mut wanted = turns.keys(first);
    wanted.retain(|key| !done.contains(key));
    if turns.order.is_empty() {
        on_event(Event::Notice("no sequence falls into this part; its journal holds no trial"));
    } else if wanted.is_empty() {
        return Err(RunError::NothingToDo);
    }
    on_event(Event::Planned { trials: wanted.len() });
    playing.clock = Some(Instant::now());
    turns.play(&setups, &wanted, journal).await?;
    for site in &sites {
        if let Err(error) = site.engines.close().await {
            not_cleared(on_event, &error);
        }
    }
    Ok(())
}

/// Tells of a clean-up that failed: what was measured before it stands.
fn not_cleared(on_event: OnEvent<'_>, error: &EngineError) {
    on_event(Event::Notice(&format!("an engine could not be cleared away: {}", causes(error))));
}

/// A way to the registry: over a link, or as near as can be.
struct Way {
    link: Option<LinkProfile>,
    far: Option<FarEnd>,
}

/// What every part of a run needs to know, one for each builder.
struct Setup<'a> {
    loaded: &'a Loaded,
    options: &'a Options,
    on_event: OnEvent<'a>,
    history: &'a History,
    registry: &'a Registry,
    engines: &'a dyn Engines,
    ways: &'a [Way],
    machine: &'a Machine,
    /// Names the builder where the run has several.
    builder: Option<String>,
    scratch: &'a Path,
    secrets: &'a Secrets,
    bases: bases::Bases,
    /// What steps came out as on its builder.
    outputs: trial::Outputs,
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

/// An engine that is there and does not say what it is, such as one that waits for TLS.
fn not_seen(
    error: &dyn std::error::Error,
    builder: Option<&EngineAddress>,
    tls: Option<&TlsOptions>,
) -> RunError {
    let remedy = match (builder, tls) {
        (Some(EngineAddress::Tcp(_)), None) => {
            "\n  if it speaks TLS, name its authority with --builder-tlscacert"
        }
        _ => "",
    };
    RunError::Look { reason: causes(error), remedy }
}

fn create(path: &Path) -> Result<(), RunError> {
    std::fs::create_dir_all(path).map_err(|source| RunError::Folder { path: path.into(), source })
}

/// How many commits of the sequence are played.
pub fn commits_of(history: &History, options: &Options) -> Result<usize, RunError> {
    let commits = history.commits().len();
    match options.last_commit {
        None => Ok(commits),
        Some(last) if last < commits => Ok(last + 1),
        Some(last) => Err(RunError::NoSuchCommit { asked: last + 1, commits }),
    }
}
