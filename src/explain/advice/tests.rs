use std::path::Path;

use super::super::cause::{Cause, ChangedFile, Differing, FileKind, Output, Variable};
use super::super::{Evidence, Miss, explain};
use super::*;
use crate::journal::{FileChange, Recorded};

fn recorded() -> Recorded {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Recorded::read(&root.join("tests/data/advice/needs.jsonl")).unwrap()
}

/// That journal with another Dockerfile, and with files that changed at the second commit.
fn analysis(dockerfile: &str, files: &[&str]) -> Analysis {
    let mut recorded = recorded();
    for commit in &mut recorded.header.commits {
        commit.dockerfile = Some(dockerfile.to_owned());
        commit.changes = vec![];
    }
    let change =
        |path: &&str| FileChange { path: (*path).into(), object: None, mode: 0, target: None };
    recorded.header.commits[0].changes = files.iter().map(change).collect();
    Analysis::of(&recorded)
}

/// A chain at the second commit that begins with `cause`, each step with what it came out as.
fn misses(cause: Cause, steps: &[(&str, Option<Output>)]) -> TrialMisses {
    let miss = |(number, (step, output)): (usize, &(&str, Option<Output>))| Miss {
        step: (*step).into(),
        line: Some(number + 3),
        time: Nanos(100_000_000),
        cause: match number {
            0 => cause.clone(),
            _ => Cause::Above { step: steps[number - 1].0.into(), output: None },
        },
        evidence: Evidence::Known,
        first: 0,
        against: Some(0),
        output: output.clone(),
        empty_mounts: vec![],
        unstable: None,
    };
    TrialMisses {
        round: 0,
        strategy: "local".into(),
        link: None,
        commit: 1,
        cached: 0,
        misses: steps.iter().enumerate().map(miss).collect(),
    }
}

fn version() -> Cause {
    let value = |value: &str| Some(value.to_owned());
    Cause::Argument(Variable {
        name: "VERSION".into(),
        before: value("1"),
        after: value("2.17"),
        line: Some(2),
    })
}

fn changed(path: &str) -> Cause {
    let file = ChangedFile { path: path.into(), change: FileKind::Content, commit: 1 };
    Cause::Files { files: vec![file], count: 1 }
}

fn different() -> Option<Output> {
    Some(Output::Different(Differing::default()))
}

fn texts(dockerfile: &str, files: &[&str], trials: &[TrialMisses]) -> Vec<String> {
    let advice = advice(trials, &analysis(dockerfile, files));
    advice.into_iter().map(|piece| piece.text).collect()
}

/// A script reads the ARG from its environment, a pattern the one file that changed, and the word
/// `installed` is not the file `install`, which no step needs.
#[test]
fn of_a_real_run_only_what_no_step_needs_is_advised_about() {
    let recorded = recorded();
    let analysis = Analysis::of(&recorded);
    let trials: Vec<TrialMisses> = explain(&analysis).collect();
    let script = trials.iter().flat_map(|trial| &trial.misses);
    let mut script = script.filter(|miss| miss.step.contains("build.sh") && miss.against.is_some());
    assert!(script.any(|miss| matches!(miss.output, Some(Output::Different(_)))));
    let said: Vec<String> =
        advice(&trials, &analysis).into_iter().map(|piece| piece.text).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("`install` alone made a COPY miss and cost 807 ms"), "{said:?}");
}

#[test]
fn an_arg_that_a_heredoc_or_an_env_uses_stays_where_it_is() {
    let said = |dockerfile: &str, step: &str| {
        texts(dockerfile, &[], &[misses(version(), &[(step, None)])])
    };
    let heredoc = "FROM a\nARG VERSION\nRUN <<EOF\nset -e\necho $VERSION\nEOF\n";
    assert_eq!(said(heredoc, "[2/2] RUN <<EOF (set -e...)"), Vec::<String>::new());
    let env = "FROM a\nARG VERSION\nENV NAMED=v$VERSION\nRUN make\n";
    assert_eq!(said(env, "[2/2] RUN make"), Vec::<String>::new());
    let other = "FROM a\nARG VERSION\nENV OTHER=$VERSIONS\nRUN make\n";
    assert_eq!(
        said(other, "[2/2] RUN make"),
        [
            "ARG VERSION (line 2) above `RUN make` cost 100 ms of steps on 1 of 5 commits under local, and its text \
          does not name it: declare it right above the first step that needs it."
        ]
    );
}

#[test]
fn an_arg_moves_no_further_than_to_a_step_that_came_out_different() {
    let dockerfile = "FROM a\nARG VERSION\nRUN make\nRUN sh /build.sh\nRUN echo $VERSION\n";
    let steps = |first: Option<Output>, second: Option<Output>| {
        let steps = [
            ("[2/4] RUN make", first),
            ("[3/4] RUN sh /build.sh", second),
            ("[4/4] RUN echo 2.17", None),
        ];
        misses(version(), &steps)
    };
    let said = texts(dockerfile, &[], &[steps(Some(Output::Same), different())]);
    assert!(said[0].contains("right above `RUN sh /build.sh`, the first step below"), "{said:?}");
    let said = texts(dockerfile, &[], &[steps(None, None)]);
    assert!(said[0].contains("right above `RUN echo 2.17`, the first step below"), "{said:?}");
    // What one trial shows holds for those that show nothing.
    let both = [steps(None, None), steps(different(), None)];
    assert_eq!(texts(dockerfile, &[], &both), Vec::<String>::new());
}

const COPY_ALL: &str =
    "FROM a\nCOPY . /w\nRUN make list\nRUN wc /w/list.txt\nRUN <<EOF\nwc /w/list.txt\nEOF\n";

fn copied(file: &str, outputs: [Option<Output>; 3]) -> TrialMisses {
    let [one, two, three] = outputs;
    let steps = [
        ("[2/5] COPY . /w", different()),
        ("[3/5] RUN make list", one),
        ("[4/5] RUN wc /w/list.txt", two),
        ("[5/5] RUN <<EOF (wc /w/list.txt...)", three),
    ];
    misses(changed(file), &steps)
}

#[test]
fn one_copy_gets_one_piece_of_advice_that_names_each_step_below_it() {
    let said = texts(COPY_ALL, &["list.txt", "x/y"], &[copied("x/y", [None, None, None])]);
    assert_eq!(
        said,
        [
            "`x/y` alone made a COPY miss and cost 400 ms of steps on 1 of 5 commits under local: no step that was \
             rebuilt below names it. If neither a step nor the image needs it, name it in .dockerignore.",
            "`COPY . /w` above `RUN wc /w/list.txt` and `RUN <<EOF (wc /w/list.txt...)` cost 200 ms of steps on 1 of \
             5 commits under local: in each of them no file changed that the texts of these steps name. If that is \
             all they need, copy those files first, and the others below.",
        ]
    );
}

#[test]
fn a_step_that_came_out_different_needs_what_changed() {
    let files = ["list.txt", "x/y"];
    let said = texts(COPY_ALL, &files, &[copied("x/y", [None, None, different()])]);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("`COPY . /w` above `RUN wc /w/list.txt` cost 100 ms"), "{said:?}");
    assert!(said[0].contains("that the text of the step names"), "{said:?}");
    let quiet = copied("x/y", [None, None, None]);
    let said =
        texts(COPY_ALL, &files, &[copied("x/y", [different(), different(), different()]), quiet]);
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn no_file_is_to_be_ignored_that_a_step_or_another_copy_names() {
    let ignored = |dockerfile: &str, step: &str| {
        let steps = [("[2/3] COPY . /w", different()), (step, None)];
        let said = texts(dockerfile, &["src/main.txt"], &[misses(changed("src/main.txt"), &steps)]);
        said.iter().any(|text| text.contains(".dockerignore"))
    };
    let below = |run: &str| {
        ignored(&format!("FROM a\nCOPY . /w\nRUN {run}\n"), &format!("[3/3] RUN {run}"))
    };
    assert!(below("echo done"));
    for run in ["cat /w/src/*.txt", "make -C /w/src", "cat main.txt", "cp -r /w /x", "make -C ."] {
        assert!(!below(run), "{run}");
    }
    let stages = "FROM a AS other\nCOPY src /src\nFROM a\nCOPY . /w\nRUN make\n";
    assert!(!ignored(stages, "[3/3] RUN make"));
}
