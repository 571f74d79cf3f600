//! A trial reduced to what its numbers need: a few hundred bytes, so that all fit in memory.
//!
//! The trace is gone afterwards. A step that a later build of the same trial meets again, cached
//! by the earlier one, says nothing about the strategy, so the first build in which a step appears
//! decides whether it was reused.

use crate::journal::{BuildView, Count, Direction, Kind, Outcome, TrialView, VertexView};
use crate::units::{Bytes, Nanos};

use super::names::{Name, Names};
use super::phases::{Phase, Phases, activities, is_pull, phases_of};

/// Where a step's result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepState {
    /// It ran.
    Rebuilt,
    /// A cache served it, and its layers were there or were fetched.
    Cached,
    /// A cache served it and its layers were never fetched, because nothing needed them.
    Lazy,
}

/// One step of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// As BuildKit names it, `[builder 2/6] RUN …`.
    pub name: Name,
    pub state: StepState,
    /// Running it, or fetching it where a cache served it; time in several builds is added up.
    pub time: Nanos,
}

/// One build of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRow {
    pub target: Option<Name>,
    pub wall: Nanos,
    pub phases: Phases,
    /// Imports that failed; the build went on without them.
    pub failed_imports: usize,
    /// The image's layers with their uncompressed sizes; empty where it could not be asked.
    pub layers: Vec<(Name, Bytes)>,
}

/// What crossed to and from the registry, by direction and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic([[Count; 5]; 2]);

/// Every kind of content, in the order in which reports show them.
pub const KINDS: [Kind; 5] = [Kind::Layer, Kind::Cache, Kind::Manifest, Kind::Config, Kind::Other];

/// Both directions, seen from the builder.
pub const DIRECTIONS: [Direction; 2] = [Direction::Pull, Direction::Push];

impl Traffic {
    pub fn get(&self, direction: Direction, kind: Kind) -> Count {
        self.0[direction as usize][kind as usize]
    }

    /// Body bytes of all kinds.
    pub fn bytes(&self, direction: Direction) -> Bytes {
        self.0[direction as usize].iter().map(|count| count.bytes).sum()
    }

    pub fn from_fn(count: impl Fn(Direction, Kind) -> Count) -> Self {
        let mut traffic = Self::default();
        for direction in DIRECTIONS {
            for kind in KINDS {
                traffic.0[direction as usize][kind as usize] = count(direction, kind);
            }
        }
        traffic
    }

    fn add(&mut self, direction: Direction, kind: Kind, count: Count) {
        let sum = &mut self.0[direction as usize][kind as usize];
        sum.requests = sum.requests.saturating_add(count.requests);
        sum.bytes = sum.bytes + count.bytes;
        sum.time = sum.time + count.time;
    }
}

/// One trial. Strategy and link are places in [`super::Analysis`]'s lists.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRow {
    pub round: u32,
    pub strategy: usize,
    pub link: usize,
    pub commit: usize,
    pub outcome: Outcome,
    pub builds: Vec<BuildRow>,
    /// The distinct steps, in the order in which they were first seen.
    pub steps: Vec<StepRow>,
    pub traffic: Traffic,
    pub engine_start: Option<Nanos>,
    pub checkout: Nanos,
}

impl TrialRow {
    pub fn built(&self) -> bool {
        self.outcome == Outcome::Built
    }

    /// Wall time of its builds, see [`crate::journal::TrialRecord::wall`].
    pub fn wall(&self) -> Nanos {
        self.builds.iter().map(|build| build.wall).sum()
    }

    /// Phases of its builds, added up.
    pub fn phases(&self) -> Phases {
        self.builds.iter().map(|build| build.phases).sum()
    }

    /// Steps that a cache served.
    pub fn cached(&self) -> usize {
        self.steps.iter().filter(|step| step.state != StepState::Rebuilt).count()
    }
}

/// Reduces a trial. `kept` tells that its engine was kept from the commit before, so that a cached
/// step's layers are there without being fetched.
pub fn reduce(
    trial: &TrialView<'_>,
    place: (usize, usize),
    kept: bool,
    names: &mut Names,
) -> TrialRow {
    let (strategy, link) = place;
    let mut steps: Vec<StepRow> = vec![];
    for build in &trial.builds {
        add_steps(build, kept, names, &mut steps);
    }
    let mut traffic = Traffic::default();
    for flow in &trial.metered.flows {
        let count = Count { requests: flow.requests, bytes: flow.bytes, time: flow.time };
        traffic.add(flow.direction, flow.kind, count);
    }
    TrialRow {
        round: trial.round,
        strategy,
        link,
        commit: trial.commit,
        outcome: trial.outcome.clone(),
        builds: trial.builds.iter().map(|build| build_row(build, names)).collect(),
        steps,
        traffic,
        engine_start: trial.engine_start,
        checkout: trial.checkout,
    }
}

fn build_row(build: &BuildView<'_>, names: &mut Names) -> BuildRow {
    let layers = build.layers.iter();
    BuildRow {
        target: build.target.as_ref().map(|target| names.number(target.as_str())),
        wall: build.wall,
        phases: phases_of(build),
        failed_imports: build.import_errors.len(),
        layers: layers.map(|layer| (names.number(layer.diff_id.as_str()), layer.bytes)).collect(),
    }
}

fn add_steps(build: &BuildView<'_>, kept: bool, names: &mut Names, steps: &mut Vec<StepRow>) {
    let vertices = &build.trace.vertices;
    let fetched = fetched(vertices);
    let earlier = steps.len();
    for (place, vertex) in vertices.iter().enumerate() {
        if !vertex.is_step() || vertex.is_from() {
            continue;
        }
        let name = names.number(vertex.name.as_str());
        let there = kept || fetched[place];
        let state = match (vertex.cached, there) {
            (false, _) => StepState::Rebuilt,
            (true, true) => StepState::Cached,
            (true, false) => StepState::Lazy,
        };
        let time = activities(vertex)
            .into_iter()
            .filter(|activity| match state {
                StepState::Rebuilt => activity.phase == Phase::Steps,
                StepState::Cached | StepState::Lazy => true,
            })
            .map(|activity| activity.interval.end.saturating_sub(activity.interval.start))
            .sum();
        match steps.iter().position(|known| known.name == name) {
            None => steps.push(StepRow { name, state, time }),
            // `COPY --link` makes two vertices with one name; the step is cached if both are.
            Some(known) if known >= earlier => {
                steps[known].state = steps[known].state.min(state);
                steps[known].time = steps[known].time + time;
            }
            // A later build: it may still fetch what an earlier one left lazy.
            Some(known) => {
                if steps[known].state == StepState::Lazy && state == StepState::Cached {
                    steps[known].state = StepState::Cached;
                }
                steps[known].time = steps[known].time + time;
            }
        }
    }
}

/// Which vertices' layers were fetched into the engine during the build.
///
/// A fetch of one vertex fetches what lies below it too, so everything that a fetched vertex is
/// made from was fetched. An exporter that fetches does so for the image, the vertex that no
/// other is made from.
fn fetched(vertices: &[VertexView<'_>]) -> Vec<bool> {
    let pulls =
        |vertex: &VertexView<'_>| vertex.transfers.iter().any(|row| is_pull(row.id.as_str()));
    let mut fetched: Vec<bool> = vertices.iter().map(pulls).collect();
    let exported = vertices
        .iter()
        .any(|vertex| vertex.name.as_str().starts_with("exporting to ") && pulls(vertex));
    if exported {
        for (place, vertex) in vertices.iter().enumerate() {
            let used = vertices.iter().any(|other| other.inputs.contains(&vertex.digest));
            fetched[place] |= vertex.is_step() && !used;
        }
    }
    let mut waiting: Vec<usize> = (0..vertices.len()).filter(|&place| fetched[place]).collect();
    while let Some(place) = waiting.pop() {
        for (below, vertex) in vertices.iter().enumerate() {
            if !fetched[below] && vertices[place].inputs.contains(&vertex.digest) {
                fetched[below] = true;
                waiting.push(below);
            }
        }
    }
    fetched
}
