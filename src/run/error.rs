//! Why a run could not begin or go on.

use std::path::PathBuf;

use crate::engine::EngineError;
use crate::history::HistoryError;
use crate::journal::{JournalError, Skipped};
use crate::registry::RegistryError;
use crate::registry::relay::RelayError;
use crate::scenario::Diagnostics;
use crate::secrets::SecretError;

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Scenario(#[from] Diagnostics),
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("the embedded registry cannot be started")]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot create {path}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("strategy {name:?} is neither built in nor a [[strategy]] of the scenario")]
    UnknownStrategy { name: String },
    #[error("the strategy `{name}` is named twice")]
    StrategyTwice { name: String },
    /// `asked` is from 1.
    #[error("the scenario has {commits} commits, there is no commit {asked}")]
    NoSuchCommit { asked: usize, commits: usize },
    #[error("no commit that is played has a stage `{target}`\n  {remedy}")]
    NoSuchTarget { target: String, remedy: String },
    #[error("nothing to do: every trial that was asked for is in the journal")]
    NothingToDo,
    #[error("none of the strategies can be played on these engines\n{}", reasons(.0))]
    AllSkipped(Vec<Skipped>),
    #[error("cannot ask the engine what it is: {reason}{remedy}")]
    Look { reason: String, remedy: &'static str },
    #[error(
        "base image {reference} is not to be had: {reason}\n  declare a local source with [[image]] in the scenario"
    )]
    BaseImage { reference: String, reason: String },
    #[error(
        "{rounds} {} cannot be dealt to {builders} builders: a round is never split\n  \
         play --rounds {builders} or more, or name fewer builders", if *rounds == 1 { "round" } else { "rounds" }
    )]
    FewRounds { rounds: usize, builders: usize },
    #[error("{path} was recorded on other builders: {}\n  name the same with --builder, in the same order", before.join(", "), path = path.display())]
    OtherBuilders { path: PathBuf, before: Vec<String> },
    #[error("{path} belongs to another scenario, seed or set of commits\n  choose another folder with --out", path = path.display())]
    OtherRun { path: PathBuf },
    #[error("{path} was recorded under other circumstances: {}\n  go on as it was begun, or choose another folder with --out", differences.join("; "), path = path.display())]
    OtherCircumstances { path: PathBuf, differences: Vec<String> },
    #[error("{path} is there already\n  go on with it by --resume, or choose another folder with --out", path = path.display())]
    JournalThere { path: PathBuf },
    #[error(
        "`base-images = \"cold\"` cannot be played over a link: base images come from elsewhere and are not slowed down, so that cold builds would look faster than they are\n  leave the links out, or take base images warm"
    )]
    ColdBasesOverLink,
    #[error(transparent)]
    Secret(#[from] SecretError),
}

fn reasons(skipped: &[Skipped]) -> String {
    let lines: Vec<String> = skipped
        .iter()
        .map(|skipped| format!("  {}: {}", skipped.strategy, skipped.because))
        .collect();
    lines.join("\n")
}
