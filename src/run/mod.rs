//! The matrix of a run: which trials, in which order, on which engines, into which journal.
//!
//! It survives the failure of any trial. Trials themselves are `trial`'s; numbers are nobody's
//! here. The surprising rule: a strategy's commits of one round form a *sequence* whose caches
//! build on each other, so a resumed run plays an unfinished sequence again from its first
//! commit and records only what the journal lacks.

mod abilities;
mod asked;
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

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::engine::{
    self, EngineAddress, EngineError, Engines, Fresh, Machine, RunRoot, TlsOptions,
};
use crate::history::History;
use crate::journal::{End, ImageSource, Journal, Line, Recorded, path_in};
use crate::link::LinkProfile;
use crate::registry::relay::Relay;
use crate::registry::{FarEnd, Registry};
use crate::scenario::Loaded;
use crate::secrets::Secrets;
use crate::trial::{self, causes};
use crate::units::Nanos;

pub use abilities::{Abilities, divide, foreseen};
pub use asked::{Ended, Event, OnEvent, Options, commits_of, history, links, strategies};
pub use deal::deal;
pub use doctor::doctor;
pub use environment::sha256_of;
pub use error::RunError;
pub use folder::{Folder, next_in};
pub use foretold::undeclared_args;
pub use order::{Turn, sequences};
pub use partition::Partition;

use asked::secrets;
use header::{Played, open_journal};
use site::{Opening, Site};
use turns::Turns;

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
    let path = path_in(&options.out);
    if !options.resume && path.exists() {
        return Err(RunError::JournalThere { path });
    }
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
    let trials = order.len().saturating_mul(commits);
    let played = Played { strategies: &strategies, skipped, commits, trials, environment, images };
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
