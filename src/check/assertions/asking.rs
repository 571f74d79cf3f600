//! What one cell answers.

use crate::check::causes::Causes;
use crate::check::chance::{Chancy, WHY};
use crate::check::finding::{Finding, Rule, Verdict};
use crate::check::matching::place;
use crate::check::step::{StepName, standing};
use crate::explain::{Cause, Miss};
use crate::measure::{Analysis, COLD, Cell, CellStep};
use crate::scenario::format::Assertion;
use crate::strategy::Strategy;
use crate::units::Bytes;

use super::pattern::Pattern;
use super::question::{Question, Wanted, questions};

/// How many steps are named where a pattern matches none of them.
const NAMED: usize = 8;

/// The run that is asked.
pub struct Run<'a> {
    pub analysis: &'a Analysis,
    pub causes: Causes<'a>,
    pub chancy: Chancy,
}

/// What is asked of one cell.
struct Asking<'a, 'r> {
    analysis: &'a Analysis,
    causes: &'a Causes<'r>,
    cell: &'a Cell,
    /// Whether a miss that chance explains is no answer: no strategy was named, and several caches
    /// could be read.
    by_chance: bool,
}

/// The answers of one cell to everything that `assertion` asks.
pub fn ask(assertion: &Assertion, run: &Run<'_>, cell: &Cell) -> Vec<Finding> {
    let Run { analysis, causes, chancy } = run;
    let by_chance = assertion.strategies.is_empty() && chancy.has(cell);
    let asking = Asking { analysis, causes, cell, by_chance };
    questions(assertion).into_iter().map(|question| asking.answer(question)).collect()
}

impl<'a> Asking<'a, '_> {
    fn answer(&self, Question { rule, subject, wanted }: Question) -> Finding {
        let (verdict, evidence) = match (wanted, rule) {
            _ if self.cell.samples.is_empty() => self.not_built(),
            (Wanted::Steps, _) => return self.steps(rule, subject),
            (Wanted::Reuse(share, patterns), _) => self.reuse(share, &patterns),
            (Wanted::Bytes(most), rule) => self.at_most(most, rule),
            (Wanted::Ratio(most), _) => self.ratio(most),
        };
        self.finding(rule, subject, verdict, evidence)
    }

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

    /// An assertion on what was never built does not hold; that an engine broke says nothing of it.
    fn not_built(&self) -> (Verdict, String) {
        let (all, broken) = (self.cell.failed, self.cell.broken);
        match all - broken {
            0 => (Verdict::CannotTell, format!("none of {all} trials could be measured")),
            failed => {
                (Verdict::Regressed, format!("{failed} of {all} trials failed, none was built"))
            }
        }
    }

    /// The steps whose label matches `pattern`; every round is looked at.
    fn matching(&self, pattern: &str) -> Vec<(&'a str, &'a CellStep)> {
        let pattern = Pattern::of(pattern);
        let steps = self.cell.steps.iter().map(|step| (self.analysis.text(step.name), step));
        let named = |name| StepName::parse(name).is_some_and(|name| pattern.matches(&name));
        steps.filter(|(name, _)| named(name)).collect()
    }

    /// Whether chance may be all that `step` was rebuilt for: every input was as it was, in each round.
    fn is_chance(&self, step: &str) -> bool {
        let unexplained = |chain: &[&Miss]| {
            chain.last().is_some_and(|first| matches!(first.cause, Cause::Unexplained { .. }))
        };
        self.by_chance && self.causes.always(self.cell, step, unexplained)
    }

    fn steps(&self, rule: Rule, pattern: String) -> Finding {
        let matched = self.matching(&pattern);
        let against = |step: &CellStep| match rule {
            Rule::MustHit => step.rebuilt,
            _ => step.reused(),
        };
        let mut against: Vec<&str> =
            matched.iter().filter(|(_, step)| against(step) > 0).map(|(name, _)| *name).collect();
        // The first of a stage is where a chain of misses begins.
        against.sort_by_cached_key(|name| standing(name));
        let is_chance = |name: &&str| rule == Rule::MustHit && self.is_chance(name);
        let (excused, wrong): (Vec<&str>, Vec<&str>) = against.into_iter().partition(is_chance);
        let word = if rule == Rule::MustHit { "rebuilt" } else { "reused" };
        let told =
            |names: &[&str]| format!("{} was {word}, against {rule} {pattern:?}", names.join(", "));
        let (verdict, evidence) = match (wrong.as_slice(), excused.as_slice()) {
            _ if matched.is_empty() => self.in_vain(&pattern),
            ([], []) => (Verdict::Pass, format!("{pattern:?} holds for {} steps", matched.len())),
            ([], names) => (Verdict::CannotTell, format!("{}; {WHY}", told(names))),
            (names, _) => (Verdict::Regressed, told(names)),
        };
        let step = wrong.first().or(excused.first()).map(|name| (*name).to_owned());
        Finding { step, ..self.finding(rule, pattern, verdict, evidence) }
    }

    /// The share of the matching steps that every round reused.
    fn reuse(&self, wanted: f64, patterns: &[String]) -> (Verdict, String) {
        let wide = patterns.is_empty();
        let globs: Vec<(&String, Pattern)> =
            patterns.iter().map(|text| (text, Pattern::of(text))).collect();
        let names = || self.cell.steps.iter().map(|step| self.analysis.text(step.name));
        let parsed = || names().map(StepName::parse);
        let matches = |glob: &Pattern| parsed().flatten().any(|name| glob.matches(&name));
        let vain = globs.iter().find(|(_, glob)| !matches(glob)).map(|(text, _)| *text);
        let chosen = self.cell.steps.iter().zip(parsed()).filter(|(_, name)| {
            let of = |name: &StepName<'_>| globs.iter().any(|(_, glob)| glob.matches(name));
            wide || name.as_ref().is_some_and(of)
        });
        let (mut reused, mut all) = (0, 0);
        let mut rebuilt = vec![];
        for (step, _) in chosen {
            all += 1;
            if step.rebuilt == 0 {
                reused += 1;
            } else {
                rebuilt.push(self.analysis.text(step.name));
            }
        }
        let enough = |reused: usize| reused as f64 >= wanted * all as f64;
        let by_chance = || rebuilt.iter().filter(|step| self.is_chance(step)).count();
        match (vain, all) {
            (Some(vain), _) => self.in_vain(vain),
            (None, 0) => (Verdict::Regressed, "no step can be reused".into()),
            _ if enough(reused) => (Verdict::Pass, format!("{reused} of {all} steps reused")),
            _ if enough(reused + by_chance()) => {
                let evidence = format!("{reused} of {all} steps reused, {wanted} wanted; {WHY}");
                (Verdict::CannotTell, evidence)
            }
            _ => (Verdict::Regressed, format!("{reused} of {all} steps reused, {wanted} wanted")),
        }
    }

    fn in_vain(&self, pattern: &str) -> (Verdict, String) {
        let evidence = format!("{pattern:?} matches no step; there are {}", self.labels());
        (Verdict::Regressed, evidence)
    }

    /// What patterns are matched against, for whoever wrote one that matches nothing.
    fn labels(&self) -> String {
        let steps = self.cell.steps.iter();
        let mut names: Vec<&str> = steps.map(|step| self.analysis.text(step.name)).collect();
        names.sort_by_cached_key(|name| standing(name));
        let labels: Vec<String> = names
            .into_iter()
            .filter_map(StepName::parse)
            .map(|name| if name.stage.is_empty() { name.text.into() } else { name.label() })
            .collect();
        match labels.len() {
            0 => "none at all".into(),
            all if all > NAMED => {
                format!("{} and {} more", labels[..NAMED].join("; "), all - NAMED)
            }
            _ => labels.join("; "),
        }
    }

    /// Whether no more bytes than `most` were moved or are held. More may have been than were counted.
    fn at_most(&self, most: Bytes, rule: Rule) -> (Verdict, String) {
        let counted = match rule {
            Rule::MaxPulled => Some(self.cell.pulled),
            Rule::MaxPushed => Some(self.cell.pushed),
            _ => self.stored(),
        };
        let (verdict, evidence) = bytes(most, counted);
        let name = &self.analysis.strategies[self.cell.strategy];
        let strategy = self.analysis.header.strategy(name);
        let uncounted = strategy.map(Strategy::uncounted).unwrap_or_default();
        if verdict != Verdict::Pass || uncounted.is_empty() {
            return (verdict, evidence);
        }
        (Verdict::CannotTell, format!("bytes of {} are not counted", uncounted.join(", ")))
    }

    /// Bytes that the registry holds after this commit.
    fn stored(&self) -> Option<Bytes> {
        let cell = self.cell;
        let sequences = &self.analysis.sequences;
        let own = sequences.iter().find(|s| s.strategy == cell.strategy && s.link == cell.link)?;
        own.stored.get(cell.commit).copied().flatten()
    }

    fn ratio(&self, most: f64) -> (Verdict, String) {
        let cold = self.analysis.strategies[self.cell.strategy] == COLD;
        let ratio = self.cell.versus_cold.map(|paired| 1.0 / paired.ratio.median);
        match ratio.or(cold.then_some(1.0)) {
            None => (Verdict::CannotTell, "no round pairs with cold".into()),
            Some(is) => {
                let verdict = if is <= most { Verdict::Pass } else { Verdict::Regressed };
                (verdict, format!("took {is:.2} of cold's time, at most {most} wanted"))
            }
        }
    }
}

fn bytes(most: Bytes, is: Option<Bytes>) -> (Verdict, String) {
    let Some(is) = is else {
        return (Verdict::CannotTell, "an earlier commit was not built".into());
    };
    let verdict = if is <= most { Verdict::Pass } else { Verdict::Regressed };
    let (mut found, mut wanted) = (is.to_string(), most.to_string());
    if found == wanted && is != most {
        // What rounds alike is told to the byte.
        (found, wanted) = (format!("{} B", is.0), format!("{} B", most.0));
    }
    (verdict, format!("{found}, at most {wanted} wanted"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_round_alike_are_told_apart() {
        let told = |most, is| bytes(Bytes(most), Some(Bytes(is)));
        let close = "111608001 B, at most 111608000 B wanted".to_owned();
        assert_eq!(told(111_608_000, 111_608_001), (Verdict::Regressed, close));
        let equal = "111.6 MB, at most 111.6 MB wanted".to_owned();
        assert_eq!(told(111_608_000, 111_608_000), (Verdict::Pass, equal));
    }
}
