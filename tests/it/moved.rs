//! A `COPY` that moves above an installation and back, under strategies of several caches: made-up runs
//! of one round.

use cachefrom::check::{Checked, Finding, Rule, Tolerances, Verdict, check};
use cachefrom::journal::{FileChange, Outcome, Recorded, TrialRecord};
use cachefrom::measure::Analysis;
use cachefrom::strategy::{built_in, policies};

use crate::journals::published;

/// What a run builds: a Dockerfile, and for each target its steps and whether they are reused from the
/// second commit on. Every commit edits `a`.
struct Made<'a> {
    dockerfile: &'a str,
    builds: &'a [(&'a str, &'a [(&'a str, bool)])],
}

impl Made<'_> {
    /// One round of `strategies` over `commits` commits.
    fn run(&self, strategies: &[&str], commits: usize) -> Recorded {
        let mut run = published("check/sources.jsonl");
        let trial = run.trials.remove(0);
        run.header.rounds = 1;
        run.header.targets = self.builds.iter().map(|(target, _)| (*target).to_owned()).collect();
        let known = built_in().iter().chain(policies());
        let known = known.filter(|known| strategies.contains(&known.name.as_str()));
        run.header.strategies = known.cloned().collect();
        let first = run.header.commits[0].clone();
        run.header.commits.clear();
        for number in 0..commits {
            let mut commit = first.clone();
            commit.id = format!("{number:040}");
            commit.message = format!("commit {number}");
            commit.parent = number.checked_sub(1);
            commit.dockerfile = Some(self.dockerfile.to_owned());
            let object = Some(format!("{number:040}"));
            commit.changes =
                vec![FileChange { path: "a".into(), object, mode: 0o100644, target: None }];
            run.header.commits.push(commit);
        }
        run.trials.clear();
        for strategy in strategies {
            run.trials.extend((0..commits).map(|commit| self.trial(&trial, strategy, commit)));
        }
        run
    }

    /// The trial of `strategy` at `commit`, in all else like `template`.
    fn trial(&self, template: &TrialRecord, strategy: &str, commit: usize) -> TrialRecord {
        let mut trial = TrialRecord { outcome: Outcome::Built, ..template.clone() };
        trial.key.strategy = strategy.into();
        (trial.key.round, trial.key.commit) = (0, commit);
        let mut build = trial.builds[0].clone();
        build.import_errors.clear();
        let is_step = |name: &str| name.starts_with('[') && name.contains("RUN ");
        let vertex = build.trace.vertices.iter().find(|v| is_step(&v.name)).unwrap().clone();
        let warm = strategy != "cold" && commit > 0;
        let builds = self.builds.iter().map(|(target, steps)| {
            let mut build = build.clone();
            build.target = Some((*target).to_owned());
            let steps = steps.iter().enumerate().map(|(number, (name, reused))| {
                let mut vertex = vertex.clone();
                vertex.digest = format!("sha256:{target}{number}");
                vertex.name = (*name).to_owned();
                vertex.inputs.clear();
                vertex.cached = warm && *reused;
                vertex
            });
            build.trace.vertices = steps.collect();
            build
        });
        trial.builds = builds.collect();
        trial
    }
}

fn checked(before: &Recorded, after: &Recorded) -> Checked {
    check(&Analysis::of(before), &Analysis::of(after), &Tolerances::default()).unwrap()
}

/// What is said of the reuse of steps that is not a pass.
fn told(checked: &Checked) -> Vec<&Finding> {
    let own = |finding: &&Finding| finding.rule == Rule::Reuse && finding.verdict != Verdict::Pass;
    checked.findings.iter().filter(own).collect()
}

/// That `step`, which `good` reuses and `bad` does not, is lost the one way and gained the other.
fn is_caught(good: &Recorded, bad: &Recorded, step: &str) {
    for (before, after, verdict) in
        [(good, bad, Verdict::Regressed), (bad, good, Verdict::Improved)]
    {
        let checked = checked(before, after);
        assert_eq!(checked.verdict(), verdict, "{:#?}", told(&checked));
        for finding in told(&checked) {
            assert_eq!(finding.verdict, verdict, "{finding}");
            assert!(finding.step.as_ref().is_some_and(|own| own.ends_with(step)), "{finding}");
        }
    }
    for run in [good, bad] {
        assert!(told(&checked(run, run)).is_empty());
    }
}

/// The last of two stages installs and copies.
const LAST: [Made<'_>; 2] = [
    Made {
        dockerfile: "FROM busybox AS made\nRUN make\nFROM busybox AS release\nRUN install\nCOPY a /a\n",
        builds: &[
            ("made", &[("[made 2/2] RUN make", true)]),
            ("release", &[("[release 2/3] RUN install", true), ("[release 3/3] COPY a /a", false)]),
        ],
    },
    Made {
        dockerfile: "FROM busybox AS made\nRUN make\nFROM busybox AS release\nCOPY a /a\nRUN install\n",
        builds: &[
            ("made", &[("[made 2/2] RUN make", true)]),
            (
                "release",
                &[("[release 2/3] COPY a /a", false), ("[release 3/3] RUN install", false)],
            ),
        ],
    },
];

#[test]
fn a_copy_moved_in_the_last_of_several_stages_is_caught_in_one_round() {
    let [good, bad] = LAST.map(|made| made.run(&["cold", "stages", "from-last-3"], 3));
    is_caught(&good, &bad, "RUN install");
}

/// The install is in a stage that another starts from, and the copy in the one or the other.
const ACROSS: [Made<'_>; 2] = [
    Made {
        dockerfile: "FROM busybox AS deps\nRUN install\nFROM deps AS build\nCOPY a /a\nRUN make\n",
        builds: &[
            ("deps", &[("[deps 2/2] RUN install", true)]),
            (
                "build",
                &[
                    ("[deps 2/2] RUN install", true),
                    ("[build 1/2] COPY a /a", false),
                    ("[build 2/2] RUN make", false),
                ],
            ),
        ],
    },
    Made {
        dockerfile: "FROM busybox AS deps\nCOPY a /a\nRUN install\nFROM deps AS build\nRUN make\n",
        builds: &[
            ("deps", &[("[deps 2/3] COPY a /a", false), ("[deps 3/3] RUN install", false)]),
            (
                "build",
                &[
                    ("[deps 2/3] COPY a /a", false),
                    ("[deps 3/3] RUN install", false),
                    ("[build 1/1] RUN make", false),
                ],
            ),
        ],
    },
];

#[test]
fn a_copy_moved_into_another_stage_is_caught_in_one_round() {
    let [good, bad] = ACROSS.map(|made| made.run(&["cold", "stages", "from-last-3"], 3));
    is_caught(&good, &bad, "RUN install");
}

#[test]
fn a_step_missed_while_one_of_its_caches_cannot_be_imported_may_be_chance() {
    let [good, _] = LAST.map(|made| made.run(&["cold", "from-last-3"], 4));
    let missed = |failed: &[usize]| {
        let mut run = good.clone();
        let own = |trial: &&mut TrialRecord| trial.key.strategy != "cold" && trial.key.commit == 3;
        let build = &mut run.trials.iter_mut().find(own).unwrap().builds[1];
        build.trace.vertices[0].cached = false;
        let message =
            |of: &usize| format!("127.0.0.1:1/x/r0/from-last-3:release-{of:040}: not found");
        build.import_errors = failed.iter().map(message).collect();
        checked(&good, &run).verdict()
    };
    assert_eq!(missed(&[]), Verdict::CannotTell);
    assert_eq!(missed(&[0]), Verdict::CannotTell);
    assert_eq!(missed(&[0, 1, 2]), Verdict::Regressed);
}
