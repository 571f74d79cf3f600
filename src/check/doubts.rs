//! What makes the comparison of two runs weaker than it looks: sentences, for `check` and `compare`.

use crate::journal::Header;
use crate::link::LinkProfile;
use crate::measure::{Analysis, Place, Warning};
use crate::strategy::Strategy;

/// What one journal lacks or repeats; `whose` is what it is called.
pub fn of_journal(analysis: &Analysis, whose: &str) -> Vec<String> {
    let told = analysis.warnings.iter().filter(|warning| match warning {
        Warning::Cut
        | Warning::Unfinished
        | Warning::Missing { .. }
        | Warning::Part { .. }
        | Warning::Repeated { .. }
        | Warning::UnknownCommit { .. }
        | Warning::Skipped { .. }
        | Warning::NothingBuilt { .. } => true,
        Warning::FewRounds { .. }
        | Warning::Failed { .. }
        | Warning::Outliers { .. }
        | Warning::Flaky { .. }
        | Warning::FailedImports { .. }
        | Warning::CachedButSlow { .. }
        | Warning::SecondOpinion { .. }
        | Warning::FirstRound { .. }
        | Warning::Drift { .. }
        | Warning::NoCold
        | Warning::Uncounted { .. }
        | Warning::Limit { .. }
        | Warning::SeveralBuilders { .. } => false,
    });
    told.map(|warning| format!("{whose}: {warning}")).collect()
}

/// That the cells at `places` begin the sequence in one run only, if there are any.
pub fn of_first_in_one(places: &[Place]) -> Option<String> {
    let names: Vec<String> = places.iter().map(Place::to_string).collect();
    let why = "not compared, since the commit begins the sequence in one of the runs";
    (!names.is_empty()).then(|| format!("{why}: {}", names.join(", ")))
}

/// That two runs of one scenario were not run from the same file; `before` is what the first is called.
pub fn of_scenario_file((before, earlier): (&str, &Header), later: &Header) -> Option<String> {
    let edited =
        earlier.scenario == later.scenario && earlier.scenario_sha256 != later.scenario_sha256;
    let sentence = "what differs may come from its edits";
    edited
        .then(|| format!("the scenario file is not the one that {before} was run from; {sentence}"))
}

/// What was asked of two runs under the same names and is not the same.
pub fn of_definitions(before: &Header, after: &Header) -> Vec<String> {
    let mut found = vec![];
    if before.targets != after.targets {
        let (was, is) = (before.targets.join(", "), after.targets.join(", "));
        found.push(format!("the targets were {was:?} and are {is:?}"));
    }
    for strategy in &after.strategies {
        let other = before.strategy(&strategy.name);
        let described = |other: &Strategy| Strategy {
            description: strategy.description.clone(),
            ..other.clone()
        };
        if other.is_some_and(|other| described(other) != *strategy) {
            found.push(format!(
                "strategy {} imports, exports or runs otherwise than before",
                strategy.name
            ));
        }
    }
    for link in &after.links {
        found.extend(other_link(before, after, Some(&link.name)));
    }
    found
}

/// That the link called `name` is another one now.
pub fn other_link(before: &Header, after: &Header, name: Option<&String>) -> Option<String> {
    let find = |link: &&LinkProfile| Some(&link.name) == name;
    let (was, is) = (before.links.iter().find(find)?, after.links.iter().find(find)?);
    (was != is).then(|| format!("link {} was {} and is {}", was.name, numbers(was), numbers(is)))
}

fn numbers(link: &LinkProfile) -> String {
    let bits = |bits: Option<u64>| bits.map_or("unlimited".into(), |bits| format!("{bits} bit/s"));
    format!("latency {}, down {}, up {}", link.latency, bits(link.down), bits(link.up))
}
