//! From a request's target to what it is about: pure, knows no store.
//!
//! Surprising: a repository may be called `a/blobs/uploads`, so paths are read from their end.

use hyper::{Method, Uri};

use super::reply::Problem;
use super::{Digest, Reference, RepositoryName};

/// What a request is about.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// `GET /v2/`, by which a client asks whether this is a registry.
    Version,
    Blob(RepositoryName, Digest),
    Uploads(RepositoryName),
    Upload(RepositoryName, String),
    Manifest(RepositoryName, Reference),
    Tags(RepositoryName),
    Referrers(RepositoryName, Digest),
}

impl Target {
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        let path = percent_decoded(uri.path());
        let unknown = || {
            Problem::new(hyper::StatusCode::NOT_FOUND, "UNSUPPORTED", format!("no resource {path}"))
        };
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Version);
        }
        let parts: Vec<&str> = rest.strip_prefix('/').ok_or_else(unknown)?.split('/').collect();
        let name = |parts: &[&str]| parts.join("/").parse::<RepositoryName>();
        Ok(match parts.as_slice() {
            [of @ .., "tags", "list"] => Self::Tags(name(of)?),
            [of @ .., "manifests", reference] => Self::Manifest(name(of)?, reference.parse()?),
            [of @ .., "referrers", digest] => Self::Referrers(name(of)?, digest.parse()?),
            [of @ .., "blobs", "uploads"] | [of @ .., "blobs", "uploads", ""] => {
                Self::Uploads(name(of)?)
            }
            [of @ .., "blobs", "uploads", id] => Self::Upload(name(of)?, (*id).to_owned()),
            [of @ .., "blobs", digest] => Self::Blob(name(of)?, digest.parse()?),
            _ => return Err(unknown()),
        })
    }

    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Version => None,
            Self::Blob(name, _)
            | Self::Uploads(name)
            | Self::Upload(name, _)
            | Self::Manifest(name, _)
            | Self::Tags(name)
            | Self::Referrers(name, _) => Some(name),
        }
    }
}

/// The value of one query parameter.
pub fn query(uri: &Uri, wanted: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    // A plus stays a plus: clients send media types such as `x+json` unescaped.
    pairs.into_iter().find(|(key, _)| *key == wanted).map(|(_, value)| percent_decoded(value))
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = || std::str::from_utf8(after.get(..2)?).ok();
        let byte = escaped().and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|_| first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A part of a blob, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub first: u64,
    pub last: u64,
}

/// Reads a `Range` header. `Ok(None)` means the whole blob: also for what RFC 9110 lets a
/// server ignore, such as several ranges or another unit. `Err` means 416.
pub fn range(header: &str, size: u64) -> Result<Option<Part>, ()> {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Ok(None);
    };
    let part = match (first.trim().parse(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Part { first, last: last.min(size.max(1) - 1) },
        (Ok(first), Err(_)) if last.trim().is_empty() => Part { first, last: size.max(1) - 1 },
        (Err(_), Ok(suffix)) if first.trim().is_empty() && suffix > 0 => {
            Part { first: size.saturating_sub(suffix), last: size.max(1) - 1 }
        }
        (Err(_), Ok(0)) if first.trim().is_empty() => return Err(()),
        _ => return Ok(None),
    };
    if part.first < size { Ok(Some(part)) } else { Err(()) }
}

/// Reads the `first-last` of an upload's `Content-Range`, which has no unit.
pub fn content_range(header: &str) -> Option<Part> {
    let (first, last) = header.trim_start_matches("bytes ").split_once('-')?;
    let last = last.split('/').next()?;
    Some(Part { first: first.parse().ok()?, last: last.parse().ok()? })
}

/// Whether the method only reads.
pub fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_named_like_an_operation_is_still_a_repository() {
        let target = Target::of(&"/v2/a/blobs/uploads/manifests/v1".parse().expect("uri"));
        let name = "a/blobs/uploads".parse().expect("name");
        assert!(matches!(target, Ok(Target::Manifest(of, _)) if of == name));
    }

    #[test]
    fn escaped_digests_are_read_and_a_plus_in_a_query_is_kept() {
        let digest = Digest::of(b"x");
        let path = format!("/v2/a/blobs/sha256%3A{}?t=a/b+json", digest.hex());
        let uri: Uri = path.parse().expect("uri");
        assert!(matches!(Target::of(&uri), Ok(Target::Blob(_, of)) if of == digest));
        assert_eq!(query(&uri, "t").as_deref(), Some("a/b+json"));
    }

    #[test]
    fn ranges_follow_rfc_9110() {
        let part = |first, last| Ok(Some(Part { first, last }));
        assert_eq!(range("bytes=0-3", 10), part(0, 3));
        assert_eq!(range("bytes=4-", 10), part(4, 9));
        assert_eq!(range("bytes=-3", 10), part(7, 9));
        assert_eq!(range("bytes=-30", 10), part(0, 9));
        assert_eq!(range("bytes=5-99", 10), part(5, 9));
        assert_eq!(range("bytes=10-", 10), Err(()));
        assert_eq!(range("bytes=0-", 0), Err(()));
        assert_eq!(range("bytes=-0", 10), Err(()));
        assert_eq!(range("bytes=3-1", 10), Ok(None));
        assert_eq!(range("bytes=0-1,3-4", 10), Ok(None));
        assert_eq!(range("lines=0-1", 10), Ok(None));
    }
}
