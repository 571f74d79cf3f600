//! Whether a strategy with several cache sources reuses anything at all.
//!
//! Which of several caches BuildKit reads is chance, so a lost step proves nothing in one round, nor
//! does a build that reuses none: some such builds are recorded. All commits together need fewer
//! rounds than one of them does.

use std::collections::BTreeMap;

use crate::measure::{Analysis, Cell, Place, TrialRow};

use super::super::chance::{Hits, SURE, of_so_few};
use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::{Pair, StepPair};
use super::super::step::standing;
use super::super::time::ALL;
use super::Rules;

/// A finding for each strategy, over each link, that reuses nothing in any trial of those commits at
/// which the baseline reused something, in more of them than chance would.
pub fn findings(rules: &Rules<'_>, pairs: &[Pair<'_>]) -> Vec<Finding> {
    let mut groups: BTreeMap<(usize, usize), Vec<&Pair<'_>>> = BTreeMap::new();
    let built =
        |pair: &&Pair<'_>| !pair.before.samples.is_empty() && !pair.after.samples.is_empty();
    let reused_before = |pair: &&Pair<'_>| pair.before.steps.iter().any(|step| step.reused() > 0);
    for pair in pairs.iter().filter(built).filter(reused_before).filter(|p| rules.by_chance(p)) {
        groups.entry((pair.after.link, pair.after.strategy)).or_default().push(pair);
    }
    groups.values().filter_map(|pairs| finding(rules, pairs)).collect()
}

fn finding(rules: &Rules<'_>, pairs: &[&Pair<'_>]) -> Option<Finding> {
    let first = pairs.first()?;
    let was = hits(rules.before, pairs.iter().map(|pair| pair.before));
    let is = hits(rules.after, pairs.iter().map(|pair| pair.after));
    if is.reused > 0 || of_so_few(was, is) > SURE {
        return None;
    }
    let steps = rules.steps.of(first.before, first.after);
    let reused = |step: &&StepPair<'_>| step.before.is_some_and(|(_, it)| it.reused() > 0);
    let lost = steps.iter().filter(reused).filter_map(|step| step.after);
    let lost = lost.min_by_key(|(name, _)| standing(name));
    let step = lost.map(|(name, _)| name.to_owned());
    let why = step.as_deref().and_then(|step| rules.causes.of(first.after, step));
    let why = why.map(|why| why.to_string()).unwrap_or_default();
    let evidence = format!(
        "no step of {} trials is reused{why}; the baseline reused some in {} of {} trials",
        is.rounds, was.reused, was.rounds
    );
    let place = Place { message: ALL.into(), ..first.place.clone() };
    let (rule, verdict) = (Rule::Reuse, Verdict::Regressed);
    Some(Finding { rule, verdict, place, subject: None, step, evidence })
}

/// How many trials of `cells` reuse anything.
fn hits<'a>(run: &Analysis, cells: impl Iterator<Item = &'a Cell>) -> Hits {
    let samples = cells.flat_map(|cell| &cell.samples);
    let rows: Vec<&TrialRow> = samples.filter_map(|sample| run.trials.get(sample.trial)).collect();
    let reused = rows.iter().filter(|row| row.cached() > 0).count();
    Hits { reused, rounds: rows.len() }
}
