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
        strategies: played.strategies.to_vec(),
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
        return Ok((journal, recorded.done()));
    }
    Ok((Journal::create(&path, &header)?, Default::default()))
}

/// The builders that rounds were dealt to, in that order; none where there was only one.
fn addresses(environment: &Environment) -> Vec<String> {
    environment.builders.iter().map(|builder| builder.address.clone()).collect()
}
