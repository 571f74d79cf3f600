//! The end of a run in a real registry: what it pushed is deleted, or listed.

use std::time::Duration;

use hyper::{Method, StatusCode};
use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

use super::Relay;
use super::client::Payload;
use super::error::RelayError;
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

impl Relay {
    /// Deletes every manifest that was pushed, as far as the registry allows it and it is safe; refs
    /// that stay are left in the list. With `keep` all of them stay. What fails is a reason for refs
    /// to stay, since the run before it was not in vain.
    pub async fn clear(&self, keep: bool) -> Cleared {
        let tags = self.ledger.tags();
        let names = tags.iter().map(|tag| format!("{}:{tag}", self.repository()));
        let stay = |because: String| Cleared { deleted: 0, left: names.collect(), because };
        let mut cleared = if keep {
            stay("--keep-refs says so".to_owned())
        } else {
            match tokio::time::timeout(LIMIT, self.delete_all()).await {
                Ok(Ok(deleted)) => deleted,
                Ok(Err(error)) => stay(error.to_string()),
                Err(_) => stay(format!("deleting them took longer than {} s", LIMIT.as_secs())),
            }
        };
        if cleared.left.is_empty() {
            cleared.because = String::new();
        }
        if let Err(error) = self.ledger.relist(cleared.left.clone()) {
            cleared.because = format!("{}; {error}", cleared.because);
        }
        cleared
    }

    /// Whether anything was pushed that is not cleared yet.
    pub fn has_refs(&self) -> bool {
        !self.ledger.tags().is_empty()
    }

    fn repository(&self) -> String {
        format!("{}/{}", self.client.address.host, self.client.address.repository)
    }

    async fn delete_all(&self) -> Result<Cleared, RelayError> {
        let tags = self.ledger.tags();
        let name = |tag: &dyn std::fmt::Display| format!("{}:{tag}", self.repository());
        let because = match self.accepts.deletes {
            Deletes::ByDigest => {
                let mut refused = None;
                for digest in self.ledger.digests() {
                    let status = self.delete(digest.as_str()).await?;
                    refused = refused.or(status);
                }
                // A tag may outlive its manifest nowhere, but a refused manifest keeps its tags.
                match refused {
                    None => return Ok(Cleared { deleted: tags.len(), ..Cleared::default() }),
                    Some(status) => format!("deleting answered {status}"),
                }
            }
            Deletes::ByTag => {
                let mut cleared = Cleared::default();
                for tag in &tags {
                    match self.delete(tag.as_str()).await? {
                        None => cleared.deleted += 1,
                        Some(status) => {
                            cleared.left.push(name(tag));
                            cleared.because = format!("deleting answered {status}");
                        }
                    }
                }
                return Ok(cleared);
            }
            Deletes::No => match self.accepts.others {
                Some(0) => "the registry deletes nothing".to_owned(),
                _ => "the registry deletes no tags, and the repository may hold others'".to_owned(),
            },
        };
        Ok(Cleared { deleted: 0, left: tags.iter().map(|tag| name(tag)).collect(), because })
    }

    /// The status of a refusal; what is gone already counts as deleted.
    async fn delete(&self, reference: &str) -> Result<Option<StatusCode>, RelayError> {
        let url = self.client.url(&format!("manifests/{reference}"))?;
        let reply =
            self.client.send(Method::DELETE, url, HeaderMap::new(), Payload::none()).await?;
        let status = reply.status();
        let gone = status.is_success() || status == StatusCode::NOT_FOUND;
        Ok((!gone).then_some(status))
    }
}
