//! A scenario's assertions, asked of every cell that they name.
//!
//! Deterministic but for `max-ratio-to-cold`. Where no strategy is named they are asked of those
//! that can hit at all: those that import, or keep an engine without `--no-cache`.

use globset::{GlobBuilder, GlobMatcher};

use crate::measure::{Analysis, COLD, Cell, CellStep};
use crate::scenario::Scenario;
use crate::scenario::format::Assertion;
use crate::strategy::{EngineUse, Strategy};
use crate::units::Bytes;

use super::finding::{Finding, Rule, Verdict};
use super::matching::place;
use super::step::StepName;

/// One finding an assertion and cell; `Regressed` where it does not hold.
pub fn assertions(scenario: &Scenario, analysis: &Analysis) -> Vec<Finding> {
    let mut found = vec![];
    for cell in &analysis.cells {
        // By message: the scenario may have got a commit since the journal was recorded.
        let message = analysis.header.commits.get(cell.commit).map(|commit| &commit.message);
        let commit = scenario.commits.iter().find(|commit| Some(&commit.message) == message);
        let Some(commit) = commit else { continue };
        let own = Assertion {
            must_hit: commit.must_hit.clone(),
            must_miss: commit.must_miss.clone(),
            ..Assertion::default()
        };
        let strategy = &analysis.strategies[cell.strategy];
        let can_hit = analysis
            .header
            .strategies
            .iter()
            .any(|known| known.name == *strategy && can_hit(known));
        for assertion in std::iter::once(&own).chain(&commit.assertions) {
            let asked = match assertion.strategies.is_empty() {
                true => can_hit,
                false => assertion
                    .strategies
                    .iter()
                    .any(|pattern| glob(pattern).is_some_and(|glob| glob.is_match(strategy))),
            };
            if asked {
                found.extend(ask(assertion, analysis, cell));
            }
        }
    }
    found
}

fn can_hit(strategy: &Strategy) -> bool {
    let kept = strategy.engine == EngineUse::Kept;
    !strategy.no_cache && (kept || !strategy.imports.is_empty())
}

/// A broken glob matches nothing; the scenario's own check names it.
fn glob(pattern: &str) -> Option<GlobMatcher> {
    Some(GlobBuilder::new(pattern).literal_separator(false).build().ok()?.compile_matcher())
}

/// Which steps are meant: `stage: instruction`, or an instruction of any stage.
struct Pattern {
    glob: GlobMatcher,
    staged: bool,
}

impl Pattern {
    /// Stages do not heed case, since BuildKit lower-cases them. A stage has no space in its name: what
    /// has one before its first `: ` is an instruction.
    fn of(pattern: &str) -> Option<Self> {
        let parts = pattern.split_once(": ");
        match parts.filter(|(stage, _)| !stage.contains(char::is_whitespace)) {
            Some((stage, text)) => {
                let glob = glob(&format!("{}: {text}", stage.to_lowercase()))?;
                Some(Self { glob, staged: true })
            }
            None => Some(Self { glob: glob(pattern)?, staged: false }),
        }
    }

    fn matches(&self, name: &StepName<'_>) -> bool {
        self.glob.is_match(name.label()) || (!self.staged && self.glob.is_match(name.text))
    }
}

/// What is asked of one cell.
struct Asking<'a> {
    analysis: &'a Analysis,
    cell: &'a Cell,
}

fn ask(assertion: &Assertion, analysis: &Analysis, cell: &Cell) -> Vec<Finding> {
    let asking = Asking { analysis, cell };
    let mut found = vec![];
    if cell.samples.is_empty() {
        // What was not built is the run's own failure, with an exit code of its own.
        return found;
    }
    for pattern in &assertion.must_hit {
        found.push(asking.steps(Rule::MustHit, pattern));
    }
    for pattern in &assertion.must_miss {
        found.push(asking.steps(Rule::MustMiss, pattern));
    }
    if let Some(wanted) = assertion.min_reuse {
        found.push(asking.reuse(wanted, &assertion.steps));
    }
    let analysis_bytes = [
        (Rule::MaxPulled, &assertion.max_pulled, Some(cell.pulled())),
        (Rule::MaxPushed, &assertion.max_pushed, Some(cell.pushed())),
        (Rule::MaxCacheSize, &assertion.max_cache_size, asking.stored()),
    ];
    for (rule, most, is) in analysis_bytes {
        if let Some(most) = most {
            found.push(asking.bytes(rule, most.bytes(), is));
        }
    }
    if let Some(most) = assertion.max_ratio_to_cold {
        found.push(asking.ratio(most));
    }
    found
}

impl<'a> Asking<'a> {
    fn finding(&self, rule: Rule, subject: String, verdict: Verdict, evidence: String) -> Finding {
        Finding {
            rule,
            verdict,
            place: place(self.analysis, self.cell),
            subject: Some(subject),
            step: None,
            evidence,
        }
    }

    /// The steps whose label matches `pattern`; every round is looked at.
    fn matching(&self, pattern: &str) -> Vec<(&'a str, &'a CellStep)> {
        let Some(pattern) = Pattern::of(pattern) else { return vec![] };
        let steps = self.cell.steps.iter().map(|step| (self.analysis.text(step.name), step));
        let named = |name| StepName::parse(name).is_some_and(|name| pattern.matches(&name));
        steps.filter(|(name, _)| named(name)).collect()
    }

    fn steps(&self, rule: Rule, pattern: &str) -> Finding {
        let matched = self.matching(pattern);
        let against = |step: &CellStep| match rule {
            Rule::MustHit => step.rebuilt,
            _ => step.cached + step.lazy,
        };
        let wrong: Vec<&(&str, &CellStep)> =
            matched.iter().filter(|(_, step)| against(step) > 0).collect();
        let word = if rule == Rule::MustHit { "rebuilt" } else { "reused" };
        let (verdict, evidence) = if matched.is_empty() {
            (Verdict::Regressed, format!("{pattern:?} matches no step"))
        } else if wrong.is_empty() {
            (Verdict::Pass, format!("{pattern:?} holds for {} steps", matched.len()))
        } else {
            let names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
            let evidence = format!("{} was {word}, against {rule} {pattern:?}", names.join(", "));
            (Verdict::Regressed, evidence)
        };
        let step = wrong.first().map(|(name, _)| (*name).to_owned());
        Finding { step, ..self.finding(rule, pattern.to_owned(), verdict, evidence) }
    }

    /// The share of the matching steps that every round reused.
    fn reuse(&self, wanted: f64, patterns: &[String]) -> Finding {
        let wide = patterns.is_empty();
        let globs: Vec<Pattern> = patterns.iter().filter_map(|p| Pattern::of(p)).collect();
        let chosen = self.cell.steps.iter().filter(|step| {
            let name = StepName::parse(self.analysis.text(step.name));
            wide || name.is_some_and(|name| globs.iter().any(|glob| glob.matches(&name)))
        });
        let (mut reused, mut all) = (0, 0);
        for step in chosen {
            all += 1;
            reused += usize::from(step.rebuilt == 0);
        }
        let subject = match patterns.is_empty() {
            true => wanted.to_string(),
            false => format!("{wanted} of {}", patterns.join(", ")),
        };
        let (verdict, evidence) = match all {
            0 => (Verdict::Regressed, "matches no step".into()),
            _ if reused as f64 >= wanted * all as f64 => {
                (Verdict::Pass, format!("{reused} of {all} steps reused"))
            }
            _ => (Verdict::Regressed, format!("{reused} of {all} steps reused, {wanted} wanted")),
        };
        self.finding(Rule::MinReuse, subject, verdict, evidence)
    }

    /// Bytes that the registry holds after this commit.
    fn stored(&self) -> Option<Bytes> {
        let cell = self.cell;
        let sequences = &self.analysis.sequences;
        let own = sequences.iter().find(|s| s.strategy == cell.strategy && s.link == cell.link)?;
        own.stored.get(cell.commit).copied().flatten()
    }

    fn bytes(&self, rule: Rule, most: Bytes, is: Option<Bytes>) -> Finding {
        let (verdict, evidence) = match is {
            None => (Verdict::CannotTell, "an earlier commit was not built".into()),
            Some(is) if is <= most => (Verdict::Pass, format!("{is}, at most {most} wanted")),
            Some(is) => (Verdict::Regressed, format!("{is}, at most {most} wanted")),
        };
        self.finding(rule, most.to_string(), verdict, evidence)
    }

    fn ratio(&self, most: f64) -> Finding {
        let cold = self.analysis.strategies[self.cell.strategy] == COLD;
        let ratio = self.cell.versus_cold.map(|paired| 1.0 / paired.ratio.median);
        let (verdict, evidence) = match ratio.or(cold.then_some(1.0)) {
            None => (Verdict::CannotTell, "no round pairs with cold".into()),
            Some(is) => {
                let verdict = if is <= most { Verdict::Pass } else { Verdict::Regressed };
                (verdict, format!("took {is:.2} of cold's time, at most {most} wanted"))
            }
        };
        self.finding(Rule::MaxRatioToCold, most.to_string(), verdict, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches_step(pattern: &str, name: &StepName<'_>) -> bool {
        Pattern::of(pattern).is_some_and(|pattern| pattern.matches(name))
    }

    #[test]
    fn a_pattern_names_a_stage_and_the_start_of_an_instruction() {
        let name = StepName::parse("[builder 2/7] RUN apt-get update && rm -rf /var/lib").unwrap();
        assert!(matches_step("BUILDER: RUN apt-get*", &name));
        assert!(!matches_step("builder: COPY*", &name));
        assert!(!matches_step("production: RUN apt-get*", &name));
    }

    #[test]
    fn a_pattern_without_a_stage_is_an_instruction_of_any() {
        let names = ["[2/7] RUN apt-get update", "[builder 2/7] RUN apt-get update"];
        for name in names.map(|name| StepName::parse(name).unwrap()) {
            assert!(matches_step("RUN apt*", &name));
            assert!(!matches_step("run apt*", &name));
            assert!(!matches_step("other: RUN apt*", &name));
        }
        // No stage has a space in its name, and an instruction keeps its case.
        let name = StepName::parse("[2/2] RUN echo Error: X").unwrap();
        assert!(matches_step("RUN echo Error: X", &name));
        assert!(matches_step(": RUN echo Error: X", &name));
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
