//! A scenario's assertions, asked of every cell that they name.
//!
//! Deterministic but for `max-ratio-to-cold`. Where no strategy is named they are asked of those
//! that can hit at all: those that import, or keep an engine without `--no-cache`; and there a step
//! that chance may have missed, as to which of several caches is read, fails none.

mod asking;
mod pattern;
mod question;

use crate::measure::{Analysis, Cell, Place};
use crate::scenario::Scenario;
use crate::scenario::format::Assertion;
use crate::strategy::{EngineUse, Strategy};

use super::causes::Causes;
use super::chance::Chancy;
use super::finding::{Finding, Verdict};
use super::intact::intact;
use asking::{Run, ask};
use pattern::glob;
use question::{Question, questions};

/// What `scenario` asks of the run: a finding an assertion and cell, `Regressed` where it does not
/// hold; and one an assertion that no cell was asked, so that none passes unseen.
pub fn assertions(scenario: &Scenario, analysis: &Analysis) -> Vec<Finding> {
    let mut found = vec![];
    let causes = Causes::new(analysis);
    let intact = intact(analysis);
    let analysis = intact.as_ref();
    let run = Run { analysis, causes, chancy: Chancy::of(analysis) };
    for (number, commit) in scenario.commits.iter().enumerate() {
        // By message: the scenario may have got a commit since the journal was recorded.
        let commits = &analysis.header.commits;
        let place = commits.iter().position(|played| played.message == commit.message);
        let own = Assertion {
            must_hit: commit.must_hit.clone(),
            must_miss: commit.must_miss.clone(),
            ..Assertion::default()
        };
        for assertion in std::iter::once(&own).chain(&commit.assertions) {
            let cells = analysis.cells.iter().filter(|cell| Some(cell.commit) == place);
            let asked: Vec<&Cell> =
                cells.filter(|cell| is_asked(assertion, analysis, cell)).collect();
            found.extend(asked.iter().flat_map(|cell| ask(assertion, &run, cell)));
            let at = |strategy: String| Place {
                strategy,
                link: None,
                commit: number,
                message: commit.message.clone(),
            };
            if asked.is_empty() && assertion.strategies.is_empty() {
                found.extend(unasked(assertion, &at("every strategy".into())));
            }
            let played =
                |pattern: &&String| asked.iter().any(|cell| is_named(pattern, analysis, cell));
            for pattern in assertion.strategies.iter().filter(|pattern| !played(pattern)) {
                found.extend(unasked(assertion, &at(pattern.clone())));
            }
        }
    }
    found
}

/// Where no strategy is named, of those that can hit at all.
fn is_asked(assertion: &Assertion, analysis: &Analysis, cell: &Cell) -> bool {
    let strategy = &analysis.strategies[cell.strategy];
    if assertion.strategies.is_empty() {
        let known = &analysis.header.strategies;
        return known.iter().any(|known| known.name == *strategy && can_hit(known));
    }
    assertion.strategies.iter().any(|pattern| is_named(pattern, analysis, cell))
}

fn is_named(pattern: &str, analysis: &Analysis, cell: &Cell) -> bool {
    glob(pattern).is_some_and(|glob| glob.is_match(&analysis.strategies[cell.strategy]))
}

fn unasked(assertion: &Assertion, place: &Place) -> Vec<Finding> {
    let finding = |Question { rule, subject, .. }| Finding {
        rule,
        verdict: Verdict::CannotTell,
        place: place.clone(),
        subject: Some(subject),
        step: None,
        evidence: "asked of no trial: none of this commit was played under such a strategy".into(),
    };
    questions(assertion).into_iter().map(finding).collect()
}

fn can_hit(strategy: &Strategy) -> bool {
    let kept = strategy.engine == EngineUse::Kept;
    !strategy.no_cache && (kept || !strategy.imports.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_without_any_cache_is_asked_nothing() {
        let asked: Vec<&str> = crate::strategy::built_in()
            .iter()
            .filter(|strategy| can_hit(strategy))
            .map(|strategy| strategy.name.as_str())
            .collect();
        assert_eq!(asked, ["local", "inline", "stages", "registry-min", "registry-max"]);
    }
}
