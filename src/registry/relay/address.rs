//! Where a real registry is, as a user writes it: `[http://|https://]HOST[:PORT]/REPOSITORY`.

use std::fmt;
use std::str::FromStr;

use crate::registry::RepositoryName;

/// Docker Hub's registry has another name than its images.
const HUB: &str = "registry-1.docker.io";

/// One repository of a real registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteAddress {
    /// Whether TLS is asked for; `None` means yes, but on this machine's loopback interface plain
    /// HTTP is tried too, as Docker does.
    pub tls: Option<bool>,
    /// With its port, where one was written.
    pub host: String,
    pub repository: RepositoryName,
}

#[derive(Debug, thiserror::Error)]
pub enum RemoteAddressError {
    #[error(
        "{text:?} is not HOST/REPOSITORY\n  name a repository that this run may fill, such as ghcr.io/me/cachefrom"
    )]
    Form { text: String },
    #[error(
        "the address of a registry holds no credentials\n  log in with `docker login HOST`; cachefrom reads Docker's config.json"
    )]
    Credentials,
    #[error(
        "{text:?} names a tag or digest\n  name the repository alone: each run makes tags of its own"
    )]
    Tagged { text: String },
}

impl RemoteAddress {
    /// Whether the host is this machine, by name or address.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name);
        host == "localhost" || host.starts_with("127.") || host == "[::1]"
    }

    /// The host that is connected to.
    pub fn connected(&self) -> &str {
        match &*self.host {
            "docker.io" | "index.docker.io" => HUB,
            host => host,
        }
    }
}

impl FromStr for RemoteAddress {
    type Err = RemoteAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || RemoteAddressError::Form { text: text.to_owned() };
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return Err(form()),
        };
        // Before anything echoes the text.
        if rest.contains('@') && !rest.contains("@sha256:") {
            return Err(RemoteAddressError::Credentials);
        }
        let (host, repository) = rest.split_once('/').ok_or_else(form)?;
        if repository.contains([':', '@']) {
            return Err(RemoteAddressError::Tagged { text: text.to_owned() });
        }
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "1"));
        let letter = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        // As in an image's name: a first part without dot or port is a folder of Docker Hub.
        let is_host = name == "localhost" || host.contains(['.', ':']);
        if !is_host || name.is_empty() || !name.chars().all(letter) || port.parse::<u16>().is_err()
        {
            return Err(form());
        }
        let repository = repository.trim_end_matches('/').parse().map_err(|_| form())?;
        Ok(Self { tls, host: host.to_owned(), repository })
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls == Some(false) { "http://" } else { "" };
        write!(f, "{scheme}{}/{}", self.host, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<RemoteAddress, String> {
        text.parse().map_err(|error: RemoteAddressError| error.to_string())
    }

    #[test]
    fn hosts_and_repositories_are_told_apart() {
        for text in ["ghcr.io/me/cache", "127.0.0.1:5000/a/b/c", "http://localhost/x"] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        let hub = parsed("docker.io/me/cache").unwrap();
        assert_eq!((hub.connected(), hub.is_loopback()), (HUB, false));
        assert!(parsed("https://[::1]:5000/a").unwrap().is_loopback());
    }

    #[test]
    fn what_is_no_repository_is_refused_with_an_example() {
        for bad in
            ["", "ghcr.io", "me/cache", "ftp://h.io/a", "h.io:x/a", "h.io/A", "h.io/", ":5/a"]
        {
            assert!(parsed(bad).unwrap_err().contains("ghcr.io/me/cachefrom"), "{bad}");
        }
        assert!(parsed("h.io/a:1").unwrap_err().contains("alone"));
        assert!(parsed("h.io/a@sha256:00").unwrap_err().contains("alone"));
    }

    #[test]
    fn a_password_in_the_address_is_not_echoed() {
        let error = parsed("https://me:hunter2@h.io/a").unwrap_err();
        assert!(error.contains("docker login") && !error.contains("hunter2"), "{error}");
    }
}
