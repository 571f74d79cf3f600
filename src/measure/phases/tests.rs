use proptest::prelude::*;

use super::activity::{IMPORT, phase_of};
use super::*;
use crate::journal::VertexView;
use crate::trace::{Interval, Trace, Transfer, Vertex};
use crate::units::Bytes;

fn span(start: u64, end: u64) -> Interval {
    Interval { start: Nanos(start), end: Nanos(end) }
}

fn vertex(name: &str, cached: bool, intervals: &[Interval], rows: &[(&str, Interval)]) -> Vertex {
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
    let push =
        vertex("exporting to image", false, &[span(0, 50)], &[("pushing layers", span(10, 50))]);
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
