//! What a journal's trials add up to: reuse and medians, a cell a strategy and commit.
//!
//! Pure: no clock, no file, no Docker, no drawing.

mod assertions;
mod reuse;
mod summary;

pub use assertions::{Assertions, violations};
pub use reuse::{Reuse, StepUse, reuse, steps};
pub use summary::{Cell, Summary, median};
