//! An authority of a test's own, and a listener that speaks TLS in front of a unix socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::engines::to_control_api;

/// A folder of certificates, laid out as `DOCKER_CERT_PATH` is, and `server.pem`, `server-key.pem`.
pub struct Authority {
    pub folder: PathBuf,
}

impl Authority {
    /// Signs a server's certificate for `name`, and a client's.
    pub fn create(folder: &Path, name: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
        let sign = |names: Vec<String>, purpose, certificate: &str, key: &str| {
            let mut params = CertificateParams::new(names).unwrap();
            params.extended_key_usages = vec![purpose];
            let own = KeyPair::generate().unwrap();
            let signed = params.signed_by(&own, &ca).unwrap();
            std::fs::write(folder.join(certificate), signed.pem()).unwrap();
            std::fs::write(folder.join(key), own.serialize_pem()).unwrap();
        };
        let server = ExtendedKeyUsagePurpose::ServerAuth;
        sign(vec![name.to_owned()], server, "server.pem", "server-key.pem");
        sign(vec![], ExtendedKeyUsagePurpose::ClientAuth, "cert.pem", "key.pem");
        Self { folder: folder.to_owned() }
    }

    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// What is behind a front.
#[derive(Clone)]
pub enum Behind {
    /// The control API of the Docker engine at this socket, as a buildkitd has it.
    Control(PathBuf),
    /// Everything that the Docker engine at this socket has.
    Docker(PathBuf),
    /// Nobody: whatever is said is said back.
    Echo,
}

/// `HOST:PORT` of a listener that speaks TLS as `authority`'s server, which demands a client's
/// certificate if `mutual`; like its original, it knows either HTTP/2 or HTTP/1.
pub async fn serve(authority: &Authority, mutual: bool, behind: Behind) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let read = |name| CertificateDer::from_pem_file(authority.file(name)).unwrap();
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(read("ca.pem")).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().unwrap())
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(authority.file("server-key.pem")).unwrap();
    let mut config = builder.with_single_cert(vec![read("server.pem")], key).unwrap();
    config.alpn_protocols = match &behind {
        Behind::Control(_) => vec![b"h2".to_vec()],
        Behind::Docker(_) | Behind::Echo => vec![b"http/1.1".to_vec()],
    };
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                // Whoever is refused hears it from the handshake.
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream, behind).await;
                }
            });
        }
    });
    address
}

async fn answer(mut stream: TlsStream<tokio::net::TcpStream>, behind: Behind) {
    match behind {
        Behind::Control(socket) => to_control_api(stream, socket).await,
        Behind::Docker(socket) => {
            let mut theirs = UnixStream::connect(socket).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut theirs).await;
        }
        Behind::Echo => {
            let mut said = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut said).await {
                if stream.write_all(&said[..length]).await.is_err() {
                    break;
                }
            }
        }
    }
}
