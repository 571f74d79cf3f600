//! Where a real registry is, as a user writes it: `[http://|https://]HOST[:PORT]/REPOSITORY`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use reqwest::Url;

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
        "the address of a registry holds no tag or digest\n  name the repository alone: each run makes tags of its own"
    )]
    Tagged,
}

impl RemoteAddress {
    /// Whether the host is this machine, by name or address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
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
        // Before anything echoes the text: it does not where it may hold a password.
        if let Some((before, after)) = text.rsplit_once('@') {
            let host = before.split_once("://").map_or(before, |(_, rest)| rest);
            let digest = after.strip_prefix("sha256:");
            let digest = digest.is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
            return Err(match digest && host.contains('/') && !before.contains('@') {
                true => RemoteAddressError::Tagged,
                false => RemoteAddressError::Credentials,
            });
        }
        let form = || RemoteAddressError::Form { text: text.to_owned() };
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("https", rest)) => (Some(true), rest),
            Some(("http", rest)) => (Some(false), rest),
            Some(_) => return Err(form()),
        };
        let (host, repository) = rest.split_once('/').ok_or_else(form)?;
        if !is_host(host) {
            return Err(form());
        }
        if repository.contains(':') {
            return Err(RemoteAddressError::Tagged);
        }
        let repository = repository.trim_end_matches('/').parse().map_err(|_| form())?;
        Ok(Self { tls, host: host.to_owned(), repository })
    }
}

/// Whether `HOST` or `HOST:PORT` is this machine: only an address can begin with `127.` and be that.
pub fn is_loopback(authority: &str) -> bool {
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => authority.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether this is `HOST` or `HOST:PORT`, and no folder of Docker Hub, which has neither dot nor port.
/// Source: distribution/reference `regexp.go` (`domainAndPort`), where labels hold no `_`, which some
/// internal names do.
fn is_host(text: &str) -> bool {
    let name_ends = text.find(']').map_or_else(|| text.find(':'), |at| Some(at + 1));
    let (name, port) = text.split_at(name_ends.unwrap_or(text.len()));
    let digits = |port: &str| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let port_is_one = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    let name_is_one = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_label) && (text.contains(['.', ':']) || name == "localhost"),
    };
    // Which also knows that 999.0.0.1 is no address, and 99999 no port.
    name_is_one && port_is_one && Url::parse(&format!("https://{text}/")).is_ok()
}

/// Whether this is a part of a name between dots.
fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let dashed = text.starts_with('-') || text.ends_with('-');
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !dashed
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
        for text in [
            "ghcr.io/me/cache",
            "127.0.0.1:5000/a/b/c",
            "http://localhost/x",
            "1.dkr.ecr.eu-1.amazonaws.com/a",
            "registry_1:5000/a",
            "[fe80::1]:5000/a",
        ] {
            assert_eq!(parsed(text).unwrap().to_string(), text);
        }
        let hub = parsed("docker.io/me/cache").unwrap();
        assert_eq!((hub.connected(), hub.is_loopback()), (HUB, false));
        assert!(parsed("https://[::1]:5000/a").unwrap().is_loopback());
        for near in ["localhost", "localhost:5000", "127.0.0.1", "127.9.0.1:5", "[::1]", "[::1]:5"]
        {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["127.evil.example", "127.0.0.1.evil.example:5", "localhost.a", "[::2]", "h.io"]
        {
            assert!(!is_loopback(far), "{far}");
        }
    }

    #[test]
    fn what_is_no_repository_is_refused_with_an_example() {
        for bad in [
            "",
            "ghcr.io",
            "me/cache",
            "ftp://h.io/a",
            "h.io:x/a",
            "h.io:/a",
            "h.io:+5/a",
            "h.io:99999/a",
            "h.io/A",
            "h.io/",
            ":5/a",
            "..:5/a",
            "h..io/a",
            ".h.io/a",
            "h.io./a",
            "-h.io/a",
            "999.0.0.1/a",
            "[::1/a",
            "::1]/a",
            "[]:5/a",
            "[::g]:5/a",
            "[::1]5/a",
            "a]:5/a",
        ] {
            let error = parsed(bad).err().unwrap_or_else(|| panic!("{bad} is accepted"));
            assert!(error.contains("ghcr.io/me/cachefrom"), "{bad}: {error}");
        }
        for tagged in ["h.io/a:1", "h.io/a@sha256:00", "https://h.io:5/a:1@sha256:00"] {
            assert!(parsed(tagged).unwrap_err().contains("alone"), "{tagged}");
        }
    }

    #[test]
    fn a_password_in_the_address_is_not_echoed() {
        for text in [
            "https://me:hunter2@h.io/a",
            "me:hunter2@h.io/a@sha256:00",
            "ftp://me:hunter2@h.io/a@sha256:00",
            "https://me:pass/hunter2@h.io/a",
            "me:hunter2@sha256:00",
            "ftp://me:hunter2@sha256:00",
            "me:h@hunter2/a@sha256:00",
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains("docker login") && !error.contains("hunter2"), "{error}");
        }
    }
}
