//! Faults of the registry under real engines: a build either succeeds with the right image or fails
//! with a clear outcome, the journal tells what fired, and nothing hangs.

use cachefrom::fault::Wrong;
use cachefrom::journal::Outcome;

use crate::faults::{Case, ended};

const EVERY: [&str; 7] =
    ["too-many-requests", "internal-error", "unavailable", "close", "stall", "truncate", "corrupt"];

const DOCKERFILE: &str = "FROM busybox\nRUN seq 20000 >/numbers\nCOPY file /\n";

fn scenario(strategy: &str, fault: &str) -> String {
    format!(
        "strategies = [\"{strategy}\"]\n[build]\n[[fault]]\n{fault}\n\
         [[verify]]\nargs = [\"tail\", \"-n\", \"1\", \"/numbers\", \"/file\"]\nstdout = \"20000\"\n"
    )
}

/// Plays it and says what became of the two trials; both met the fault where it was to be met.
fn play(scenario: &str, does: &str) -> Vec<Outcome> {
    let case = Case::new(DOCKERFILE, scenario);
    let (code, stderr) = ended(&case.run());
    let recorded = case.recorded();
    assert_eq!(recorded.trials.len(), 2, "{does}: {stderr}");
    let fired: Vec<Wrong> = recorded
        .trials
        .iter()
        .flat_map(|trial| trial.metered.faults.iter().map(|fired| fired.does))
        .collect();
    assert!(!fired.is_empty(), "{does} met nobody: {stderr}");
    let outcomes: Vec<Outcome> = recorded.trials.into_iter().map(|trial| trial.outcome).collect();
    for outcome in &outcomes {
        match outcome {
            Outcome::Built => {}
            Outcome::BuildFailed { message, .. } => {
                assert!(!message.is_empty() && stderr.contains("failed"), "{does}: {stderr}");
            }
            other => panic!("{does}: {other:?}\n{stderr}"),
        }
    }
    let failed = outcomes.iter().any(|outcome| *outcome != Outcome::Built);
    assert_eq!(code, Some(if failed { 5 } else { 0 }), "{does}: {stderr}");
    case.assert_nothing_left();
    outcomes
}

#[test]
fn whatever_goes_wrong_while_a_cache_is_imported_the_image_is_right_or_the_build_says_why() {
    for does in EVERY {
        for kind in ["manifest", "blob"] {
            let fault = format!(
                "does = \"{does}\"\nmethod = \"GET\"\nkind = \"{kind}\"\nrepository = \"fault/*\""
            );
            let outcomes = play(&scenario("registry-max", &fault), &format!("{does} {kind}"));
            // The first commit has nothing to import.
            assert_eq!(outcomes[0], Outcome::Built, "{does} {kind}");
        }
    }
}

#[test]
fn whatever_goes_wrong_while_a_cache_is_exported_the_image_is_right_or_the_build_says_why() {
    for does in EVERY {
        let fault = format!("does = \"{does}\"\nmethod = \"PUT\"\nrepository = \"fault/*\"");
        play(&scenario("registry-max", &fault), does);
    }
}

/// A strategy that exports a cache to a registry that is down.
fn export(more: &str) -> String {
    format!(
        "strategies = [\"own\"]\n[build]\n[[strategy]]\nname = \"own\"\nengine = \"fresh\"\n\
         export = [{{ type = \"registry\", ref = \"{{repo}}:cache\"{more} }}]\n\
         [[fault]]\ndoes = \"internal-error\"\ntimes = 100000\nkind = \"upload\"\n"
    )
}

#[test]
fn ignore_error_builds_on_without_the_cache_and_nothing_else_does() {
    let outcomes = play(&export(", ignore-error = \"true\""), "ignored");
    assert_eq!(outcomes, [Outcome::Built, Outcome::Built]);
    let outcomes = play(&export(""), "not ignored");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::BuildFailed { .. })));
}

#[test]
fn a_cache_that_grows_is_weighed_after_every_commit() {
    let case = Case::new(DOCKERFILE, "strategies = [\"registry-max\"]\n[build]\n");
    let (code, stderr) = ended(&case.run());
    assert_eq!(code, Some(0), "{stderr}");
    let sizes: Vec<_> = case
        .recorded()
        .trials
        .iter()
        .map(|trial| {
            let caches = trial.metered.stored.iter();
            let mut caches = caches.filter(|(name, _)| name.as_str().starts_with("fault/"));
            *caches.next().expect("the cache's repository").1
        })
        .collect();
    // The second commit's layer and cache configuration take the first one's place in the tag.
    assert_eq!(sizes[0].unreachable_bytes.0, 0);
    assert!(sizes[1].blobs > sizes[0].blobs && sizes[1].bytes > sizes[0].bytes, "{sizes:?}");
    assert!(sizes[1].unreachable_bytes.0 > 0, "{sizes:?}");
}
