//! An image's reference as Docker reads it: `debian:12` is `docker.io/library/debian:12`.
//!
//! Pure (distribution/reference `normalize.go`).

use std::fmt;
use std::net::SocketAddr;

use crate::registry::{Reference, RepositoryName};

const HUB: &str = "docker.io";

/// A reference with nothing left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// `docker.io`, or the registry's `host[:port]`.
    pub host: String,
    /// `library/debian`
    pub repository: String,
    /// What is asked for: the digest where one is written, else the tag, else `latest`.
    pub wanted: Reference,
    written: String,
}

impl ImageReference {
    pub fn parse(written: &str) -> Result<Self, String> {
        let (name, digest) = match written.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (written, None),
        };
        let slash = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[slash..].find(':') {
            Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
            None => (name, None),
        };
        let (host, rest) = match name.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (HUB, name),
        };
        let repository = match rest.contains('/') || host != HUB {
            true => rest.to_owned(),
            false => format!("library/{rest}"),
        };
        let wanted = digest.or(tag).unwrap_or("latest");
        let parsed = Self {
            host: if host == "index.docker.io" { HUB } else { host }.to_owned(),
            wanted: wanted.parse().map_err(|_| format!("{wanted:?} is neither tag nor digest"))?,
            repository,
            written: written.to_owned(),
        };
        parsed.served_as()?;
        Ok(parsed)
    }

    /// Whether engines that have a mirror ask it for this image.
    pub fn is_hub(&self) -> bool {
        self.host == HUB
    }

    /// The repository of our own registry that serves the image. Docker Hub's are where a mirror
    /// has them; those of other registries have the host before them.
    pub fn served_as(&self) -> Result<RepositoryName, String> {
        let name = match self.is_hub() {
            true => self.repository.clone(),
            false => format!("{}/{}", self.host.replace(':', "-"), self.repository),
        };
        name.parse().map_err(|error: crate::registry::RegistryError| error.to_string())
    }

    /// The name under which our own registry at `address` serves the image.
    pub fn at(&self, address: SocketAddr) -> Result<String, String> {
        let separator = if matches!(self.wanted, Reference::Digest(_)) { '@' } else { ':' };
        Ok(format!("{address}/{}{separator}{}", self.served_as()?, self.wanted))
    }

    /// The name by which BuildKit looks for something to take instead (buildkit
    /// `frontend/dockerui/namedcontext.go`): as short as it can be written, without `:latest`.
    pub fn context_name(&self) -> String {
        let short = self.written.trim_start_matches("docker.io/").trim_start_matches("library/");
        short.trim_end_matches(":latest").to_owned()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if matches!(self.wanted, Reference::Digest(_)) { '@' } else { ':' };
        write!(f, "{}/{}{separator}{}", self.host, self.repository, self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let expected = [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("me/app:1", "docker.io/me/app:1".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("127.0.0.1:5000/a/b:2", "127.0.0.1:5000/a/b:2".to_owned()),
            (&*format!("debian:12@{digest}"), format!("docker.io/library/debian@{digest}")),
        ];
        for (written, full) in expected {
            assert_eq!(ImageReference::parse(written).unwrap().to_string(), full);
        }
        for bad in ["", "UPPER", "a:b:c", "a@sha256:1", "a b"] {
            assert!(ImageReference::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_image_of_another_registry_is_served_under_its_host() {
        let address = ([127, 0, 0, 1], 5).into();
        let at = |written| ImageReference::parse(written).unwrap().at(address).unwrap();
        assert_eq!(at("debian:12"), "127.0.0.1:5/library/debian:12");
        assert_eq!(at("ghcr.io/a/b"), "127.0.0.1:5/ghcr.io/a/b:latest");
        assert_eq!(at("localhost:80/b:1"), "127.0.0.1:5/localhost-80/b:1");
    }

    #[test]
    fn buildkit_looks_for_the_short_name() {
        let name = |written| ImageReference::parse(written).unwrap().context_name();
        assert_eq!(name("docker.io/library/busybox:latest"), "busybox");
        assert_eq!(name("debian:12"), "debian:12");
        assert_eq!(name("ghcr.io/a/b:1"), "ghcr.io/a/b:1");
    }
}
