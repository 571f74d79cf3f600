//! The addresses by which an engine is asked for, in buildctl's scheme words.
//!
//! Pure: nothing here looks whether such an engine exists. Surprising: `docker-container://NAME`
//! names the container that is made, not one that is there.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The image that buildx, too, makes its BuildKit containers from.
const BUILDKIT_IMAGE: &str = "moby/buildkit:buildx-stable-1";

/// Which engine builds are to run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// `dockerd://[PATH]`: a private engine from that dockerd, or from whichever is found.
    Private(Option<PathBuf>),
    /// `docker-container://[NAME][?image=REFERENCE]`: a BuildKit container beside the user's Docker.
    Container { name: Option<String>, image: String },
    /// `docker://`: the user's own daemon as it stands, at `DOCKER_HOST`.
    Docker,
    /// `unix://PATH`: a buildkitd, or a Docker engine, that listens there.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`: the same, with TLS where that is asked for beside the address.
    Tcp(String),
}

impl EngineAddress {
    /// `docker-container://`
    pub fn container() -> Self {
        Self::Container { name: None, image: BUILDKIT_IMAGE.to_owned() }
    }
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error(
        "{0:?} names no engine\n\
         known: dockerd://[PATH], docker-container://[NAME], docker://, unix://PATH, tcp://HOST:PORT"
    )]
    Scheme(String),
    #[error("{0:?}: the path of a socket or program must be absolute")]
    Relative(String),
    #[error("{0:?}: expected HOST:PORT")]
    Authority(String),
    #[error(
        "{0:?}: a container's name is letters, digits, `_`, `.` and `-`, starting with one of the first two"
    )]
    Name(String),
    #[error("{0:?}: the only option is `image=REFERENCE`")]
    Option(String),
}

impl FromStr for EngineAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let whole = || text.to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| AddressError::Scheme(whole()))?;
        let path = || {
            let path = PathBuf::from(rest);
            path.is_absolute().then_some(path).ok_or_else(|| AddressError::Relative(whole()))
        };
        match scheme {
            "dockerd" if rest.is_empty() => Ok(Self::Private(None)),
            "dockerd" => path().map(|path| Self::Private(Some(path))),
            "docker" if rest.is_empty() => Ok(Self::Docker),
            "unix" => path().map(Self::Unix),
            "tcp" => {
                let port = rest.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
                match port {
                    Some((host, Ok(_))) if !host.is_empty() && !rest.contains('/') => {
                        Ok(Self::Tcp(rest.to_owned()))
                    }
                    _ => Err(AddressError::Authority(whole())),
                }
            }
            "docker-container" => {
                let (name, option) = rest.split_once('?').unwrap_or((rest, ""));
                let image = match option.split_once('=') {
                    None if option.is_empty() => BUILDKIT_IMAGE,
                    Some(("image", image)) if !image.is_empty() => image,
                    _ => return Err(AddressError::Option(whole())),
                };
                let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
                if !name.chars().all(good) || name.starts_with(['_', '.', '-']) {
                    return Err(AddressError::Name(whole()));
                }
                let name = (!name.is_empty()).then(|| name.to_owned());
                Ok(Self::Container { name, image: image.to_owned() })
            }
            _ => Err(AddressError::Scheme(whole())),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private(path) => {
                write!(f, "dockerd://{}", path.as_deref().unwrap_or("".as_ref()).display())
            }
            Self::Container { name, image } => {
                write!(f, "docker-container://{}", name.as_deref().unwrap_or_default())?;
                if image == BUILDKIT_IMAGE { Ok(()) } else { write!(f, "?image={image}") }
            }
            Self::Docker => f.write_str("docker://"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_is_read_and_written_back_as_it_was() {
        let addresses = [
            "dockerd://",
            "dockerd:///opt/docker/dockerd",
            "docker-container://",
            "docker-container://mine",
            "docker-container://mine?image=example.test/buildkit:1",
            "docker://",
            "unix:///run/buildkit/buildkitd.sock",
            "tcp://127.0.0.1:1234",
        ];
        for address in addresses {
            assert_eq!(address.parse::<EngineAddress>().unwrap().to_string(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let addresses = [
            "",
            "docker",
            "docker://x",
            "ssh://host",
            "unix://relative",
            "dockerd://relative",
            "tcp://host",
            "tcp://:1",
            "tcp://host:99999",
            "tcp://host:1/path",
            "docker-container://-x",
            "docker-container://a/b",
            "docker-container://a?b=c",
        ];
        for address in addresses {
            assert!(address.parse::<EngineAddress>().is_err(), "{address}");
        }
    }
}
