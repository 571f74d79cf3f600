//! The journal of a run, new or gone on with, and its header: everything that may vary.

use std::collections::BTreeSet;

use crate::journal::{Environment, Header, ImageSource, Journal, SCHEMA, Skipped, TrialKey};
use crate::strategy::Strategy;

use super::{RunError, Setup, commit, environment, links};

/// What the journal's header says of a run beside what was asked for.
pub struct Played<'a> {
    pub strategies: &'a [Strategy],
    pub skipped: Vec<Skipped>,
    pub commits: usize,
    /// How many trials that makes in the part of the run that is played.
    pub trials: usize,
    pub environment: Environment,
    pub images: Vec<ImageSource>,
}

/// The journal to write to, and the trials that are in it already.
pub fn open_journal(
    setup: &Setup<'_>,
    played: Played<'_>,
) -> Result<(Journal, BTreeSet<TrialKey>), RunError> {
    let scenario = &setup.loaded.scenario;
    let path = crate::journal::path_in(&setup.options.out);
    let header = Header {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        title: scenario.title.clone(),
        scenario_sha256: environment::sha256_of(&setup.loaded.path),
        seed: setup.options.seed,
        rounds: setup.options.rounds,
        part: setup.options.partition.map(|partition| partition.to_string()),
        part_trials: setup.options.partition.map(|_| played.trials),
        strategies: played.strategies.iter().map(Strategy::without_credentials).collect(),
        skipped: played.skipped,
        commits: setup.history.commits()[..played.commits]
            .iter()
            .map(|commit| commit::record(setup.history, commit, &scenario.build.dockerfile))
            .collect::<Result<_, _>>()?,
        default_branch: setup.history.default_branch().to_owned(),
        targets: scenario.build.targets.clone(),
        links: links(setup.loaded, setup.options),
        environment: played.environment,
        images: played.images,
    };
    if setup.options.resume && path.exists() {
        let (journal, recorded) = Journal::resume(&path)?;
        let same = recorded.header.scenario_sha256 == header.scenario_sha256
            && recorded.header.seed == header.seed
            && recorded.header.commits == header.commits;
        if !same {
            return Err(RunError::OtherRun { path });
        }
        let before = addresses(&recorded.header.environment);
        if before != addresses(&header.environment) {
            return Err(RunError::OtherBuilders { path, before });
        }
        let differences = differences(&recorded.header, &header);
        if !differences.is_empty() {
            return Err(RunError::OtherCircumstances { path, differences });
        }
        return Ok((journal, recorded.done()));
    }
    Ok((Journal::create(&path, &header)?, Default::default()))
}

/// What of a run is not `now` as it was `before`, so that trials of both are not of one run.
///
/// Journals of older versions do not hold everything; what one of the two does not say is not asked.
fn differences(before: &Header, now: &Header) -> Vec<String> {
    let (old, new) = (&before.environment, &now.environment);
    let registry = |environment: &Environment| match &environment.registry {
        Some(registry) => registry.repository.clone(),
        None => "the embedded one".to_owned(),
    };
    let targets = |header: &Header| match header.targets.as_slice() {
        [] => "the last stage".to_owned(),
        targets => targets.join(", "),
    };
    let part = |header: &Header| header.part.clone().unwrap_or_else(|| "the whole".to_owned());
    let words = [
        ("the builder", kind_of(&old.builder), kind_of(&new.builder)),
        ("the engine", old.engine.clone(), new.engine.clone()),
        ("the storage driver", old.storage_driver.clone(), new.storage_driver.clone()),
        ("the platform", old.platform.clone(), new.platform.clone()),
        ("the network of RUN steps", old.network.clone(), new.network.clone()),
        ("the CPU", processor(old), processor(new)),
        ("the registry", registry(old), registry(new)),
        ("what is built", targets(before), targets(now)),
        ("the part of the run", part(before), part(now)),
        ("the default branch", before.default_branch.clone(), now.default_branch.clone()),
    ];
    let images = now.images.iter().filter_map(|image| {
        let was = before.images.iter().find(|known| known.reference == image.reference)?;
        Some((image.reference.as_str(), was.digest.clone(), image.digest.clone()))
    });
    let mut found: Vec<String> = words
        .into_iter()
        .chain(images)
        .filter(|(_, was, is)| !was.is_empty() && !is.is_empty() && was != is)
        .map(|(what, was, is)| format!("{what} was {was} and is {is}"))
        .collect();
    for strategy in &now.strategies {
        let other = |known: &&Strategy| known.name == strategy.name && *known != strategy;
        if before.strategies.iter().any(|known| other(&known)) {
            found.push(format!("the strategy {} was defined otherwise", strategy.name));
        }
    }
    for link in &now.links {
        if before.links.iter().any(|known| known.name == link.name && known != link) {
            found.push(format!("the link {} was defined otherwise", link.name));
        }
    }
    found
}

/// A builder's address; of private engines, which are as good from any path, only its scheme.
fn kind_of(address: &str) -> String {
    match address.starts_with("dockerd://") {
        true => "dockerd://".to_owned(),
        false => address.to_owned(),
    }
}

fn processor(environment: &Environment) -> String {
    match environment.cpu.as_str() {
        "" => String::new(),
        cpu => format!("{cpu} ({} cores)", environment.cores),
    }
}

/// The builders that rounds were dealt to, in that order; none where there was only one.
fn addresses(environment: &Environment) -> Vec<String> {
    environment.builders.iter().map(|builder| builder.address.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::journal::{RealRegistry, Recorded};

    fn header() -> Header {
        let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25");
        Recorded::read(&published.join("journal.jsonl")).unwrap().header
    }

    #[test]
    fn a_run_goes_on_only_where_it_was_begun() {
        let before = header();
        assert_eq!(differences(&before, &before), Vec::<String>::new());
        let changed = |change: &dyn Fn(&mut Header)| {
            let mut now = before.clone();
            change(&mut now);
            differences(&before, &now)
        };
        let one = |change: &dyn Fn(&mut Header), expected: &str| {
            let found = changed(change);
            assert!(matches!(&found[..], [one] if one.starts_with(expected)), "{found:?}");
        };
        one(&|now| now.environment.engine = "1.2.3".into(), "the engine was ");
        one(&|now| now.environment.builder = "docker://".into(), "the builder was dockerd:// and");
        one(&|now| now.environment.storage_driver = "native".into(), "the storage driver was ");
        one(&|now| now.environment.cores += 1, "the CPU was ");
        one(&|now| now.targets = vec!["other".into()], "what is built was ");
        one(&|now| now.images[0].digest = "sha256:0".into(), &before.images[0].reference);
        one(
            &|now| now.strategies[0].no_cache = !now.strategies[0].no_cache,
            &format!("the strategy {} was", before.strategies[0].name),
        );
        let real = RealRegistry { repository: "a.example/b".into(), accepts: Default::default() };
        one(
            &|now| now.environment.registry = Some(real.clone()),
            "the registry was the embedded one and is a.example/b",
        );
        let elsewhere = "dockerd:///elsewhere/dockerd";
        assert_eq!(changed(&|now| now.environment.builder = elsewhere.into()), [""; 0]);
        // A version before this one did not say.
        let mut older = before.clone();
        older.environment.network.clear();
        older.environment.builder.clear();
        assert_eq!(differences(&older, &before), [""; 0]);
    }
}
