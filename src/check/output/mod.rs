//! A check as other programs read it: each format a pure function to text.

mod annotations;
mod badge;
mod dashboards;
mod junit;
mod markdown;
mod names;
mod plain;

pub use annotations::annotations;
pub use badge::badge;
pub use dashboards::{bencher, benchmark_action};
pub use junit::junit;
pub use markdown::markdown;
pub use plain::plain;
