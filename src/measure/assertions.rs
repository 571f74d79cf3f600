//! `must-hit` and `must-miss`: deterministic assertions on which steps a cache served.
//!
//! They are asked of every strategy that can hit at all: those that import, or keep an engine
//! without `--no-cache`. A pattern is a glob on `stage: instruction`, such as
//! `builder: RUN apt-get*`; case does not matter in the stage, which BuildKit lower-cases.

use globset::{GlobBuilder, GlobMatcher};

use crate::journal::{Outcome, Recorded};
use crate::strategy::{EngineUse, Strategy};

use super::reuse::steps;

/// What one commit of a scenario asserts.
#[derive(Clone, Debug, Default)]
pub struct Assertions {
    pub must_hit: Vec<String>,
    pub must_miss: Vec<String>,
}

/// Every assertion that does not hold, one sentence each; `asserted` is by commit.
pub fn violations(recorded: &Recorded, asserted: &[Assertions]) -> Vec<String> {
    let mut found = vec![];
    for trial in recorded.trials.iter().filter(|trial| trial.outcome == Outcome::Built) {
        let can_hit = recorded
            .header
            .strategies
            .iter()
            .any(|strategy| strategy.name == trial.key.strategy && can_hit(strategy));
        let Some(assertions) = asserted.get(trial.key.commit) else { continue };
        if !can_hit {
            continue;
        }
        let key = &trial.key;
        let place =
            format!("{} at commit {}, round {}", key.strategy, key.commit + 1, key.round + 1);
        let steps = steps(trial);
        let wanted = [(&assertions.must_hit, true), (&assertions.must_miss, false)];
        for (patterns, cached) in wanted {
            let word = if cached { "must-hit" } else { "must-miss" };
            for pattern in patterns {
                let Some(matcher) = matcher(pattern) else {
                    found.push(format!("{word} {pattern:?} is not a glob"));
                    continue;
                };
                let mut matched =
                    steps.iter().filter(|s| matcher.is_match(label(&s.name))).peekable();
                if matched.peek().is_none() {
                    found.push(format!("{place}: {word} {pattern:?} matches no step"));
                }
                for step in matched.filter(|step| step.cached != cached) {
                    let what = if step.cached { "was reused" } else { "was rebuilt" };
                    found
                        .push(format!("{place}: {} {what}, against {word} {pattern:?}", step.name));
                }
            }
        }
    }
    found
}

fn can_hit(strategy: &Strategy) -> bool {
    let kept = strategy.engine == EngineUse::Kept;
    !strategy.no_cache && (kept || !strategy.imports.is_empty())
}

/// `builder: RUN true` of `[builder 2/6] RUN true`, the stage in lower case.
fn label(name: &str) -> String {
    let Some((head, text)) = name.strip_prefix('[').and_then(|name| name.split_once("] ")) else {
        return name.to_owned();
    };
    let mut words: Vec<&str> = head.split_whitespace().collect();
    words.pop();
    format!("{}: {text}", words.last().map_or(String::new(), |stage| stage.to_lowercase()))
}

fn matcher(pattern: &str) -> Option<GlobMatcher> {
    let pattern = match pattern.split_once(": ") {
        Some((stage, text)) => format!("{}: {text}", stage.to_lowercase()),
        None => pattern.to_owned(),
    };
    Some(GlobBuilder::new(&pattern).literal_separator(false).build().ok()?.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_a_stage_and_the_start_of_an_instruction() {
        let label = label("[builder 2/7] RUN apt-get update && rm -rf /var/lib");
        assert!(matcher("BUILDER: RUN apt-get*").unwrap().is_match(&label));
        assert!(!matcher("builder: COPY*").unwrap().is_match(&label));
        assert!(!matcher("production: RUN apt-get*").unwrap().is_match(&label));
    }

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
