//! A relay to a real registry: engines talk to this process, which counts, shapes and spoils what
//! crosses as with the embedded registry, logs in, and asks the real one.
//!
//! Everything that a run pushes goes into one repository, under tags that are unique to the run:
//! that is what every registry offers, while many make no repository by pushing to it. Nothing secret
//! leaves `client`. Surprising: since the run's own repositories share the real one, `ledger` keeps
//! them apart.

mod address;
mod answer;
mod challenge;
mod clear;
mod client;
mod error;
mod forward;
mod ledger;
mod others;
mod outgoing;
mod preflight;
mod push;
mod silence;

#[cfg(test)]
mod front;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::OnceLock;

use hyper::{Method, Request};
use reqwest::header::{HeaderMap, HeaderValue, RANGE};

use super::faults::RequestBody;
use super::meter::{Direction, Kind, Subject, Tally};
use super::reply::{Problem, Reply};
use super::route::Target;
use super::{CacheSize, Digest, Reference, RepositoryName};
use crate::credentials::Credentials;

pub use address::{RemoteAddress, RemoteAddressError, is_loopback};
pub use answer::small;
pub use clear::Cleared;
pub use client::{Client, Payload};
pub use error::RelayError;
pub use preflight::Accepts;

/// Which real registry, and how to get in.
#[derive(Clone, Debug)]
pub struct Remote {
    pub address: RemoteAddress,
    /// Certificates in PEM that are trusted beside the machine's own.
    pub ca: Option<PathBuf>,
    /// Whether what the run pushed stays.
    pub keep_refs: bool,
}

/// A way to one repository of a real registry.
#[derive(Debug)]
pub struct Relay {
    client: client::Client,
    ledger: ledger::Ledger,
    sessions: push::Sessions,
    /// What the names of the run's own repositories begin with, before the round's number.
    ours: String,
    /// Nothing until it has been tried out to the end.
    accepts: OnceLock<Accepts>,
}

impl Relay {
    /// Finds the registry, and pushes nothing.
    ///
    /// The run's repositories are those whose name begins with `ours` and a number. `run` makes its tags unique,
    /// and `list` is the file in which they are written down.
    pub async fn connect(
        remote: &Remote,
        login: (Credentials, Option<String>),
        ours: String,
        run: &str,
        list: Option<PathBuf>,
    ) -> Result<Self, RelayError> {
        let ca = remote.ca.clone().or_else(|| certificates(&remote.address));
        let client = client::Client::connect(remote.address.clone(), ca.as_deref(), login).await?;
        let repository = format!("{}/{}", remote.address.host, remote.address.repository);
        let ledger = ledger::Ledger::new(run, repository, list);
        let (sessions, accepts) = Default::default();
        Ok(Self { client, ledger, sessions, ours, accepts })
    }

    /// Tries out what the registry accepts. Whatever becomes of it, [`Relay::clear`] deletes what it
    /// pushed.
    pub async fn try_out(&self) -> Result<&Accepts, RelayError> {
        let accepts = preflight::try_out(&self.client, &self.ledger).await?;
        Ok(self.accepts.get_or_init(|| accepts))
    }

    pub fn address(&self) -> &RemoteAddress {
        &self.client.address
    }

    /// Whether requests about `repository` go to the real registry.
    pub(super) fn serves(&self, repository: &RepositoryName) -> bool {
        // A base image may be of a namespace that is called like the scenario.
        let round = repository.as_str().strip_prefix(&self.ours).and_then(|r| r.split_once('/'));
        round.is_some_and(|(round, _)| round.parse::<u32>().is_ok())
    }

    /// What `repository` holds, and how much of it no tag leads to.
    pub(super) fn cache_size(&self, repository: &RepositoryName) -> CacheSize {
        self.ledger.cache_size(repository)
    }

    pub(super) fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Option<(String, Vec<u8>)> {
        let stored = self.ledger.manifest(repository, reference)?;
        Some((stored.media_type, stored.bytes))
    }

    /// The last `most` bytes of a blob, unmetered, and its size.
    pub(super) async fn end_of_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<(Vec<u8>, u64)>, RelayError> {
        let Some(size) = self.ledger.blob(repository, digest) else { return Ok(None) };
        let mut headers = HeaderMap::new();
        if most < size
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-{}", size - most, size - 1))
        {
            headers.insert(RANGE, range);
        }
        let url = self.client.url(&format!("blobs/{digest}"))?;
        let payload = client::Payload::none();
        let mut answer = self.client.send(Method::GET, url, headers, payload).await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        // A registry that knows no ranges sends everything; only the end is kept.
        let keep = usize::try_from(most).unwrap_or(usize::MAX);
        let mut end = Vec::new();
        let broken = |error: reqwest::Error| RelayError::Unreachable {
            host: self.client.host(),
            reason: error::reason(&error.without_url()),
        };
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            end.extend_from_slice(&piece);
            let surplus = end.len().saturating_sub(keep);
            end.drain(..surplus);
        }
        Ok(Some((end, size)))
    }

    /// Answers a request about one of the run's repositories.
    pub(super) async fn answer(
        &self,
        target: Target,
        request: Request<RequestBody>,
        mut tally: Tally,
    ) -> Result<Reply, Problem> {
        let meter = tally.meter.clone();
        match target {
            Target::Blob(repository, digest) => {
                forward::blob(self, &repository, &digest, &request, tally).await
            }
            Target::Manifest(repository, reference) => {
                forward::manifest(self, &repository, &reference, request, &mut tally).await
            }
            // Uploads are counted under the blob that they become.
            Target::Uploads(repository) if *request.method() == Method::POST => {
                tally.forget();
                push::start(self, &meter, repository, request).await
            }
            Target::Upload(repository, id) => {
                tally.forget();
                push::proceed(self, &meter, repository, id, request).await
            }
            // No builder lists tags or asks for referrers.
            Target::Version | Target::Uploads(_) | Target::Tags(_) | Target::Referrers(..) => {
                debug_assert!(tally.direction == Direction::Pull || tally.bytes == 0);
                tally.subject = Subject::Kind(Kind::Other);
                Err(Problem::unsupported())
            }
        }
    }
}

/// Where Docker keeps the certificates of a registry's own authority.
/// Source: `docs.docker.com`, "Verify repository client with certificates".
fn certificates(address: &RemoteAddress) -> Option<PathBuf> {
    let path = PathBuf::from("/etc/docker/certs.d").join(&address.host).join("ca.crt");
    path.is_file().then_some(path)
}
