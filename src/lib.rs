//! cachefrom: what each container-build cache strategy costs and reuses, measured with real builds.
//!
//! The modules are declared in the order in which a run passes through them.

pub mod buildkit;
pub mod engine;
pub mod history;
pub mod registry;
pub mod scenario;
pub mod strategy;
pub mod trace;
pub mod units;
