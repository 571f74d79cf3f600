//! A trial whose steps are known and whose layers' ways are not, for readers that ask how much was
//! reused and not where time went.
//!
//! Transfers and inputs are a third of a journal. A check reads whole journals and looks at no
//! phase, so it steps over them.

use serde::Deserialize;
use smallvec::{SmallVec, smallvec};

use super::view::{BuildView, Text, TraceView, TrialView, VertexView};
use crate::trace::Interval;

/// How much of each trial is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything that any number is computed from.
    Whole,
    /// No transfers and no inputs of vertices: a pull, push or inline export during a vertex counts
    /// as the vertex' own time, and no step is known to have been fetched.
    WithoutTransfers,
}

/// What is read of a vertex where the rest is stepped over.
#[derive(Clone, Debug, Deserialize)]
pub struct BriefVertex<'a> {
    #[serde(borrow)]
    digest: Text<'a>,
    name: Text<'a>,
    cached: bool,
    intervals: SmallVec<[Interval; 2]>,
}

impl<'a> From<TrialView<'a, BriefVertex<'a>>> for TrialView<'a> {
    fn from(trial: TrialView<'a, BriefVertex<'a>>) -> Self {
        Self {
            round: trial.round,
            strategy: trial.strategy,
            link: trial.link,
            commit: trial.commit,
            builder: trial.builder,
            outcome: trial.outcome,
            builds: trial.builds.into_iter().map(BuildView::from).collect(),
            engine_start: trial.engine_start,
            checkout: trial.checkout,
            collected: trial.collected,
            metered: trial.metered,
        }
    }
}

impl<'a> From<BuildView<'a, BriefVertex<'a>>> for BuildView<'a> {
    fn from(build: BuildView<'a, BriefVertex<'a>>) -> Self {
        let vertices = build.trace.vertices.into_iter();
        Self {
            target: build.target,
            wall: build.wall,
            trace: TraceView { vertices: vertices.map(VertexView::from).collect() },
            import_errors: build.import_errors,
            layers: build.layers,
            outputs: build.outputs,
        }
    }
}

impl<'a> From<BriefVertex<'a>> for VertexView<'a> {
    fn from(vertex: BriefVertex<'a>) -> Self {
        Self {
            digest: vertex.digest,
            name: vertex.name,
            inputs: smallvec![],
            cached: vertex.cached,
            intervals: vertex.intervals,
            transfers: vec![],
        }
    }
}
