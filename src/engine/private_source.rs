//! Private engines as a run's source: a new dockerd for every wish, from one golden data root.
//!
//! The engine that is looked at first is also the one that pulls the base images, since both need
//! one that is up; it builds nothing and becomes the golden data root. The files of an engine that
//! has ended are removed while the next one starts, since most of both is waiting.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::private::Remains;
use super::source::{Control, Engine, Engines, Fresh, Place, Terms};
use super::{Binaries, EngineError, EngineOptions, PrivateEngine, docker, probe};
use crate::units::Nanos;

/// See [`PrivateEngine`].
#[derive(Debug)]
pub struct PrivateEngines {
    binaries: Binaries,
    place: Place,
    terms: Terms,
    state: Mutex<State>,
    /// Of engines that have ended.
    remains: Arc<Mutex<Vec<Remains>>>,
}

#[derive(Debug, Default)]
struct State {
    looked_at: Option<PrivateEngine>,
    /// A data root with base images, and how many.
    golden: Option<(PathBuf, usize)>,
}

impl PrivateEngines {
    pub fn new(binaries: Binaries, place: Place) -> Self {
        let terms = Terms {
            fresh: Fresh::New,
            mirrored: true,
            local: true,
            host_network: true,
            docker_api: true,
        };
        Self { binaries, place, terms, state: Mutex::default(), remains: Arc::default() }
    }

    async fn engine(&self, golden: Option<PathBuf>) -> Result<PrivateEngine, EngineError> {
        let run_root = self.place.run_root.clone();
        let options = EngineOptions { run_root, mirror: self.place.registry, golden };
        PrivateEngine::start(&self.binaries, options).await
    }

    /// Removes the files of all engines that have ended.
    async fn clear(&self) -> Result<(), EngineError> {
        let remains = std::mem::take(&mut *self.remains.lock().await);
        for remains in remains {
            remains.remove().await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Engines for PrivateEngines {
    fn address(&self) -> String {
        format!("dockerd://{}", self.binaries.dockerd.display())
    }

    fn describe(&self) -> String {
        format!("dockerd {} ({})", self.binaries.version, self.binaries.source)
    }

    fn terms(&self) -> &Terms {
        &self.terms
    }

    async fn look(&self) -> Result<Control, EngineError> {
        let mut state = self.state.lock().await;
        if state.looked_at.is_none() {
            state.looked_at = Some(self.engine(None).await?);
        }
        let engine = state.looked_at.as_ref().map(PrivateEngine::socket);
        Ok(Control::Docker(engine.unwrap_or(Path::new("")).to_owned()))
    }

    async fn warm(&self, images: &[String]) -> Result<bool, EngineError> {
        let mut state = self.state.lock().await;
        let engine = match state.looked_at.take() {
            Some(engine) => engine,
            None if images.is_empty() => return Ok(true),
            None => self.engine(None).await?,
        };
        if images.is_empty() {
            engine.stop().await?;
            return Ok(true);
        }
        for image in images {
            docker::pull(engine.socket(), image).await?;
        }
        let held = probe::contents(engine.socket()).await?.images;
        let golden = self.place.run_root.join("golden");
        engine.stop_gracefully(&golden).await?;
        state.golden = Some((golden, held));
        Ok(true)
    }

    async fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        let golden = self.state.lock().await.golden.clone();
        let (path, bases) = golden.map_or((None, 0), |(path, bases)| (Some(path), bases));
        let (engine, cleared) = tokio::join!(self.engine(path), self.clear());
        cleared?;
        Ok(Box::new(Started { engine: engine?, bases, remains: self.remains.clone() }))
    }

    async fn close(&self) -> Result<(), EngineError> {
        let engine = self.state.lock().await.looked_at.take();
        if let Some(engine) = engine {
            engine.stop().await?;
        }
        self.clear().await
    }
}

#[derive(Debug)]
struct Started {
    engine: PrivateEngine,
    bases: usize,
    remains: Arc<Mutex<Vec<Remains>>>,
}

#[async_trait]
impl Engine for Started {
    fn control(&self) -> Control {
        Control::Docker(self.engine.socket().to_owned())
    }

    fn docker(&self) -> Option<&Path> {
        Some(self.engine.socket())
    }

    fn start_time(&self) -> Option<Nanos> {
        Some(self.engine.start_time())
    }

    async fn prove_new(&self) -> Result<(), EngineError> {
        let images = probe::images(self.engine.socket()).await?;
        if images > self.bases {
            let socket = self.engine.socket().to_owned();
            return Err(EngineError::NotEmpty { socket, images, build_cache: 0 });
        }
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), EngineError> {
        let remains = self.engine.end().await?;
        self.remains.lock().await.push(remains);
        Ok(())
    }
}
