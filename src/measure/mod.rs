//! What a journal's trials add up to: phases, reuse, estimates with intervals, verdicts, doubts.
//!
//! Pure: no clock, no Docker, no drawing; the same journal gives the same numbers to the last
//! bit. [`Analysis`] is the whole; [`statistics`] stands on its own.

mod analysis;
mod cell;
mod doubts;
mod lookup;
mod names;
mod overall;
mod phases;
mod read;
mod reduce;
mod reuse;
mod row;
mod rows;
mod sentence;
mod sequence;
pub mod statistics;
mod traffic;
mod verdict;
mod warning;

pub use analysis::Analysis;
pub use cell::{Cell, CellStep, LayerReuse, Sample};
pub use lookup::COLD;
pub use names::{Name, Names};
pub use overall::Overall;
pub use phases::{Activity, Phase, Phases, activities, activities_of, imports, phases, phases_of};
pub use reduce::own_repository;
pub use reuse::{Reuse, StepUse, reuse, steps};
pub use row::{BuildRow, StepRow, StepState, TrialRow};
pub use sequence::SequenceTotals;
pub use statistics::median;
pub use traffic::Traffic;
pub use verdict::{BreakEven, Costs, Verdict};
pub use warning::{Place, Warning};
