//! The user's own Docker daemon as it stands: `docker://`.
//!
//! It is used, and pruned only where that was allowed; the images that a run made in it are removed
//! again, also when the run is interrupted. What stays is the build cache of its builds.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::docker::{self, Host};
use super::guarded;
use super::source::{Control, Engine, Engines, Place, Terms, fresh};
use super::sweep::identity;
use super::{EngineAddress, EngineError, detached};
use crate::units::Nanos;

/// See the module.
#[derive(Debug)]
pub struct DaemonEngines {
    /// As it was asked for.
    address: EngineAddress,
    host: Host,
    terms: Terms,
    version: String,
    own_images: Vec<String>,
    /// The base images that were pulled for the run.
    bases: Mutex<Vec<String>>,
}

impl DaemonEngines {
    /// The daemon at `host`, which answers.
    pub async fn open(
        address: &EngineAddress,
        host: Host,
        place: Place,
    ) -> Result<Self, EngineError> {
        let version = super::version(&host.socket).await?;
        // What a killed run left is no reason not to begin, nor is a daemon that does not list it.
        let _ = guarded::sweep(&host.socket, &identity(&place.run_root)).await;
        let terms = Terms {
            fresh: fresh(Some(address), place.allow_prune),
            mirrored: false,
            local: host.local,
            host_network: false,
            docker_api: true,
        };
        let (address, own_images) = (address.clone(), place.own_images);
        let version = version.version;
        Ok(Self { address, host, terms, version, own_images, bases: Mutex::default() })
    }
}

#[async_trait]
impl Engines for DaemonEngines {
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn describe(&self) -> String {
        format!("Docker {} at {}", self.version, self.host.address)
    }

    fn terms(&self) -> &Terms {
        &self.terms
    }

    async fn look(&self) -> Result<Control, EngineError> {
        Ok(Control::Docker(self.host.socket.clone()))
    }

    async fn warm(&self, images: &[String]) -> Result<bool, EngineError> {
        for image in images {
            docker::pull(&self.host.socket, image).await?;
        }
        self.bases.lock().await.extend_from_slice(images);
        Ok(true)
    }

    async fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        // What other strategies built would otherwise still be here, in whole or as blobs.
        let bases = self.bases.lock().await;
        docker::remove_images(&self.host.socket, &self.own_images, &bases).await?;
        Ok(Box::new(Daemon { socket: self.host.socket.clone() }))
    }

    async fn close(&self) -> Result<(), EngineError> {
        docker::remove_images(&self.host.socket, &self.own_images, &[]).await
    }
}

impl Drop for DaemonEngines {
    fn drop(&mut self) {
        let (socket, prefixes) = (self.host.socket.clone(), self.own_images.clone());
        // Nobody is left to tell of a failure, and after `close` there is nothing to do.
        detached(async move { drop(docker::remove_images(&socket, &prefixes, &[]).await) });
    }
}

#[derive(Debug)]
struct Daemon {
    socket: PathBuf,
}

#[async_trait]
impl Engine for Daemon {
    fn control(&self) -> Control {
        Control::Docker(self.socket.clone())
    }

    fn docker(&self) -> Option<&Path> {
        Some(&self.socket)
    }

    fn start_time(&self) -> Option<Nanos> {
        None
    }

    async fn prove_new(&self) -> Result<(), EngineError> {
        // The user's images are here, and are none of our business.
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), EngineError> {
        Ok(())
    }
}
