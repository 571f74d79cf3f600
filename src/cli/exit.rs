//! Exit codes (DESIGN §7) and which error ends in which.

use std::process::ExitCode;

use super::builder::BuilderError;
use super::explain::ExplainError;
use super::gate::GateError;
use super::replay::CommitsError;
use super::told::NotWritten;
use crate::check::{CheckError, MergeError, ToleranceError};
use crate::engine::EngineError;
use crate::history::HistoryError;
use crate::journal::JournalError;
use crate::registry::relay::RemoteAddressError;
use crate::report::files::WriteError;
use crate::run::RunError;
use crate::scenario::Diagnostics;
use crate::secrets::SecretError;

/// Shown under `--help`.
pub const TABLE: &str = "\
Exit codes:
  0    done, and everything asked for holds
  1    unexpected failure
  2    usage, or a scenario that cannot be read
  3    a check, an assertion or a verification failed
  4    nothing to do
  5    a build failed
  6    no engine, registry or base image to be had
  7    results could not be written
  130  interrupted; everything finished so far is in the journal";

/// How a command ended.
/// Later is worse: where several apply, the greatest is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Done = 0,
    Unexpected = 1,
    Usage = 2,
    Failed = 3,
    NothingToDo = 4,
    BuildFailed = 5,
    NoEngine = 6,
    NotWritten = 7,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The code for an error that ended a command.
pub fn of(error: &anyhow::Error) -> Exit {
    if error.downcast_ref::<Diagnostics>().is_some() {
        return Exit::Usage;
    }
    if error.downcast_ref::<NotWritten>().is_some() {
        return Exit::NotWritten;
    }
    if let Some(error) = error.downcast_ref::<CheckError>() {
        return match error {
            CheckError::OtherScenario { .. } => Exit::Usage,
            CheckError::NothingShared | CheckError::NothingBuilt => Exit::NothingToDo,
        };
    }
    let usage = error.downcast_ref::<GateError>().is_some()
        || error.downcast_ref::<BuilderError>().is_some()
        || error.downcast_ref::<MergeError>().is_some()
        || error.downcast_ref::<ExplainError>().is_some()
        || error.downcast_ref::<CommitsError>().is_some()
        || error.downcast_ref::<HistoryError>().is_some()
        || error.downcast_ref::<RemoteAddressError>().is_some()
        || error.downcast_ref::<SecretError>().is_some()
        || error.downcast_ref::<ToleranceError>().is_some();
    if usage {
        return Exit::Usage;
    }
    if let Some(error) = error.downcast_ref::<JournalError>() {
        return journal(error);
    }
    if error.downcast_ref::<EngineError>().is_some() {
        return Exit::NoEngine;
    }
    if let Some(error) = error.downcast_ref::<WriteError>() {
        return super::report::exit_of(error);
    }
    if error.downcast_ref::<super::report::ExportsError>().is_some() {
        return Exit::Usage;
    }
    match error.downcast_ref::<RunError>() {
        None => Exit::Unexpected,
        Some(RunError::Scenario(_) | RunError::History(_) | RunError::Secret(_)) => Exit::Usage,
        Some(
            RunError::Engine(_)
            | RunError::Registry(_)
            | RunError::Relay(_)
            | RunError::BaseImage { .. }
            | RunError::Look { .. }
            | RunError::AllSkipped(_),
        ) => Exit::NoEngine,
        Some(RunError::Journal(error)) => journal(error),
        Some(RunError::Folder { .. } | RunError::JournalThere { .. }) => Exit::NotWritten,
        Some(
            RunError::UnknownStrategy { .. }
            | RunError::StrategyTwice { .. }
            | RunError::FewRounds { .. }
            | RunError::OtherBuilders { .. }
            | RunError::OtherCircumstances { .. }
            | RunError::NoSuchCommit { .. }
            | RunError::NoSuchTarget { .. }
            | RunError::ColdBasesOverLink
            | RunError::OtherRun { .. },
        ) => Exit::Usage,
        Some(RunError::NothingToDo) => Exit::NothingToDo,
    }
}

fn journal(error: &JournalError) -> Exit {
    match error {
        JournalError::Create { .. } | JournalError::Write { .. } => Exit::NotWritten,
        JournalError::Read { .. }
        | JournalError::Parse { .. }
        | JournalError::NoHeader { .. }
        | JournalError::Format { .. }
        | JournalError::Mixed { .. } => Exit::Usage,
    }
}
