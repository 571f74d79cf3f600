//! Why a real registry cannot be used. No variant ever holds a secret: URLs are left out, since
//! storage behind a registry signs its own.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("cannot read the certificates in {path}: {reason}", path = path.display())]
    Certificates { path: PathBuf, reason: String },
    #[error("registry {host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} is not a registry: GET /v2/ answered {status}")]
    NoRegistry { host: String, status: u16 },
    #[error(
        "{host} wants a login, and {found}\n  docker login {host}, or name the folder of config.json in DOCKER_CONFIG"
    )]
    NoCredentials { host: String, found: String },
    #[error(
        "{host} refuses the credentials that are stored for it ({status})\n  docker login {host}"
    )]
    LoginRefused { host: String, status: u16 },
    #[error("{host} stopped accepting the login in the middle of an upload")]
    LoginLost { host: String },
    #[error("{host} asks for a login that registries do not use: {challenge:?}")]
    Challenge { host: String, challenge: String },
    #[error("{host} wants a password over plain HTTP, where anybody could read it")]
    PlainPassword { host: String },
    #[error("{host} hands out tokens that cannot be read")]
    Token { host: String },
    #[error(
        "{repository} cannot be pushed to: {what} answered {status}{message}\n  \
         create the repository first where pushing does not (Amazon ECR), and allow push and pull"
    )]
    MayNotPush { repository: String, what: String, status: u16, message: String },
    #[error("no tag of this run's own is left for {name}")]
    NoTag { name: String },
    #[error("cannot write the list of refs to {path}", path = path.display())]
    List { path: PathBuf, source: io::Error },
}

/// The innermost cause, which is the one that says something, and holds no URL.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
