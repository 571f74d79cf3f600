//! Answers: the specification's error bodies, and responses with a few headers.

use std::io;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::RegistryError;

pub type Body = UnsyncBoxBody<Bytes, io::Error>;
pub type Reply = Response<Body>;

/// A request that was refused.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// One of the specification's error codes.
    pub code: &'static str,
    pub message: String,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn blob_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to the repository")
    }

    pub fn manifest_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown to the repository")
    }

    pub fn upload_unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown to the repository")
    }

    pub fn unsupported() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "no such operation")
    }

    pub fn reply(self) -> Reply {
        refused(self.status, self.code, &self.message)
    }
}

/// The specification's error body.
pub fn refused(status: StatusCode, code: &str, message: &str) -> Reply {
    let error = serde_json::json!({ "code": code, "message": message });
    let body = serde_json::json!({ "errors": [error] }).to_string();
    with_body(status, "application/json", body)
}

impl From<RegistryError> for Problem {
    fn from(error: RegistryError) -> Self {
        let (status, code) = match &error {
            RegistryError::NameInvalid { .. } => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
            RegistryError::DigestInvalid { .. } | RegistryError::DigestMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID")
            }
            RegistryError::TagInvalid { .. }
            | RegistryError::ManifestInvalid { .. }
            | RegistryError::MediaTypeMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "MANIFEST_INVALID")
            }
            // The specification lists 404 for this (end-7); Docker's registry 2.8 answers 400.
            RegistryError::BlobMissing { .. } => (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN"),
            RegistryError::Relay(_) => (StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
            RegistryError::Bind { .. }
            | RegistryError::InUse { .. }
            | RegistryError::Read { .. }
            | RegistryError::Write { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Self::new(status, code, format!("{error}{}", cause.unwrap_or_default()))
    }
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default().map_err(|never| match never {}).boxed_unsync());
    *reply.status_mut() = status;
    reply
}

pub fn with_body(status: StatusCode, media_type: &str, body: impl Into<Bytes>) -> Reply {
    let body: Bytes = body.into();
    let mut reply = header(empty(status), CONTENT_LENGTH, body.len());
    *reply.body_mut() = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    header(reply, CONTENT_TYPE, media_type)
}

/// Sets one header; a value that no header can hold is left out.
pub fn header(mut reply: Reply, name: HeaderName, value: impl ToString) -> Reply {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        reply.headers_mut().insert(name, value);
    }
    reply
}

pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
