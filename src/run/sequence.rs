//! One strategy over the commits of one round, with the engine or engines it needs.

use std::time::Instant;

use crate::engine::{EngineOptions, PrivateEngine};
use crate::journal::{Outcome, TrialKey, TrialRecord};
use crate::strategy::{EngineUse, Position, Strategy, plan};
use crate::trial;
use crate::units::Nanos;

use super::Setup;
use super::prepare::Bases;

/// A strategy being played; owns its kept engine, if it keeps one.
pub struct Sequence<'a> {
    setup: &'a Setup<'a>,
    strategy: &'a Strategy,
    bases: &'a Bases,
    /// A repository no other strategy or round writes to, so that every first push is a first.
    repo: String,
    shared_key: String,
    kept: Option<PrivateEngine>,
}

impl<'a> Sequence<'a> {
    pub fn new(setup: &'a Setup<'a>, strategy: &'a Strategy, round: u32, bases: &'a Bases) -> Self {
        let name = &setup.loaded.scenario.name;
        let repo = format!("{}/{name}/r{round}/{}", setup.registry.address(), strategy.name);
        let shared_key = format!("cachefrom:{name}:r{round}:{}", strategy.name);
        Self { setup, strategy, bases, repo, shared_key, kept: None }
    }

    /// The trial of the commit at `index`.
    pub async fn trial(&mut self, key: TrialKey, index: usize) -> TrialRecord {
        match self.observe(key.clone(), index).await {
            Ok(record) => record,
            Err(message) => TrialRecord {
                key,
                outcome: Outcome::Broken { message },
                builds: vec![],
                verifications: vec![],
                engine_start: None,
                checkout: Nanos::default(),
                cache_records_before: 0,
                metered: Default::default(),
            },
        }
    }

    async fn observe(&mut self, key: TrialKey, index: usize) -> Result<TrialRecord, String> {
        let setup = self.setup;
        let scenario = &setup.loaded.scenario;
        let commits = setup.history.commits();
        let commit = &commits[index];
        let merge_base = commits
            .iter()
            .take(index)
            .rev()
            .find(|other| other.branch != commit.branch)
            .and_then(|other| setup.history.merge_base(index, other.index).ok().flatten());
        let position = Position {
            repo: self.repo.clone(),
            commit: commit.id.clone(),
            parent: commit.parent.map(|parent| commits[parent].id.clone()),
            branch: commit.branch.clone(),
            merge_base: merge_base.map(|base| commits[base].id.clone()),
            targets: scenario.build.targets.clone(),
        };
        let cache_plan = plan(self.strategy, &position);

        let clock = Instant::now();
        let context = tempfile::Builder::new()
            .prefix("context-")
            .tempdir_in(setup.scratch)
            .map_err(|error| format!("cannot create a build context: {error}"))?;
        setup.history.checkout(index, context.path()).map_err(|error| error.to_string())?;
        let checkout = Nanos::of(clock.elapsed());

        let (engine, engine_start) = match self.kept.take() {
            Some(engine) => (engine, None),
            None => {
                let engine = PrivateEngine::start(setup.binaries, self.engine_options())
                    .await
                    .map_err(|error| error.to_string())?;
                let start = engine.start_time();
                (engine, Some(start))
            }
        };
        let record = trial::run(&trial::Setting {
            key,
            engine: &engine,
            registry: setup.registry,
            plan: &cache_plan,
            context: context.path(),
            dockerfile: &scenario.build.dockerfile,
            args: &commit.args,
            verify: scenario
                .verify
                .iter()
                .filter(|v| v.commits.is_empty() || v.commits.contains(&commit.message))
                .collect(),
            local_name: format!("cachefrom/{}", scenario.name),
            local_tag: commit.id.clone(),
            shared_key: self.shared_key.clone(),
            checkout,
            engine_start,
            bases: if self.bases.golden.is_some() { self.bases.images.len() } else { 0 },
        })
        .await;
        match self.strategy.engine {
            EngineUse::Fresh => {
                engine.stop().await.map_err(|error| error.to_string())?;
            }
            // A kept engine that broke is not used again: the next commit starts a new one.
            EngineUse::Kept if matches!(record.outcome, Outcome::Broken { .. }) => drop(engine),
            EngineUse::Kept => self.kept = Some(engine),
        }
        Ok(record)
    }

    fn engine_options(&self) -> EngineOptions {
        EngineOptions {
            run_root: self.setup.scratch.to_path_buf(),
            mirror: Some(self.setup.registry.address()),
            golden: self.bases.golden.clone(),
        }
    }

    /// Stops the kept engine.
    pub async fn finish(mut self) {
        if let Some(engine) = self.kept.take() {
            // What it measured is recorded; its guard has removed it even if this fails.
            let _ = engine.stop().await;
        }
    }
}
