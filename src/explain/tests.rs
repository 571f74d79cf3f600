use std::collections::BTreeMap;
use std::path::Path;

use super::cause::{Cause, InstructionChange, Variable};
use super::comparisons::Comparisons;
use super::made_up::{commit, edited, recorded, trial};
use super::*;
use crate::dockerfile::Place;
use crate::journal::CommitRecord;
use crate::measure::steps;

/// The own causes of every step of `after`, by line.
fn causes(before: &CommitRecord, after: &CommitRecord) -> BTreeMap<usize, Cause> {
    let commits = [before.clone(), after.clone()];
    let mut comparisons = Comparisons::new(&commits);
    let compared = comparisons.between(0, 1);
    let recipe = comparisons.recipe(1).clone();
    let dockerfile = &recipe.dockerfile;
    let mut found = BTreeMap::new();
    for (stage, whole) in dockerfile.stages.iter().enumerate() {
        for (instruction, line) in whole.instructions.iter().enumerate() {
            if let Some(cause) = comparisons.own(0, 1, Place { stage, instruction }) {
                assert!(compared.is_affected(Place { stage, instruction }));
                found.insert(line.first_line, cause);
            }
        }
    }
    found
}

/// The lines of the steps of `after` that are not as they were.
fn affected(before: &CommitRecord, after: &CommitRecord) -> Vec<usize> {
    let commits = [before.clone(), after.clone()];
    let mut comparisons = Comparisons::new(&commits);
    let compared = comparisons.between(0, 1);
    let recipe = comparisons.recipe(1);
    let affected = recipe.steps.iter().filter(|step| compared.is_affected(step.place));
    affected.filter_map(|step| Some(recipe.dockerfile.at(step.place)?.first_line)).collect()
}

fn change(cause: &Cause) -> InstructionChange {
    let Cause::Instruction { change, .. } = cause else { panic!("{cause:?}") };
    *change
}

const TEXT: &str =
    "FROM debian AS a\nCOPY lock /lock\nRUN install\nCOPY . /src\nRUN make\nFROM a\nRUN last\n";

#[test]
fn instructions_are_changed_added_moved_and_missed() {
    let before = commit(TEXT, &[]);
    let after = |text: &str| causes(&before, &commit(text, &[]));
    assert!(after(TEXT).is_empty());
    assert!(after(&TEXT.replace("RUN make", "LABEL x=1\nRUN make")).is_empty());

    let found = after(&TEXT.replace("RUN install", "RUN install --all"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(change(&found[&3]), InstructionChange::Changed);

    let found = after(&TEXT.replace("RUN install", "ADD x /x\nRUN install"));
    assert_eq!(change(&found[&3]), InstructionChange::Added);
    assert_eq!(found.len(), 1);

    let found = after(&TEXT.replace("COPY lock /lock\n", ""));
    assert_eq!(change(&found[&2]), InstructionChange::RemovedAbove);

    let moved = TEXT.replace("COPY . /src\n", "").replace("COPY lock", "COPY . /src\nCOPY lock");
    let found = after(&moved);
    assert_eq!(change(&found[&2]), InstructionChange::Moved);
}

#[test]
fn what_an_instruction_sees_counts_and_only_for_those_who_see_it() {
    let text = "ARG TAG=1\nFROM debian:$TAG AS a\nRUN one\nARG V\nCOPY x /$V\nCOPY y /y\nRUN two\n";
    let found = causes(&commit(text, &[]), &commit(text, &[("TAG", "2")]));
    let base = Cause::Base { before: "debian:1".into(), after: "debian:2".into() };
    assert_eq!(found, BTreeMap::from([(3, base)]));

    let found = causes(&commit(text, &[("V", "1")]), &commit(text, &[("V", "2")]));
    let v = Variable {
        name: "V".into(),
        before: Some("1".into()),
        after: Some("2".into()),
        line: Some(4),
    };
    let argument = Cause::Argument(v);
    assert_eq!(found, BTreeMap::from([(5, argument.clone()), (7, argument)]));

    let env = |value: &str| format!("FROM debian\nENV PATH=/bin:{value}\nUSER {value}\nRUN one\n");
    let found = causes(&commit(&env("a"), &[]), &commit(&env("b"), &[]));
    assert!(matches!(&found[&4], Cause::Environment(v) if v.name == "PATH"), "{found:?}");
    let user = |name: &str| format!("FROM debian\nUSER {name}\nRUN one\n");
    let found = causes(&commit(&user("a"), &[]), &commit(&user("b"), &[]));
    assert!(matches!(&found[&3], Cause::Setting { keyword, .. } if keyword == "USER"), "{found:?}");
    // A proxy is part of a key where the Dockerfile declares it, and only there.
    let proxy = "FROM debian\nARG HTTP_PROXY\nRUN one\n";
    let proxied = |text: &str, value| commit(text, &[("HTTP_PROXY", value)]);
    let found = causes(&proxied(proxy, "http://a"), &proxied(proxy, "http://b"));
    assert!(matches!(&found[&3], Cause::Argument(v) if v.name == "HTTP_PROXY"), "{found:?}");
    let set = |value: &str| commit(&format!("FROM debian\nENV http_proxy={value}\nRUN one\n"), &[]);
    let found = causes(&set("a"), &set("b"));
    assert!(matches!(&found[&3], Cause::Environment(v) if v.name == "http_proxy"), "{found:?}");
    let undeclared = proxy.replace("ARG HTTP_PROXY\n", "");
    assert!(
        affected(&proxied(&undeclared, "http://a"), &proxied(&undeclared, "http://b")).is_empty()
    );
}

#[test]
fn bodies_of_heredocs_that_are_copied_hold_variables_unless_their_name_is_quoted() {
    let text = "FROM busybox\nARG V\nCOPY <<EOF /conf\nversion=$V\nEOF\nRUN one\n";
    let given = |text: &str, value| commit(text, &[("V", value)]);
    let found = causes(&given(text, "1"), &given(text, "2"));
    assert!(matches!(&found[&3], Cause::Argument(v) if v.name == "V"), "{found:?}");
    let quoted = text.replace("<<EOF", "<<\"EOF\"").replace("RUN one", "COPY a /a");
    assert!(affected(&given(&quoted, "1"), &given(&quoted, "2")).is_empty());
}

#[test]
fn a_made_folder_is_the_users_and_of_the_epoch() {
    let text = "FROM busybox\nUSER a\nWORKDIR /w\nCOPY x y\n";
    let found = causes(&commit(text, &[]), &commit(&text.replace("USER a", "USER b"), &[]));
    let user = |before: &str, after: &str| Cause::Setting {
        keyword: "USER".into(),
        before: before.into(),
        after: after.into(),
    };
    assert_eq!(found, BTreeMap::from([(3, user("a", "b"))]));
    let given = text.replace("USER a", "ARG U\nUSER $U");
    let found = causes(&commit(&given, &[("U", "1")]), &commit(&given, &[("U", "2")]));
    assert_eq!(found, BTreeMap::from([(4, user("1", "2"))]));
    let root = text.replace("/w", "/");
    let other = commit(&root.replace("USER a", "USER b"), &[]);
    assert!(affected(&commit(&root, &[]), &other).is_empty());
    let at = |text: &str, value| commit(text, &[("SOURCE_DATE_EPOCH", value)]);
    let found = causes(&at(text, "1"), &at(text, "2"));
    assert!(matches!(&found[&3], Cause::Argument(v) if v.name == "SOURCE_DATE_EPOCH"), "{found:?}");
    assert!(affected(&at(&root, "1"), &at(&root, "2")).is_empty());
}

#[test]
fn a_list_is_run_without_a_shell() {
    let text = |shell: &str, run: &str| {
        commit(&format!("FROM busybox\nSHELL [\"{shell}\", \"-c\"]\nRUN {run}\n"), &[])
    };
    assert_eq!(affected(&text("sh", "a"), &text("bash", "a")), [3]);
    assert!(affected(&text("sh", "[\"a\"]"), &text("bash", "[\"a\"]")).is_empty());
}

#[test]
fn what_variables_make_long_is_still_another_where_they_are() {
    let text = "FROM busybox\nARG CERT\nENV CERT=$CERT\nRUN a\nCOPY $CERT$CERT /c\n";
    let with = |letter: &str| commit(text, &[("CERT", &letter.repeat(20_000))]);
    let found = causes(&with("a"), &with("b"));
    assert!(matches!(&found[&4], Cause::Argument(v) if v.name == "CERT"), "{found:?}");
    assert_eq!(affected(&with("a"), &with("b")), [4, 5]);
    assert!(affected(&with("a"), &with("a")).is_empty());
}

#[test]
fn two_variables_that_stand_in_for_each_other_are_seen() {
    let text = "FROM busybox\nARG A\nARG B\nCOPY ${A:-$B} /x\n";
    let found = causes(&commit(text, &[]), &commit(text, &[("A", "1"), ("B", "1")]));
    assert!(matches!(&found[&4], Cause::Argument(v) if v.name == "A"), "{found:?}");
}

const TWICE: &str = "FROM node:20 AS t\nRUN npm ci\nRUN npm test\nFROM node:20 AS prod\n\
                     RUN npm ci --omit=dev\nRUN npm run build\nCOPY --from=t /r /r\n";

#[test]
fn what_is_made_from_a_step_that_became_another_stages_is_not_as_it_was() {
    let (before, after) = (commit(TWICE, &[]), commit(&TWICE.replace(" --omit=dev", ""), &[]));
    assert_eq!(affected(&before, &after), [6, 7]);
    let found = causes(&before, &after);
    let above = Cause::Instruction {
        change: InstructionChange::ChangedAbove,
        before: Some("RUN npm ci --omit=dev".into()),
        after: "RUN npm ci".into(),
    };
    assert_eq!(found, BTreeMap::from([(6, above)]));

    let text = "FROM node:18 AS build\nWORKDIR /app\nCOPY . .\nRUN make\n\
                FROM node:20 AS prod\nWORKDIR /app\nCOPY --from=build /app/out .\n";
    let base = Cause::Base { before: "node:18".into(), after: "node:20".into() };
    let after = commit(&text.replace(":18", ":20"), &[]);
    assert_eq!(affected(&commit(text, &[]), &after), [3, 4, 7]);
    assert_eq!(causes(&commit(text, &[]), &after), BTreeMap::from([(3, base.clone())]));

    // Whoever starts from such a stage or copies from it tells it too.
    let text = "FROM node:18 AS build\nRUN make\nFROM node:20 AS other\nRUN make\n\
                FROM build\nRUN one\nFROM busybox\nCOPY --from=build /x /x\n";
    let after = commit(&text.replace(":18", ":20"), &[]);
    let both = BTreeMap::from([(6, base.clone()), (8, base)]);
    assert_eq!(causes(&commit(text, &[]), &after), both);

    // And where the last step is gone.
    let text = "FROM busybox AS build\nRUN one\nRUN two\nFROM busybox\nCOPY --from=build /x /x\n";
    let found = causes(&commit(text, &[]), &commit(&text.replace("RUN two\n", ""), &[]));
    assert_eq!(change(&found[&4]), InstructionChange::ChangedAbove);
}

#[test]
fn a_base_image_behind_stages_without_steps_is_told() {
    let text = "FROM alpine:3.18 AS base\nFROM base AS deps\nWORKDIR /app\nRUN make\n\
                FROM busybox\nCOPY --from=base /x /x\n";
    let found = causes(&commit(text, &[]), &commit(&text.replace("3.18", "3.19"), &[]));
    let base = Cause::Base { before: "alpine:3.18".into(), after: "alpine:3.19".into() };
    assert_eq!(found, BTreeMap::from([(3, base.clone()), (6, base)]));

    let text =
        "FROM busybox AS a\nRUN one\nFROM busybox AS b\nRUN two\nFROM a AS x\nFROM x\nRUN three\n";
    let found =
        causes(&commit(text, &[]), &commit(&text.replace("FROM a AS x", "FROM b AS x"), &[]));
    let base = Cause::Base { before: "a".into(), after: "b".into() };
    assert_eq!(found, BTreeMap::from([(7, base)]));
}

#[test]
fn of_equal_lines_each_is_held_against_the_one_that_the_difference_pairs_it_with() {
    let text = "FROM busybox\nRUN make\nENV V=1\nRUN b\nRUN make\n";
    let found = causes(&commit(text, &[]), &commit(&text.replacen("RUN make\n", "", 1), &[]));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(change(&found[&3]), InstructionChange::RemovedAbove);
}

const STAGES: &str = "FROM busybox AS build\nCOPY a /a\nRUN --mount=from=tools,target=/t make\n\
                      FROM build AS test\nRUN test\nFROM busybox\nCOPY --from=build /a /a\nRUN true\n";

#[test]
fn names_and_places_of_stages_are_no_difference() {
    let before = commit(STAGES, &[]);
    let after = |text: &str| causes(&before, &commit(text, &[]));
    let named = STAGES.replace("AS build", "AS builder").replace("=build", "=builder");
    assert!(after(&named.replace("FROM build ", "FROM builder ")).is_empty());
    assert!(after(&STAGES.replace("--from=build", "--from=0")).is_empty());
    assert!(
        after(&STAGES.replace("FROM busybox AS build", "FROM busybox AS b\nFROM b AS build"))
            .is_empty()
    );
    let added = STAGES.replace("FROM busybox\n", "FROM busybox AS lint\nRUN lint\nFROM busybox\n");
    let found = after(&added);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [7]);
    // The nameless stage is found again by what else it says.
    let found = after(&added.replace("RUN true", "RUN false"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [7, 10]);
    assert_eq!(change(&found[&10]), InstructionChange::Changed);
    // Another stage of that number is another stage.
    let numbered = commit(&STAGES.replace("--from=build", "--from=0"), &[]);
    let inserted = format!("FROM busybox AS first\n{}", numbered.dockerfile.clone().unwrap());
    let found = causes(&numbered, &commit(&inserted, &[]));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [8]);
    // And another image is another image, of stages and of mounts.
    let found = after(&STAGES.replace("--from=build", "--from=other"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [7]);
    let found = after(&STAGES.replace("from=tools", "from=tools:2"));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [3]);
}

#[test]
fn a_stage_that_lost_its_steps_is_told_by_whoever_starts_from_it() {
    let text = "FROM busybox AS a\nRUN one\nFROM a\nRUN two\n";
    let found = causes(&commit(text, &[]), &commit(&text.replace("RUN one\n", ""), &[]));
    assert_eq!(change(&found[&3]), InstructionChange::RemovedAbove);
    let moved = "FROM busybox AS a\nRUN one\nFROM debian AS b\nRUN three\nFROM b\nRUN two\n";
    let base = Cause::Base { before: "a".into(), after: "b".into() };
    assert_eq!(causes(&commit(text, &[]), &commit(moved, &[])).get(&6), Some(&base));
}

#[test]
fn a_chain_goes_through_a_stage_that_a_variable_names() {
    let text = "ARG V=dev\nFROM busybox AS base\nCOPY a /a\nFROM base AS dev\nCOPY b /b\n\
                FROM ${V} AS final\nRUN cat /a /b\n";
    let commits = vec![edited(text, &[("a", "1"), ("b", "1")]), edited(text, &[("b", "2")])];
    let steps = ["[base 2/2] COPY a /a", "[dev 1/1] COPY b /b", "[final 1/1] RUN cat /a /b"];
    let recorded = recorded(
        &["registry-max"],
        commits,
        vec![
            trial("registry-max", 0, &steps.map(|step| (step, false))),
            trial("registry-max", 1, &[(steps[0], true), (steps[1], false), (steps[2], false)]),
        ],
    );
    let trials: Vec<TrialMisses> = explain(&Analysis::of(&recorded)).collect();
    let [copy, run] = &trials[1].misses[..] else { panic!("{trials:?}") };
    assert!(matches!(&copy.cause, Cause::Files { count: 1, .. }), "{copy:?}");
    assert_eq!(run.cause, Cause::Above { step: steps[1].into(), output: None });
}

#[test]
fn a_stage_that_came_in_between_keeps_chains_whole() {
    let text =
        "FROM busybox AS build\nCOPY a /a\nFROM busybox\nCOPY --from=build /a /a\nRUN true\n";
    let with =
        text.replace("FROM busybox\n", "FROM busybox AS lint\nRUN echo lint\nFROM busybox\n");
    let commits = vec![edited(text, &[("a", "1")]), edited(&with, &[("a", "2")])];
    let steps = |last: usize| {
        [
            "[build 2/2] COPY a /a".to_owned(),
            format!("[stage-{last} 2/3] COPY --from=build /a /a"),
            format!("[stage-{last} 3/3] RUN true"),
        ]
    };
    let built = |commit: usize| {
        let steps = steps(commit + 1);
        trial("registry-max", commit, &steps.each_ref().map(|step| (step.as_str(), false)))
    };
    let recorded = recorded(&["registry-max"], commits, vec![built(0), built(1)]);
    let trials: Vec<TrialMisses> = explain(&Analysis::of(&recorded)).collect();
    let misses = &trials[1].misses;
    assert!(misses.len() == 3 && misses.iter().all(|miss| miss.first == 0), "{misses:#?}");
    assert!(matches!(misses[0].cause, Cause::Files { .. }));
}

#[test]
fn a_step_that_nothing_needed_was_never_built() {
    let text = "FROM busybox AS lint\nRUN lint\nFROM busybox\nRUN a\n";
    let commits = vec![commit(text, &[]), commit(&format!("{text}COPY --from=lint /r /r\n"), &[])];
    let later = [
        ("[lint 2/2] RUN lint", false),
        ("[stage-1 2/3] RUN a", true),
        ("[stage-1 3/3] COPY --from=lint /r /r", false),
    ];
    for strategy in ["registry-max", "local"] {
        let built =
            vec![trial(strategy, 0, &[("[stage-1 2/2] RUN a", false)]), trial(strategy, 1, &later)];
        let recorded = recorded(&[strategy], commits.clone(), built);
        let trials: Vec<TrialMisses> = explain(&Analysis::of(&recorded)).collect();
        let lint = &trials[1].misses[0];
        assert_eq!((&lint.cause, lint.evidence), (&Cause::NeverBuilt, Evidence::Inferred));
    }
}

#[test]
fn a_step_is_held_against_the_latest_of_many_commits_only() {
    let text = "FROM busybox\nCOPY a /a\n";
    let commits: Vec<CommitRecord> =
        (0..300).map(|number: usize| edited(text, &[("a", &number.to_string())])).collect();
    let built = |commit| trial("registry-max", commit, &[("[2/2] COPY a /a", false)]);
    let recorded = recorded(&["registry-max"], commits, (0..300).map(built).collect());
    let analysis = Analysis::of(&recorded);
    let mut explainer = Explainer::new(&analysis);
    for row in &analysis.trials {
        let readable = explainer.readable(row, 0);
        assert!(readable.sources.len() == row.commit.min(1) && readable.overwritten.len() <= 64);
        let misses = explainer.trial(row).unwrap().misses;
        let file = |cause: &Cause| matches!(cause, Cause::Files { count: 1, .. });
        assert!(
            row.commit == 0
                || (file(&misses[0].cause) && misses[0].against == Some(row.commit - 1))
        );
    }
}

#[test]
fn every_miss_of_a_published_run_is_explained_and_nothing_else() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25/journal.jsonl");
    let recorded = crate::journal::Recorded::read(&path).unwrap();
    let analysis = Analysis::of(&recorded);
    let trials: Vec<TrialMisses> = explain(&analysis).collect();
    assert_eq!(trials.len(), recorded.trials.len());
    for (trial, record) in trials.iter().zip(&recorded.trials) {
        let rebuilt = steps(record).iter().filter(|step| !step.cached).count();
        assert_eq!(trial.misses.len(), rebuilt);
        if trial.strategy == "registry-max" && trial.commit == 1 {
            let first = &trial.misses[0];
            assert!(first.step.contains("COPY data"), "{first:?}");
            assert_eq!((first.line, first.evidence), (Some(13), Evidence::Known));
            assert!(trial.misses[1..].iter().all(|miss| miss.first == 0));
        }
    }
    let said = text(&trials, &analysis.header);
    assert!(said.contains("data/1.json changed (commit 2 “edit one data file”) (known)"), "{said}");
    let all = costs(&trials, &analysis);
    assert!(all.is_sorted_by(|a, b| a.time >= b.time));
    assert!(all.iter().all(|cost| cost.strategy != "cold"));
}

#[test]
fn rounds_that_say_the_same_are_told_once_with_the_means_of_their_times() {
    let dockerfile = "FROM debian\nCOPY data /data\nRUN make\n";
    let commits = [edited(dockerfile, &[("data", "1")]), edited(dockerfile, &[("data", "2")])];
    let steps = [("[2/3] COPY data /data", false), ("[3/3] RUN make", false)];
    let mut trials = vec![];
    for (round, seconds) in [4, 6, 8].into_iter().enumerate() {
        for commit in 0..2 {
            let mut trial = trial("local", commit, &steps);
            trial.key.round = round as u32;
            for vertex in &mut trial.builds[0].trace.vertices {
                vertex.intervals[0].end = Nanos(seconds * 1_000_000_000);
            }
            trials.push(trial);
        }
    }
    let mut recorded = recorded(&["local"], commits.into(), trials);
    let told = |recorded: &crate::journal::Recorded| {
        let analysis = Analysis::of(recorded);
        let trials: Vec<TrialMisses> =
            explain(&analysis).filter(|trial| trial.commit == 1).collect();
        text(&trials, &analysis.header)
    };
    let all = told(&recorded);
    for said in [
        "rounds 1, 2, 3: 2 of 2 steps rebuilt, 12.00 s a round\n",
        "line 2: [2/3] COPY data /data  6.00 s\n",
        "and with it 1 more, 6.00 s:\n",
    ] {
        assert!(all.contains(said), "{said:?} in {all}");
    }
    // A round that met one step more says something else.
    let vertices = &mut recorded.trials[5].builds[0].trace.vertices;
    let mut served = vertices[0].clone();
    (served.name, served.digest, served.cached) =
        ("[o 2/2] RUN one".into(), "sha256:9".into(), true);
    vertices.push(served);
    let all = told(&recorded);
    assert!(all.contains("rounds 1, 2: 2 of 2 steps rebuilt, 10.00 s a round\n"), "{all}");
    assert!(all.contains("round 3: 2 of 3 steps rebuilt, 16.00 s\n"), "{all}");
}

/// The blocks of text of a page in the repository.
fn blocks(page: &str) -> Vec<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = page.split("```text\n").skip(1);
    blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned())).collect()
}

#[test]
fn the_documentation_shows_what_is_said_of_published_runs() {
    let said = |run: &str, strategy: &str, commit: usize| {
        let journal = Path::new(env!("CARGO_MANIFEST_DIR")).join(run).join("journal.jsonl");
        let analysis = Analysis::of(&crate::journal::Recorded::read(&journal).unwrap());
        let asked = |trial: &TrialMisses| trial.strategy == strategy && trial.commit == commit;
        let trials: Vec<TrialMisses> = explain(&analysis).filter(asked).collect();
        text(&trials, &analysis.header)
    };
    let shown = said("results/min-max/2026-11-25", "registry-min", 2);
    assert!(blocks("README.md").contains(&shown), "{shown}");
    let shown = said("results/jq/2026-11-25", "registry-max", 1);
    assert!(blocks("docs/explain.md").contains(&shown), "{shown}");
}

/// A published run in which, so it is made to seem, the base image moved between two commits.
#[test]
fn a_base_image_that_moved_during_a_run_is_told_with_both_digests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25/journal.jsonl");
    let mut recorded = crate::journal::Recorded::read(&path).unwrap();
    recorded.trials.retain(|trial| trial.key.strategy == "local" && trial.key.commit < 2);
    let digest = recorded.header.images[0].digest.clone();
    let another = format!("sha256:{}", "0".repeat(64));
    let edited = recorded.trials.iter_mut().filter(|trial| trial.key.commit == 1);
    for vertex in edited.flat_map(|t| &mut t.builds).flat_map(|build| &mut build.trace.vertices) {
        vertex.name = vertex.name.replace(&digest, &another);
        vertex.cached = false;
    }
    let analysis = Analysis::of(&recorded);
    let trials: Vec<TrialMisses> = explain(&analysis).collect();
    let edited = trials.iter().find(|trial| trial.commit == 1).unwrap();
    let first = &edited.misses[0];
    let image = |digest: &str| format!("debian:bookworm-slim@{digest}");
    let moved = Cause::Base { before: image(&digest), after: image(&another) };
    assert_eq!((&first.cause, first.evidence, first.first), (&moved, Evidence::Known, 0));
    let of_base = edited.misses.iter().filter(|miss| miss.cause == moved).count();
    assert!(of_base >= 1 && edited.misses.len() > of_base, "{edited:#?}");
}

/// The journals that are published, each read whole.
fn published() -> Vec<(std::path::PathBuf, crate::journal::Recorded)> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let mut found = vec![];
    for scenario in std::fs::read_dir(results).unwrap().flatten() {
        for run in std::fs::read_dir(scenario.path()).into_iter().flatten().flatten() {
            let path = run.path().join("journal.jsonl");
            if path.exists() {
                found.push((path.clone(), crate::journal::Recorded::read(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// A real run with linked copies.
fn linked() -> (std::path::PathBuf, crate::journal::Recorded) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/linked/journal.jsonl");
    let recorded = crate::journal::Recorded::read(&path).unwrap();
    (path, recorded)
}

#[test]
fn a_linked_copy_misses_for_what_it_is_made_from_and_what_sees_past_it_for_what_stands_above() {
    let (_, recorded) = linked();
    let analysis = Analysis::of(&recorded);
    let trials: Vec<TrialMisses> = explain(&analysis).collect();
    let missed = |commit: usize| -> Vec<(usize, usize, &Cause)> {
        let trial = |trial: &&TrialMisses| trial.strategy == "local" && trial.commit == commit;
        let misses = &trials.iter().find(trial).unwrap().misses;
        misses.iter().map(|miss| (miss.line.unwrap(), miss.first, &miss.cause)).collect()
    };
    let lines = |commit: usize| -> Vec<(usize, usize)> {
        missed(commit).iter().map(|(line, first, _)| (*line, *first)).collect()
    };
    assert_eq!(steps(&recorded.trials[0]).len(), 9, "both halves of a copy are one step");
    // Another build arg for line 7: lines 9 to 11 are linked, 12 asks for it and is not.
    assert_eq!(lines(1), [(7, 0), (8, 0), (12, 0), (13, 0)]);
    // A file of line 9, which 12 and 13 see.
    assert_eq!(lines(2), [(9, 0), (12, 0), (13, 0)]);
    assert!(matches!(missed(2)[0].2, Cause::Files { count: 1, .. }));
    assert_eq!(lines(3), [(2, 0), (3, 0), (10, 0), (12, 0), (13, 0)]);
    assert_eq!(lines(4), [(8, 0), (9, 1), (12, 1), (13, 1)]);
    let Cause::Setting { keyword, before, after } = missed(4)[1].2 else { panic!() };
    assert_eq!([keyword, before, after], ["WORKDIR", "/work", "/app"]);
    assert_eq!(lines(5), [(7, 0), (11, 0), (12, 0)]);
    assert_eq!(change(missed(5)[0].2), InstructionChange::RemovedAbove);
}

#[test]
fn what_changes_above_a_linked_copy_is_told_of_what_sees_past_it() {
    let text = "FROM debian AS a\nRUN one\nCOPY --link x /x\nRUN two\nFROM a\nRUN three\n";
    let own = |after: &str| causes(&commit(text, &[]), &commit(after, &[]));
    let lines = |after: &str| affected(&commit(text, &[]), &commit(after, &[]));
    let gone = text.replace("RUN one\n", "");
    assert_eq!(lines(&gone), [3, 5]);
    let found = own(&gone);
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(change(&found[&3]), InstructionChange::RemovedAbove);
    // The copy stands right on the image, and is not made from it.
    let first = text.replace("RUN one\n", "");
    let other = first.replace("debian", "ubuntu");
    let found = causes(&commit(&first, &[]), &commit(&other, &[]));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [3]);
    assert!(matches!(&found[&3], Cause::Base { .. }));
    let moved = text.replace("RUN one\nCOPY --link x /x\n", "COPY --link x /x\nRUN one\n");
    assert_eq!(lines(&moved), [3, 4, 6]);
    assert!(own(&moved).contains_key(&3) || own(&moved).contains_key(&4));
    let all = "FROM debian AS a\nCOPY --link x /x\nFROM a\nRUN last\n";
    let found = causes(&commit(all, &[]), &commit(&all.replace("debian", "ubuntu"), &[]));
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [4]);
}

/// Each commit of every published run is predicted from the commits before it, and held against
/// what its builds then did. `stages` is left out: which of its caches BuildKit uses is chance.
#[test]
fn predictions_are_what_real_builds_then_did() {
    let (mut right, mut open, mut wrong) = (0, 0, vec![]);
    for (path, recorded) in published().into_iter().chain([linked()]) {
        for next in 1..recorded.header.commits.len() {
            let mut before = recorded.clone();
            let tree = before.header.commits[next].clone();
            if tree.dockerfile.is_none() || tree.parent != Some(next - 1) {
                continue;
            }
            before.header.commits.truncate(next);
            before.trials.retain(|trial| trial.key.commit < next);
            let predicted = predict(&Analysis::of(&before), tree.clone());
            let dockerfile = crate::dockerfile::parse(tree.dockerfile.as_deref().unwrap());
            let rounds = |trial: &&crate::journal::TrialRecord| {
                trial.key.commit == next && trial.outcome == crate::journal::Outcome::Built
            };
            for trial in recorded.trials.iter().filter(rounds) {
                if trial.key.strategy == "stages" {
                    continue;
                }
                for step in steps(trial) {
                    let line = dockerfile
                        .find_step(&step.name)
                        .and_then(|place| dockerfile.at(place))
                        .map(|instruction| instruction.first_line);
                    let prediction = predicted.iter().find(|prediction| {
                        prediction.strategy == trial.key.strategy && Some(prediction.line) == line
                    });
                    match prediction {
                        Some(prediction) if prediction.reused == step.cached => right += 1,
                        Some(prediction) if !prediction.certain => open += 1,
                        _ => wrong.push(format!(
                            "{} {:?} {} was cached: {}, predicted {prediction:?}",
                            path.display(),
                            trial.key,
                            step.name,
                            step.cached
                        )),
                    }
                }
            }
        }
    }
    let all = right + open + wrong.len();
    eprintln!("{right} of {all} steps were predicted right, {open} were called uncertain");
    assert!(right > 200 && open * 20 < all, "{right} right, {open} open of {all}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

proptest::proptest! {
    #[test]
    fn no_dockerfiles_are_too_strange(before in "(FROM|RUN|COPY|ARG|ENV|[ -~\n])*", after in ".*") {
        let _ = causes(&commit(&before, &[("A", "1")]), &commit(&after, &[]));
        let _ = causes(&commit(&after, &[]), &commit(&before, &[("A", "1")]));
    }
}
