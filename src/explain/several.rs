//! Misses of builds that could read several caches.

use super::made_up::{edited, recorded, trial};
use super::*;
use crate::journal::{CommitRecord, Recorded, TrialRecord};

/// A trial whose steps are split over builds of `targets`, each with its own.
fn built(strategy: &str, commit: usize, builds: &[(&str, &[(&str, bool)])]) -> TrialRecord {
    let mut whole = trial(strategy, commit, &[]);
    whole.builds = builds
        .iter()
        .flat_map(|(target, steps)| {
            let mut builds = trial(strategy, commit, steps).builds;
            builds.iter_mut().for_each(|build| build.target = Some((*target).to_owned()));
            builds
        })
        .collect();
    whole
}

/// The misses of the last trial of `recorded`.
fn last(recorded: &Recorded) -> Vec<Miss> {
    explain(&Analysis::of(recorded)).last().unwrap().misses
}

fn cause<'m>(misses: &'m [Miss], step: &str) -> &'m Cause {
    &misses.iter().find(|miss| miss.step.contains(step)).unwrap().cause
}

#[test]
fn a_cache_of_the_same_commit_that_lacks_a_step_does_not_hide_what_changed_in_it() {
    let text = "FROM busybox AS made\nRUN make\nFROM busybox AS release\nCOPY a /a\nRUN tools\n";
    let commits: Vec<CommitRecord> =
        ["1", "2"].map(|content| edited(text, &[("a", content)])).into();
    let made = |cached| [("[made 2/2] RUN make", cached)];
    let release = [("[release 2/3] COPY a /a", false), ("[release 3/3] RUN tools", false)];
    let trials = [false, true].map(|later| {
        let builds = [("made", &made(later)[..]), ("release", &release[..])];
        built("stages", usize::from(later), &builds)
    });
    let mut recorded = recorded(&["stages"], commits, trials.into());
    recorded.header.targets = ["made", "release"].map(String::from).into();
    let misses = last(&recorded);
    assert!(matches!(cause(&misses, "COPY"), Cause::Files { count: 1, .. }), "{misses:#?}");
    assert_eq!(misses[0].against, Some(0));
    assert!(matches!(cause(&misses, "RUN tools"), Cause::Above { .. }), "{misses:#?}");
    // That cache is all there is to be read at the first commit.
    recorded.trials.pop();
    let misses = last(&recorded);
    assert!(matches!(cause(&misses, "COPY"), Cause::LeftOut { .. }), "{misses:#?}");
}

#[test]
fn a_failed_import_is_the_cause_where_no_other_cache_held_the_step() {
    let text = "FROM busybox\nRUN install\nCOPY a /a\n";
    let commits: Vec<CommitRecord> =
        (0..4).map(|number: usize| edited(text, &[("a", &number.to_string())])).collect();
    let steps = [("[2/3] RUN install", false), ("[3/3] COPY a /a", false)];
    let trials = (0..4).map(|commit| trial("from-last-3", commit, &steps)).collect();
    let mut recorded = recorded(&[], commits, trials);
    let policies = crate::strategy::policies().iter();
    recorded.header.strategies =
        policies.filter(|known| known.name == "from-last-3").cloned().collect();
    let failed = |commit: usize| {
        let cache = format!("127.0.0.1:1/x/r0/from-last-3:image-{commit:040}");
        format!("{cache}: failed to configure registry cache importer: {cache}: not found")
    };
    let mut told = |commits: &[usize]| {
        recorded.trials[3].builds[0].import_errors = commits.iter().map(|of| failed(*of)).collect();
        cause(&last(&recorded), "RUN install").clone()
    };
    let unexplained = Cause::Unexplained { caches: 3 };
    assert_eq!(told(&[]), unexplained);
    assert_eq!(told(&[0]), unexplained);
    assert_eq!(told(&[0, 2]), unexplained);
    assert_eq!(told(&[0, 1, 2]), Cause::ImportFailed { message: failed(2) }, "the nearest one");
}

#[test]
fn a_message_that_names_no_cache_is_about_the_only_one() {
    let text = "FROM busybox\nRUN install\n";
    let built = |commit| trial("registry-max", commit, &[("[2/2] RUN install", false)]);
    let commits = vec![edited(text, &[]), edited(text, &[])];
    let mut recorded = recorded(&["registry-max"], commits, vec![built(0), built(1)]);
    let message = "the engine tried no cache import".to_owned();
    recorded.trials[1].builds[0].import_errors = vec![message.clone()];
    assert_eq!(cause(&last(&recorded), "RUN install"), &Cause::ImportFailed { message });
}
