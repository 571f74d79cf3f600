use super::*;

const TEXT: &str = "# syntax=docker/dockerfile:1\n# escape=`\nARG TAG=bookworm\nFROM debian:${TAG}-slim AS Builder\nARG SHA\nENV A=1 B=\"two words\"\n# a comment\nRUN echo one `\n# dropped\n\n && echo two\nCOPY --link --from=other [\"a b\", \"/c\"]\nRUN <<EOF cat\nhello\nEOF\nWORKDIR /x\nFROM builder\nCOPY . /y\n";

fn image(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

/// With the image that the text's `COPY` takes from.
fn with_other(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned(), "other".to_owned()])
}

#[test]
fn stages_scratch_and_names_without_a_value_are_not_base_images() {
    let text = "ARG X\nFROM --platform=$BUILDPLATFORM debian:bookworm-slim AS Builder\n\
                FROM builder AS test\nfrom scratch as out\nFROM img:$X\n\
                RUN <<EOF\nFROM inside:heredoc\nEOF\n";
    let none = BTreeMap::new();
    assert_eq!(parse(text).images(&none), image("debian:bookworm-slim"));
    let args = BTreeMap::from([("X".to_owned(), "7".to_owned())]);
    assert!(parse(text).images(&args).contains("img:7"));
    assert_eq!(parse("FROM ${BASE:-debian}\n").images(&none), image("debian"));
    assert_eq!(parse("ARG B=out\nFROM scratch AS out\nFROM $B\n").images(&none), BTreeSet::new());
}

#[test]
fn stages_lines_flags_and_heredocs_are_found() {
    let dockerfile = parse(TEXT);
    assert_eq!(dockerfile.syntax.as_deref(), Some("docker/dockerfile:1"));
    assert_eq!(dockerfile.images(&BTreeMap::new()), with_other("debian:bookworm-slim"));
    let args = BTreeMap::from([("TAG".to_owned(), "trixie".to_owned())]);
    assert_eq!(dockerfile.images(&args), with_other("debian:trixie-slim"));
    let stage = &dockerfile.stages[0];
    assert_eq!(stage.name.as_deref(), Some("builder"));
    let run = &stage.instructions[2];
    assert_eq!(
        (run.text.as_str(), run.first_line, run.last_line),
        ("echo one  && echo two", 8, 11)
    );
    let copy = &stage.instructions[3];
    assert_eq!(copy.flag("from"), Some("other"));
    assert_eq!(copy.flag("link"), Some(""));
    assert_eq!(copy.sources(), ["a b"]);
    let heredoc = &stage.instructions[4];
    assert_eq!((heredoc.heredocs[0].body.as_str(), heredoc.last_line), ("hello\n", 15));
    assert_eq!(dockerfile.parent_stage(1), Some(0));
}

#[test]
fn a_step_is_found_by_stage_and_position() {
    let dockerfile = parse(TEXT);
    let line = |name: &str| {
        dockerfile.find_step(name).and_then(|p| dockerfile.at(p)).map(|i| i.first_line)
    };
    assert_eq!(line("[builder 2/5] RUN echo one  && echo two"), Some(8));
    assert_eq!(line("[linux/amd64 builder 5/5] WORKDIR /x"), Some(16));
    assert_eq!(line("[stage-1 1/1] COPY . /y"), Some(18));
    assert_eq!(line("[builder 1/5] FROM debian:bookworm-slim"), None);
    assert_eq!(line("[builder 2/5] COPY a b"), None, "another instruction stands there");
    assert_eq!(line("[internal] load build context"), None);
    assert_eq!(
        parse("FROM scratch\nCOPY a /\n").find_step("[1/1] COPY a /").map(|p| p.stage),
        Some(0)
    );
}

#[test]
fn a_step_is_found_where_the_from_was_replaced_and_has_no_number() {
    let dockerfile =
        parse("FROM busybox AS a\nCOPY x /x\nRUN one\nRUN two\nFROM busybox\nRUN $V\n");
    let line = |name: &str| {
        dockerfile.find_step(name).and_then(|p| dockerfile.at(p)).map(|i| i.first_line)
    };
    assert_eq!(line("[a 1/4] COPY x /x"), Some(2));
    assert_eq!(line("[a 2/4] RUN one"), Some(3));
    assert_eq!(line("[a 3/4] RUN two"), Some(4));
    // Numbered as usual, where it was not; and a value is not the variable's name.
    assert_eq!(line("[a 3/4] RUN one"), Some(3));
    assert_eq!(line("[stage-1 2/2] RUN value"), Some(6));
    assert_eq!(line("[stage-1 1/2] RUN value"), None);
}

#[test]
fn variables_are_those_that_stand_above() {
    let dockerfile = parse(TEXT);
    let args = BTreeMap::from([("SHA".to_owned(), "abc".to_owned())]);
    let at = |stage, instruction| dockerfile.variables(Place { stage, instruction }, &args);
    assert!(at(0, 0).is_empty());
    assert_eq!(at(0, 2).get("SHA").map(String::as_str), Some("abc"));
    assert_eq!(at(1, 0).get("B").map(String::as_str), Some("two words"));
    let values = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    assert_eq!(expand("$A-${A}-${B:-x}-${A:+y}-\\$A-$", &values), "1-1-x-y-$A-$");
}

#[test]
fn a_word_stands_in_for_what_is_unset_and_with_a_colon_for_what_is_empty() {
    let values = [("A", "1"), ("E", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let values = BTreeMap::from(values);
    let expanded = |text: &str| expand(text, &values);
    assert_eq!(expanded("${A-x} ${E-x} ${U-x} ${A:-x} ${E:-x} ${U:-x}"), "1  x 1 x x");
    assert_eq!(expanded("${A+x} ${E+x} ${U+x} ${A:+x} ${E:+x} ${U:+x}"), "x x  x  ");
    assert_eq!(expanded("${U-${A}-${U:-y}} ${A?no} ${A:?no} ${U-}"), "1-y 1 1 ");
    let images = |text: &str| parse(text).images(&BTreeMap::new());
    assert_eq!(images("FROM ${BASE-debian:bookworm}\n"), image("debian:bookworm"));
    assert_eq!(images("ARG V=1\nFROM debian${V+:$V}\n"), image("debian:1"));
    assert_eq!(images("ARG V\nFROM debian:${V?none}\n"), BTreeSet::new());
}

#[test]
fn a_stage_may_start_from_one_that_a_variable_names() {
    let text =
        "ARG V=dev\nFROM busybox AS base\nFROM base AS dev\nFROM base AS Prod\nFROM ${V} AS last\n";
    let parents = |text: &str, args: &[(&str, &str)]| -> Vec<Option<usize>> {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let dockerfile = parse_with(text, &args.collect());
        (0..dockerfile.stages.len()).map(|stage| dockerfile.parent_stage(stage)).collect()
    };
    assert_eq!(parents(text, &[]), [None, Some(0), Some(0), Some(1)]);
    assert_eq!(parents(text, &[("V", "PROD")]), [None, Some(0), Some(0), Some(2)]);
    assert_eq!(parents(text, &[("V", "debian")]), [None, Some(0), Some(0), None]);
    let unset = text.replace("=dev", "");
    assert_eq!(parents(&unset, &[])[3], None);
    let base = parse(text).base_image(3, &BTreeMap::new());
    assert_eq!(base.as_deref(), Some("busybox"));
}

#[test]
fn a_trigger_opens_heredocs_and_an_escaped_quote_opens_no_quote() {
    let text = "FROM busybox\nONBUILD run <<EOF\nCOPY x /x\nEOF\nCOPY a /a\n\
                RUN echo don\\'t && cat <<E2\nRUN inside\nE2\nRUN true\n\
                ONBUILD LABEL a=<<EOF\nRUN cat '\\' <<E3\nRUN inside\nE3\n";
    let instructions = &parse(text).stages[0].instructions;
    let lines: Vec<(usize, usize)> =
        instructions.iter().map(|found| (found.first_line, found.last_line)).collect();
    assert_eq!(lines, [(2, 4), (5, 5), (6, 8), (9, 9), (10, 10), (11, 13)]);
    assert_eq!(instructions[0].heredocs.len(), 1);
    assert_eq!(instructions[0].heredocs[0].body, "COPY x /x\n");
}

#[test]
fn words_keep_what_is_escaped_and_quotes_in_other_quotes() {
    let words = |text: &str| {
        parse(&format!("FROM a\nENV {text}\n")).stages[0].instructions[0].words.clone()
    };
    assert_eq!(words("A=don\\'t B=\"it's\" C=a\\ b"), ["A=don't", "B=it's", "C=a\\ b"]);
    assert_eq!(words("A=\"a \\\"b\\\" c\" B='\\' C=\\$x"), ["A=a \"b\" c", "B=\\", "C=\\$x"]);
    let other = parse("# escape=`\nFROM a\nENV A=C:\\ B=`\"b\n");
    assert_eq!(other.stages[0].instructions[0].words, ["A=C:\\", "B=\"b"]);
}

#[test]
fn values_that_double_are_stood_in_for_and_braces_that_go_deep_are_taken_as_written() {
    let doubling: String = (1..40).map(|n| format!("ENV A{n}=$A{0}$A{0}\n", n - 1)).collect();
    let text = format!("FROM busybox\nENV A0=xxxxxxxxxxxxxxxx\n{doubling}COPY a$A39 /a\n");
    let place = Place { stage: 0, instruction: usize::MAX };
    let values = parse(&text).variables(place, &BTreeMap::new());
    assert_eq!(values["A10"].len(), 16 << 10);
    assert!(values["A11"].starts_with("(too long: "), "{}", values["A11"]);
    assert!(values.values().map(String::len).sum::<usize>() < 1 << 18);
    // Another value has another one in its place, and so has all that is made of it.
    let other = parse(&text.replace("=xxxx", "=yyyy")).variables(place, &BTreeMap::new());
    assert!(values["A11"] != other["A11"] && values["A39"] != other["A39"]);
    // What is long as it is written stays.
    let long = "y".repeat(1 << 20);
    assert_eq!(expand(&format!("{long}$A0"), &values).len(), (1 << 20) + 16);

    let nested = |depth: usize| format!("{}x{}", "${a:-".repeat(depth), "}".repeat(depth));
    assert_eq!(expand(&nested(20), &BTreeMap::new()), "x");
    let deep = nested(200_000);
    assert!(expand(&deep, &BTreeMap::new()).starts_with("${a:-"));
    assert_eq!(parse(&format!("ARG a\nFROM {deep}\nCOPY a /a\n")).stages.len(), 1);
}

#[test]
fn no_text_makes_it_panic() {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(6);
    let pieces = [
        "FROM", " ", "\n", "\\", "`", "#", "=", "$", "{", "}", ":-", "é", "<<", "-", "EOF", "\"",
        "'", "[", "]", "COPY", "RUN", "--from=", "AS", "ARG", "ENV", "\t", "0", "\u{feff}", ",",
        "escape", "\r\n", "/",
    ];
    for _ in 0..20_000 {
        let count = random.random_range(0..40);
        let text: String =
            (0..count).map(|_| pieces[random.random_range(0..pieces.len())]).collect();
        let dockerfile = parse(&text);
        dockerfile.images(&BTreeMap::new());
        dockerfile.find_step(&text);
        for stage in 0..dockerfile.stages.len() {
            let place = Place { stage, instruction: usize::MAX };
            dockerfile.variables(place, &BTreeMap::new());
            let lines = text.lines().count();
            for instruction in &dockerfile.stages[stage].instructions {
                assert!(instruction.first_line <= instruction.last_line);
                assert!(instruction.last_line <= lines, "{text:?}");
            }
        }
    }
}

#[test]
fn every_step_of_a_real_run_is_an_instruction_of_its_dockerfile() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = parse(&std::fs::read_to_string(root.join("Dockerfile.jq")).unwrap());
    let journal = root.join("results/jq/2026-11-25-debug/journal.jsonl");
    let recorded = crate::journal::Recorded::read(&journal).unwrap();
    let first = recorded.trials.iter().filter(|trial| trial.key.commit == 0);
    let mut seen = BTreeSet::new();
    for step in first.flat_map(|trial| &trial.builds).flat_map(|build| build.trace.steps()) {
        let place = dockerfile.find_step(&step.name).unwrap_or_else(|| panic!("{}", step.name));
        let text = step.name.split_once("] ").unwrap().1;
        let keyword = &dockerfile.at(place).unwrap().keyword;
        assert!(text.starts_with(keyword.as_str()), "{}", step.name);
        seen.insert(place);
    }
    let steps = dockerfile.stages.iter().flat_map(|s| &s.instructions).filter(|i| i.is_step());
    assert_eq!(seen.len(), steps.count(), "each instruction is met once");
}

#[test]
fn images_that_files_are_taken_from_are_those_that_are_no_stage() {
    let text = "FROM a AS one\nCOPY --from=tools:1 /x /\nFROM b\nCOPY --from=ONE / /\nCOPY --from=0 / /\n\
                RUN --mount=type=cache,target=/c --mount=from=uv:2,target=/uv uv\nCOPY --from=7 / /\n\
                COPY --from=$X / /\nCOPY --from=later / /\nFROM c AS later\n";
    let found = parse(text).images(&BTreeMap::new());
    assert_eq!(found.iter().collect::<Vec<_>>(), ["a", "b", "c", "tools:1", "uv:2"]);
}

#[test]
fn the_frontend_is_the_args_else_the_directives_first_word() {
    let none = BTreeMap::new();
    let dockerfile = parse("# syntax = me/front:1 more words\nFROM a\n");
    assert_eq!(dockerfile.frontend(&none), Some("me/front:1"));
    let args = BTreeMap::from([("BUILDKIT_SYNTAX".to_owned(), "other:2".to_owned())]);
    assert_eq!(dockerfile.frontend(&args), Some("other:2"));
    assert_eq!(parse("FROM a\n# syntax=late\n").frontend(&none), None);
    assert_eq!(parse("# syntax=\nFROM a\n").frontend(&none), None);
}
