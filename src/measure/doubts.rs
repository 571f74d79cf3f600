//! Finds what a reader of the numbers has to know: the rules behind each [`Warning`].

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::journal::{End, Header};

use super::cell::Cell;
use super::lookup::Lookup;
use super::names::Names;
use super::row::TrialRow;
use super::statistics::{Call, Distance, FEWEST_PAIRS, MATTERS, median, outliers, trend};
use super::warning::{Place, Warning};

/// A test that is surer than this is believed.
const BELIEVED: f64 = 0.05;

/// Removes the trials that cannot be counted, and says so.
pub fn of_trials(header: &Header, links: usize, trials: &mut Vec<TrialRow>) -> Vec<Warning> {
    let mut warnings = vec![];
    let before = trials.len();
    trials.retain(|trial| trial.commit < header.commits.len());
    if before > trials.len() {
        warnings.push(Warning::UnknownCommit { trials: before - trials.len() });
    }
    let before = trials.len();
    let mut seen = HashSet::new();
    trials.retain(|trial| seen.insert((trial.strategy, trial.link, trial.commit, trial.round)));
    if before > trials.len() {
        warnings.push(Warning::Repeated { trials: before - trials.len() });
    }
    warnings.extend(absent(header, links, trials.len()));
    warnings
}

/// What a journal of `found` trials over `links` lacks of its run, or leaves to the run's other parts.
fn absent(header: &Header, links: usize, found: usize) -> Option<Warning> {
    // No trial may be left of a link.
    let links = links.max(header.links.len()).max(1);
    let whole = [header.strategies.len(), header.commits.len(), links]
        .into_iter()
        .fold(header.rounds as usize, usize::saturating_mul);
    let Some(part) = &header.part else {
        let trials = whole.saturating_sub(found);
        return (trials > 0).then_some(Warning::Missing { trials });
    };
    let own = header.part_trials;
    let missing = own.map(|own| own.saturating_sub(found));
    let others = whole.saturating_sub(found.max(own.unwrap_or(0)));
    let any = others > 0 || missing.is_some_and(|missing| missing > 0);
    any.then(|| Warning::Part { part: part.clone(), missing, others })
}

/// What the journal itself leaves open.
pub fn of_journal(header: &Header, end: Option<&End>, cut: bool) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = header
        .skipped
        .iter()
        .map(|skipped| Warning::Skipped {
            strategy: skipped.strategy.clone(),
            because: skipped.because.clone(),
        })
        .collect();
    let uncounted = header.strategies.iter().filter_map(|strategy| {
        let caches = strategy.uncounted();
        let strategy = strategy.name.clone();
        (!caches.is_empty()).then_some(Warning::Uncounted { strategy, caches })
    });
    warnings.extend(uncounted);
    let limits = header.environment.limits.iter();
    warnings.extend(limits.map(|limit| Warning::Limit { sentence: limit.clone() }));
    let builders = &header.environment.builders;
    if builders.len() > 1 {
        let engines: BTreeSet<&String> = builders.iter().map(|builder| &builder.engine).collect();
        let engines = engines.into_iter().cloned().collect();
        warnings.push(Warning::SeveralBuilders { builders: builders.len(), engines });
    }
    if cut {
        warnings.push(Warning::Cut);
    }
    if end.is_none_or(|end| end.interrupted) {
        warnings.push(Warning::Unfinished);
    }
    warnings
}

/// What the numbers are found from.
pub struct Numbers<'a> {
    pub lookup: &'a Lookup<'a>,
    pub strategies: &'a [String],
    pub links: &'a [Option<String>],
    pub cells: &'a [Cell],
    pub names: &'a Names,
}

/// What the numbers themselves give reason to doubt.
pub fn of_numbers(numbers: &Numbers<'_>) -> Vec<Warning> {
    let trials = numbers.lookup.trials;
    let mut warnings = vec![];
    if !trials.iter().any(TrialRow::built) {
        warnings.push(Warning::NothingBuilt { trials: trials.len() });
        return warnings;
    }
    let rounds = numbers.cells.iter().map(|cell| cell.samples.len()).max().unwrap_or(0);
    if rounds < FEWEST_PAIRS {
        warnings.push(Warning::FewRounds { rounds, needed: FEWEST_PAIRS });
    }
    if numbers.lookup.cold.is_none() {
        warnings.push(Warning::NoCold);
    }
    warnings.extend(of_rounds(numbers.cells));
    warnings.extend(numbers.cells.iter().flat_map(|cell| of_cell(numbers, cell)));
    warnings
}

fn of_cell(numbers: &Numbers<'_>, cell: &Cell) -> Vec<Warning> {
    let commit = numbers.lookup.header.commits.get(cell.commit);
    let place = || Place {
        strategy: numbers.strategies[cell.strategy].clone(),
        link: numbers.links[cell.link].clone(),
        commit: cell.commit,
        message: commit.map_or(String::new(), |commit| commit.message.clone()),
    };
    let samples = cell.samples.len();
    let mut warnings = vec![];
    if cell.failed > 0 {
        let trials = samples + cell.failed;
        warnings.push(Warning::Failed { place: place(), failed: cell.failed, trials });
    }
    let flaky: Vec<String> =
        cell.flaky().map(|step| numbers.names.text(step.name).to_owned()).collect();
    if !flaky.is_empty() {
        warnings.push(Warning::Flaky { place: place(), steps: flaky });
    }
    // A commit without a parent has nothing to import yet.
    if cell.failed_imports > 0 && commit.is_some_and(|commit| commit.parent.is_some()) {
        warnings.push(Warning::FailedImports { place: place(), builds: cell.failed_imports });
    }
    if !cell.outliers.is_empty() {
        let far_out =
            cell.outliers.iter().filter(|outlier| outlier.distance == Distance::FarOut).count();
        let outside = cell.outliers.len() - far_out;
        warnings.push(Warning::Outliers { place: place(), outside, far_out, samples });
    }
    if let Some(paired) = cell.versus_cold {
        let ratio = paired.ratio.median;
        let reused_all = cell.reuse.steps > 0 && cell.reuse.cached == cell.reuse.steps;
        if reused_all && ratio < 1.0 - MATTERS {
            warnings.push(Warning::CachedButSlow { place: place(), ratio: 1.0 / ratio });
        }
        let differs = match paired.call() {
            Call::Faster | Call::Slower => Some(true),
            Call::NoDifference => Some(false),
            Call::CannotTell => None,
        };
        if let (Some(differs), Some(p)) = (differs, paired.mann_whitney)
            && differs != (p < BELIEVED)
        {
            warnings.push(Warning::SecondOpinion { place: place(), p });
        }
    }
    warnings
}

/// More rounds than this are looked at in blocks: a trend compares all pairs.
const BLOCKS: usize = 500;

/// The first round, and drift: over each round, its times ÷ their cells' medians.
fn of_rounds(cells: &[Cell]) -> Vec<Warning> {
    let mut rounds: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        let Some(middle) = cell.wall.map(|wall| wall.median).filter(|middle| *middle > 0.0) else {
            continue;
        };
        for sample in &cell.samples {
            rounds.entry(sample.round).or_default().push(sample.wall.seconds() / middle);
        }
    }
    let series: Vec<f64> = rounds.values().filter_map(|values| median(values)).collect();
    let mut warnings = vec![];
    let Some((first, others)) = series.split_first() else { return warnings };
    if let Some(usual) = median(others) {
        let mut with_first = others.to_vec();
        with_first.push(*first);
        let stands_out = outliers(&with_first).iter().any(|outlier| outlier.place == others.len());
        let ratio = first / usual;
        if stands_out && (ratio - 1.0).abs() >= MATTERS {
            warnings.push(Warning::FirstRound { ratio });
        }
    }
    let block = series.len().div_ceil(BLOCKS).max(1);
    let blocks: Vec<f64> = series.chunks(block).filter_map(median).collect();
    if let Some(found) = trend(&blocks) {
        let change = found.slope * blocks.len().saturating_sub(1) as f64;
        if found.p < BELIEVED && change.abs() >= MATTERS {
            warnings.push(Warning::Drift { change, p: found.p });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{CommitRecord, header};
    use crate::link::LinkProfile;
    use crate::strategy::{CacheEntry, built_in};

    #[test]
    fn a_strategy_whose_bytes_are_not_all_counted_is_told() {
        let mut disk = built_in()[0].clone();
        disk.name = "disk".into();
        let attrs = [("dest".to_owned(), "there".to_owned())].into();
        disk.exports = vec![CacheEntry { kind: "local".into(), attrs }];
        let strategies = vec![built_in()[0].clone(), disk];
        let told = of_journal(&Header { strategies, ..header() }, Some(&End::default()), false);
        let told: Vec<String> = told.iter().map(Warning::to_string).collect();
        let disk = "disk: bytes of its caches (type=local) are not counted; its bytes are those that crossed the run's registry";
        assert_eq!(told, [disk]);
    }

    /// Of 3 strategies at 2 commits in 5 rounds: 30 trials, and as many over each link.
    fn told(part: Option<&str>, own: Option<usize>, links: &[&str], found: usize) -> String {
        let link = |name: &&str| name.parse::<LinkProfile>().unwrap();
        let header = Header {
            rounds: 5,
            part: part.map(str::to_owned),
            part_trials: own,
            strategies: built_in()[..3].to_vec(),
            commits: vec![CommitRecord::default(); 2],
            links: links.iter().map(link).collect(),
            ..header()
        };
        absent(&header, 1, found).map_or(String::new(), |warning| warning.to_string())
    }

    #[test]
    fn what_a_part_lost_is_not_left_to_the_others() {
        assert_eq!(told(None, None, &[], 30), "");
        assert_eq!(
            told(None, None, &["ci", "slow"], 30),
            "30 trials that the header announces are not in the journal"
        );
        let part = |own, found| {
            told(Some("slice:1/2"), own, &[], found).replace("part slice:1/2 of a run: ", "")
        };
        assert_eq!(part(Some(18), 18), "12 trials of the run are left to the others");
        assert_eq!(
            part(Some(18), 7),
            "11 of its own trials are not in the journal, and 12 are left to the others"
        );
        assert_eq!(part(Some(30), 22), "8 of its own trials are not in the journal");
        assert_eq!(part(Some(30), 30), "");
        // Its journals did not say how many trials a part has.
        let older = "8 trials of the run are not in the journal; other parts may have them";
        assert_eq!(part(None, 22), older);
    }
}
