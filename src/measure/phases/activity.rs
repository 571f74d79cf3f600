//! What each vertex of a trace did and when, as activities that may overlap those of others.

use crate::journal::{BuildView, VertexView};
use crate::trace::{Interval, bracketed};

use super::Phase;

/// What went on in a build, each activity with the place of its vertex in the trace.
///
/// Sorted by place.
pub fn activities_of(build: &BuildView<'_>) -> Vec<(usize, Activity)> {
    let imports = imports(build);
    let mut found = vec![];
    for (place, vertex) in build.trace.vertices.iter().enumerate() {
        each_activity(vertex, imports, |activity| found.push((place, activity)));
    }
    found
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
    let mut found = vec![];
    each_activity(vertex, imports, |activity| found.push(activity));
    found
}

fn each_activity(vertex: &VertexView<'_>, imports: bool, mut found: impl FnMut(Activity)) {
    let kind = phase_of(vertex);
    let own = match kind {
        Phase::CachePull if !imports && !is_fetched(vertex) => Phase::Other,
        own => own,
    };
    let mut holes = vec![];
    for row in &vertex.transfers {
        if let Some(phase) = phase_of_row(kind, row.id.as_str())
            && row.interval.start < row.interval.end
        {
            found(Activity { phase, interval: row.interval });
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
                found(Activity { phase: own, interval });
            }
            start = start.max(hole.end);
        }
        if start < interval.end {
            found(Activity { phase: own, interval: Interval { start, end: interval.end } });
        }
    }
}

/// The vertices that a cache exporter makes (buildkit `cache/remotecache`, `Name`).
const CACHE_EXPORTERS: [&str; 4] = [
    "exporting cache",
    "exporting to GitHub Actions Cache",
    "exporting content cache",
    "exporting inline cache",
];

/// The start of the name of a vertex that reads a cache manifest.
pub(super) const IMPORT: &str = "importing cache manifest from ";

/// What a vertex does while none of its rows says otherwise.
pub(super) fn phase_of(vertex: &VertexView<'_>) -> Phase {
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
