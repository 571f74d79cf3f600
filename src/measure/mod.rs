//! What a journal's trials add up to: reuse and medians, a cell a strategy and commit.
//!
//! Pure: no clock, no file, no Docker, no drawing.

mod reuse;
mod summary;

pub use reuse::{Reuse, StepUse, reuse, steps};
pub use summary::{Cell, Summary, median};
