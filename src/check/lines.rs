//! The Dockerfile line of a step, in the text that was built or in the file as it is now.

use crate::dockerfile;

/// The line, from 1, on which the instruction of the step `name` begins in `dockerfile`.
pub fn line_of(dockerfile: &str, name: &str) -> Option<usize> {
    let dockerfile = dockerfile::parse(dockerfile);
    let place = dockerfile.find_step(name)?;
    Some(dockerfile.at(place)?.first_line)
}

/// The line of the step `name` in `now`, the file as it is; `built` is the text that was built, in
/// which a scenario's edits may have moved it.
pub fn line_now(now: &str, built: Option<&str>, name: &str) -> Option<usize> {
    built.and_then(|built| same_line(now, built, name)).or_else(|| line_of(now, name))
}

/// Where the instruction that `name` stands for in `built` is in the same stage of `now`, word for
/// word; the second of two for the second.
fn same_line(now: &str, built: &str, name: &str) -> Option<usize> {
    let (now, built) = (dockerfile::parse(now), dockerfile::parse(built));
    let place = built.find_step(name)?;
    let wanted = built.at(place)?;
    let stage = built.stage_name(place.stage);
    let stage = (0..now.stages.len()).rev().find(|number| now.stage_name(*number) == stage)?;
    let before = built.stages.get(place.stage)?.instructions.iter().take(place.instruction);
    let before = before.filter(|instruction| instruction.same_as(wanted)).count();
    let mut same = now.stages.get(stage)?.instructions.iter().filter(|found| found.same_as(wanted));
    Some(same.nth(before)?.first_line)
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

    #[test]
    fn a_step_that_edits_moved_has_the_line_of_the_file_as_it_is() {
        let now = "FROM a\n# why\nRUN make\nRUN make\nCOPY x .\n";
        let built = "FROM a\nRUN new\nRUN make\nRUN make\nCOPY x y .\n";
        let line = |name| line_now(now, Some(built), name);
        assert_eq!(line("[3/5] RUN make"), Some(3));
        assert_eq!(line("[4/5] RUN make"), Some(4));
        // Only the built text has these words: the instruction at that place is the likeliest.
        assert_eq!(line("[5/5] COPY x y ."), Some(5));
        assert_eq!(line("[2/5] RUN new"), None);
        assert_eq!(line_now(now, None, "[3/4] RUN make"), Some(4));
        assert_eq!(line_now(now, Some("FROM"), "[4/4] COPY x ."), Some(5));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(file in ".*", position in 0usize.., total in 0usize..) {
            let _ = line_of(&file, &format!("[a {position}/{total}] RUN b"));
        }
    }
}
