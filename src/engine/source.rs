//! Where a run's engines come from: one trait over every kind of address.
//!
//! A run knows only [`Engines`] and [`Engine`]. What a kind of engine can and cannot give is data
//! ([`Terms`]), so that what follows from it is decided before anything is built, and said.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::bare::BareEngines;
use super::container::ContainerEngines;
use super::daemon::DaemonEngines;
use super::private_source::PrivateEngines;
use super::{EngineAddress, EngineError, Notice, TlsOptions, docker, find, request};
use crate::units::Nanos;

/// How an engine's BuildKit is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The unix socket of a Docker engine.
    Docker(PathBuf),
    /// The unix socket of a bare buildkitd.
    Unix(PathBuf),
    /// `HOST:PORT` of a bare buildkitd, without TLS.
    Tcp(String),
}

/// Whether an engine that has never built anything is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// A new one for every wish.
    New,
    /// The one that is there, its build cache pruned: `--allow-prune`.
    Pruned,
    /// None, for this reason.
    No(String),
}

/// What holds for every engine of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub fresh: Fresh,
    /// Whether Docker Hub's images are asked of the run's own registry.
    pub mirrored: bool,
    /// Whether it can reach what listens on this machine's loopback interface.
    pub local: bool,
    /// Whether builds must use the machine's network, for want of another.
    pub host_network: bool,
    /// Whether images can be run, listed and inspected.
    pub docker_api: bool,
}

/// Where engines live, and what they may do.
#[derive(Clone, Debug)]
pub struct Place {
    pub cache_dir: PathBuf,
    /// The run's directory.
    pub run_root: PathBuf,
    /// The run's registry, without TLS.
    pub registry: Option<SocketAddr>,
    /// What the names of images start with that the run leaves in an engine that outlives it.
    pub own_images: Vec<String>,
    /// Whether an engine that we did not start may be pruned.
    pub allow_prune: bool,
    /// How engines at `tcp://` addresses are spoken to; without TLS when absent.
    pub tls: Option<TlsOptions>,
}

/// One engine that is up. Dropping it ends whatever was started for it.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    fn control(&self) -> Control;
    /// The unix socket of the Docker API, where the engine has one.
    fn docker(&self) -> Option<&Path>;
    /// From the wish for an engine to its first answer; none where it was there before.
    fn start_time(&self) -> Option<Nanos>;
    /// Fails if the engine holds images that a new one would not.
    async fn prove_new(&self) -> Result<(), EngineError>;
    /// Ends it; what it left goes with the next start or, at the latest, with [`Engines::close`].
    async fn stop(self: Box<Self>) -> Result<(), EngineError>;
}

/// The engines of one address.
#[async_trait]
pub trait Engines: fmt::Debug + Send + Sync {
    /// The address, as reports show it.
    fn address(&self) -> String;
    /// Which program the engines are, and where it came from.
    fn describe(&self) -> String;
    fn terms(&self) -> &Terms;
    /// An engine that can be asked what it is, up until [`Engines::warm`].
    async fn look(&self) -> Result<Control, EngineError>;
    /// Pulls `images` into what every later engine starts from; says whether that was possible.
    /// Pulls nothing where `images` is empty.
    async fn warm(&self, images: &[String]) -> Result<bool, EngineError>;
    /// An engine: a new one where [`Terms::fresh`] says so.
    async fn start(&self) -> Result<Box<dyn Engine>, EngineError>;
    /// Removes what the run left in engines that outlive it.
    async fn close(&self) -> Result<(), EngineError>;
}

/// Whether this user may have engines at `address`: known before a folder is made for them.
pub async fn permitted(address: Option<&EngineAddress>) -> Result<(), EngineError> {
    let private = match address {
        None => !docker::may_be_there().await,
        Some(address) => matches!(address, EngineAddress::Private(_)),
    };
    if private && !rustix::process::geteuid().is_root() {
        return Err(EngineError::NotRoot);
    }
    Ok(())
}

/// The engines at `address`; by default private ones, or else BuildKit containers.
pub async fn open(
    address: Option<&EngineAddress>,
    place: Place,
    notice: Notice<'_>,
) -> Result<Box<dyn Engines>, EngineError> {
    match address {
        None => match find::find(&place.cache_dir, notice).await {
            Ok(binaries) => Ok(Box::new(PrivateEngines::new(binaries, place))),
            Err(error) => {
                // What Docker says is not the reader's problem: the private engine is.
                let Ok(engines) = ContainerEngines::open(None, place).await else {
                    return Err(error);
                };
                notice(&format!("{error}\nusing {} instead", engines.address()));
                Ok(Box::new(engines))
            }
        },
        Some(EngineAddress::Private(None)) => {
            let binaries = find::find(&place.cache_dir, notice).await?;
            Ok(Box::new(PrivateEngines::new(binaries, place)))
        }
        Some(EngineAddress::Private(Some(dockerd))) => {
            let binaries = find::at_path(dockerd).await?;
            Ok(Box::new(PrivateEngines::new(binaries, place)))
        }
        Some(EngineAddress::Container { name, image }) => {
            let named = Some((name.as_deref(), image.as_str()));
            Ok(Box::new(ContainerEngines::open(named, place).await?))
        }
        Some(address @ EngineAddress::Docker) => {
            let host = docker::host(&place.run_root).await?;
            Ok(Box::new(DaemonEngines::open(address, host, place).await?))
        }
        Some(address @ EngineAddress::Unix(path)) => {
            if request::ping(path).await.is_ok() {
                let host = docker::Host::at(path.clone());
                return Ok(Box::new(DaemonEngines::open(address, host, place).await?));
            }
            let control = Control::Unix(path.clone());
            Ok(Box::new(BareEngines::open(address, control, true, &place).await?))
        }
        Some(address @ EngineAddress::Tcp(authority)) => {
            let host = docker::over_tcp(&place.run_root, authority, place.tls.as_ref()).await?;
            if request::ping(&host.socket).await.is_ok() {
                return Ok(Box::new(DaemonEngines::open(address, host, place).await?));
            }
            if place.tls.is_some() {
                return Ok(Box::new(BareEngines::over_tls(address, host, &place)));
            }
            let (control, local) = (Control::Tcp(authority.clone()), host.local);
            Ok(Box::new(BareEngines::open(address, control, local, &place).await?))
        }
    }
}

/// What the address alone says about fresh engines, before any is looked at.
pub fn fresh(address: Option<&EngineAddress>, allow_prune: bool) -> Fresh {
    match address {
        None | Some(EngineAddress::Private(_) | EngineAddress::Container { .. }) => Fresh::New,
        Some(_) if allow_prune => Fresh::Pruned,
        Some(address @ EngineAddress::Docker) => Fresh::No(format!(
            "it wants a new engine, and {address} is a daemon that others use (--allow-prune prunes it instead)"
        )),
        Some(address @ (EngineAddress::Unix(_) | EngineAddress::Tcp(_))) => Fresh::No(format!(
            "it wants a new engine, and {address} is one that was there before \
             (--allow-prune prunes it instead, which is not quite cold)"
        )),
    }
}
