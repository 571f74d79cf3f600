//! The Dockerfile line of a step, from its stage and position.
//!
//! BuildKit numbers `COPY`, `ADD`, `RUN` and `WORKDIR` within a stage, after the `FROM` where that
//! names an image (`dockerfile2llb/convert.go`); the stage's total tells whether it did. Lines
//! inside heredocs and comments are nobody's.

use super::step::StepName;

const NUMBERED: [&str; 4] = ["COPY", "ADD", "RUN", "WORKDIR"];

/// The line, from 1, on which the instruction of the step `name` begins in `dockerfile`.
pub fn line_of(dockerfile: &str, name: &str) -> Option<usize> {
    let step = StepName::parse(name)?;
    let stages = stages(dockerfile);
    let index = |stage: &&Stage| {
        let unnamed = step.stage.strip_prefix("stage-").and_then(|number| number.parse().ok());
        stage.name == step.stage || unnamed == Some(stage.index)
    };
    let single = || stages.last().filter(|_| step.stage.is_empty());
    let stage = stages.iter().find(index).or_else(single)?;
    let from = step.total.checked_sub(stage.instructions.len())?;
    let place = step.position.checked_sub(1)?.checked_sub(from)?;
    let (keyword, line) = stage.instructions.get(place)?;
    (*keyword == step.keyword()).then_some(*line)
}

struct Stage {
    index: usize,
    /// In lower case; empty where it has none.
    name: String,
    /// Keyword and line of those that are numbered.
    instructions: Vec<(String, usize)>,
}

fn stages(dockerfile: &str) -> Vec<Stage> {
    let escape = escape(dockerfile);
    let mut stages: Vec<Stage> = vec![];
    let mut lines = dockerfile.lines().zip(1..);
    while let Some((text, line)) = lines.next() {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let mut whole = text.to_owned();
        while whole.ends_with(escape) {
            whole.pop();
            let Some((more, _)) = lines.next() else { break };
            let more = more.trim();
            // Comments and empty lines inside a continued instruction are skipped.
            match more.is_empty() || more.starts_with('#') {
                true => whole.push(escape),
                false => whole.push_str(&format!(" {more}")),
            }
        }
        for end in heredocs(&whole) {
            lines.by_ref().find(|(text, _)| text.trim_start_matches('\t') == end);
        }
        let mut words = whole.split_whitespace();
        let keyword = words.next().unwrap_or_default().to_uppercase();
        if keyword == "FROM" {
            let words: Vec<String> = words.map(str::to_lowercase).collect();
            let named = words.iter().position(|word| word == "as");
            let name = named.and_then(|place| words.get(place + 1)).cloned();
            let index = stages.len();
            stages.push(Stage { index, name: name.unwrap_or_default(), instructions: vec![] });
        } else if NUMBERED.contains(&keyword.as_str())
            && let Some(stage) = stages.last_mut()
        {
            stage.instructions.push((keyword, line));
        }
    }
    stages
}

/// The escape character that a directive at the file's top sets; a backslash otherwise.
fn escape(dockerfile: &str) -> char {
    let directives = dockerfile.lines().take_while(|line| line.trim_start().starts_with('#'));
    directives
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("escape"))
        .and_then(|(_, value)| value.trim().chars().next())
        .unwrap_or('\\')
}

/// The words that end the heredocs of an instruction, in order.
fn heredocs(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default().to_uppercase();
    if !["RUN", "COPY", "ADD"].contains(&keyword.as_str()) {
        return vec![];
    }
    let starts = instruction.split("<<").skip(1);
    starts
        .filter_map(|rest| {
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            let word = rest.split_whitespace().next()?.trim_matches(['"', '\'']);
            // `<<<` is a shell's own.
            let good = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            (good && !word.is_empty()).then(|| word.to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# syntax=docker/dockerfile:1
FROM debian AS Builder
ARG X
# a comment
RUN apt-get update \\
    # inside
    && apt-get install -y x
COPY <<EOF /a
RUN not an instruction
EOF
WORKDIR /w
FROM scratch
COPY --from=builder /a /a
FROM builder
RUN last
";

    #[test]
    fn a_step_is_found_by_stage_and_position() {
        assert_eq!(line_of(FILE, "[builder 2/4] RUN apt-get update"), Some(5));
        assert_eq!(line_of(FILE, "[builder 3/4] COPY <<EOF /a"), Some(8));
        assert_eq!(line_of(FILE, "[builder 4/4] WORKDIR /w"), Some(11));
        assert_eq!(line_of(FILE, "[stage-1 1/1] COPY --from=builder /a /a"), Some(13));
        assert_eq!(line_of(FILE, "[stage-2 1/1] RUN last"), Some(15));
    }

    #[test]
    fn what_does_not_fit_has_no_line() {
        assert_eq!(line_of(FILE, "[builder 2/4] COPY else"), None);
        assert_eq!(line_of(FILE, "[builder 9/9] RUN else"), None);
        assert_eq!(line_of("", "[builder 1/1] RUN else"), None);
        assert_eq!(line_of("FROM a\nRUN b", "[2/2] RUN b"), Some(2));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(file in ".*", position in 0usize.., total in 0usize..) {
            let _ = line_of(&file, &format!("[a {position}/{total}] RUN b"));
        }
    }
}
