//! From measured numbers to the rows that reports show.
//!
//! Names, orders and caps are decided here, once. Nothing is computed but sums of what `measure`
//! says; what it could not say stays absent.

mod explained;
mod facts;
mod judged;
mod steps;

use std::collections::BTreeMap;

use crate::measure::{self, Analysis, COLD, Phase, statistics};
use crate::units::Nanos;

use explained::explained;
use facts::{environment, failures};
use judged::{overall, verdict};
use steps::Steps;

use super::view::{
    Cell, Commit, Estimate, SAMPLES, SCHEMA, State, StepState, Timeline, Variant, View,
};

impl View {
    /// The rows of `analysis`, without timelines, which need the traces that it dropped.
    pub fn of(analysis: &Analysis) -> Self {
        let header = &analysis.header;
        let steps = Steps::of(analysis);
        let places = variant_places(analysis);
        let (causes, advice) = explained(analysis, &places);
        let mut cells: Vec<Cell> =
            analysis.cells.iter().map(|c| cell(analysis, c, &places, &steps)).collect();
        cells.sort_by_key(|cell| (cell.variant, cell.commit));
        Self {
            schema: SCHEMA,
            generator: format!("cachefrom {}", env!("CARGO_PKG_VERSION")),
            scenario: header.scenario.clone(),
            title: header.title.clone(),
            rounds: analysis.rounds(),
            trials: analysis.trials.len(),
            environment: environment(analysis),
            variants: variants(analysis, &places),
            commits: header
                .commits
                .iter()
                .map(|commit| Commit {
                    id: commit.id.clone(),
                    message: commit.message.clone(),
                    branch: commit.branch.clone(),
                    parent: commit.parent,
                })
                .collect(),
            phases: Phase::ALL.iter().map(|phase| phase.name().to_owned()).collect(),
            steps: steps.names,
            cells,
            causes,
            advice,
            warnings: analysis.warnings.iter().map(ToString::to_string).collect(),
            failures: failures(analysis),
            timelines: vec![],
            timelines_left_out: 0,
        }
    }

    /// The same report with timelines, and how many more builds there were.
    pub fn with_timelines(mut self, (timelines, left_out): (Vec<Timeline>, usize)) -> Self {
        self.timelines = timelines;
        self.timelines_left_out = left_out;
        self
    }
}

/// The place of each (strategy, link) among variants: a strategy's links stand together.
pub(super) fn variant_places(analysis: &Analysis) -> BTreeMap<(usize, usize), usize> {
    let strategies = 0..analysis.strategies.len();
    let links = analysis.links.len().max(1);
    let pairs = strategies.flat_map(|strategy| (0..links).map(move |link| (strategy, link)));
    pairs.enumerate().map(|(place, pair)| (pair, place)).collect()
}

fn variants(analysis: &Analysis, places: &BTreeMap<(usize, usize), usize>) -> Vec<Variant> {
    let header = &analysis.header;
    let mut variants = vec![];
    // A map's order is that of strategy and link, as the places are.
    for &(strategy, link) in places.keys() {
        let of_this = |s: usize, l: usize| (s, l) == (strategy, link);
        let name = &analysis.strategies[strategy];
        let about = header.strategy(name);
        let link_name = analysis.links.get(link).cloned().flatten();
        let shown = analysis.label(strategy, link);
        let sequence = analysis.sequences.iter().find(|s| of_this(s.strategy, s.link));
        let verdict = analysis.verdicts.iter().find(|v| of_this(v.strategy, v.link));
        let overall = analysis.overall.iter().find(|o| of_this(o.strategy, o.link) && o.rounds > 0);
        variants.push(Variant {
            description: about.map_or(String::new(), |known| known.description.clone()),
            strategy: name.clone(),
            link: link_name,
            is_cold: name == COLD,
            verdict: verdict.map(|found| self::verdict(analysis, found)),
            overall: overall.map(self::overall),
            cumulative_seconds: sequence.map_or(vec![], |sequence| {
                sequence.time.iter().map(|time| time.map(Nanos::seconds)).collect()
            }),
            stored_bytes: sequence.map_or(vec![], |sequence| {
                sequence.stored.iter().map(|bytes| bytes.map(|bytes| bytes.0)).collect()
            }),
            name: shown,
        });
    }
    variants
}

fn estimate(from: statistics::Estimate) -> Estimate {
    Estimate {
        median: from.median,
        low: from.interval.map(|interval| interval.low),
        high: from.interval.map(|interval| interval.high),
        samples: from.samples,
    }
}

fn cell(
    analysis: &Analysis,
    from: &measure::Cell,
    places: &BTreeMap<(usize, usize), usize>,
    steps: &Steps,
) -> Cell {
    let mut samples: Vec<f64> = from.samples.iter().map(|s| s.wall.seconds()).collect();
    samples.sort_by(f64::total_cmp);
    let lazy = |trial: &measure::TrialRow| {
        trial.steps.iter().filter(|step| step.state == measure::StepState::Lazy).count()
    };
    let fewest = from.samples.iter().map(|sample| &analysis.trials[sample.trial]);
    let fewest = fewest.min_by_key(|trial| trial.cached());
    let states = from.steps.iter().filter_map(|step| {
        let state = match step.state()? {
            _ if step.flaky() => State::Varies,
            measure::StepState::Rebuilt => State::Rebuilt,
            measure::StepState::Cached => State::Cached,
            measure::StepState::Lazy => State::Lazy,
        };
        let step = *steps.places.get(analysis.text(step.name))?;
        Some(StepState { step, state })
    });
    Cell {
        variant: places.get(&(from.strategy, from.link)).copied().unwrap_or(0),
        commit: from.commit,
        built: from.samples.len(),
        failed: from.failed,
        wall_seconds: from.wall.map(estimate),
        samples_seconds: spread(&samples),
        times_faster: from.versus_cold.map(|paired| estimate(paired.ratio)),
        phase_seconds: from.phases.iter().map(|(_, time)| time.seconds()).collect(),
        steps_cached: from.reuse.cached,
        steps_lazy: fewest.map_or(0, lazy),
        steps: from.reuse.steps,
        avoided_seconds: from.avoided.map(estimate),
        pulled_bytes: from.pulled.0,
        pushed_bytes: from.pushed.0,
        layer_bytes: from.layers.map(|layers| layers.all.0),
        layer_bytes_shared: from.layers.map(|layers| layers.shared.0),
        step_states: states.collect(),
    }
}

/// At most [`SAMPLES`] of sorted values, the least and the greatest among them.
fn spread(sorted: &[f64]) -> Vec<f64> {
    if sorted.len() <= SAMPLES {
        return sorted.to_vec();
    }
    (0..SAMPLES).map(|place| sorted[place * (sorted.len() - 1) / (SAMPLES - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_samples_the_least_and_the_greatest_are_kept() {
        let samples: Vec<f64> = (0..1000).map(f64::from).collect();
        let shown = spread(&samples);
        assert_eq!((shown.len(), shown[0], shown[SAMPLES - 1]), (SAMPLES, 0.0, 999.0));
        assert_eq!(spread(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
