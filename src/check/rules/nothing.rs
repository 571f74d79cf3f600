//! Whether a strategy with several cache sources reuses anything at all.
//!
//! Which of several caches BuildKit reads is chance, so a lost step proves nothing in one round.
//! That nothing is reused at any commit is no choice among caches that each hold something.

use std::collections::BTreeMap;

use crate::measure::Place;

use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::{Pair, StepPair};
use super::super::step::standing;
use super::super::time::ALL;
use super::Rules;

/// So many trials without any reuse are not one that went wrong.
const FEWEST_TRIALS: usize = 2;

/// A finding for each strategy, over each link, that reused something in every trial of the baseline
/// and reuses nothing now.
pub fn findings(rules: &Rules<'_>, pairs: &[Pair<'_>]) -> Vec<Finding> {
    let mut groups: BTreeMap<(usize, usize), Vec<&Pair<'_>>> = BTreeMap::new();
    let built =
        |pair: &&Pair<'_>| !pair.before.samples.is_empty() && !pair.after.samples.is_empty();
    let reused_before = |pair: &&Pair<'_>| pair.before.reuse.cached > 0;
    for pair in pairs.iter().filter(built).filter(reused_before).filter(|p| rules.by_chance(p)) {
        groups.entry((pair.after.link, pair.after.strategy)).or_default().push(pair);
    }
    groups.values().filter_map(|pairs| finding(rules, pairs)).collect()
}

fn finding(rules: &Rules<'_>, pairs: &[&Pair<'_>]) -> Option<Finding> {
    let first = pairs.first()?;
    let trials: usize = pairs.iter().map(|pair| pair.after.samples.len()).sum();
    let mut steps = pairs.iter().flat_map(|pair| &pair.after.steps);
    if trials < FEWEST_TRIALS || steps.any(|step| step.reused() > 0) {
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
        "no step of {trials} trials is reused{why}; the baseline reused some in every trial, whichever cache was read"
    );
    let place = Place { message: ALL.into(), ..first.place.clone() };
    let (rule, verdict) = (Rule::Reuse, Verdict::Regressed);
    Some(Finding { rule, verdict, place, subject: None, step, evidence })
}
