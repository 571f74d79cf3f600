//! What makes the comparison of two runs weaker than it looks: sentences, for `check` and `compare`.

use crate::journal::Header;
use crate::link::LinkProfile;
use crate::measure::{Analysis, Warning};

/// What one journal lacks or repeats; `whose` is what it is called.
pub fn of_journal(analysis: &Analysis, whose: &str) -> Vec<String> {
    let told = analysis.warnings.iter().filter(|warning| match warning {
        Warning::Cut
        | Warning::Unfinished
        | Warning::Missing { .. }
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
        | Warning::SeveralBuilders { .. } => false,
    });
    told.map(|warning| format!("{whose}: {warning}")).collect()
}

/// What was asked of two runs under the same names and is not the same.
pub fn of_definitions(before: &Header, after: &Header) -> Vec<String> {
    let mut found = vec![];
    if before.targets != after.targets {
        let (was, is) = (before.targets.join(", "), after.targets.join(", "));
        found.push(format!("the targets were {was:?} and are {is:?}"));
    }
    for strategy in &after.strategies {
        let other = before.strategies.iter().find(|other| other.name == strategy.name);
        if other.is_some_and(|other| {
            (other.engine, other.no_cache, &other.imports, &other.exports, &other.push)
                != (
                    strategy.engine,
                    strategy.no_cache,
                    &strategy.imports,
                    &strategy.exports,
                    &strategy.push,
                )
        }) {
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
    let of = |header: &Header| header.links.iter().find(|link| Some(&link.name) == name).cloned();
    let (was, is): (LinkProfile, LinkProfile) = (of(before)?, of(after)?);
    (was != is).then(|| format!("link {} was {} and is {}", was.name, numbers(&was), numbers(&is)))
}

fn numbers(link: &LinkProfile) -> String {
    let bits = |bits: Option<u64>| bits.map_or("unlimited".into(), |bits| format!("{bits} bit/s"));
    format!("latency {}, down {}, up {}", link.latency, bits(link.down), bits(link.up))
}
