//! One strategy at one commit over one link: its rounds as estimates.

use crate::journal::{Direction, Outcome};
use crate::units::{Bytes, Nanos};

use super::lookup::Lookup;
use super::names::Name;
use super::phases::Phases;
use super::reuse::Reuse;
use super::row::{StepRow, StepState, TrialRow};
use super::statistics::{Bootstrap, Estimate, Outlier, Paired, median, outliers, pseudomedian};

/// The trials of one commit under one strategy over one link.
///
/// Strategy and link are places in [`super::Analysis`]'s lists, the commit one in the header's.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub strategy: usize,
    pub link: usize,
    pub commit: usize,
    /// Trials that were built and verified, by round; only these are in the numbers.
    pub samples: Vec<Sample>,
    /// Trials that were not.
    pub failed: usize,
    /// Those of them whose engine or registry broke.
    pub broken: usize,
    /// Wall time in seconds.
    pub wall: Option<Estimate>,
    /// Places in `samples`.
    pub outliers: Vec<Outlier>,
    /// The median of each phase; medians do not add up to the median wall time.
    pub phases: Phases,
    /// Every step that any round met, in the order of first sight.
    pub steps: Vec<CellStep>,
    /// Of the round with the fewest reused steps, so that flakiness is not hidden.
    pub reuse: Reuse,
    /// What the reused steps took in the same commit's cold build of the same round, in seconds.
    pub avoided: Option<Estimate>,
    /// Medians over the rounds whose images' layers are known.
    pub layers: Option<LayerReuse>,
    /// The median of what each round pulled in all.
    pub pulled: Bytes,
    /// The median of what each round pushed in all.
    pub pushed: Bytes,
    /// Cold's wall time ÷ this one's, paired within rounds; absent for cold itself.
    pub versus_cold: Option<Paired>,
    /// Cold's wall time - this one's in seconds, paired within rounds; absent for cold itself.
    pub saving: Option<Estimate>,
    /// Builds whose import failed, over all rounds.
    pub failed_imports: usize,
}

/// One built trial of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub round: u32,
    pub wall: Nanos,
    /// Its place in [`super::Analysis::trials`].
    pub trial: usize,
}

/// One step over the rounds of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellStep {
    pub name: Name,
    /// In how many rounds it was each.
    pub rebuilt: usize,
    pub cached: usize,
    pub lazy: usize,
    pub absent: usize,
    /// The median time of running or fetching it.
    pub time: Nanos,
}

impl CellStep {
    /// In how many rounds a cache served it.
    pub fn reused(&self) -> usize {
        self.cached + self.lazy
    }

    /// Whether some rounds reused it and others ran it.
    pub fn flaky(&self) -> bool {
        self.rebuilt > 0 && self.reused() > 0
    }

    /// The worst that any round saw; `None` if all lack it.
    pub fn state(&self) -> Option<StepState> {
        if self.rebuilt > 0 {
            Some(StepState::Rebuilt)
        } else if self.cached > 0 {
            Some(StepState::Cached)
        } else {
            (self.lazy > 0).then_some(StepState::Lazy)
        }
    }
}

/// Uncompressed bytes of an image's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerReuse {
    /// In layers that the parent commit's image of the same target has too.
    pub shared: Bytes,
    pub all: Bytes,
}

impl Cell {
    /// The steps that not every round treated alike.
    pub fn flaky(&self) -> impl Iterator<Item = &CellStep> {
        self.steps.iter().filter(|step| step.flaky())
    }
}

/// Computes a cell from its trials, which are sorted by round.
pub fn cell(lookup: &Lookup<'_>, trials: &[usize], bootstrap: &mut Bootstrap) -> Option<Cell> {
    let first = &lookup.trials[*trials.first()?];
    let built: Vec<(usize, &TrialRow)> = trials
        .iter()
        .map(|&place| (place, &lookup.trials[place]))
        .filter(|(_, trial)| trial.built())
        .collect();
    let rows: Vec<&TrialRow> = built.iter().map(|(_, row)| *row).collect();
    let walls: Vec<f64> = rows.iter().map(|row| row.wall().seconds()).collect();
    let paired = lookup.paired_with_cold(&rows);
    let pairs: Vec<(f64, f64)> =
        paired.iter().map(|(cold, row)| (cold.wall().seconds(), row.wall().seconds())).collect();
    let savings: Vec<f64> = pairs.iter().map(|(cold, own)| cold - own).collect();
    let avoided: Vec<f64> = paired.iter().map(|(cold, row)| avoided(cold, row).seconds()).collect();
    Some(Cell {
        strategy: first.strategy,
        link: first.link,
        commit: first.commit,
        samples: built
            .iter()
            .map(|&(trial, row)| Sample { round: row.round, wall: row.wall(), trial })
            .collect(),
        failed: trials.len() - built.len(),
        broken: trials
            .iter()
            .filter(|&&place| matches!(lookup.trials[place].outcome, Outcome::Broken { .. }))
            .count(),
        wall: bootstrap.median(&walls),
        outliers: outliers(&walls),
        phases: median_phases(&rows),
        steps: steps(&rows),
        reuse: rows
            .iter()
            .map(|row| Reuse { cached: row.cached(), steps: row.steps.len() })
            .min_by_key(|reuse| reuse.cached)
            .unwrap_or_default(),
        avoided: bootstrap.median(&avoided),
        layers: layers(lookup, &rows),
        pulled: median_bytes(&rows, Direction::Pull),
        pushed: median_bytes(&rows, Direction::Push),
        versus_cold: Paired::of(&pairs),
        saving: pseudomedian(&savings),
        failed_imports: rows
            .iter()
            .flat_map(|row| &row.builds)
            .filter(|build| !build.failed_imports.is_empty())
            .count(),
    })
}

/// What the steps that `row` reused took in `cold`, which ran them; of a linked copy that was laid
/// again only the copying.
pub fn avoided(cold: &TrialRow, row: &TrialRow) -> Nanos {
    let reused = row.steps.iter().filter(|step| step.state != StepState::Rebuilt);
    reused
        .filter_map(|step| Some((step, cold.steps.iter().find(|other| other.name == step.name)?)))
        .filter(|(_, other)| other.state == StepState::Rebuilt)
        .map(|(step, other)| match (step.laid, other.laid) {
            (Some(_), Some(laid)) => other.time.saturating_sub(laid),
            _ => other.time,
        })
        .sum()
}

/// The median of whole numbers, rounded down; 0 of nothing.
pub fn median_of(values: impl Iterator<Item = u64>) -> u64 {
    median(&values.map(|value| value as f64).collect::<Vec<_>>()).unwrap_or(0.0) as u64
}

fn median_phases(rows: &[&TrialRow]) -> Phases {
    let phases: Vec<Phases> = rows.iter().map(|row| row.phases()).collect();
    Phases::from_fn(|phase| Nanos(median_of(phases.iter().map(|phases| phases.get(phase).0))))
}

fn median_bytes(rows: &[&TrialRow], direction: Direction) -> Bytes {
    Bytes(median_of(rows.iter().map(|row| row.traffic.bytes(direction).0)))
}

fn steps(rows: &[&TrialRow]) -> Vec<CellStep> {
    let mut found: Vec<(Name, Vec<&StepRow>)> = vec![];
    for row in rows {
        for (place, step) in row.steps.iter().enumerate() {
            // Rounds nearly always meet the same steps in the same order.
            let guess = found.get(place).is_some_and(|(name, _)| *name == step.name);
            let known = match guess {
                true => Some(place),
                false => found.iter().position(|(name, _)| *name == step.name),
            };
            match known {
                Some(known) => found[known].1.push(step),
                None => found.push((step.name, vec![step])),
            }
        }
    }
    let counted = found.into_iter().map(|(name, seen)| {
        let count = |state| seen.iter().filter(|step| step.state == state).count();
        CellStep {
            name,
            rebuilt: count(StepState::Rebuilt),
            cached: count(StepState::Cached),
            lazy: count(StepState::Lazy),
            absent: rows.len() - seen.len(),
            time: Nanos(median_of(seen.iter().map(|step| step.time.0))),
        }
    });
    counted.collect()
}

fn layers(lookup: &Lookup<'_>, rows: &[&TrialRow]) -> Option<LayerReuse> {
    let known: Vec<LayerReuse> =
        rows.iter().filter_map(|row| layer_reuse(lookup.parent(row)?, row)).collect();
    (!known.is_empty()).then(|| LayerReuse {
        shared: Bytes(median_of(known.iter().map(|reuse| reuse.shared.0))),
        all: Bytes(median_of(known.iter().map(|reuse| reuse.all.0))),
    })
}

/// Over the targets that both have built; `None` where no layers are known.
fn layer_reuse(parent: &TrialRow, row: &TrialRow) -> Option<LayerReuse> {
    let mut reuse = LayerReuse { shared: Bytes(0), all: Bytes(0) };
    for build in &row.builds {
        let before = parent.builds.iter().find(|other| other.target == build.target)?;
        if build.layers.is_empty() || before.layers.is_empty() {
            continue;
        }
        for (layer, bytes) in &build.layers {
            reuse.all = reuse.all + *bytes;
            if before.layers.iter().any(|(other, _)| other == layer) {
                reuse.shared = reuse.shared + *bytes;
            }
        }
    }
    (reuse.all.0 > 0).then_some(reuse)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::journal::{Direction, Kind, Recorded};
    use crate::measure::Analysis;
    use crate::units::Bytes;

    #[test]
    fn what_rounds_moved_is_the_median_of_their_sums_whatever_kind_it_was_of() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let journal = root.join("results/jq/2026-11-25-debug/journal.jsonl");
        let mut recorded = Recorded::read(&journal).unwrap();
        let flow = recorded.trials.iter().find_map(|trial| trial.metered.flows.first()).unwrap();
        let flow = |direction, kind, bytes| {
            let mut flow = flow.clone();
            (flow.direction, flow.kind, flow.count.bytes) = (direction, kind, Bytes(bytes));
            flow
        };
        let first = &recorded.trials[0];
        let kinds = [Kind::Layer, Kind::Cache, Kind::Config].into_iter().zip(0..);
        let trials = kinds.map(|(kind, round)| {
            let mut trial = first.clone();
            trial.key.round = round;
            trial.metered.flows = vec![
                flow(Direction::Pull, kind, 10_000_000),
                flow(Direction::Push, kind, u64::from(round)),
            ];
            trial
        });
        recorded.trials = trials.collect();
        let analysis = Analysis::of(&recorded);
        let cell = &analysis.cells[0];
        assert_eq!(
            (cell.samples.len(), cell.pulled, cell.pushed),
            (3, Bytes(10_000_000), Bytes(1))
        );
    }
}
