//! The checked words of a registry: repository names, digests, tags and references.
//!
//! Whoever holds one of these may use it as a path on disk: the grammar of the distribution
//! specification admits no `..`, no leading `_` and no `/` outside a repository name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::RegistryError;

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` joined by `/`, 255 characters at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// `sha256:` and 64 lower-case hexadecimal digits; no other algorithm is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Where a tag stands in lists: specification 1.1 orders them alphanumerically whatever the case; tags
/// that differ in nothing else come in the order of their bytes.
pub fn place(tag: &str) -> (String, &str) {
    (tag.to_ascii_lowercase(), tag)
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    Tag(Tag),
    Digest(Digest),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::finished(Sha256::new_with_prefix(bytes))
    }

    /// The digest of what `hasher` was given.
    pub fn finished(hasher: Sha256) -> Self {
        Self::from_hex(&hasher.finalize().iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    /// `hex` comes from a hasher or from a file name that a `Digest` once made.
    pub(super) fn from_hex(hex: &str) -> Self {
        Self(format!("sha256:{hex}"))
    }

    /// The 64 digits without the algorithm.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// One path component of a repository name.
fn is_component(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(|&c| word(c)) && bytes.last().is_some_and(|&c| word(c));
    ends && text.split(|c: char| c.is_ascii() && word(c as u8)).all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|c| c == b'-')
    })
}

impl FromStr for RepositoryName {
    type Err = RegistryError;
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        if text.len() <= 255 && text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(RegistryError::NameInvalid { name: text.to_owned() })
    }
}

impl FromStr for Digest {
    type Err = RegistryError;
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(RegistryError::DigestInvalid { digest: text.to_owned() })
    }
}

impl FromStr for Tag {
    type Err = RegistryError;
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let starts = text.bytes().next().is_some_and(word);
        if starts && text.len() <= 128 && text.bytes().all(|c| word(c) || c == b'.' || c == b'-') {
            return Ok(Self(text.to_owned()));
        }
        Err(RegistryError::TagInvalid { tag: text.to_owned() })
    }
}

impl FromStr for Reference {
    type Err = RegistryError;
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        // A tag cannot hold a colon, and a digest must.
        if text.contains(':') {
            text.parse().map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

macro_rules! textual {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = RegistryError;
            fn try_from(text: String) -> Result<Self, RegistryError> {
                text.parse()
            }
        }
    )*};
}
textual!(RepositoryName, Digest, Tag);

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_depth_are_accepted_and_paths_out_of_the_store_are_not() {
        for good in ["a", "library/debian", "a/b/c/d-e/f__g/h.i", "a--b", "blobs/uploads"] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in ["", "A", "a/../b", "a//b", "_a", "a_", "a___b", "a..b", "a/", "é"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reference_with_a_colon_is_a_digest() {
        assert!(matches!("v1.0".parse(), Ok(Reference::Tag(_))));
        assert!(matches!(Digest::of(b"x").as_str().parse(), Ok(Reference::Digest(_))));
        assert!("sha256:zz".parse::<Reference>().is_err());
        assert!("..".parse::<Reference>().is_err());
    }
}
