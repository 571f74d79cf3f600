//! Runs held against baselines: the rules, on made-up journals.

use std::path::PathBuf;

use cachefrom::check::{
    Checked, Rule, Tolerances, Verdict, check, comparison, merged, pruned, text,
};
use cachefrom::journal::{
    CommitRecord, ImageSource, Line, Outcome, Recorded, TrialKey, TrialRecord,
};
use cachefrom::measure::Analysis;
use proptest::prelude::*;

use crate::journals::{self, Step, bad, good, journal, steps};

pub fn recorded(lines: &[Line]) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    std::fs::write(&path, journals::text(lines)).unwrap();
    Recorded::read(&path).unwrap()
}

pub fn analysis(steps: &[Step], rounds: u32) -> Analysis {
    Analysis::of(&recorded(&journal(steps, rounds, |_| 1.0)))
}

pub fn checked(before: &[Step], after: &[Step]) -> Checked {
    check(&analysis(before, 1), &analysis(after, 1), &Tolerances::default()).unwrap()
}

#[test]
fn a_copy_moved_above_the_install_is_caught_in_one_round_with_its_cause() {
    let checked = checked(&good(), &bad());
    assert_eq!(checked.verdict(), Verdict::Regressed);
    let lost: Vec<_> =
        checked.of(Verdict::Regressed).filter(|finding| finding.rule == Rule::Reuse).collect();
    let names: Vec<_> = lost.iter().map(|finding| finding.step.as_deref().unwrap()).collect();
    assert_eq!(names, ["[3/5] COPY lock .", "[4/5] RUN install"]);
    let cause = "because [2/5] COPY . . is rebuilt and now comes before it";
    assert!(lost[1].evidence.contains(cause), "{}", lost[1].evidence);
    assert!(checked.of(Verdict::Regressed).any(|finding| finding.rule == Rule::Pushed));
}

#[test]
fn a_copy_that_becomes_a_linked_one_is_the_same_step() {
    let mut linked = good();
    linked[0].text = "COPY --link lock .".into();
    let mut after = recorded(&journal(&linked, 1, |_| 1.0));
    for build in after.trials.iter_mut().flat_map(|trial| &mut trial.builds) {
        let vertices = &mut build.trace.vertices;
        let mut second = vertices[0].clone();
        second.name = second.name.replace("COPY", "LINK COPY");
        // It is built again with what stands above it, and tells nothing of the copy.
        second.cached = false;
        vertices.insert(0, second);
    }
    let (before, after) = (analysis(&good(), 1), Analysis::of(&after));
    let checked = check(&before, &after, &Tolerances::default()).unwrap();
    assert_eq!(checked.verdict(), Verdict::Pass);
    let row = after.trials.iter().find(|row| row.commit == 1 && row.cached() > 0).unwrap();
    assert_eq!((row.cached(), row.steps.len()), (2, 4));
}

/// A run of `steps` on `debian:12`, which was `digest`; the network mode is the machine's or none.
fn on_base(steps: &[Step], digest: &str, network: &str) -> Recorded {
    let mut recorded = recorded(&journal(steps, 1, |_| 1.0));
    let instructions: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
    for commit in &mut recorded.header.commits {
        commit.dockerfile =
            Some(format!("ARG V=12\nFROM debian:$V\n{}\n", instructions.join("\n")));
    }
    let source = "made up".to_owned();
    let (reference, digest) = ("debian:12".to_owned(), digest.to_owned());
    recorded.header.images = vec![ImageSource { reference, digest, source }];
    recorded.header.environment.network = network.to_owned();
    recorded.header.environment.platform = "linux/amd64".to_owned();
    recorded
}

#[test]
fn a_base_image_or_network_that_became_another_is_told_and_is_no_cause() {
    let all_lost: Vec<Step> =
        good().into_iter().map(|step| Step { missed: true, ..step }).collect();
    let before = on_base(&good(), "sha256:11", "host");
    let after = on_base(&all_lost, "sha256:22", "default");
    let (header, trials) = pruned(&before);
    let mut lean = before.clone();
    (lean.header, lean.trials) = (header, trials);
    let saved = [before, lean];
    for baseline in saved {
        let runs = (Analysis::of(&baseline), Analysis::of(&after));
        let checked = check(&runs.0, &runs.1, &Tolerances::default()).unwrap();
        let evidence = |name: &str| {
            let found = checked.of(Verdict::Regressed).find(|f| f.step.as_deref() == Some(name));
            found.unwrap().evidence.clone()
        };
        // The run resolved it once and filled its own cache with it.
        let first = evidence("[2/5] COPY lock .");
        let told = "[2/5] COPY lock . was reused and is rebuilt (1.00 s); nothing that is recorded changed";
        assert!(first.starts_with(told), "{first}");
        let below = evidence("[3/5] RUN install");
        assert!(below.ends_with("because [2/5] COPY lock . above it is rebuilt"), "{below}");
        let warned = "base image debian:12 was sha256:11 and is sha256:22".to_owned();
        assert!(checked.warnings.contains(&warned), "{:?}", checked.warnings);
        assert!(checked.warnings.iter().any(|warning| warning.contains("network mode")));
        let text = comparison(&[("a".to_owned(), runs.0), ("b".to_owned(), runs.1)]);
        assert!(text.contains("from a to b base image debian:12 was sha256:11"), "{text}");
    }
}

#[test]
fn a_lost_step_has_the_cause_that_its_own_journal_explains() {
    let lost = steps(&[
        ("COPY lock .", false),
        ("RUN install", true),
        ("COPY . .", true),
        ("RUN make", true),
    ]);
    let before = on_base(&good(), "sha256:11", "host");
    let mut after = on_base(&lost, "sha256:22", "host");
    for (commit, revision) in after.header.commits.iter_mut().zip(["one", "two"]) {
        let dockerfile = commit.dockerfile.take().unwrap();
        commit.dockerfile = Some(dockerfile.replace("RUN install", "ARG R\nRUN install"));
        commit.args.insert("R".into(), revision.into());
    }
    let runs = (Analysis::of(&before), Analysis::of(&after));
    let checked = check(&runs.0, &runs.1, &Tolerances::default()).unwrap();
    let found =
        checked.of(Verdict::Regressed).find(|f| f.step.as_deref() == Some("[3/5] RUN install"));
    let evidence = &found.unwrap().evidence;
    assert!(evidence.contains("because the build arg R was"), "{evidence}");
    let text = comparison(&[("a".to_owned(), runs.0), ("b".to_owned(), runs.1)]);
    assert!(text.contains("hit in a, missed in b: the build arg R was"), "{text}");
}

#[test]
fn the_reverse_change_is_an_improvement_and_no_change_passes() {
    assert_eq!(checked(&bad(), &good()).verdict(), Verdict::Improved);
    assert_eq!(checked(&good(), &good()).verdict(), Verdict::Pass);
}

#[test]
fn an_instruction_that_was_also_edited_is_still_caught() {
    let edited = steps(&[("COPY . .", true), ("COPY lock .", true), ("RUN install -q", true)]);
    let checked = checked(&good(), &edited);
    let lost = |name: &str| {
        checked.of(Verdict::Regressed).any(|finding| finding.step.as_deref() == Some(name))
    };
    assert!(lost("[4/4] RUN install -q"), "{checked:?}");
}

#[test]
fn a_copy_of_other_files_is_no_loss_and_what_is_built_from_it_is() {
    let before = [("COPY a .", false), ("RUN install", false), ("COPY b .", true)];
    // The install is gone, and what was edited is copied by itself.
    let dropped = checked(&steps(&before), &steps(&[("COPY b .", true), ("COPY c .", false)]));
    assert_eq!(dropped.of(Verdict::Regressed).count(), 0, "{dropped:#?}");
    let more = checked(&steps(&before), &steps(&[("COPY a b .", true), ("RUN install", true)]));
    let lost: Vec<_> = more.of(Verdict::Regressed).filter(|f| f.rule == Rule::Reuse).collect();
    let [lost] = lost.as_slice() else { panic!("{lost:#?}") };
    assert_eq!(lost.step.as_deref(), Some("[3/3] RUN install"));
    let told = |finding: &&cachefrom::check::Finding| {
        finding.evidence.ends_with("; it takes other files than COPY a .")
    };
    assert_eq!(more.of(Verdict::CannotTell).filter(told).count(), 1, "{more:#?}");
    // The same folder, spelt otherwise, is lost as any step is.
    let whole = steps(&[("RUN install", false), ("COPY src/ /app/", false)]);
    let below =
        steps(&[("RUN install", false), ("COPY version /", true), ("COPY ./src /app/", true)]);
    let respelt = checked(&whole, &below);
    let lost: Vec<_> = respelt.of(Verdict::Regressed).filter(|f| f.rule == Rule::Reuse).collect();
    let [lost] = lost.as_slice() else { panic!("{lost:#?}") };
    assert_eq!(lost.step.as_deref(), Some("[4/4] COPY ./src /app/"));
}

#[test]
fn a_step_that_wavered_before_raises_no_alarm_and_one_that_begins_to_does() {
    let wavering = |missed: std::ops::Range<u32>| {
        let mut lines = journal(&good(), 10, |_| 1.0);
        for line in &mut lines {
            if let Line::Trial(trial) = line
                && trial.key.commit == 1
                && missed.contains(&trial.key.round)
            {
                trial.builds[0].trace.vertices[1].cached = false;
            }
        }
        Analysis::of(&recorded(&lines))
    };
    let check =
        |before: &Analysis, after: &Analysis| check(before, after, &Tolerances::default()).unwrap();
    let (steady, often, seldom) = (wavering(0..0), wavering(0..5), wavering(0..2));
    let begins = check(&steady, &often);
    assert!(begins.of(Verdict::Regressed).any(|finding| finding.rule == Rule::Flaky));
    assert_eq!(check(&often, &wavering(5..10)).of(Verdict::Regressed).count(), 0);
    assert_eq!(check(&often, &steady).verdict(), Verdict::Improved);
    // What two misses in ten rounds show, chance shows often enough.
    let doubt = check(&steady, &seldom);
    assert_eq!(doubt.verdict(), Verdict::CannotTell, "{doubt:#?}");
    let told = |finding: &&cachefrom::check::Finding| {
        finding
            .evidence
            .ends_with("in 8 of 10 rounds, in 10 of 10 rounds in the baseline; that may be chance")
    };
    assert!(doubt.of(Verdict::CannotTell).any(|finding| told(&finding)), "{doubt:#?}");
    assert_eq!(check(&seldom, &steady).verdict(), Verdict::Pass);
}

#[test]
fn a_baseline_round_that_lacked_a_step_does_not_hide_its_loss() {
    let mut before = journal(&good(), 2, |_| 1.0);
    for line in &mut before {
        if let Line::Trial(trial) = line
            && trial.key.round == 0
        {
            trial.builds[0].trace.vertices.remove(1);
        }
    }
    let lost = analysis(&bad(), 1);
    let found = check(&Analysis::of(&recorded(&before)), &lost, &Tolerances::default()).unwrap();
    let lost = |step: &str| found.of(Verdict::Regressed).any(|f| f.step.as_deref() == Some(step));
    assert!(lost("[4/5] RUN install"), "{found:#?}");
}

#[test]
fn builds_that_fail_are_told_though_the_baseline_has_nothing_to_hold_them_against() {
    let before = journal(&good(), 2, |_| 1.0);
    let fail = |of: &dyn Fn(u32) -> bool, message: &str| {
        let mut lines = before.clone();
        for line in &mut lines {
            match line {
                Line::Header(header) => {
                    header.commits[1].message = message.into();
                    header.commits[1].id = message.into();
                }
                Line::Trial(trial) if trial.key.commit == 1 && of(trial.key.round) => {
                    trial.outcome = Outcome::WrongImage { message: "no".into() };
                }
                _ => {}
            }
        }
        Analysis::of(&recorded(&lines))
    };
    let regressed = |before: &Analysis, after: &Analysis| {
        let found = check(before, after, &Tolerances::default()).unwrap();
        found.of(Verdict::Regressed).filter(|finding| finding.rule == Rule::Built).count()
    };
    let steady = Analysis::of(&recorded(&before));
    // A commit that the baseline does not have, and one that it always built.
    assert_eq!(regressed(&steady, &fail(&|_| true, "new")), 2);
    assert_eq!(regressed(&steady, &fail(&|_| true, "edit")), 2);
    let half = fail(&|round| round == 0, "edit");
    assert_eq!(regressed(&half, &half), 0);
}

#[test]
fn builds_that_failed_before_too_are_compared_by_how_many_do() {
    let run = |rounds: u32, failed: u32| {
        let mut lines = journal(&good(), rounds, |_| 1.0);
        for line in &mut lines {
            if let Line::Trial(trial) = line
                && (trial.key.commit, trial.key.round < failed) == (1, true)
            {
                trial.outcome = Outcome::WrongImage { message: "no".into() };
            }
        }
        Analysis::of(&recorded(&lines))
    };
    let built = |before: &Analysis, after: &Analysis| {
        let found = check(before, after, &Tolerances::default()).unwrap();
        let own = |f: &&cachefrom::check::Finding| {
            f.rule == Rule::Built && (f.place.commit, f.place.strategy.as_str()) == (1, "cold")
        };
        let found = found.findings.iter().find(own).unwrap();
        (found.verdict, found.evidence.clone())
    };
    let told = |verdict, text: &str| (verdict, text.to_owned());
    let (seldom, mostly) = (run(30, 1), run(30, 29));
    let text = "29 of 30 trials failed; 1 of 30 trials failed in the baseline";
    assert_eq!(built(&seldom, &mostly), told(Verdict::Regressed, text));
    let text = "1 of 30 trials failed; 29 of 30 trials failed in the baseline";
    assert_eq!(built(&mostly, &seldom), told(Verdict::Improved, text));
    let text = "every trial was built; 1 of 30 trials failed in the baseline";
    assert_eq!(built(&seldom, &run(1, 0)), told(Verdict::Pass, text));
    assert_eq!(built(&seldom, &run(5, 1)).0, Verdict::CannotTell);
    // Nothing can be built any more, where most could.
    assert_eq!(built(&seldom, &run(1, 1)).0, Verdict::Regressed);
    assert_eq!(built(&run(10, 1), &run(5, 5)).0, Verdict::Regressed);
    assert_eq!(built(&mostly, &run(1, 1)).0, Verdict::CannotTell);
    assert_eq!(built(&run(2, 2), &run(1, 0)).0, Verdict::Improved);
    assert_eq!(built(&mostly, &run(30, 0)).0, Verdict::Improved);
    assert_eq!(built(&run(30, 0), &run(1, 1)).0, Verdict::Regressed);
}

#[test]
fn of_two_rounds_that_pulled_unlike_bytes_neither_is_called() {
    let steady = journal(&good(), 2, |_| 1.0);
    let mut one = steady.clone();
    for line in &mut one {
        if let Line::Trial(trial) = line
            && (trial.key.round, trial.key.commit) == (1, 1)
        {
            trial.metered.flows[0].count.bytes = cachefrom::units::Bytes(10_000_000);
        }
    }
    let (before, after) = (Analysis::of(&recorded(&steady)), Analysis::of(&recorded(&one)));
    let found = check(&before, &after, &Tolerances::default()).unwrap();
    assert_eq!(found.of(Verdict::Regressed).count(), 0, "{found:#?}");
    let doubt = found.of(Verdict::CannotTell).find(|finding| finding.rule == Rule::Pulled);
    assert!(doubt.unwrap().evidence.ends_with("rounds disagree, 5 B to 10.0 MB"), "{doubt:?}");
}

#[test]
fn fewer_bytes_are_no_improvement_where_fewer_steps_may_be_reused() {
    let pulling = |steps: &[Step], bytes: u64| {
        let mut lines = journal(steps, 1, |_| 1.0);
        for line in &mut lines {
            if let Line::Trial(trial) = line
                && (trial.key.strategy.as_str(), trial.key.commit) == ("registry-max", 1)
            {
                trial.metered.flows[0].count.bytes = cachefrom::units::Bytes(bytes);
            }
        }
        Analysis::of(&recorded(&lines))
    };
    let rewritten = steps(&[
        ("WORKDIR /app", false),
        ("USER app", false),
        ("COPY ./ ./", true),
        ("RUN ./bootstrap.sh --all", true),
    ]);
    let check = |after: &[Step]| {
        let (before, after) = (pulling(&good(), 10_000_000), pulling(after, 100_000));
        check(&before, &after, &Tolerances::default()).unwrap()
    };
    let found = check(&rewritten);
    assert_eq!(found.verdict(), Verdict::CannotTell, "{found:#?}");
    let told = |finding: &&cachefrom::check::Finding| {
        finding.rule == Rule::Pulled && finding.evidence.ends_with("fewer steps may be reused")
    };
    assert_eq!(found.of(Verdict::Pass).filter(told).count(), 1, "{found:#?}");
    assert_eq!(check(&good()).verdict(), Verdict::Improved);
}

#[test]
fn time_is_judged_with_rounds_enough_and_only_then() {
    let slow = |rounds: u32, factor: f64| {
        let noise = |key: &TrialKey| {
            let own = if key.strategy == "cold" { 1.0 } else { factor };
            own * (1.0 + f64::from(key.round) * 0.001)
        };
        Analysis::of(&recorded(&journal(&good(), rounds, noise)))
    };
    let time = |before: &Analysis, after: &Analysis| {
        let checked = check(before, after, &Tolerances::default()).unwrap();
        let found = checked.findings.iter().find(|finding| finding.rule == Rule::Time);
        found.unwrap().verdict
    };
    assert_eq!(time(&slow(8, 1.0), &slow(8, 1.5)), Verdict::Regressed);
    assert_eq!(time(&slow(8, 1.5), &slow(8, 1.0)), Verdict::Improved);
    assert_eq!(time(&slow(8, 1.0), &slow(8, 1.03)), Verdict::Pass);
    assert_eq!(time(&slow(2, 1.0), &slow(8, 1.5)), Verdict::CannotTell);
}

#[test]
fn a_base_image_that_makes_cold_faster_is_no_slowdown_of_the_strategy() {
    let run = |digest: &str, cold: f64| {
        let noise = |key: &TrialKey| {
            let own = if key.strategy == "cold" { cold } else { 1.0 };
            own * (1.0 + f64::from(key.round) * 0.001)
        };
        let mut recorded = recorded(&journal(&good(), 8, noise));
        let (reference, source) = ("debian:12".to_owned(), "made up".to_owned());
        recorded.header.images = vec![ImageSource { reference, digest: digest.into(), source }];
        Analysis::of(&recorded)
    };
    let time = |digest: &str| {
        let (before, after) = (run("sha256:11", 1.0), run(digest, 0.6));
        let checked = check(&before, &after, &Tolerances::default()).unwrap();
        checked.findings.into_iter().find(|finding| finding.rule == Rule::Time).unwrap()
    };
    assert_eq!(time("sha256:11").verdict, Verdict::Regressed);
    let moved = time("sha256:22");
    assert_eq!(moved.verdict, Verdict::CannotTell);
    assert!(moved.evidence.ends_with("cold takes less than it did"), "{}", moved.evidence);
}

#[test]
fn a_commit_that_nobody_could_build_does_not_keep_time_from_being_judged() {
    let run = |factor: f64| {
        let noise = |key: &TrialKey| {
            let own = if key.strategy == "cold" { 1.0 } else { factor };
            own * (1.0 + f64::from(key.round) * 0.001)
        };
        let mut lines = journal(&good(), 8, noise);
        let Line::Header(header) = &mut lines[0] else { panic!() };
        let (id, parent) = ("broken".to_owned(), Some(1));
        let broken =
            CommitRecord { id: id.clone(), message: id, parent, ..header.commits[1].clone() };
        header.commits.push(broken);
        let failed = lines.clone().into_iter().filter_map(|line| match line {
            Line::Trial(trial) if trial.key.commit == 1 => {
                let key = TrialKey { commit: 2, ..trial.key };
                let outcome = Outcome::WrongImage { message: "no".into() };
                Some(Line::Trial(Box::new(TrialRecord::new(key, outcome))))
            }
            _ => None,
        });
        lines.extend(failed.collect::<Vec<_>>());
        Analysis::of(&recorded(&lines))
    };
    let found = check(&run(1.0), &run(1.6), &Tolerances::default()).unwrap();
    let time = found.findings.iter().find(|finding| finding.rule == Rule::Time).unwrap();
    assert_eq!(time.verdict, Verdict::Regressed, "{}", time.evidence);
}

#[test]
fn the_wall_times_of_two_runs_have_an_interval_where_rounds_are_enough() {
    let run = |rounds: u32, factor: f64| {
        let noise = |key: &TrialKey| factor * (1.0 + f64::from(key.round) * 0.01);
        Analysis::of(&recorded(&journal(&good(), rounds, noise)))
    };
    let table = |before: Analysis, after: Analysis| {
        let text = comparison(&[("a".to_owned(), before), ("b".to_owned(), after)]);
        let rows: Vec<&str> = text.lines().take_while(|line| line.starts_with('|')).collect();
        let last = |row: &&str| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            [cells[2], cells[8], cells[9]].join(" ")
        };
        let rows: Vec<String> = rows.iter().map(last).collect();
        [rows[0].clone(), rows[2].clone(), rows[3].clone()]
    };
    let head = "run wall ÷ first 95 %";
    let sure = table(run(6, 1.0), run(8, 1.2));
    assert_eq!(sure, [head, "a – –", "b 1.21 × 1.17 – 1.24"]);
    assert_eq!(table(run(5, 1.0), run(8, 1.2)), [head, "a – –", "b 1.22 × –"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_run_regresses_against_itself_or_its_pruned_form(
        missed in proptest::collection::vec(any::<bool>(), 1..6),
        rounds in 1u32..4,
    ) {
        let steps: Vec<Step> = missed
            .iter()
            .enumerate()
            .map(|(n, missed)| Step { text: format!("RUN step {n}"), missed: *missed })
            .collect();
        let whole = recorded(&journal(&steps, rounds, |key| 1.0 + f64::from(key.round)));
        let (header, trials) = pruned(&whole);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pruned.jsonl");
        let bytes = text(&header, &trials, whole.end.as_ref()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let kept = Recorded::read(&path).unwrap();
        // Saving what was saved changes no byte: stable under git.
        let (header, trials) = pruned(&kept);
        prop_assert_eq!(text(&header, &trials, kept.end.as_ref()).unwrap(), bytes);
        let (whole, kept) = (Analysis::of(&whole), Analysis::of(&kept));
        for (before, after) in [(&whole, &whole), (&kept, &whole)] {
            let checked = check(before, after, &Tolerances::default()).unwrap();
            let changed = checked.of(Verdict::Regressed).chain(checked.of(Verdict::Improved));
            prop_assert_eq!(changed.count(), 0);
        }
    }
}

#[test]
fn other_scenarios_and_runs_without_a_common_cell_are_refused() {
    let before = analysis(&good(), 1);
    let mut after = before.clone();
    after.header.scenario = "else".into();
    assert!(check(&before, &after, &Tolerances::default()).is_err());
    let mut after = before.clone();
    after.cells.clear();
    assert!(check(&before, &after, &Tolerances::default()).is_err());
}

#[test]
fn parts_are_joined_and_mixed_machines_or_doubles_are_refused() {
    let lines = journal(&good(), 2, |_| 1.0);
    let part = |round: u32| {
        let of_round = |line: &&Line| match line {
            Line::Trial(trial) => trial.key.round == round,
            _ => true,
        };
        let mut part = recorded(&lines.iter().filter(of_round).cloned().collect::<Vec<_>>());
        part.header.part = Some(format!("slice:{}/2", round + 1));
        part
    };
    let told = |run: &Recorded| {
        Analysis::of(run).warnings.iter().any(|w| w.to_string().contains("part slice"))
    };
    assert!(told(&part(0)));
    let named = |part: Recorded, name: &str| (PathBuf::from(name), part);
    let (header, trials, end) = merged(&[named(part(1), "b"), named(part(0), "a")], false).unwrap();
    let joined = recorded(
        &std::iter::once(Line::Header(Box::new(header)))
            .chain(trials.into_iter().map(|trial| Line::Trial(Box::new(trial))))
            .chain([Line::End(end)])
            .collect::<Vec<_>>(),
    );
    assert!(!told(&joined));
    let keys = |run: &Recorded| run.trials.iter().map(|t| t.key.clone()).collect::<Vec<_>>();
    let mut whole = keys(&recorded(&lines));
    whole.sort();
    assert_eq!(keys(&joined), whole);
    assert!(merged(&[named(part(0), "a"), named(part(0), "b")], false).is_err());
    // Two replays of one repository are of no scenario file that could tell them apart.
    let refused = |change: &dyn Fn(&mut Recorded)| {
        let mut other = part(1);
        change(&mut other);
        merged(&[named(part(0), "a"), named(other, "b")], true).unwrap_err().to_string()
    };
    let target = |other: &mut Recorded| other.header.targets = vec!["test".into()];
    assert!(refused(&target).contains("the targets"), "{}", refused(&target));
    let mut other = part(1);
    other.header.environment.cpu = "another".into();
    let parts = [named(part(0), "a"), named(other, "b")];
    assert!(merged(&parts, false).unwrap_err().to_string().contains("--mixed"));
    assert!(merged(&parts, true).is_ok());
    // A strategy whose cold builds another machine made is held against none.
    let of = |cold: bool, part: &mut Recorded| {
        part.trials.retain(|trial| (trial.key.strategy == "cold") == cold);
    };
    let (mut cold, mut warm) = (part(0), part(0));
    of(true, &mut cold);
    of(false, &mut warm);
    warm.header.environment.cpu = "another".into();
    let mut mixed = part(0);
    (mixed.header, mixed.trials, _) = merged(&[named(cold, "a"), named(warm, "b")], true).unwrap();
    assert!(Analysis::of(&mixed).cells.iter().all(|cell| cell.versus_cold.is_none()));
}
