//! Reduces a trial to a row of numbers; its trace is gone afterwards.
//!
//! A step that a later build of the same trial meets again, cached by the earlier one, says nothing
//! about the strategy, so the first build in which a step appears decides whether it was reused.

use crate::journal::{BuildView, TrialView, VertexView};
use crate::trace::linked;
use crate::units::{Bytes, Nanos};

use super::names::Names;
use super::phases::{Activity, Phase, activities_of, is_fetched, sweep};
use super::row::{BuildRow, StepRow, StepState, TrialRow};
use super::traffic::Traffic;

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
    let (mut builds, mut differences, mut bases) = (vec![], vec![], vec![]);
    for build in &trial.builds {
        let froms = build.trace.vertices.iter().filter(|vertex| vertex.is_from());
        for image in froms.filter_map(|vertex| vertex.name.as_str().split_once("] FROM ")) {
            let image = names.number(image.1.trim());
            if !bases.contains(&image) {
                bases.push(image);
            }
        }
        for output in &build.outputs {
            let content = names.number(output.content.as_str());
            differences.extend(output.differs.iter().map(|other| (content, other.clone())));
        }
        let activities = activities_of(build);
        add_steps((builds.len(), build), &activities, kept, names, &mut steps);
        builds.push(build_row(build, &activities, names));
    }
    let mut traffic = Traffic::default();
    for flow in &trial.metered.flows {
        traffic.add(flow.direction, flow.bytes);
    }
    TrialRow {
        round: trial.round,
        strategy,
        link,
        commit: trial.commit,
        builder: trial.builder.as_ref().map(|builder| names.number(builder.as_str())),
        outcome: trial.outcome.clone(),
        builds,
        steps,
        bases,
        differences,
        traffic,
        stored: stored(trial),
        engine_start: trial.engine_start,
        checkout: trial.checkout,
        collected: trial.collected.clone(),
    }
}

fn stored(trial: &TrialView<'_>) -> Option<Bytes> {
    let stored = trial.metered.stored.iter();
    let is_own = own_repository(trial.round);
    let sizes = stored.filter(|(name, _)| is_own(name.as_str()));
    let sizes: Vec<Bytes> = sizes.map(|(_, size)| size.bytes).collect();
    (!sizes.is_empty()).then(|| sizes.into_iter().fold(Bytes(0), |sum, bytes| sum + bytes))
}

/// Tells whether a repository is a strategy's own in `round`: it has its own in each, and base images
/// lie elsewhere.
pub fn own_repository(round: u32) -> impl Fn(&str) -> bool {
    let part = format!("/r{round}/");
    move |repository| repository.contains(&part)
}

fn build_row(
    build: &BuildView<'_>,
    activities: &[(usize, Activity)],
    names: &mut Names,
) -> BuildRow {
    let layers = build.layers.iter();
    BuildRow {
        target: build.target.as_ref().map(|target| names.number(target.as_str())),
        wall: build.wall,
        phases: sweep(activities.iter().map(|(_, activity)| *activity), build.wall),
        failed_imports: build.import_errors.iter().map(|e| names.number(e.as_str())).collect(),
        layers: layers.map(|layer| (names.number(layer.diff_id.as_str()), layer.bytes)).collect(),
    }
}

fn add_steps(
    (number, build): (usize, &BuildView<'_>),
    activities: &[(usize, Activity)],
    kept: bool,
    names: &mut Names,
    steps: &mut Vec<StepRow>,
) {
    let vertices = &build.trace.vertices;
    let fetched = fetched(vertices);
    let earlier = steps.len();
    let mut links = vec![];
    for (place, vertex) in vertices.iter().enumerate() {
        if !vertex.is_step() || vertex.is_from() || !vertex.is_met() {
            continue;
        }
        if vertex.is_link() {
            links.push(place);
            continue;
        }
        let name = names.number(vertex.name.as_str());
        let mut outputs = build.outputs.iter();
        let output = outputs.find(|output| output.vertex == vertex.digest);
        let output = output.map(|output| names.number(output.content.as_str()));
        let there = kept || fetched[place];
        let state = match (vertex.cached, there) {
            (false, _) => StepState::Rebuilt,
            (true, true) => StepState::Cached,
            (true, false) => StepState::Lazy,
        };
        let time = time(activities, place, state);
        let known = steps.iter().position(|known| known.name == name);
        if let Some(known) = known {
            steps[known].output = steps[known].output.or(output);
        }
        match known {
            None => {
                steps.push(StepRow { name, state, build: number, time, laid: None, output });
            }
            // `ADD` of a URL makes two vertices of one name; the step is cached if both are.
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
    // BuildKit tells of the two halves of a step in any order.
    for place in links {
        let Some(copy) = linked(vertices[place].name.as_str()) else { continue };
        let copy = names.number(&copy);
        if let Some(step) = steps.iter_mut().find(|step| step.name == copy) {
            step.time = step.time + time(activities, place, step.state);
            if !vertices[place].cached {
                let more = time(activities, place, StepState::Rebuilt);
                step.laid = Some(step.laid.unwrap_or_default() + more);
            }
        }
    }
}

/// How long the vertex at `place` did what a step of `state` does: its work, or fetching layers.
fn time(activities: &[(usize, Activity)], place: usize, state: StepState) -> Nanos {
    let wanted = match state {
        StepState::Rebuilt => Phase::Steps,
        StepState::Cached | StepState::Lazy => Phase::CachePull,
    };
    let first = activities.partition_point(|(vertex, _)| *vertex < place);
    activities[first..]
        .iter()
        .take_while(|(vertex, _)| *vertex == place)
        .filter(|(_, activity)| activity.phase == wanted)
        .map(|(_, activity)| activity.interval.end.saturating_sub(activity.interval.start))
        .sum()
}

/// Which vertices' layers were fetched into the engine during the build.
///
/// A fetch of one vertex fetches what lies below it too, so everything that a fetched vertex is
/// made from was fetched. An exporter that fetches does so for the image, the vertex that no
/// other is made from.
fn fetched(vertices: &[VertexView<'_>]) -> Vec<bool> {
    let mut fetched: Vec<bool> = vertices.iter().map(is_fetched).collect();
    let is_export = |vertex: &VertexView<'_>| vertex.name.as_str().starts_with("exporting to ");
    let exported = vertices.iter().any(|vertex| is_export(vertex) && is_fetched(vertex));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{BuildRecord, Outcome, TrialKey, TrialRecord};
    use crate::measure::cell::avoided;
    use crate::trace::{Interval, Trace, Transfer, Vertex};

    fn vertex(name: &str, inputs: &[&str], cached: bool, pulled: bool) -> Vertex {
        let interval = Interval { start: Nanos(0), end: Nanos(5) };
        Vertex {
            digest: name.into(),
            name: name.into(),
            inputs: inputs.iter().map(|input| (*input).into()).collect(),
            cached,
            intervals: vec![interval],
            transfers: pulled
                .then(|| Transfer { id: "sha256:aa".into(), bytes: Bytes(9), interval })
                .into_iter()
                .collect(),
            error: None,
            log: vec![],
        }
    }

    fn built(vertices: Vec<Vertex>) -> BuildRecord {
        BuildRecord {
            target: None,
            wall: Nanos(10),
            trace: Trace { vertices },
            import_errors: vec![],
            exporter_response: Default::default(),
            layers: vec![],
            outputs: vec![],
        }
    }

    fn states(builds: Vec<Vec<Vertex>>, kept: bool) -> Vec<(String, StepState)> {
        let key = TrialKey { round: 0, strategy: "s".into(), link: None, commit: 0 };
        let trial = TrialRecord {
            builds: builds.into_iter().map(built).collect(),
            ..TrialRecord::new(key, Outcome::Built)
        };
        let mut names = Names::default();
        let row = reduce(&TrialView::from(&trial), (0, 0), kept, &mut names);
        row.steps.iter().map(|step| (names.text(step.name).to_owned(), step.state)).collect()
    }

    fn step(name: &str, state: StepState) -> (String, StepState) {
        (name.to_owned(), state)
    }

    /// Three stages: `b` runs on the cached `a`, whose layers it needs; nothing needs `c`'s.
    fn build() -> Vec<Vertex> {
        vec![
            vertex("[a 2/3] RUN one", &[], true, false),
            vertex("[a 3/3] RUN two", &["[a 2/3] RUN one"], true, true),
            vertex("[b 2/2] RUN three", &["[a 3/3] RUN two"], false, false),
            vertex("[c 2/2] RUN four", &[], true, false),
        ]
    }

    #[test]
    fn what_lies_below_a_pulled_step_was_pulled_and_what_nothing_needed_is_lazy() {
        let expected = [
            step("[a 2/3] RUN one", StepState::Cached),
            step("[a 3/3] RUN two", StepState::Cached),
            step("[b 2/2] RUN three", StepState::Rebuilt),
            step("[c 2/2] RUN four", StepState::Lazy),
        ];
        assert_eq!(states(vec![build()], false), expected);
    }

    #[test]
    fn a_linked_copy_is_one_step_and_what_lays_it_onto_the_others_decides_nothing() {
        let copy = "[1/3] COPY --link a /a";
        let link = "[1/3] LINK COPY --link a /a";
        let run = "[2/3] RUN one";
        let row = |copied: bool, laid: bool, pulled: bool| {
            // BuildKit may tell of the second half first.
            let vertices = vec![
                vertex(link, &[copy], laid, pulled),
                vertex(copy, &[], copied, false),
                vertex(run, &[link], false, false),
            ];
            let key = TrialKey { round: 0, strategy: "s".into(), link: None, commit: 0 };
            let trial = TrialRecord {
                builds: vec![built(vertices)],
                ..TrialRecord::new(key, Outcome::Built)
            };
            assert_eq!(super::super::reuse::steps(&trial).len(), 2);
            reduce(&TrialView::from(&trial), (0, 0), false, &mut Names::default())
        };
        let states = |row: &TrialRow| row.steps.iter().map(|step| step.state).collect::<Vec<_>>();
        let both = row(false, false, false);
        assert_eq!(states(&both), [StepState::Rebuilt; 2]);
        assert_eq!(both.steps[0].time, Nanos(10), "the work of both halves");
        // What stands above was rebuilt: the copy was not, and its layer came with the other half.
        let kept = row(true, false, true);
        assert_eq!(states(&kept), [StepState::Cached, StepState::Rebuilt]);
        assert_eq!((kept.cached(), kept.steps[0].time), (1, Nanos(5)));
        let lazy = row(true, true, false);
        assert_eq!(states(&lazy), [StepState::Lazy, StepState::Rebuilt]);
        // What ran again is not saved, though the copy was reused.
        let saved = [&both, &kept, &lazy].map(|row| avoided(&both, row));
        assert_eq!(saved, [Nanos(0), Nanos(5), Nanos(10)]);
    }

    #[test]
    fn a_kept_engine_has_its_layers() {
        let states = states(vec![build()], true);
        assert!(states.iter().all(|(_, state)| *state != StepState::Lazy));
    }

    #[test]
    fn an_exporter_that_fetches_fetches_the_image_and_what_it_is_made_from() {
        let vertices = vec![
            vertex("[1/2] RUN one", &[], true, false),
            vertex("[2/2] RUN two", &["[1/2] RUN one"], true, false),
            vertex("exporting to image", &[], false, true),
        ];
        let states = states(vec![vertices], false);
        assert!(states.iter().all(|(_, state)| *state == StepState::Cached), "{states:?}");
    }

    #[test]
    fn what_never_started_because_the_build_had_failed_is_no_step_of_the_trial() {
        let mut announced = vertex("[2/2] RUN two", &["[1/2] RUN one"], false, false);
        announced.intervals.clear();
        let failed = vec![vertex("[1/2] RUN one", &[], false, false), announced.clone()];
        let one = step("[1/2] RUN one", StepState::Rebuilt);
        assert_eq!(states(vec![failed], false), std::slice::from_ref(&one));
        // Nothing tells when a cached one was looked up, but it was.
        announced.cached = true;
        let built = vec![vertex("[1/2] RUN one", &[], false, false), announced];
        assert_eq!(states(vec![built], true), [one, step("[2/2] RUN two", StepState::Cached)]);
    }

    #[test]
    fn the_first_build_decides_on_reuse_and_a_later_one_may_fetch() {
        let first = vec![
            vertex("[a 2/3] RUN one", &[], false, false),
            vertex("[a 3/3] RUN two", &[], true, false),
        ];
        let second = vec![
            vertex("[a 2/3] RUN one", &[], true, false),
            vertex("[a 3/3] RUN two", &[], true, true),
        ];
        let expected = [
            step("[a 2/3] RUN one", StepState::Rebuilt),
            step("[a 3/3] RUN two", StepState::Cached),
        ];
        assert_eq!(states(vec![first, second], false), expected);
    }
}
