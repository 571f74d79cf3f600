//! Which steps and strategies an assertion means.

use globset::{GlobBuilder, GlobMatcher};

use crate::check::step::StepName;

/// A broken glob matches nothing; the scenario's own check names it.
pub fn glob(pattern: &str) -> Option<GlobMatcher> {
    Some(GlobBuilder::new(pattern).literal_separator(false).build().ok()?.compile_matcher())
}

/// Which steps are meant: `stage: instruction`, or an instruction of any stage.
pub struct Pattern {
    glob: GlobMatcher,
    staged: bool,
}

impl Pattern {
    /// Stages do not heed case, since BuildKit lower-cases them. A stage has no space in its name: what
    /// has one before its first `: ` is an instruction.
    pub fn of(pattern: &str) -> Option<Self> {
        let parts = pattern.split_once(": ");
        match parts.filter(|(stage, _)| !stage.contains(char::is_whitespace)) {
            Some((stage, text)) => {
                let glob = glob(&format!("{}: {text}", stage.to_lowercase()))?;
                Some(Self { glob, staged: true })
            }
            None => Some(Self { glob: glob(pattern)?, staged: false }),
        }
    }

    pub fn matches(&self, name: &StepName<'_>) -> bool {
        self.glob.is_match(name.label()) || (!self.staged && self.glob.is_match(name.text))
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
}
