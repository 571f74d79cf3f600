//! What can go wrong between wanting an engine and having one.
//!
//! Each variant says what was being done and to what; a remedy stands on its own line.

use std::io;
use std::path::{Path, PathBuf};

use super::tls::TlsError;
use crate::units::Nanos;

/// Why there is no engine, no base image, or no certainty that an engine is empty.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(
        "a private Docker engine needs root\n\
         run as root (sudo), or name an engine that already runs (--builder docker-container:// or tcp://…)"
    )]
    NotRoot,
    #[error(
        "no dockerd of version 25 or newer on the PATH, and none could be fetched: {reason}\n\
         install Docker 25 or newer with containerd and runc, or name an engine with --builder"
    )]
    NoEngine { reason: String },
    #[error(
        "engines cannot live in {}: it {problem}\n\
         name a folder of your own with TMPDIR", path.display()
    )]
    RunRoot { path: PathBuf, problem: String },
    #[error("cannot {action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot run {program}")]
    Spawn { program: String, source: io::Error },
    #[error("{program} failed ({status}): {stderr}")]
    Command { program: String, status: String, stderr: String },
    #[error(
        "{} is too long for the engine's unix sockets ({length} bytes, at most {limit})\n\
         choose a shorter run directory", path.display()
    )]
    LongPath { path: PathBuf, length: usize, limit: usize },
    #[error("the engine ended before it was ready ({status}); the end of its log:\n{log}")]
    Died { status: String, log: String },
    #[error("the engine was not ready after {waited}; the end of its log:\n{log}")]
    NotReady { waited: Nanos, log: String },
    #[error("the engine did not stop within {waited} of being asked to")]
    NotStopped { waited: Nanos },
    #[error("request {path} to the engine at {} failed", socket.display())]
    Request { socket: PathBuf, path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the engine at {} is not empty: {images} images, {build_cache} build cache records", socket.display())]
    NotEmpty { socket: PathBuf, images: usize, build_cache: usize },
    #[error("cannot pull {reference}")]
    Pull { reference: String, source: bollard::errors::Error },
    #[error(
        "no Docker daemon answers at {address}\n\
         start it, or set DOCKER_HOST to where it listens"
    )]
    NoDocker { address: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("DOCKER_HOST is {address:?}, and only unix:// and tcp:// are known here")]
    DockerHost { address: String },
    #[error("nothing listens at {address}")]
    NobodyThere { address: String, source: io::Error },
    #[error(
        "the BuildKit image {image} is neither in the user's Docker nor can it be pulled\n\
         load it with `docker load`, or name another: --builder 'docker-container://?image=REFERENCE'"
    )]
    NoBuildkitImage { image: String, source: Box<EngineError> },
    #[error("cannot run the BuildKit container {name}")]
    Container { name: String, source: bollard::errors::Error },
    #[error(
        "the apt sources of this machine name no Debian mirror\n\
         add a `deb` entry with component main to /etc/apt/sources.list.d"
    )]
    NoMirror,
    #[error("the Debian packages {packages} are not to be had: {reason}")]
    NoPackages { packages: String, reason: String },
}

/// Adds what was being done, to which path, to an I/O error.
pub(crate) fn at<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> EngineError + 'a {
    move |source| EngineError::File { action, path: path.to_owned(), source }
}
