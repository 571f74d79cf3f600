//! TLS towards an engine elsewhere: whom to trust, and who we are.
//!
//! Reads the files that the options name; connections are `dial`'s. Nothing here prints what a key's
//! file holds.

mod dial;
mod error;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

pub use dial::{Dialer, Protocol};
pub use error::TlsError;

/// The names of a folder as `docker` (`DOCKER_CERT_PATH`) and buildctl (`--tlsdir`) know it.
const IN_FOLDER: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// How an engine proves who it is, and how we do; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The only authorities that are trusted; the machine's own when absent.
    pub ca: Option<PathBuf>,
    /// Our certificate, with what leads from it to its authority, and its key.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The name that the engine's certificate must carry, instead of the host in its address.
    pub server_name: Option<ServerName>,
}

/// The name or IP address in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName(rustls::pki_types::ServerName<'static>);

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = rustls::pki_types::ServerName::try_from(text.to_owned());
        name.map(Self).map_err(|_| format!("{text:?} is neither a host name nor an IP address"))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_str())
    }
}

impl TlsOptions {
    /// What lies in `folder` under the names that docker and buildctl give it.
    pub fn of_folder(folder: &Path) -> Result<Self, TlsError> {
        let [ca, certificate, key] = IN_FOLDER.map(|name| {
            let path = folder.join(name);
            path.exists().then_some(path)
        });
        let folder = || folder.to_owned();
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) if ca.is_none() => return Err(TlsError::Folder { folder: folder() }),
            (None, None) => None,
            _ => return Err(TlsError::Half { folder: folder() }),
        };
        Ok(Self { ca, client, server_name: None })
    }

    fn config(&self) -> Result<ClientConfig, TlsError> {
        let setup = |error: rustls::Error| TlsError::Setup { reason: error.to_string() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(setup)?;
        let builder = match &self.ca {
            None => builder.with_platform_verifier().map_err(setup)?,
            Some(path) => builder.with_root_certificates(authorities(path)?),
        };
        let Some((certificate, key)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("client certificate", certificate)?;
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|error| unreadable("client key", key, error))?;
        builder.with_client_auth_cert(chain, private).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::OtherKey { certificate: certificate.clone(), key: key.clone() }
            }
            error => unreadable("client key", key, error),
        })
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    const WHAT: &str = "CA certificate";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(WHAT, path)? {
        roots.add(certificate).map_err(|error| unreadable(WHAT, path, error))?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(what, path, error))?;
    if found.is_empty() {
        return Err(unreadable(what, path, "it holds none"));
    }
    Ok(found)
}

fn unreadable(what: &'static str, path: &Path, reason: impl fmt::Display) -> TlsError {
    TlsError::File { what, path: path.to_owned(), reason: reason.to_string() }
}
