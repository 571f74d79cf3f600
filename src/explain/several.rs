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
