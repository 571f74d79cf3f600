//! Opens TLS connections to one engine, and finds out first whether both sides accept each other.
//!
//! What is spoken inside a connection is for others. Surprising: that a client certificate was
//! demanded is only learnt by reading, after a handshake that succeeded (RFC 8446 §4.4.2.4).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{TlsError, TlsOptions, error};

/// How long a connection, or its handshake and a first answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is spoken inside a connection, as ALPN names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn name(self) -> Vec<u8> {
        match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }
    }
}

/// Opens TLS connections to one engine.
#[derive(Clone)]
pub struct Dialer {
    authority: String,
    name: rustls::pki_types::ServerName<'static>,
    connector: TlsConnector,
    options: TlsOptions,
}

impl Dialer {
    /// To `HOST:PORT`. Reads the files of `options`, and connects to nothing yet.
    pub fn new(options: &TlsOptions, authority: &str) -> Result<Self, TlsError> {
        let name = match &options.server_name {
            Some(name) => name.clone(),
            None => host(authority)
                .parse()
                .map_err(|_| TlsError::NoName { address: format!("tcp://{authority}") })?,
        };
        let connector = TlsConnector::from(Arc::new(options.config()?));
        Ok(Self {
            authority: authority.to_owned(),
            name: name.0,
            connector,
            options: options.clone(),
        })
    }

    /// Proves that both sides accept each other, or says which of them does not, and why.
    pub async fn check(&self) -> Result<(), TlsError> {
        let address = || format!("tcp://{}", self.authority);
        let dialled = tokio::time::timeout(PATIENCE, TcpStream::connect(&self.authority)).await;
        let stream = dialled
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| TlsError::Unreached { address: address(), source })?;
        let spoken = tokio::time::timeout(PATIENCE, self.greet(stream)).await;
        let spoken = spoken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        spoken.map_err(|error| {
            let (reason, remedy) = error::explain(&error, &self.options, &self.name.to_str());
            TlsError::Refused { address: address(), reason, remedy }
        })
    }

    /// A connection that is to speak `protocol`.
    pub async fn dial(&self, protocol: Protocol) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.authority).await?;
        self.shake_hands(stream, vec![protocol.name()]).await
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        protocols: Vec<Vec<u8>>,
    ) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        let connector = &self.connector;
        connector.with_alpn(protocols).connect(self.name.clone(), stream).await
    }

    /// Says hello in whichever protocol is chosen, and waits for any answer at all.
    async fn greet(&self, stream: TcpStream) -> io::Result<()> {
        let both = vec![Protocol::Http2.name(), Protocol::Http1.name()];
        let mut stream = self.shake_hands(stream, both).await?;
        let hello: &[u8] = match stream.get_ref().1.alpn_protocol() {
            // RFC 9113 §3.4: the preface, and settings that change nothing.
            Some(b"h2") => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            _ => b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n",
        };
        // An engine that has refused us may be gone already; what it said is still to be read.
        let said = async {
            stream.write_all(hello).await?;
            stream.flush().await
        };
        let said = said.await;
        match stream.read(&mut [0; 1]).await {
            Ok(0) => said.and(Err(io::ErrorKind::ConnectionReset.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Dialer {
    // Without what was read from the key's file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// The host in `HOST:PORT`, without the brackets of an IPv6 address.
fn host(authority: &str) -> &str {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
