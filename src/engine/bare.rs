//! A buildkitd that already runs somewhere, and offers its control API and nothing else.
//!
//! It is never started or stopped here, and what it is, only BuildKit's own API can say.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::{TcpStream, UnixStream};

use super::docker::Host;
use super::source::{Control, Engine, Engines, Place, Terms, fresh};
use super::{EngineAddress, EngineError};
use crate::units::Nanos;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct BareEngines {
    address: String,
    control: Control,
    terms: Terms,
    /// Carries the bytes where they go through TLS, for as long as this lives.
    carrier: Option<Host>,
}

impl BareEngines {
    /// The engine behind `control`, which answers or is an error.
    pub async fn open(
        address: &EngineAddress,
        control: Control,
        local: bool,
        place: &Place,
    ) -> Result<Self, EngineError> {
        let dialling = async {
            match &control {
                Control::Docker(path) | Control::Unix(path) => {
                    UnixStream::connect(path).await.map(drop)
                }
                Control::Tcp(authority) => TcpStream::connect(authority.as_str()).await.map(drop),
            }
        };
        let dialled = tokio::time::timeout(PATIENCE, dialling).await;
        let dialled = dialled.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let text = address.to_string();
        dialled.map_err(|source| EngineError::NobodyThere { address: text.clone(), source })?;
        let terms = terms(address, local, place);
        Ok(Self { address: text, control, terms, carrier: None })
    }

    /// The engine behind the socket of `host`, to which TLS is known to work.
    pub fn over_tls(address: &EngineAddress, host: Host, place: &Place) -> Self {
        let control = Control::Unix(host.socket.clone());
        let terms = terms(address, host.local, place);
        Self { address: address.to_string(), control, terms, carrier: Some(host) }
    }
}

fn terms(address: &EngineAddress, local: bool, place: &Place) -> Terms {
    Terms {
        fresh: fresh(Some(address), place.allow_prune),
        mirrored: false,
        local,
        host_network: false,
        docker_api: false,
    }
}

#[async_trait]
impl Engines for BareEngines {
    fn address(&self) -> String {
        self.address.clone()
    }

    fn describe(&self) -> String {
        let how = if self.carrier.is_some() { ", by TLS" } else { "" };
        format!("buildkitd at {}{how}", self.address)
    }

    fn terms(&self) -> &Terms {
        &self.terms
    }

    async fn look(&self) -> Result<Control, EngineError> {
        Ok(self.control.clone())
    }

    async fn warm(&self, images: &[String]) -> Result<bool, EngineError> {
        // buildkitd holds build results, and no images that could be pulled beforehand.
        Ok(images.is_empty())
    }

    async fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(Bare { control: self.control.clone() }))
    }

    async fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Bare {
    control: Control,
}

#[async_trait]
impl Engine for Bare {
    fn control(&self) -> Control {
        self.control.clone()
    }

    fn docker(&self) -> Option<&Path> {
        None
    }

    fn start_time(&self) -> Option<Nanos> {
        None
    }

    async fn prove_new(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), EngineError> {
        Ok(())
    }
}
