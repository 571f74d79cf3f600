//! cachefrom: what each container-build cache strategy costs and reuses, measured with real builds.
//!
//! The modules are declared in the order in which a run passes through them.

pub mod units;
pub mod trace;
pub mod dockerfile;
pub mod fault;
pub mod link;
pub mod scenario;
pub mod history;
pub mod ignore;
pub mod strategy;
pub mod engine;
mod go_json;
pub mod credentials;
pub mod secrets;
pub mod registry;
pub mod buildkit;
pub mod trial;
pub mod run;
pub mod journal;
pub mod measure;
pub mod explain;
pub mod check;
pub mod report;
pub mod cli;
