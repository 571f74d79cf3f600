//! Which steps and strategies an assertion means.

use globset::{GlobBuilder, GlobMatcher};

use crate::check::step::StepName;

/// Of strategies. A broken glob matches nothing; the scenario's own check names it.
pub fn glob(pattern: &str) -> Option<GlobMatcher> {
    Some(GlobBuilder::new(pattern).literal_separator(false).build().ok()?.compile_matcher())
}

/// Which steps are meant: `stage: instruction`, or an instruction of any stage.
///
/// `*` stands for any text, and every other character for itself: instructions are full of brackets
/// and braces, and the text of a step is a pattern that matches it.
pub struct Pattern {
    /// What has to be found between stars, the first at the start and the last at the end.
    parts: Vec<String>,
    staged: bool,
}

impl Pattern {
    /// Stages do not heed case, since BuildKit lower-cases them. A stage has no space in its name: what
    /// has one before its first `: ` is an instruction.
    pub fn of(pattern: &str) -> Self {
        let parts = pattern.split_once(": ");
        let staged = parts.filter(|(stage, _)| !stage.contains(char::is_whitespace));
        let whole = match staged {
            Some((stage, text)) => format!("{}: {text}", stage.to_lowercase()),
            None => pattern.to_owned(),
        };
        let parts = whole.split('*').map(str::to_owned).collect();
        Self { parts, staged: staged.is_some() }
    }

    pub fn matches(&self, name: &StepName<'_>) -> bool {
        self.is_match(&name.label()) || (!self.staged && self.is_match(name.text))
    }

    fn is_match(&self, text: &str) -> bool {
        let [first, between @ .., last] = self.parts.as_slice() else {
            return self.parts.iter().all(|only| only == text);
        };
        let rest =
            text.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
        // The first place that fits leaves most for what comes after.
        let left = between.iter().try_fold(rest, |rest, part| {
            rest.map(|rest| rest.split_once(part.as_str()).map(|(_, after)| after))
        });
        left.flatten().is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches_step(pattern: &str, name: &StepName<'_>) -> bool {
        Pattern::of(pattern).matches(name)
    }

    fn step(text: &str) -> StepName<'_> {
        StepName { stage: "builder".into(), position: 1, total: 1, text }
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
    fn only_a_star_is_special() {
        let exec = step(r#"RUN ["python3", "-m", "compileall"]"#);
        assert!(matches_step(exec.text, &exec));
        assert!(matches_step(r#"builder: RUN ["python3"*"#, &exec));
        let braces = step(r"RUN mkdir -p /app/{a,b} \d? [!x]");
        assert!(matches_step(braces.text, &braces));
        assert!(!matches_step("RUN mkdir -p /app/a*", &braces));
        for wrong in ["RUN", "mkdir*", "*/app", "RUN*mkdir*mkdir*", "RUN mkdir -p*-p /app*"] {
            assert!(!matches_step(wrong, &braces), "{wrong}");
        }
        for right in ["*", "**", "*: *", "*{a,b}*", "RUN*mkdir*/app*[!x]", "*x]", "RUN ** *"] {
            assert!(matches_step(right, &braces), "{right}");
        }
    }

    proptest! {
        #[test]
        fn a_step_matches_its_own_text_and_that_with_parts_starred(
            text in r#"[A-Z]{3} [a-z*?\[\]{},\\! "]{0,20}"#, from in 0_usize..24, to in 0_usize..24,
        ) {
            let name = step(&text);
            prop_assert!(matches_step(&text, &name));
            let (from, to) = (from.min(to).min(text.len()), from.max(to).min(text.len()));
            let starred = format!("{}*{}", &text[..from], &text[to..]);
            prop_assert!(matches_step(&starred, &name), "{}", starred);
        }
    }
}
