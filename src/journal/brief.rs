//! A trial without its transfers, for readers that ask how much was reused and not where time went.
//!
//! Transfers are a fifth of a journal. A check reads whole journals and looks at no phase, so it
//! steps over them.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::view::{BuildView, TraceView, TrialView, VertexView};

/// How much of each trial is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything that any number is computed from.
    Whole,
    /// No transfers: a pull, push or inline export during a vertex counts as the vertex' own time,
    /// and no step is known to have been fetched.
    WithoutTransfers,
}

/// Transfers that are stepped over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl<'a> From<TrialView<'a, Unread>> for TrialView<'a> {
    fn from(trial: TrialView<'a, Unread>) -> Self {
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

impl<'a> From<BuildView<'a, Unread>> for BuildView<'a> {
    fn from(build: BuildView<'a, Unread>) -> Self {
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

impl<'a> From<VertexView<'a, Unread>> for VertexView<'a> {
    fn from(vertex: VertexView<'a, Unread>) -> Self {
        Self {
            digest: vertex.digest,
            name: vertex.name,
            inputs: vertex.inputs,
            cached: vertex.cached,
            intervals: vertex.intervals,
            transfers: vec![],
        }
    }
}
