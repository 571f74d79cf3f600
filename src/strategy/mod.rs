//! Cache strategies: what they are, which are built in, and what each means for one commit.
//!
//! Everything here is data and one pure function; paths, clocks and Docker are elsewhere.

mod built_in;
mod definition;
mod plan;
mod position;

pub use built_in::{BUILT_IN, POLICIES, built_in, policies};
pub use definition::{CacheEntry, EngineUse, Strategy, is_credential};
pub use plan::{BuildPlan, CachePlan, ONCE_A_STAGE, PLACEHOLDERS, plan};
pub use position::{Position, Standing};
