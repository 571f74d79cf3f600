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
    /// Why files of an engine that had ended could not be removed; told when all engines are closed.
    uncleared: Option<EngineError>,
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

    /// Removes the files of all engines that have ended; the first error, after all were tried.
    async fn clear(&self) -> Result<(), EngineError> {
        let remains = std::mem::take(&mut *self.remains.lock().await);
        let mut cleared = Ok(());
        for remains in remains {
            cleared = cleared.and(remains.remove().await);
        }
        cleared
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
        // The next trial needs nothing of what is left there.
        if let Err(error) = cleared {
            self.state.lock().await.uncleared.get_or_insert(error);
        }
        Ok(Box::new(Started { engine: engine?, bases, remains: self.remains.clone() }))
    }

    async fn close(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        let (engine, uncleared) = (state.looked_at.take(), state.uncleared.take());
        drop(state);
        let stopped = match engine {
            Some(engine) => engine.stop().await.map(drop),
            None => Ok(()),
        };
        let cleared = self.clear().await;
        stopped.and(cleared).and(uncleared.map_or(Ok(()), Err))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_that_cannot_be_removed_cost_no_engine_and_are_told_at_the_end() {
        let run = tempfile::tempdir().unwrap();
        let nowhere = PathBuf::from("/nowhere");
        let binaries = Binaries {
            dockerd: nowhere.join("dockerd"),
            directory: nowhere,
            version: String::new(),
            source: String::new(),
        };
        let place = Place {
            cache_dir: run.path().into(),
            run_root: run.path().into(),
            registry: None,
            own_images: vec![],
            allow_prune: false,
            tls: None,
        };
        let engines = PrivateEngines::new(binaries, place);
        let folders: Vec<(PathBuf, Remains)> =
            [(), ()].map(|()| Remains::in_run(run.path())).into();
        let paths: Vec<PathBuf> = folders.iter().map(|(path, _)| path.clone()).collect();
        // Only folders are removed.
        std::fs::remove_dir_all(&paths[0]).unwrap();
        std::fs::write(&paths[0], "").unwrap();
        engines.remains.lock().await.extend(folders.into_iter().map(|(_, remains)| remains));
        let error = engines.start().await.unwrap_err().to_string();
        assert!(!error.contains("remove"), "the engine's own error comes first: {error}");
        assert!(!paths[1].exists(), "what can be removed is");
        let told = engines.close().await.unwrap_err().to_string();
        assert!(told.contains("remove") && told.contains("/e"), "{told}");
    }
}
