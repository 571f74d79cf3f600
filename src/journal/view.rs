//! A trial as its readers need it, borrowed from a line of text or from a [`TrialRecord`].
//!
//! A journal may hold a hundred thousand trials; their traces are never all in memory. This form
//! leaves out what no number is computed from (logs, verification output, exporter responses),
//! borrows every string it can, and is dropped as soon as its trial has been reduced.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use smallvec::SmallVec;

use super::record::{BuildRecord, Collected, Difference, Outcome, StepOutput, TrialRecord};
use crate::registry::{CacheSize, Direction, Flow, Kind};
use crate::trace::{Interval, Vertex};
use crate::units::{Bytes, Nanos};

/// A string of the journal; borrowed unless it holds an escape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, PartialOrd, Ord)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// One trial line. Fields are as in [`TrialRecord`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TrialView<'a> {
    pub round: u32,
    #[serde(borrow)]
    pub strategy: Text<'a>,
    #[serde(default)]
    pub link: Option<Text<'a>>,
    pub commit: usize,
    #[serde(default)]
    pub builder: Option<Text<'a>>,
    pub outcome: Outcome,
    #[serde(borrow)]
    pub builds: Vec<BuildView<'a>>,
    pub engine_start: Option<Nanos>,
    pub checkout: Nanos,
    /// Seldom there, so nothing of it is borrowed.
    #[serde(default)]
    pub collected: Option<Collected>,
    pub metered: MeteredView<'a>,
}

/// One build. Fields are as in [`BuildRecord`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BuildView<'a> {
    #[serde(borrow)]
    pub target: Option<Text<'a>>,
    pub wall: Nanos,
    pub trace: TraceView<'a>,
    #[serde(default)]
    pub import_errors: Vec<Text<'a>>,
    #[serde(default)]
    pub layers: Vec<LayerView<'a>>,
    #[serde(default)]
    pub outputs: Vec<OutputView<'a>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TraceView<'a> {
    #[serde(borrow)]
    pub vertices: Vec<VertexView<'a>>,
}

/// One vertex. Fields are as in [`Vertex`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct VertexView<'a> {
    #[serde(borrow)]
    pub digest: Text<'a>,
    pub name: Text<'a>,
    #[serde(default)]
    pub inputs: SmallVec<[Text<'a>; 2]>,
    pub cached: bool,
    pub intervals: SmallVec<[Interval; 2]>,
    #[serde(default)]
    pub transfers: Vec<TransferView<'a>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TransferView<'a> {
    #[serde(borrow)]
    pub id: Text<'a>,
    pub bytes: Bytes,
    pub interval: Interval,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LayerView<'a> {
    #[serde(borrow)]
    pub diff_id: Text<'a>,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct OutputView<'a> {
    #[serde(borrow)]
    pub vertex: Text<'a>,
    pub content: Text<'a>,
    /// Seldom there, so nothing of it is borrowed.
    #[serde(default)]
    pub differs: Vec<Difference>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct MeteredView<'a> {
    #[serde(default)]
    pub flows: Vec<FlowView>,
    /// What each repository held afterwards, by its name.
    #[serde(default, borrow)]
    pub stored: BTreeMap<Text<'a>, CacheSize>,
}

/// What crossed the registry's wire of one blob, or of all manifests; which blob is not read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct FlowView {
    pub direction: Direction,
    pub kind: Kind,
    pub requests: u64,
    pub bytes: Bytes,
    pub time: Nanos,
}

impl TrialView<'_> {
    /// Forgets what is not read at [`super::Depth::WithoutTransfers`].
    pub fn forget_transfers(&mut self) {
        let traces = self.builds.iter_mut().map(|build| &mut build.trace);
        for vertex in traces.flat_map(|trace| &mut trace.vertices) {
            vertex.inputs.clear();
            vertex.transfers.clear();
        }
    }
}

impl VertexView<'_> {
    /// See [`Vertex::is_step`].
    pub fn is_step(&self) -> bool {
        crate::trace::is_step(self.name.as_str())
    }

    /// See [`Vertex::is_from`].
    pub fn is_from(&self) -> bool {
        crate::trace::is_from(self.name.as_str())
    }

    /// See [`Vertex::is_link`].
    pub fn is_link(&self) -> bool {
        crate::trace::is_link(self.name.as_str())
    }

    /// See [`Vertex::is_met`].
    pub fn is_met(&self) -> bool {
        crate::trace::is_met(self.cached, &self.intervals)
    }
}

impl<'a> From<&'a TrialRecord> for TrialView<'a> {
    fn from(trial: &'a TrialRecord) -> Self {
        let stored = trial.metered.stored.iter();
        Self {
            round: trial.key.round,
            strategy: Text::from(&trial.key.strategy),
            link: trial.key.link.as_ref().map(Text::from),
            commit: trial.key.commit,
            builder: trial.builder.as_ref().map(Text::from),
            outcome: trial.outcome.clone(),
            builds: trial.builds.iter().map(BuildView::from).collect(),
            engine_start: trial.engine_start,
            checkout: trial.checkout,
            collected: trial.collected.clone(),
            metered: MeteredView {
                flows: trial.metered.flows.iter().map(FlowView::from).collect(),
                stored: stored
                    .map(|(name, size)| (Text(Cow::Borrowed(name.as_str())), *size))
                    .collect(),
            },
        }
    }
}

impl<'a> From<&'a BuildRecord> for BuildView<'a> {
    fn from(build: &'a BuildRecord) -> Self {
        let layers = build.layers.iter();
        Self {
            target: build.target.as_ref().map(Text::from),
            wall: build.wall,
            trace: TraceView {
                vertices: build.trace.vertices.iter().map(VertexView::from).collect(),
            },
            import_errors: build.import_errors.iter().map(Text::from).collect(),
            layers: layers
                .map(|layer| LayerView { diff_id: Text::from(&layer.diff_id), bytes: layer.bytes })
                .collect(),
            outputs: build.outputs.iter().map(OutputView::from).collect(),
        }
    }
}

impl<'a> From<&'a StepOutput> for OutputView<'a> {
    fn from(output: &'a StepOutput) -> Self {
        Self {
            vertex: Text::from(&output.vertex),
            content: Text::from(&output.content),
            differs: output.differs.clone(),
        }
    }
}

impl<'a> From<&'a Vertex> for VertexView<'a> {
    fn from(vertex: &'a Vertex) -> Self {
        let transfers = vertex.transfers.iter();
        Self {
            digest: Text::from(&vertex.digest),
            name: Text::from(&vertex.name),
            inputs: vertex.inputs.iter().map(Text::from).collect(),
            cached: vertex.cached,
            intervals: SmallVec::from_slice(&vertex.intervals),
            transfers: transfers
                .map(|row| TransferView {
                    id: Text::from(&row.id),
                    bytes: row.bytes,
                    interval: row.interval,
                })
                .collect(),
        }
    }
}

impl From<&Flow> for FlowView {
    fn from(flow: &Flow) -> Self {
        Self {
            direction: flow.direction,
            kind: flow.kind,
            requests: flow.count.requests,
            bytes: flow.count.bytes,
            time: flow.count.time,
        }
    }
}
