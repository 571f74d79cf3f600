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
    /// tcp://HOST:PORT; rounds are dealt to several of the last two [default: private ones from the dockerd that is
    /// found or fetched]
    #[arg(long, value_name = "ADDRESS")]
    builder: Vec<EngineAddress>,
    /// Speak TLS to tcp:// builders, and trust the authorities in this PEM file alone
    #[arg(long, value_name = "FILE", requires = "builder")]
    builder_tlscacert: Option<PathBuf>,
    /// Speak TLS to tcp:// builders, and show them this certificate (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["builder", "builder_tlskey"])]
    builder_tlscert: Option<PathBuf>,
    /// The key of --builder-tlscert (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["builder", "builder_tlscert"])]
    builder_tlskey: Option<PathBuf>,
    /// Speak TLS to tcp:// builders, whose certificates are for this name
    #[arg(long, value_name = "NAME", requires = "builder")]
    builder_tlsservername: Option<ServerName>,
    /// Speak TLS to tcp:// builders, with ca.pem, cert.pem and key.pem of this folder
    #[arg(long, value_name = "DIR", requires = "builder",
          conflicts_with_all = ["builder_tlscacert", "builder_tlscert", "builder_tlskey"])]
    builder_tlsdir: Option<PathBuf>,
}

/// Why the options cannot be used as they are.
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    #[error("--builder-tls… options are for tcp:// builders, and {address} is none")]
    NotTcp { address: EngineAddress },
    #[error(
        "rounds are dealt to engines that run already, at unix:// and tcp://; {address} is none"
    )]
    NotThere { address: EngineAddress },
    #[error("--builder {address} is given twice\n  each is one engine, which rounds are dealt to")]
    Twice { address: EngineAddress },
}

impl Builder {
    /// The builders; several only of the kinds that there can be several of.
    pub fn addresses(&self) -> Result<Vec<EngineAddress>, BuilderError> {
        let several = self.builder.len() > 1;
        for (place, address) in self.builder.iter().enumerate() {
            let there = matches!(address, EngineAddress::Tcp(_) | EngineAddress::Unix(_));
            if several && !there {
                return Err(BuilderError::NotThere { address: address.clone() });
            }
            if self.builder[..place].contains(address) {
                return Err(BuilderError::Twice { address: address.clone() });
            }
        }
        Ok(self.builder.clone())
    }

    /// How `tcp://` builders are to be spoken to; without TLS when none of the options is given.
    pub fn tls(&self) -> anyhow::Result<Option<TlsOptions>> {
        let given = self.builder_tlscacert.is_some()
            || self.builder_tlscert.is_some()
            || self.builder_tlsservername.is_some()
            || self.builder_tlsdir.is_some();
        if !given {
            return Ok(None);
        }
        let is_tcp = |address: &EngineAddress| matches!(address, EngineAddress::Tcp(_));
        if let Some(address) = self.builder.first().filter(|_| !self.builder.iter().any(is_tcp)) {
            return Err(BuilderError::NotTcp { address: address.clone() }.into());
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
