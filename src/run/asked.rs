//! What was asked for, what of it is played, and what is told while it is.

use std::path::{Path, PathBuf};

use super::{Partition, RunError, foretold::foretold};
use crate::engine::{EngineAddress, TlsOptions};
use crate::history::{History, Replay, Written};
use crate::journal::{Recorded, Skipped, TrialKey, TrialRecord, holds_journal};
use crate::link::LinkProfile;
use crate::registry::relay::Remote;
use crate::scenario::Loaded;
use crate::scenario::format::BaseImages;
use crate::secrets::{SecretError, Secrets};
use crate::strategy::{Strategy, built_in, is_credential, policies};
use crate::trace::Update;

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
    if loaded.scenario.base_images == BaseImages::Cold && !links(loaded, options).is_empty() {
        return Err(RunError::ColdBasesOverLink);
    }
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
pub(super) fn secrets(strategies: &[Strategy], options: &Options) -> Result<Secrets, SecretError> {
    let mut secrets = options.secrets.clone();
    for (attr, value) in strategies.iter().flat_map(Strategy::attrs) {
        secrets.look_up(value)?;
        if is_credential(attr) {
            secrets.conceal(value)?;
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

/// How many commits of the sequence are played.
pub fn commits_of(history: &History, options: &Options) -> Result<usize, RunError> {
    let commits = history.commits().len();
    match options.last_commit {
        None => Ok(commits),
        Some(last) if last < commits => Ok(last + 1),
        Some(last) => Err(RunError::NoSuchCommit { asked: last + 1, commits }),
    }
}
