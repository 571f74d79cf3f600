//! From measured numbers to the rows that reports show.
//!
//! Names, orders and caps are decided here, once. Nothing is computed but sums of what `measure`
//! says; what it could not say stays absent.

use std::collections::{BTreeMap, HashMap};

use crate::explain;
use crate::journal::Outcome;
use crate::measure::statistics::{self, Call};
use crate::measure::{self, Analysis, BreakEven, COLD, Phase};
use crate::units::{Bytes, Nanos};

use super::view::{
    CauseRow, Cell, Commit, Estimate, Fact, SAMPLES, SCHEMA, State, StepState, Timeline, Variant,
    Verdict, View,
};

/// Failed trials whose messages are shown.
const MOST_FAILURES: usize = 10;

impl View {
    /// The rows of `analysis`, without timelines, which need the traces that it dropped.
    pub fn of(analysis: &Analysis) -> Self {
        let header = &analysis.header;
        let steps = Steps::of(analysis);
        let places = variant_places(analysis);
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
            causes: causes(analysis, &places),
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
        let about = header.strategies.iter().find(|known| known.name == *name);
        let link_name = analysis.links.get(link).cloned().flatten();
        let shown = analysis.label(strategy, link);
        let sequence = analysis.sequences.iter().find(|s| of_this(s.strategy, s.link));
        let verdict = analysis.verdicts.iter().find(|v| of_this(v.strategy, v.link));
        variants.push(Variant {
            description: about.map_or(String::new(), |known| known.description.clone()),
            strategy: name.clone(),
            link: link_name,
            is_cold: name == COLD,
            verdict: verdict.map(|found| self::verdict(analysis, found)),
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

/// Why steps were rebuilt, see [`explain`].
fn causes(analysis: &Analysis, places: &BTreeMap<(usize, usize), usize>) -> Vec<CauseRow> {
    let header = &analysis.header;
    let place = |cost: &explain::Cost| {
        let strategy = analysis.strategies.iter().position(|name| *name == cost.strategy)?;
        let link = analysis.links.iter().position(|link| *link == cost.link)?;
        places.get(&(strategy, link)).copied()
    };
    let row = |cost: explain::Cost| {
        Some(CauseRow {
            variant: place(&cost)?,
            step: explain::brief(&cost.step),
            kind: cost.cause.to_owned(),
            sentence: explain::sentence(&cost.example, header),
            commits: cost.commits.into_iter().collect(),
            trials: cost.trials,
            steps: cost.steps,
            seconds: cost.time.seconds(),
        })
    };
    explain::costs(explain::explain(analysis)).into_iter().filter_map(row).collect()
}

fn estimate(from: statistics::Estimate) -> Estimate {
    Estimate {
        median: from.median,
        low: from.interval.map(|interval| interval.low),
        high: from.interval.map(|interval| interval.high),
        samples: from.samples,
    }
}

fn verdict(analysis: &Analysis, from: &measure::Verdict) -> Verdict {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    Verdict {
        sentence: analysis.sentence(from),
        saving_seconds: from.saving.map(estimate),
        times_faster: from.ratio.map(|paired| estimate(paired.ratio)),
        call: match from.call {
            Call::Faster => "faster",
            Call::Slower => "slower",
            Call::NoDifference => "no difference",
            Call::CannotTell => "cannot tell",
        }
        .into(),
        import_seconds: from.costs.import.seconds(),
        pull_seconds: from.costs.pull.seconds(),
        push_seconds: from.costs.push.seconds(),
        export_seconds: from.costs.export.seconds(),
        avoided_seconds: from.avoided.seconds(),
        hit_rate: from.hit_rate,
        break_even_hit_rate: match from.break_even_hit_rate {
            BreakEven::At(share) => percent(share),
            other => other.to_string(),
        },
        break_even_bandwidth: match from.break_even_bandwidth {
            BreakEven::At(bytes) => format!("{bytes}/s"),
            other => other.to_string(),
        },
        storage_bytes: from.storage.0,
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
        pulled_bytes: from.pulled().0,
        pushed_bytes: from.pushed().0,
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

/// Every step of the run in the order of its Dockerfiles.
struct Steps {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Steps {
    fn of(analysis: &Analysis) -> Self {
        let mut seen: Vec<&str> = vec![];
        let mut known = std::collections::HashSet::new();
        for step in analysis.cells.iter().flat_map(|cell| &cell.steps) {
            let name = analysis.text(step.name);
            if known.insert(name) {
                seen.push(name);
            }
        }
        let mut stages: Vec<&str> = vec![];
        for name in &seen {
            let (stage, _) = stage_and_number(name);
            if !stages.contains(&stage) {
                stages.push(stage);
            }
        }
        // Stable, so that steps of one number stay in the order in which commits brought them.
        seen.sort_by_key(|name| {
            let (stage, number) = stage_and_number(name);
            (stages.iter().position(|known| *known == stage), number)
        });
        let names: Vec<String> = seen.into_iter().map(str::to_owned).collect();
        let places = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        Self { names, places }
    }
}

/// `builder` and 2 of `[builder 2/6] RUN …`.
fn stage_and_number(name: &str) -> (&str, u32) {
    let head = name.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |s| s.0);
    let (stage, position) = head.rsplit_once(' ').unwrap_or(("", head));
    let number = position.split('/').next().and_then(|number| number.parse().ok());
    (stage, number.unwrap_or(u32::MAX))
}

fn environment(analysis: &Analysis) -> Vec<Fact> {
    let header = &analysis.header;
    let about = &header.environment;
    let targets = header.targets.join(", ");
    let facts = [
        ("engine", about.engine.clone()),
        ("registry", about.registry.as_ref().map_or_else(String::new, |it| it.repository.clone())),
        ("storage driver", about.storage_driver.clone()),
        ("kernel", about.kernel.clone()),
        (
            "CPU",
            match (about.cpu.as_str(), about.cores) {
                (cpu, 0) => cpu.to_owned(),
                (cpu, cores) => format!("{cpu}, {cores} cores"),
            },
        ),
        ("cachefrom", about.cachefrom.clone()),
        ("started", about.started.clone()),
        ("seed", header.seed.to_string()),
        ("targets", targets),
    ];
    let mut facts: Vec<Fact> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact { name: name.into(), value })
        .collect();
    for image in &header.images {
        let digest: String = image.digest.chars().take(19).collect();
        let value = format!("{digest} from {}", image.source);
        facts.push(Fact { name: format!("base image {}", image.reference), value });
    }
    facts
}

/// Why trials failed, the first few.
fn failures(analysis: &Analysis) -> Vec<String> {
    let failed = || analysis.trials.iter().filter(|trial| !trial.built());
    let mut sentences: Vec<String> = failed()
        .take(MOST_FAILURES)
        .map(|trial| {
            let why = match &trial.outcome {
                Outcome::Built => String::new(),
                Outcome::BuildFailed { step, message, .. } => format!("{step}: {message}"),
                Outcome::WrongImage { message } => format!("wrong image: {message}"),
                Outcome::Broken { message } => message.clone(),
            };
            format!(
                "{} at commit {}, round {}: {why}",
                analysis.strategies[trial.strategy],
                trial.commit + 1,
                trial.round + 1,
            )
        })
        .collect();
    let more = failed().count().saturating_sub(MOST_FAILURES);
    if more > 0 {
        sentences.push(format!("{more} more trials failed; the journal says how"));
    }
    sentences
}

/// `1.23 s`.
pub(super) fn seconds(seconds: f64) -> String {
    let text = Nanos((seconds.abs() * 1e9).round() as u64).to_string();
    if seconds < 0.0 { format!("-{text}") } else { text }
}

/// `1.2 MB`, or a dash for nothing.
pub(super) fn bytes(bytes: u64) -> String {
    if bytes == 0 { "–".into() } else { Bytes(bytes).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_known_by_stage_and_number() {
        assert_eq!(
            stage_and_number("[linux/amd64 builder 12/13] RUN x"),
            ("linux/amd64 builder", 12)
        );
        assert_eq!(stage_and_number("[2/3] COPY a b"), ("", 2));
        assert_eq!(stage_and_number("exporting"), ("", u32::MAX));
    }

    #[test]
    fn of_many_samples_the_least_and_the_greatest_are_kept() {
        let samples: Vec<f64> = (0..1000).map(f64::from).collect();
        let shown = spread(&samples);
        assert_eq!((shown.len(), shown[0], shown[SAMPLES - 1]), (SAMPLES, 0.0, 999.0));
        assert_eq!(spread(&[1.0, 2.0]), [1.0, 2.0]);
    }
}
