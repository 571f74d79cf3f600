//! Why there is no TLS connection, in words that lead to the option or file to change.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError};

use super::TlsOptions;

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the {what} in {}: {reason}\n  {what}s are read from PEM files", path.display())]
    File { what: &'static str, path: PathBuf, reason: String },
    #[error(
        "{} holds none of ca.pem, cert.pem and key.pem\n  name a folder as DOCKER_CERT_PATH does", folder.display()
    )]
    Folder { folder: PathBuf },
    #[error(
        "{} holds a client certificate without its key, or a key without its certificate\n  \
         it needs both cert.pem and key.pem", folder.display()
    )]
    Half { folder: PathBuf },
    #[error(
        "{} is not the key of the certificate in {}\n  give the two that were made together",
        key.display(), certificate.display()
    )]
    OtherKey { certificate: PathBuf, key: PathBuf },
    #[error("cannot use TLS: {reason}")]
    Setup { reason: String },
    #[error(
        "{address} names no host that a certificate could be for\n  name it with --builder-tlsservername"
    )]
    NoName { address: String },
    #[error("nothing listens at {address}")]
    Unreached { address: String, source: io::Error },
    #[error("no TLS connection to {address}: {reason}{}", under(remedy))]
    Refused { address: String, reason: String, remedy: String },
}

fn under(remedy: &str) -> String {
    if remedy.is_empty() { String::new() } else { format!("\n  {remedy}") }
}

const NO_TLS: &str =
    "is it TLS that is spoken there? if not, leave the --builder-tls… options away";

/// What `error` means for whoever wrote `options`, and what helps, for an engine asked for by `name`.
pub(super) fn explain(error: &io::Error, options: &TlsOptions, name: &str) -> (String, String) {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(wrong)) => certificate(wrong, options, name),
        Some(rustls::Error::AlertReceived(alert)) => refused(*alert, options),
        Some(rustls::Error::InvalidMessage(_)) => told(
            "what answers there does not speak TLS",
            "leave the --builder-tls… options away, or name the port that does",
        ),
        Some(other) => (other.to_string(), String::new()),
        None if error.kind() == io::ErrorKind::TimedOut => told("it did not answer", NO_TLS),
        None => (format!("the connection was closed ({error})"), NO_TLS.to_owned()),
    }
}

fn told(reason: &str, remedy: &str) -> (String, String) {
    (reason.to_owned(), remedy.to_owned())
}

/// The engine refused us. Which alert it sends for a certificate that is missing differs by
/// library and version; that we had none to show does not.
fn refused(alert: AlertDescription, options: &TlsOptions) -> (String, String) {
    use AlertDescription as Alert;
    let Some((path, _)) = &options.client else {
        return match alert {
            Alert::CertificateRequired | Alert::BadCertificate | Alert::HandshakeFailure => told(
                "it demands a client certificate",
                "give --builder-tlscert and --builder-tlskey, or --builder-tlsdir",
            ),
            _ => (format!("it refused with the alert {alert:?}"), String::new()),
        };
    };
    match alert {
        Alert::CertificateRequired
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => (
            format!("it does not accept the client certificate in {} ({alert:?})", path.display()),
            "give one that is signed by the authority that the engine trusts".to_owned(),
        ),
        _ => (format!("it refused with the alert {alert:?}"), String::new()),
    }
}

/// We refused the engine.
fn certificate(wrong: &CertificateError, options: &TlsOptions, name: &str) -> (String, String) {
    match wrong {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => match &options.ca {
            None => told(
                "its certificate is signed by an authority that this machine does not know",
                "name that authority's certificate with --builder-tlscacert",
            ),
            Some(ca) => (
                format!("its certificate is not signed by an authority in {}", ca.display()),
                "give the authority that signed it with --builder-tlscacert".to_owned(),
            ),
        },
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("its certificate is for {}, not for {name}", names(presented)),
            "name one of these with --builder-tlsservername, if it is the engine you mean"
                .to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            told("its certificate has expired", "give the engine a new one")
        }
        other => (format!("its certificate is of no use: {other}"), String::new()),
    }
}

/// The names in a certificate, which webpki shows as `DnsName("engine")` and `IpAddress(127.0.0.1)`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    match presented {
        [] => "no name at all".to_owned(),
        _ => presented.iter().map(bare).collect::<Vec<_>>().join(", "),
    }
}
