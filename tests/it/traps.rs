//! The known traps of build caches, played on real engines: each rebuilt step is explained by the
//! right cause and file, and no explanation contradicts what BuildKit said.

use std::path::Path;

use cachefrom::explain::{
    Advice, AdviceKind, Cause, Differing, Evidence, FileKind, InstructionChange, Miss, Output,
    TrialMisses, advice, explain,
};
use cachefrom::journal::Recorded;
use cachefrom::measure::{Analysis, steps};

use super::end_to_end::{left_behind, played};

/// Plays `scenarios/traps/NAME.toml` and explains it.
fn explained(name: &str) -> Vec<TrialMisses> {
    advised(name).0
}

/// The same, and what to change.
fn advised(name: &str) -> (Vec<TrialMisses>, Vec<Advice>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let recorded = played(&root.join(format!("scenarios/traps/{name}.toml")), temporary.path());
    assert_eq!(left_behind(temporary.path()), Vec::<String>::new());
    let analysis = Analysis::of(&recorded);
    let trials: Vec<TrialMisses> = explain(&analysis).collect();
    agrees(&recorded, &trials);
    let advice = advice(&trials, &analysis);
    (trials, advice)
}

/// The only piece of advice of `kind`.
fn piece(advice: &[Advice], kind: AdviceKind) -> &Advice {
    let found: Vec<&Advice> = advice.iter().filter(|piece| piece.kind == kind).collect();
    assert_eq!(found.len(), 1, "{advice:#?}");
    found[0]
}

/// Every rebuilt step is explained, and none that a cache served.
fn agrees(recorded: &Recorded, trials: &[TrialMisses]) {
    assert_eq!(trials.len(), recorded.trials.len());
    for (trial, record) in trials.iter().zip(&recorded.trials) {
        let mut rebuilt: Vec<String> =
            steps(record).into_iter().filter(|step| !step.cached).map(|step| step.name).collect();
        let mut explained: Vec<String> =
            trial.misses.iter().map(|miss| miss.step.clone()).collect();
        rebuilt.sort();
        explained.sort();
        assert_eq!(explained, rebuilt, "{} at {}", trial.strategy, trial.commit);
        for (place, miss) in trial.misses.iter().enumerate() {
            assert_eq!(miss.cause.is_inherited(), miss.first != place, "{miss:?}");
            assert_eq!(trial.misses[miss.first].first, miss.first, "a chain has one beginning");
        }
    }
}

/// The misses of `strategy` at `commit` in the first round, where each chain begins.
fn firsts<'a>(trials: &'a [TrialMisses], strategy: &str, commit: usize) -> Vec<&'a Miss> {
    let trial = trials
        .iter()
        .find(|trial| (trial.strategy.as_str(), trial.commit) == (strategy, commit))
        .unwrap();
    let misses = trial.misses.iter().enumerate();
    misses.filter(|(place, miss)| miss.first == *place).map(|(_, miss)| miss).collect()
}

/// The only beginning of a chain.
fn first<'a>(trials: &'a [TrialMisses], strategy: &str, commit: usize) -> &'a Miss {
    match firsts(trials, strategy, commit).as_slice() {
        [miss] => miss,
        misses => panic!("{strategy} at {commit}: {misses:#?}"),
    }
}

#[track_caller]
fn file(miss: &Miss, step: &str, path: &str, kind: FileKind) {
    assert!(miss.step.contains(step), "{miss:?}");
    let Cause::Files { files, count: 1 } = &miss.cause else { panic!("{miss:?}") };
    assert_eq!((files[0].path.as_str(), files[0].change), (path, kind));
}

#[test]
fn an_executable_bit() {
    let trials = explained("chmod");
    for strategy in ["local", "registry-max"] {
        let miss = first(&trials, strategy, 1);
        file(miss, "COPY src", "src/one.txt", FileKind::Mode);
        assert_eq!(miss.line, Some(5));
    }
}

#[test]
fn a_touched_file_and_a_directive_line_are_no_change() {
    for name in ["touch", "directive-line"] {
        let trials = explained(name);
        for strategy in ["local", "registry-max"] {
            assert!(firsts(&trials, strategy, 1).is_empty(), "{name}");
        }
    }
}

#[test]
fn an_argument_above_what_does_not_use_it() {
    let (trials, advice) = advised("arg-order");
    // The third commit does what is advised, and the fourth shows that it helps: see below.
    let piece = piece(&advice, AdviceKind::MoveArgument);
    assert!(piece.text.contains("ARG SHA (line 3) above `RUN sleep 0.2"), "{}", piece.text);
    assert!(piece.commits.iter().eq(&[1]) && piece.cost.seconds() >= 0.2, "{piece:?}");
    for strategy in ["local", "registry-max"] {
        let miss = first(&trials, strategy, 1);
        assert!(miss.step.contains("slow"), "{miss:?}");
        let Cause::Argument(variable) = &miss.cause else { panic!("{miss:?}") };
        assert_eq!((variable.name.as_str(), variable.line), ("SHA", Some(3)));
        assert_eq!(variable.before.as_deref(), Some("1111111"));
        assert_eq!(variable.after.as_deref(), Some("2222222"));
        let miss = first(&trials, strategy, 3);
        assert!(miss.step.contains("echo") && !miss.step.contains("slow"), "{miss:?}");
        assert!(matches!(&miss.cause, Cause::Argument(v) if v.name == "SHA"), "{miss:?}");
    }
}

#[test]
fn a_reference_that_another_branch_overwrote() {
    let trials = explained("clobbered-ref");
    file(first(&trials, "shared-ref", 1), "COPY src", "src/one.txt", FileKind::Content);
    let miss = first(&trials, "shared-ref", 2);
    assert!(miss.step.contains("COPY src"), "{miss:?}");
    let Cause::Overwritten { lost: 0, by: 1, .. } = miss.cause else { panic!("{miss:?}") };
    assert!(firsts(&trials, "ref-a-branch", 2).is_empty());
    let missing = firsts(&trials, "ref-a-branch", 1);
    let never = |miss: &&Miss| matches!(&miss.cause, Cause::NeverWritten { reference } if reference.ends_with("cache-feature"));
    assert!(!missing.is_empty() && missing.iter().all(never), "{missing:?}");
}

#[test]
fn there_and_back_again() {
    let trials = explained("a-b-a");
    assert!(firsts(&trials, "local", 2).is_empty());
    file(first(&trials, "inline", 2), "COPY src", "src/one.txt", FileKind::Content);
    let miss = first(&trials, "registry-max", 2);
    assert!(matches!(miss.cause, Cause::Overwritten { lost: 0, by: 1, .. }), "{miss:?}");
}

#[test]
fn several_sources_of_which_one_is_missing() {
    let trials = explained("several-sources");
    let miss = first(&trials, "branch-then-main", 1);
    file(miss, "COPY src", "src/one.txt", FileKind::Content);
    assert_eq!(miss.against, Some(0));
}

#[test]
fn a_reference_that_another_target_overwrote() {
    let trials = explained("shared-target-ref");
    let overwritten_by = |stage: &str| {
        let misses = firsts(&trials, "shared-ref", 1);
        let miss = misses.into_iter().find(|miss| miss.step.contains(stage)).unwrap();
        let Cause::Overwritten { lost: 0, by, target: Some(target), .. } = &miss.cause else {
            panic!("{miss:?}")
        };
        (*by, target.clone())
    };
    // What the other target's build of the first commit left, and that of this very commit.
    assert_eq!(overwritten_by("lint"), (0, "app".to_owned()));
    assert_eq!(overwritten_by("app"), (1, "lint".to_owned()));
    assert!(firsts(&trials, "registry-max", 1).is_empty());
}

#[test]
fn build_stages_that_a_small_cache_leaves_out() {
    let trials = explained("min-stages");
    let misses = firsts(&trials, "registry-min", 1);
    let changed = |miss: &&&Miss| {
        matches!(&miss.cause, Cause::Instruction { change: InstructionChange::Changed, .. })
    };
    assert_eq!(misses.iter().filter(changed).count(), 1, "{misses:#?}");
    let left_out: Vec<&&Miss> = misses.iter().filter(|miss| !changed(miss)).collect();
    assert!(!left_out.is_empty(), "{misses:#?}");
    for miss in left_out {
        assert!(matches!(&miss.cause, Cause::LeftOut { mode } if mode == "min"), "{miss:?}");
        assert!(miss.step.starts_with("[app") || miss.step.starts_with("[lint"), "{miss:?}");
    }
    let miss = first(&trials, "registry-max", 1);
    assert!(changed(&&miss), "{miss:?}");
}

#[test]
fn a_log_file_that_nobody_ignores() {
    let (trials, advice) = advised("ignored-log");
    // The third commit follows this, and the fourth shows what it saves: every step hits.
    let ignore = piece(&advice, AdviceKind::Ignore);
    assert!(ignore.text.starts_with("`build.log` alone made a COPY miss"), "{}", ignore.text);
    let copy = piece(&advice, AdviceKind::MoveCopy);
    assert!(copy.text.contains("`COPY . /work` above `RUN sleep 0.2"), "{}", copy.text);
    for strategy in ["local", "registry-max"] {
        file(first(&trials, strategy, 1), "COPY . /work", "build.log", FileKind::Content);
        // The log went and the ignore file itself came.
        let Cause::Files { files, .. } = &first(&trials, strategy, 2).cause else { panic!() };
        let gone =
            files.iter().any(|file| file.path == "build.log" && file.change == FileKind::Deleted);
        assert!(gone, "{files:?}");
        assert!(firsts(&trials, strategy, 3).is_empty());
    }
}

#[test]
fn a_linked_copy_depends_on_nothing_above_it() {
    let trials = explained("linked");
    for strategy in ["local", "registry-min", "registry-max"] {
        // What is reused and what is not is asserted by the scenario.
        let miss = first(&trials, strategy, 1);
        assert!(matches!(&miss.cause, Cause::Argument(v) if v.name == "SHA"), "{miss:?}");
        file(first(&trials, strategy, 2), "COPY --link src", "src/one.txt", FileKind::Content);
        let misses = firsts(&trials, strategy, 4);
        let moved = misses.iter().find(|miss| miss.step.contains("COPY --link src")).unwrap();
        assert!(matches!(&moved.cause, Cause::Setting { keyword, .. } if keyword == "WORKDIR"));
        let gone = first(&trials, strategy, 5);
        let Cause::Instruction { change, .. } = &gone.cause else { panic!("{gone:?}") };
        assert_eq!(*change, InstructionChange::RemovedAbove);
    }
}

/// The miss at `commit` whose step contains `step`.
fn miss<'a>(trials: &'a [TrialMisses], strategy: &str, commit: usize, step: &str) -> &'a Miss {
    let trial = |trial: &&TrialMisses| (&*trial.strategy, trial.commit) == (strategy, commit);
    let trial = trials.iter().find(trial).unwrap();
    trial.misses.iter().find(|miss| miss.step.contains(step)).unwrap()
}

#[test]
fn a_run_that_gives_another_file_each_time() {
    let (trials, advice) = advised("nondeterministic-run");
    let stable = piece(&advice, AdviceKind::MakeStable);
    assert!(
        stable.text.contains("uuid") && stable.text.contains("registry-max"),
        "{}",
        stable.text
    );
    assert_eq!(stable.commits, [1, 2].into());
    // What it advises is done in the scenario, which asserts that it helps: `must-hit`.
    let below = |trial: &&TrialMisses| (&*trial.strategy, trial.commit) == ("registry-max", 4);
    let below = trials.iter().find(below).unwrap();
    assert!(!below.misses.iter().any(|miss| miss.step.starts_with("[stamped")), "{below:#?}");
    let different = |output: &Option<Output>, file: &str| {
        let files = vec![file.to_owned()];
        *output == Some(Output::Different(Differing { files, count: 1 }))
    };
    for strategy in ["local", "registry-max"] {
        file(first(&trials, strategy, 1), "COPY list", "list.txt", FileKind::Content);
        let rewritten = first(&trials, strategy, 2);
        assert!(matches!(rewritten.cause, Cause::Instruction { .. }), "{rewritten:?}");
        for commit in [1, 2] {
            // What the stage makes the same is reused by whoever copies it.
            let trial = trials.iter().find(|t| (&*t.strategy, t.commit) == (strategy, commit));
            let counted = |miss: &Miss| miss.step.starts_with("[counted");
            assert!(!trial.unwrap().misses.iter().any(counted), "{strategy} at {commit}");
            let random = miss(&trials, strategy, commit, "uuid");
            let unstable = random.unstable.as_ref().unwrap();
            assert_eq!((&*unstable.files, unstable.count), (&["stamp.txt".to_owned()][..], 1));
            let counting = miss(&trials, strategy, commit, "wc -l");
            assert_eq!(counting.unstable, None, "it makes the same each time");
            let release = miss(&trials, strategy, commit, "[release 2/2]");
            let Cause::Stage { stage, output, .. } = &release.cause else { panic!("{release:?}") };
            assert!(stage == "stamped" && different(output, "stamped.txt"), "{release:?}");
            assert_eq!(release.evidence, Evidence::Known);
        }
        // The parent was rebuilt with the same output, and the step below missed all the same.
        let below = miss(&trials, strategy, 2, "uuid");
        let Cause::Above { step, output } = &below.cause else { panic!("{below:?}") };
        assert!(step.contains("wc -l") && *output == Some(Output::Same), "{below:?}");
        let below = miss(&trials, strategy, 1, "wc -l");
        let Cause::Above { output, .. } = &below.cause else { panic!("{below:?}") };
        assert!(different(output, "list.txt"), "{below:?}");
    }
    // Only a cache of all stages has the layers of those that are no target.
    let copied = miss(&trials, "registry-max", 1, "[stamped 2/3]");
    let Cause::Stage { output, unstable: Some(by), .. } = &copied.cause else {
        panic!("{copied:?}")
    };
    assert!(different(output, "stamp.txt") && by.contains("uuid"), "{copied:?}");
    let copied = miss(&trials, "local", 1, "[stamped 2/3]");
    assert!(matches!(copied.cause, Cause::Stage { output: None, .. }), "{copied:?}");
    assert_eq!(copied.evidence, Evidence::Inferred);
}

/// How many steps `policy` reused at `commit`, and how many there were.
fn reused(trials: &[TrialMisses], policy: &str, commit: usize) -> (usize, usize) {
    let trial = trials
        .iter()
        .find(|trial| (trial.strategy.as_str(), trial.commit) == (policy, commit))
        .unwrap();
    (trial.cached, trial.cached + trial.misses.len())
}

#[test]
fn policies_find_what_their_caches_hold_at_that_moment() {
    let trials = explained("policies");
    let (begins, main_list, goes_on, hotfix, main_readme) = (1, 2, 3, 4, 5);
    let all = |policy: &str, commits: &[usize], cached: usize| {
        for commit in commits {
            assert_eq!(reused(&trials, policy, *commit), (cached, 4), "{policy} at {commit}");
        }
    };
    // The parent is always there, and so is the point where a branch began.
    all("from-parent", &[goes_on, main_readme], 4);
    all("from-parent", &[begins, hotfix], 2);
    all("from-merge-base", &[begins, goes_on, hotfix], 2);
    all("from-merge-base", &[main_readme], 4);
    // A branch has no cache of its own when it begins.
    all("from-branch", &[begins, hotfix], 0);
    all("from-branch", &[goes_on, main_readme], 4);
    // The default branch has moved on by the time of the hotfix.
    all("from-default", &[hotfix], 0);
    all("from-default", &[main_readme], 4);
    all("from-branch-or-default", &[begins], 2);
    // The last build of all was another branch's.
    all("from-shared-ref", &[main_list, goes_on, main_readme], 0);
    all("from-shared-ref", &[hotfix], 2);
    all("from-tag", &[begins, goes_on, hotfix], 2);
    all("from-tag", &[main_readme], 0);
    let overwritten = firsts(&trials, "from-shared-ref", goes_on);
    let by_main = |miss: &&&Miss| matches!(miss.cause, Cause::Overwritten { by: 2, .. });
    assert!(overwritten.iter().any(|miss| by_main(&miss)), "{overwritten:#?}");
    // Which of several caches BuildKit finds a step in is chance, but the newest holds no less.
    assert_eq!(reused(&trials, "from-last-3", goes_on).1, 4);
}

#[test]
fn advice_that_is_followed_saves_what_it_said_it_cost() {
    let (trials, advice) = advised("moved-copy");
    let piece = piece(&advice, AdviceKind::MoveCopy);
    assert!(piece.text.contains("`COPY . /work` above `RUN sleep 0.2"), "{}", piece.text);
    assert!(piece.text.contains("no file changed that the text of the step names"));
    assert!(piece.commits.contains(&1) && piece.cost.seconds() >= 0.2, "{piece:?}");
    for strategy in ["local", "registry-max"] {
        let slow = |commit| {
            let missed =
                |trial: &&TrialMisses| (&*trial.strategy, trial.commit) == (strategy, commit);
            let trial = trials.iter().find(missed).unwrap();
            trial.misses.iter().find(|miss| miss.step.contains("RUN sleep")).map(|miss| miss.time)
        };
        assert!(slow(1).is_some_and(|time| time.seconds() >= 0.2));
        assert_eq!(slow(3), None, "the step that was advised about is reused");
    }
}
