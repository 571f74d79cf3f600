//! The end of a run in a real registry: what it pushed is deleted, or listed.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper::{Method, StatusCode};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::Relay;
use super::client::{Client, Payload};
use super::error::RelayError;
use super::ledger::Ref;
use super::others::{reached, tags};
use super::preflight::Deletes;

/// The longest that tidying up may take; what is left then is listed.
const LIMIT: Duration = Duration::from_secs(60);

/// What became of the refs that a run pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleared {
    /// How many refs are gone.
    pub deleted: usize,
    /// `HOST/REPOSITORY:TAG` of those that are still there.
    pub left: Vec<String>,
    /// Why they are; empty where none are.
    pub because: String,
}

/// The tags and digests that are known to be gone.
type Gone = BTreeSet<String>;

impl Relay {
    /// Deletes every manifest that was pushed, as far as the registry allows it and it is safe; refs
    /// that stay are left in the list. With `keep` all of them stay. What fails is a reason for refs
    /// to stay, since the run before it was not in vain.
    pub async fn clear(&self, keep: bool) -> Cleared {
        let mut gone = Gone::new();
        let because = if keep {
            "--keep-refs says so".to_owned()
        } else {
            match tokio::time::timeout(LIMIT, self.delete_all(&mut gone)).await {
                Ok(Ok(because)) => because,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("deleting them took longer than {} s", LIMIT.as_secs()),
            }
        };
        let (deleted, left): (Vec<Ref>, Vec<Ref>) =
            self.ledger.refs().into_iter().partition(|pushed| is_gone(pushed, &gone));
        let name = |pushed: &Ref| format!("{}:{}", self.repository(), pushed.tag);
        let left: Vec<String> = left.iter().map(name).collect();
        let because = if left.is_empty() { String::new() } else { because };
        let mut cleared = Cleared { deleted: deleted.len(), left, because };
        if let Err(error) = self.ledger.relist(cleared.left.clone()) {
            cleared.because = format!("{}; {error}", cleared.because);
        }
        cleared
    }

    /// Whether anything was pushed that is not cleared yet.
    pub fn has_refs(&self) -> bool {
        !self.ledger.refs().is_empty()
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.client.address.host, self.client.address.repository)
    }

    /// Adds what is deleted to `gone`, and says why the rest stays.
    async fn delete_all(&self, gone: &mut Gone) -> Result<String, RelayError> {
        let Some(accepts) = self.accepts.get() else { return self.delete_trials(gone).await };
        let because = match accepts.deletes {
            Deletes::ByDigest => self.delete_digests(gone).await?,
            Deletes::ByTag => {
                let mut because = None;
                for Ref { tag, .. } in self.ledger.refs().into_iter().rev() {
                    match delete(&self.client, &tag).await? {
                        Deleted::Now | Deleted::NotThere => drop(gone.insert(tag)),
                        Deleted::Refused(reason) => because = because.or(Some(reason)),
                    }
                }
                because.unwrap_or_default()
            }
            Deletes::No => {
                return Ok(match accepts.others {
                    Some(0) => "the registry deletes nothing".to_owned(),
                    _ => "the registry deletes no tags, and the repository may hold others'"
                        .to_owned(),
                });
            }
        };
        self.look_for_the_rest(gone).await?;
        Ok(because)
    }

    async fn delete_digests(&self, gone: &mut Gone) -> Result<String, RelayError> {
        let shared = match tags(&self.client).await? {
            None => None,
            Some(tags) => {
                let others = tags.into_iter().filter(|tag| !self.ledger.is_own(tag)).collect();
                reached(&self.client, others).await?
            }
        };
        let Some(shared) = shared else {
            return Ok("the registry does not say what others' tags lead to".to_owned());
        };
        let mut because = None;
        // An index goes before what it points to, which was there before it.
        for digest in self.ledger.digests().into_iter().rev() {
            if shared.contains(&digest) {
                continue;
            }
            match delete(&self.client, digest.as_str()).await? {
                Deleted::Now | Deleted::NotThere => drop(gone.insert(digest.to_string())),
                Deleted::Refused(reason) => because = because.or(Some(reason)),
            }
        }
        for Ref { tag, digests } in self.ledger.refs() {
            if !digests.iter().any(|digest| shared.contains(digest)) {
                continue;
            }
            // Some registries let go of the tag alone.
            match delete(&self.client, &tag).await? {
                Deleted::Now | Deleted::NotThere => drop(gone.insert(tag)),
                Deleted::Refused(_) => {
                    let stays = || "others' tags lead to the same manifests".to_owned();
                    because = because.or_else(|| Some(stays()));
                }
            }
        }
        Ok(because.unwrap_or_default())
    }

    /// Trying out was not finished, so only what it pushed is there. Nobody else has that, so it may go
    /// by digest, and how else is not known.
    async fn delete_trials(&self, gone: &mut Gone) -> Result<String, RelayError> {
        let mut because = None;
        for Ref { tag, digests } in self.ledger.refs().into_iter().rev() {
            for reference in digests.iter().map(|digest| digest.to_string()).chain([tag.clone()]) {
                match delete(&self.client, &reference).await? {
                    Deleted::Now => drop(gone.insert(tag.clone())),
                    Deleted::NotThere => continue,
                    Deleted::Refused(reason) => {
                        because = because.or(Some(reason));
                        continue;
                    }
                }
                break;
            }
        }
        self.look_for_the_rest(gone).await?;
        Ok(because.unwrap_or_default())
    }

    /// A tag whose deletion was refused may be gone all the same, or never have been there.
    async fn look_for_the_rest(&self, gone: &mut Gone) -> Result<(), RelayError> {
        for pushed in self.ledger.refs() {
            if is_gone(&pushed, gone) {
                continue;
            }
            let url = self.client.url(&format!("manifests/{}", pushed.tag))?;
            let looked = self.client.send(Method::HEAD, url, HeaderMap::new(), Payload::none());
            if looked.await?.status() == StatusCode::NOT_FOUND {
                gone.insert(pushed.tag);
            }
        }
        Ok(())
    }
}

/// No tag outlives its manifest.
fn is_gone(pushed: &Ref, gone: &Gone) -> bool {
    gone.contains(&pushed.tag) || pushed.digests.iter().all(|digest| gone.contains(digest.as_str()))
}

/// What became of a request to delete.
pub enum Deleted {
    Now,
    NotThere,
    /// And why.
    Refused(String),
}

/// Deletes the manifest that a tag or digest names.
pub async fn delete(client: &Client, reference: &str) -> Result<Deleted, RelayError> {
    let url = client.url(&format!("manifests/{reference}"))?;
    match client.send(Method::DELETE, url, HeaderMap::new(), Payload::none()).await {
        Ok(reply) if reply.status().is_success() => Ok(Deleted::Now),
        Ok(reply) if reply.status() == StatusCode::NOT_FOUND => Ok(Deleted::NotThere),
        Ok(reply) => Ok(Deleted::Refused(format!("deleting answered {}", reply.status()))),
        // A login that may push need not be one that may delete.
        Err(error @ (RelayError::LoginRefused { .. } | RelayError::NoCredentials { .. })) => {
            Ok(Deleted::Refused(error.to_string()))
        }
        Err(error) => Err(error),
    }
}
