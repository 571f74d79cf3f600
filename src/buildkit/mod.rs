//! One build on a BuildKit engine, from the wire up: what it took and what it reused.
//!
//! In reading order: reach the engine, be its session, send it the files, solve, fold what it said.
//! Stops at [`crate::trace::Trace`]; knows nothing of strategies, trials or engines' life cycles.
//! Surprising: cache imports work only as the frontend attribute `cache-imports` (see `request`).

mod channel;
mod content;
mod filesync;
mod local_cache;
mod outputs;
mod request;
mod session;
mod solve;
mod status;
mod update;
mod walk;
mod worker;
#[cfg(test)]
mod wire_tests;

pub use channel::{Address, BuildkitError, Connection};
pub use outputs::{StepLayer, read_blob, step_layers};
pub use request::{BuildRequest, CacheOption, Frontend, ImageOutput};
pub use solve::{BuildFailure, BuildOutcome, build, trace_of};
pub use status::Fold;
pub use walk::{WalkError, context_entries};
pub use worker::{CacheRecord, Worker, disk_usage, prune, worker};
