//! Which engine to build on, and how it is spoken to: the options that `run`, `replay` and `doctor`
//! share.
//!
//! The TLS options are named as buildctl names its own. Nothing here looks whether an engine is there.

use std::path::PathBuf;

use clap::Parser;

use crate::engine::tls::ServerName;
use crate::engine::{EngineAddress, EngineError, TlsOptions};

#[derive(Debug, Parser)]
pub struct Builder {
    /// Build on these engines: `dockerd://[PATH]`, `docker-container://[NAME]`, `docker://`, `unix://PATH` or
    /// tcp://HOST:PORT [default: private ones from the dockerd that is found or fetched]
    #[arg(long, value_name = "ADDRESS")]
    builder: Option<EngineAddress>,
    /// Speak TLS to a tcp:// builder, and trust the authorities in this PEM file alone
    #[arg(long, value_name = "FILE", requires = "builder")]
    builder_tlscacert: Option<PathBuf>,
    /// Speak TLS to a tcp:// builder, and show it this certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["builder", "builder_tlskey"])]
    builder_tlscert: Option<PathBuf>,
    /// The key of --builder-tlscert (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["builder", "builder_tlscert"])]
    builder_tlskey: Option<PathBuf>,
    /// Speak TLS to a tcp:// builder, whose certificate is for this name
    #[arg(long, value_name = "NAME", requires = "builder")]
    builder_tlsservername: Option<ServerName>,
    /// Speak TLS to a tcp:// builder, with ca.pem, cert.pem and key.pem of this folder
    #[arg(long, value_name = "DIR", requires = "builder",
          conflicts_with_all = ["builder_tlscacert", "builder_tlscert", "builder_tlskey"])]
    builder_tlsdir: Option<PathBuf>,
}

/// Why the options cannot be used as they are.
#[derive(Debug, thiserror::Error)]
#[error("--builder-tls… options are for tcp:// builders, and {address} is none")]
pub struct BuilderError {
    address: EngineAddress,
}

impl Builder {
    pub fn address(&self) -> Option<&EngineAddress> {
        self.builder.as_ref()
    }

    /// How a `tcp://` builder is to be spoken to; without TLS when none of the options is given.
    pub fn tls(&self) -> anyhow::Result<Option<TlsOptions>> {
        let given = self.builder_tlscacert.is_some()
            || self.builder_tlscert.is_some()
            || self.builder_tlsservername.is_some()
            || self.builder_tlsdir.is_some();
        if !given {
            return Ok(None);
        }
        if let Some(address) = self.address().filter(|a| !matches!(a, EngineAddress::Tcp(_))) {
            return Err(BuilderError { address: address.clone() }.into());
        }
        let files = match &self.builder_tlsdir {
            Some(folder) => TlsOptions::of_folder(folder).map_err(EngineError::from)?,
            None => TlsOptions {
                ca: self.builder_tlscacert.clone(),
                client: self.builder_tlscert.clone().zip(self.builder_tlskey.clone()),
                server_name: None,
            },
        };
        Ok(Some(TlsOptions { server_name: self.builder_tlsservername.clone(), ..files }))
    }
}
