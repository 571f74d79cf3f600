//! The record of a run: one JSON line a trial, appended and flushed the moment the trial ends.
//!
//! All reports are computed from it alone. It knows neither how a trial ran nor what its
//! numbers mean. A last line that was cut by a crash is dropped when a run is resumed; anywhere
//! else a line that cannot be read is an error that names it.

mod file;
mod header;
mod record;
mod scan;
mod skim;
mod view;

#[cfg(test)]
pub(crate) use file::tests::header;
pub use file::{Journal, JournalError, Recorded, holds_journal, path_in};
pub use header::{
    BuilderRecord, CommitRecord, Environment, FileChange, Header, ImageSource, REPOSITORY,
    RealRegistry, Skipped,
};
pub use record::{
    BuildRecord, Collected, Difference, End, LayerRecord, Line, Outcome, SCHEMA, StepOutput,
    TrialKey, TrialRecord, Verification,
};
pub use scan::{Block, LineView, Scan};
pub use skim::Depth;
pub use view::{
    BuildView, FlowView, LayerView, MeteredView, OutputView, Text, TraceView, TransferView,
    TrialView, VertexView,
};
// What a trial's traffic is counted in is part of its record.
pub use crate::registry::{Direction, Kind};
