//! One builder of a run, with the registry, links and base images that it alone uses.
//!
//! Builders of different machines build at the same time, so nothing that is counted, shaped or told
//! to fail may be common to two of them.

use std::path::Path;
use std::sync::Arc;

use crate::engine::{self, EngineAddress, Engines, Machine, Place};
use crate::journal::{Environment, RealRegistry};
use crate::registry::relay::Relay;
use crate::registry::{FarEnd, Registry};
use crate::scenario::Loaded;
use crate::trial::{self, Worker};

use super::abilities::Abilities;
use super::{
    Event, OnEvent, Options, RunError, Way, create, environment, links, local_name, not_seen,
};

/// What is common to the builders of a run.
pub struct Opening<'a> {
    pub loaded: &'a Loaded,
    pub options: &'a Options,
    pub on_event: OnEvent<'a>,
    /// The run's directory.
    pub scratch: &'a Path,
    pub relay: Option<&'a Arc<Relay>>,
}

/// A builder that answers.
pub struct Site {
    // Before the registry that they ask.
    pub engines: Box<dyn Engines>,
    pub registry: Registry,
    pub ways: Vec<Way>,
    pub machine: Machine,
    pub environment: Environment,
    worker: Worker,
}

/// Every builder of `opening.options`; private engines where none is named.
pub async fn open(opening: &Opening<'_>) -> Result<Vec<Site>, RunError> {
    let builders = &opening.options.builders;
    if builders.is_empty() {
        return Ok(vec![Site::open(opening, None, opening.scratch).await?]);
    }
    let mut sites = vec![];
    for (number, builder) in builders.iter().enumerate() {
        // The first stays where the run is: its sockets' paths are to be as short as can be.
        let own = match number {
            0 => opening.scratch.to_owned(),
            _ => opening.scratch.join(format!("b{number}")),
        };
        create(&own)?;
        sites.push(Site::open(opening, Some(builder), &own).await?);
    }
    Ok(sites)
}

impl Site {
    async fn open(
        opening: &Opening<'_>,
        builder: Option<&EngineAddress>,
        own: &Path,
    ) -> Result<Self, RunError> {
        let Opening { loaded, options, on_event, relay, .. } = *opening;
        let registry = Registry::start(own.join("registry")).await?;
        if let Some(relay) = relay {
            registry.relay(Arc::clone(relay));
        }
        let mut ways = vec![];
        for link in links(loaded, options) {
            let far = registry.far(&link).await?;
            ways.push(Way { far: Some(far), link: Some(link) });
        }
        if ways.is_empty() {
            ways.push(Way { link: None, far: None });
        }
        let addresses = ways.iter().filter_map(|way| way.far.as_ref()).map(FarEnd::address);
        let addresses = addresses.chain([registry.address()]).map(|address| format!("{address}/"));
        let place = Place {
            cache_dir: options.cache_dir.clone(),
            run_root: own.to_owned(),
            registry: Some(registry.address()),
            own_images: addresses.chain([format!("{}/", local_name(loaded))]).collect(),
            allow_prune: options.allow_prune,
            tls: options.tls.clone(),
        };
        let notice = |text: &str| on_event(Event::Notice(text));
        let engines = engine::open(builder, place, &notice).await?;
        let control = engines.look().await?;
        let worker = trial::look(control.clone())
            .await
            .map_err(|error| not_seen(&error, builder, options.tls.as_ref()))?;
        let environment = environment::environment(&*engines, &control, &worker).await?;
        let machine = Machine::of(builder).await;
        Ok(Self { engines, registry, ways, machine, environment, worker })
    }

    /// What its engines are known to be able to do, with `remote` in the place of its registry.
    pub fn abilities(&self, remote: Option<RealRegistry>) -> Abilities {
        Abilities {
            fresh: self.engines.terms().fresh.clone(),
            local: self.engines.terms().local,
            worker: Some(self.worker.clone()),
            remote,
        }
    }
}
