//! Where a build's wall time went: a partition of it into [`Phase`]s.
//!
//! BuildKit's activities overlap (a context is sent while an image is resolved, an image is
//! pushed while a cache is exported), so lengths of intervals cannot be added up. A sweep over the
//! trace decides each instant once, for the first phase of [`Phase::PRIORITY`] that is active; what
//! no activity covers is *other*. So the phases of a build add up to its wall time exactly.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::{BuildRecord, BuildView, VertexView};
use crate::trace::{Interval, bracketed};
use crate::units::Nanos;

/// A share of a build's wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Metadata of base images and of the frontend's, and their layers where they were not there.
    BaseResolve,
    /// Reading cache manifests.
    CacheImport,
    /// Dockerfile, ignore file and build context from the client.
    ContextTransfer,
    /// Fetching and unpacking what a cache holds: eagerly, or lazily for a step or an exporter.
    CachePull,
    /// Running instructions that no cache served.
    Steps,
    /// Making the image: layers, manifest, unpacking into the engine's image store.
    ImageExport,
    /// Sending the image to a registry.
    ImagePush,
    /// Making and sending a cache, an inline one too.
    CacheExport,
    /// What no vertex covers: scheduling, the session, the answer.
    Other,
}

impl Phase {
    /// Every phase, in the order in which a build passes through them.
    pub const ALL: [Self; 9] = [
        Self::BaseResolve,
        Self::CacheImport,
        Self::ContextTransfer,
        Self::CachePull,
        Self::Steps,
        Self::ImageExport,
        Self::ImagePush,
        Self::CacheExport,
        Self::Other,
    ];

    /// Which phase an instant belongs to where several are active: the first of these.
    ///
    /// What a build without any cache would do too comes first, so that a cache is charged only
    /// for the time that it adds. The exception is that a pull goes before pushing and exporting,
    /// because an exporter that unpacks lazily cached layers waits for them all that while.
    pub const PRIORITY: [Self; 9] = [
        Self::Steps,
        Self::ContextTransfer,
        Self::BaseResolve,
        Self::CachePull,
        Self::ImagePush,
        Self::ImageExport,
        Self::CacheImport,
        Self::CacheExport,
        Self::Other,
    ];

    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BaseResolve => "base resolve",
            Self::CacheImport => "cache import",
            Self::ContextTransfer => "context transfer",
            Self::CachePull => "cache pull",
            Self::Steps => "steps",
            Self::ImageExport => "image export",
            Self::ImagePush => "image push",
            Self::CacheExport => "cache export",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The time of each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases([Nanos; 9]);

impl Phases {
    pub fn get(&self, phase: Phase) -> Nanos {
        self.0[phase as usize]
    }

    /// Each phase with its time, in the order of [`Phase::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Nanos)> + '_ {
        Phase::ALL.into_iter().map(|phase| (phase, self.get(phase)))
    }

    /// Their sum: the wall time of what they partition.
    pub fn total(&self) -> Nanos {
        self.0.iter().copied().sum()
    }

    /// Phases with `time` of each.
    pub fn from_fn(time: impl Fn(Phase) -> Nanos) -> Self {
        Self(Phase::ALL.map(time))
    }
}

impl std::ops::Add for Phases {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_fn(|phase| self.get(phase) + other.get(phase))
    }
}

impl std::iter::Sum for Phases {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), |total, item| total + item)
    }
}

/// The partition of one build's wall time.
pub fn phases(build: &BuildRecord) -> Phases {
    phases_of(&BuildView::from(build))
}

/// See [`phases`].
pub fn phases_of(build: &BuildView<'_>) -> Phases {
    sweep(activities_of(build).into_iter().map(|(_, activity)| activity), build.wall)
}

/// What went on in a build, each activity with the place of its vertex in the trace.
pub fn activities_of(build: &BuildView<'_>) -> Vec<(usize, Activity)> {
    let imports = imports(build);
    let vertices = build.trace.vertices.iter().enumerate();
    let each = vertices.flat_map(|(place, vertex)| {
        activities(vertex, imports).into_iter().map(move |activity| (place, activity))
    });
    each.collect()
}

/// Whether the build read any cache manifest. Without one, a cached step was found in the
/// engine's own cache, and the millisecond of finding it is no pull.
pub fn imports(build: &BuildView<'_>) -> bool {
    let is_import = |vertex: &VertexView<'_>| vertex.name.as_str().starts_with(IMPORT);
    build.trace.vertices.iter().any(is_import)
}

/// Something that went on for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activity {
    pub phase: Phase,
    pub interval: Interval,
}

/// What a vertex did, without overlaps between a pull, push or export and the vertex that it
/// belongs to: while a step or an exporter waits for its layers, it does nothing else.
///
/// `imports` is [`imports`] of its build.
pub fn activities(vertex: &VertexView<'_>, imports: bool) -> Vec<Activity> {
    let kind = phase_of(vertex);
    let own = match kind {
        Phase::CachePull if !imports && !is_fetched(vertex) => Phase::Other,
        own => own,
    };
    let mut found = vec![];
    let mut holes = vec![];
    for row in &vertex.transfers {
        if let Some(phase) = phase_of_row(kind, row.id.as_str())
            && row.interval.start < row.interval.end
        {
            found.push(Activity { phase, interval: row.interval });
            holes.push(row.interval);
        }
    }
    holes.sort_by_key(|hole| hole.start);
    for interval in &vertex.intervals {
        let mut start = interval.start;
        for hole in &holes {
            if hole.start >= interval.end {
                break;
            }
            if start < hole.start {
                let interval = Interval { start, end: hole.start };
                found.push(Activity { phase: own, interval });
            }
            start = start.max(hole.end);
        }
        if start < interval.end {
            found.push(Activity { phase: own, interval: Interval { start, end: interval.end } });
        }
    }
    found
}

/// The vertices that a cache exporter makes (buildkit `cache/remotecache`, `Name`).
const CACHE_EXPORTERS: [&str; 4] = [
    "exporting cache",
    "exporting to GitHub Actions Cache",
    "exporting content cache",
    "exporting inline cache",
];

/// The start of the name of a vertex that reads a cache manifest.
const IMPORT: &str = "importing cache manifest from ";

/// What a vertex does while none of its rows says otherwise.
fn phase_of(vertex: &VertexView<'_>) -> Phase {
    let name = vertex.name.as_str();
    if vertex.is_step() {
        return match (vertex.is_from(), vertex.cached) {
            (true, _) => Phase::BaseResolve,
            (false, true) => Phase::CachePull,
            (false, false) => Phase::Steps,
        };
    }
    if CACHE_EXPORTERS.iter().any(|exporter| name.starts_with(exporter)) {
        return Phase::CacheExport;
    }
    if name.starts_with("exporting to ") {
        return Phase::ImageExport;
    }
    if name.starts_with(IMPORT) {
        return Phase::CacheImport;
    }
    if name.starts_with("resolve image config for ") || name.starts_with("docker-image://") {
        return Phase::BaseResolve;
    }
    // `[internal] load …`, `[linux/amd64 internal] load …`, `[context NAME] …`.
    let Some((head, text)) = bracketed(name) else {
        return if name.starts_with("copy /context") {
            Phase::ContextTransfer
        } else {
            Phase::Other
        };
    };
    if text.starts_with("load metadata for ") {
        Phase::BaseResolve
    } else if text.starts_with("load ") || text.starts_with("preparing inline document") {
        Phase::ContextTransfer
    } else if text.starts_with("setting cache mount permissions") {
        Phase::Steps
    } else if head.starts_with("context ") {
        Phase::BaseResolve
    } else {
        Phase::Other
    }
}

/// The phase of a progress row where it differs from that of its vertex.
fn phase_of_row(of_vertex: Phase, id: &str) -> Option<Phase> {
    if is_pull(id) {
        return Some(match of_vertex {
            Phase::BaseResolve => Phase::BaseResolve,
            _ => Phase::CachePull,
        });
    }
    if id.starts_with("pushing ") {
        return Some(Phase::ImagePush);
    }
    id.starts_with("preparing layers for inline cache").then_some(Phase::CacheExport)
}

/// Whether a row is a layer on its way into the engine.
fn is_pull(id: &str) -> bool {
    ["sha256:", "extracting ", "pulling sha256:"].iter().any(|start| id.starts_with(start))
}

/// Whether any layer came into the engine under `vertex`.
pub fn is_fetched(vertex: &VertexView<'_>) -> bool {
    vertex.transfers.iter().any(|row| is_pull(row.id.as_str()))
}

/// Gives each instant of `0..wall` to the active phase that comes first in [`Phase::PRIORITY`].
///
/// What lies beyond the wall time, where the engine's clock and ours disagree, is cut off.
pub fn sweep(activities: impl Iterator<Item = Activity>, wall: Nanos) -> Phases {
    let mut edges: Vec<(Nanos, Phase, i32)> = vec![];
    for Activity { phase, interval } in activities {
        let (start, end) = (interval.start.min(wall), interval.end.min(wall));
        if start < end {
            edges.push((start, phase, 1));
            edges.push((end, phase, -1));
        }
    }
    edges.sort_unstable_by_key(|&(time, ..)| time);
    let mut active = [0_i32; 9];
    let mut phases = Phases::default();
    let mut last = Nanos(0);
    let mut give = |from: Nanos, to: Nanos, active: &[i32; 9]| {
        let phase = Phase::PRIORITY.into_iter().find(|phase| active[*phase as usize] > 0);
        let time = &mut phases.0[phase.unwrap_or(Phase::Other) as usize];
        *time = *time + to.saturating_sub(from);
    };
    for (time, phase, change) in edges {
        give(last, time, &active);
        active[phase as usize] += change;
        last = time;
    }
    give(last, wall, &active);
    phases
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trace::{Trace, Transfer, Vertex};
    use crate::units::Bytes;

    fn span(start: u64, end: u64) -> Interval {
        Interval { start: Nanos(start), end: Nanos(end) }
    }

    fn vertex(
        name: &str,
        cached: bool,
        intervals: &[Interval],
        rows: &[(&str, Interval)],
    ) -> Vertex {
        Vertex {
            digest: name.into(),
            name: name.into(),
            inputs: vec![],
            cached,
            intervals: intervals.to_vec(),
            transfers: rows
                .iter()
                .map(|(id, interval)| Transfer {
                    id: (*id).into(),
                    bytes: Bytes(1),
                    interval: *interval,
                })
                .collect(),
            error: None,
            log: vec![],
        }
    }

    fn build(wall: u64, vertices: Vec<Vertex>) -> BuildRecord {
        BuildRecord {
            target: None,
            wall: Nanos(wall),
            trace: Trace { vertices },
            import_errors: vec![],
            exporter_response: Default::default(),
            layers: vec![],
            outputs: vec![],
        }
    }

    fn nonzero(build: &BuildRecord) -> Vec<(Phase, u64)> {
        phases(build).iter().map(|(phase, time)| (phase, time.0)).filter(|p| p.1 > 0).collect()
    }

    #[test]
    fn a_lazy_pull_under_a_cached_step_is_cache_pull_and_not_steps() {
        let cached = vertex(
            "[builder 5/7] RUN make",
            true,
            &[span(0, 10), span(20, 90)],
            &[("sha256:aa", span(22, 60)), ("extracting sha256:aa", span(60, 88))],
        );
        let rebuilt = vertex("[builder 6/7] COPY . .", false, &[span(90, 100)], &[]);
        assert_eq!(
            nonzero(&build(110, vec![cached, rebuilt])),
            [(Phase::CachePull, 80), (Phase::Steps, 10), (Phase::Other, 20)]
        );
    }

    #[test]
    fn a_step_found_in_the_engines_own_cache_pulls_nothing_and_one_imported_does() {
        let cached = vertex("[2/2] RUN make", true, &[span(10, 30)], &[]);
        let import = vertex("importing cache manifest from local:1", false, &[span(0, 10)], &[]);
        assert_eq!(nonzero(&build(40, vec![cached.clone()])), [(Phase::Other, 40)]);
        assert_eq!(
            nonzero(&build(40, vec![cached, import])),
            [(Phase::CacheImport, 10), (Phase::CachePull, 20), (Phase::Other, 10)]
        );
    }

    #[test]
    fn an_exporter_that_waits_for_layers_pulls_and_does_not_export() {
        let exporter = vertex(
            "exporting to image",
            false,
            &[span(0, 100)],
            &[("sha256:aa", span(10, 40)), ("pushing layers", span(60, 80))],
        );
        assert_eq!(
            nonzero(&build(100, vec![exporter])),
            [(Phase::CachePull, 30), (Phase::ImageExport, 50), (Phase::ImagePush, 20)]
        );
    }

    #[test]
    fn a_cache_export_beside_a_push_is_charged_only_for_what_it_adds() {
        let push = vertex(
            "exporting to image",
            false,
            &[span(0, 50)],
            &[("pushing layers", span(10, 50))],
        );
        let cache = vertex("exporting cache to registry", false, &[span(10, 70)], &[]);
        assert_eq!(
            nonzero(&build(70, vec![push, cache])),
            [(Phase::ImageExport, 10), (Phase::ImagePush, 40), (Phase::CacheExport, 20)]
        );
    }

    #[test]
    fn every_name_that_buildkit_gives_has_its_phase() {
        let names = [
            ("[internal] load build definition from Dockerfile", Phase::ContextTransfer),
            ("[internal] load .dockerignore", Phase::ContextTransfer),
            ("[internal] load build context", Phase::ContextTransfer),
            ("[context data] load from client", Phase::ContextTransfer),
            ("[linux/amd64 internal] load metadata for docker.io/library/a:b", Phase::BaseResolve),
            ("[context base] docker.io/library/debian", Phase::BaseResolve),
            ("[builder 1/7] FROM docker.io/library/debian", Phase::BaseResolve),
            ("resolve image config for docker-image://docker/dockerfile:1", Phase::BaseResolve),
            ("importing cache manifest from gha:123", Phase::CacheImport),
            ("exporting to GitHub Actions Cache", Phase::CacheExport),
            ("exporting cache to client directory", Phase::CacheExport),
            ("exporting to oci image format", Phase::ImageExport),
            ("[ 2/10] RUN true", Phase::Steps),
            ("Verifying build result", Phase::Other),
        ];
        for (name, phase) in names {
            let vertex = vertex(name, false, &[span(0, 1)], &[]);
            assert_eq!(phase_of(&VertexView::from(&vertex)), phase, "{name}");
        }
    }

    #[test]
    fn phases_have_each_a_place_in_the_priority() {
        let mut priority = Phase::PRIORITY;
        priority.sort_unstable();
        assert_eq!(priority, Phase::ALL);
        assert!(Phase::ALL.iter().enumerate().all(|(place, phase)| *phase as usize == place));
    }

    fn any_span() -> impl Strategy<Value = Interval> {
        let edge = prop_oneof![0_u64..200, Just(0), Just(u64::MAX), any::<u64>()];
        // The fold never makes an end before its start, but a journal may be edited by hand.
        (edge.clone(), edge).prop_map(|(start, end)| span(start, end))
    }

    fn any_vertex() -> impl Strategy<Value = Vertex> {
        let name = prop::sample::select(vec![
            "[internal] load build context",
            "[internal] load metadata for x",
            "[a 1/3] FROM x",
            "[a 2/3] RUN x",
            "[a 3/3] COPY x y",
            "importing cache manifest from x",
            "exporting to image",
            "exporting cache to registry",
            "",
            "[",
        ]);
        let row = prop::sample::select(vec![
            "sha256:aa",
            "extracting sha256:aa",
            "pushing layers",
            "preparing layers for inline cache",
            "transferring context:",
        ]);
        let rows = prop::collection::vec((row, any_span()), 0..4);
        (name, any::<bool>(), prop::collection::vec(any_span(), 0..4), rows)
            .prop_map(|(name, cached, intervals, rows)| vertex(name, cached, &intervals, &rows))
    }

    proptest! {
        #[test]
        fn phases_add_up_to_the_wall_time_whatever_the_trace(
            wall in prop_oneof![0_u64..300, any::<u64>()],
            vertices in prop::collection::vec(any_vertex(), 0..12),
        ) {
            prop_assert_eq!(phases(&build(wall, vertices)).total(), Nanos(wall));
        }

        #[test]
        fn a_phase_gets_no_more_than_its_activities_cover(
            vertices in prop::collection::vec(any_vertex(), 0..6),
        ) {
            let wall = 200;
            let phases = phases(&build(wall, vertices.clone()));
            // An oracle that decides instant by instant.
            let views: Vec<VertexView<'_>> = vertices.iter().map(VertexView::from).collect();
            let imports = views.iter().any(|view| view.name.as_str().starts_with(IMPORT));
            let all: Vec<Activity> =
                views.iter().flat_map(|view| activities(view, imports)).collect();
            for phase in Phase::ALL {
                let counted = (0..wall)
                    .filter(|instant| {
                        let covers = |a: &&Activity| {
                            a.interval.start.0 <= *instant && *instant < a.interval.end.0
                        };
                        let first = Phase::PRIORITY.into_iter().find(|phase| {
                            all.iter().filter(covers).any(|a| a.phase == *phase)
                        });
                        first.unwrap_or(Phase::Other) == phase
                    })
                    .count();
                prop_assert_eq!(phases.get(phase).0, counted as u64, "{}", phase);
            }
        }
    }
}
