//! The Dockerfile line of a step.

use crate::dockerfile;

/// The line, from 1, on which the instruction of the step `name` begins in `dockerfile`.
pub fn line_of(dockerfile: &str, name: &str) -> Option<usize> {
    let dockerfile = dockerfile::parse(dockerfile);
    let place = dockerfile.find_step(name)?;
    Some(dockerfile.at(place)?.first_line)
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
