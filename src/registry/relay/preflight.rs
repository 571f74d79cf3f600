//! What a registry accepts, found out by doing it once in small before anything is measured.
//!
//! A registry that refuses something does so with 4xx, late and in the middle of a build (Amazon ECR
//! and caches that are an index, say); here it costs a few requests, and is said in words.

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::answer::json_of;
use super::clear::{Deleted, delete};
use super::client::{Client, Payload};
use super::error::RelayError;
use super::ledger::Ledger;
use super::others::tags;
use crate::registry::Digest;
use crate::registry::manifest::{CACHE_CONFIG, INDEX};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// What a registry accepts, as far as build caches need it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepts {
    /// An OCI index of images.
    pub oci_index: bool,
    /// A cache as an image manifest (`image-manifest=true`).
    pub cache_manifest: bool,
    /// A cache as an index of blobs (`image-manifest=false`, BuildKit's older form).
    pub cache_index: bool,
    /// A blob from another repository without sending it.
    pub mount: bool,
    pub deletes: Deletes,
    /// How many tags the repository had that are not cachefrom's; `None` where it lists none.
    pub others: Option<usize>,
}

/// How a manifest can be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deletes {
    /// By its digest. A digest is shared with whoever else pushed the same, so this is only for a
    /// repository that holds no tags of others.
    ByDigest,
    /// By tag only.
    ByTag,
    #[default]
    No,
}

impl Accepts {
    /// What it accepts and refuses, in one sentence each.
    pub fn words(&self) -> Vec<String> {
        let said = |yes: bool, what: &str, but: &str| match yes {
            true => format!("accepts {what}"),
            false => format!("refuses {what}{but}"),
        };
        let mut words = vec![
            said(self.oci_index, "OCI indexes", ", so no image of several platforms"),
            said(self.cache_manifest, "caches as image manifests", " (image-manifest=true)"),
            said(self.cache_index, "caches as indexes", " (image-manifest=false)"),
            match self.mount {
                true => "mounts blobs between repositories".to_owned(),
                false => "mounts no blobs: what another repository has is pushed again".to_owned(),
            },
        ];
        let stays = "this run's refs stay there";
        words.push(match (self.deletes, self.others) {
            (Deletes::ByDigest, _) => "deletes manifests by digest".to_owned(),
            (Deletes::ByTag, _) => "deletes tags".to_owned(),
            (Deletes::No, Some(0)) => format!("deletes nothing: {stays}"),
            (Deletes::No, others) => {
                let whose = match others {
                    Some(n) => format!("holds {n} tags of others"),
                    None => "does not list its tags".to_owned(),
                };
                format!("{whose}, so nothing is deleted by digest, and deletes no tags: {stays}")
            }
        });
        words
    }
}

/// Finds out. Fails where the registry cannot be pushed to at all.
pub async fn try_out(client: &Client, ledger: &Ledger) -> Result<Accepts, RelayError> {
    // Before there is anything of ours.
    let others = others(client).await?;
    // Unlike any other run's, so that deleting it deletes nothing of theirs.
    let blob = ledger.trial_tag("asks what this registry accepts").into_bytes();
    let (blob, config) = (blob.as_slice(), b"{}".as_slice());
    for content in [blob, config] {
        push_blob(client, content).await?;
    }
    let described = |kind: &str, content: &[u8]| json!({"mediaType": kind, "digest": Digest::of(content), "size": content.len()});
    let layer = described("application/vnd.oci.image.layer.v1.tar", blob);
    let image = |config_kind: &str| {
        json!({
            "schemaVersion": 2, "mediaType": IMAGE,
            "config": described(config_kind, config), "layers": [layer],
        })
    };
    let mut trying = Trying { client, ledger, pushed: vec![] };
    let plain = image(CONFIG).to_string().into_bytes();
    let plain_taken = trying.put("image", IMAGE, &plain).await?;
    if let Err((status, message)) = plain_taken {
        let repository = client.address.to_string();
        let what = "PUT of an image manifest".to_owned();
        return Err(RelayError::MayNotPush { repository, what, status, message });
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [{
            "mediaType": IMAGE, "digest": Digest::of(&plain), "size": plain.len(),
            "platform": {"os": "linux", "architecture": "amd64"},
        }],
    });
    let cache_index = json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [layer, described(CACHE_CONFIG, config)],
    });
    let index = index.to_string().into_bytes();
    let mut accepts = Accepts {
        oci_index: trying.put("index", INDEX, &index).await?.is_ok(),
        cache_manifest: {
            let cache = image(CACHE_CONFIG).to_string().into_bytes();
            trying.put("cache", IMAGE, &cache).await?.is_ok()
        },
        cache_index: {
            let cache = cache_index.to_string().into_bytes();
            trying.put("cache-index", INDEX, &cache).await?.is_ok()
        },
        mount: mounts(client, &Digest::of(blob)).await?,
        deletes: Deletes::No,
        others,
    };
    accepts.deletes = trying.tidy(others).await?;
    Ok(accepts)
}

/// How many tags there are that no run of this tool made.
async fn others(client: &Client) -> Result<Option<usize>, RelayError> {
    let tags = tags(client).await?;
    Ok(tags.map(|tags| tags.iter().filter(|tag| !Ledger::is_ours(tag)).count()))
}

/// Pushes a small blob, which any use of the registry needs.
async fn push_blob(client: &Client, content: &[u8]) -> Result<(), RelayError> {
    let from = client.url("blobs/uploads/")?;
    let reply = client.send(Method::POST, from.clone(), HeaderMap::new(), Payload::none()).await?;
    let location = reply.headers().get("location").and_then(|value| value.to_str().ok());
    let location = location.map(str::to_owned);
    let (StatusCode::ACCEPTED, Some(location)) = (reply.status(), location) else {
        return Err(may_not_push(client, "opening an upload", reply).await);
    };
    let mut to = client.resolve(&from, &location)?;
    to.query_pairs_mut().append_pair("digest", Digest::of(content).as_str());
    let headers = kind("application/octet-stream");
    let payload = Payload::Small(content.to_vec().into());
    let reply = client.send(Method::PUT, to, headers, payload).await?;
    match reply.status() {
        StatusCode::CREATED => Ok(()),
        _ => Err(may_not_push(client, "PUT of a blob", reply).await),
    }
}

async fn may_not_push(client: &Client, what: &str, reply: Response) -> RelayError {
    let (status, message) = refused(client, reply).await;
    let (repository, what) = (client.address.to_string(), what.to_owned());
    RelayError::MayNotPush { repository, what, status, message }
}

/// The status of a refusal, and the registry's words after a colon.
async fn refused(client: &Client, reply: Response) -> (u16, String) {
    let status = reply.status().as_u16();
    let body = json_of::<serde_json::Value>(reply).await.unwrap_or_default();
    let message = client.scrubbed(body["errors"][0]["message"].as_str().unwrap_or_default());
    let message: String = message.chars().filter(|c| !c.is_control()).take(200).collect();
    (status, if message.is_empty() { message } else { format!(": {message}") })
}

async fn mounts(client: &Client, digest: &Digest) -> Result<bool, RelayError> {
    let mut url = client.url("blobs/uploads/")?;
    let from = client.address.repository.as_str();
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    let reply = client.send(Method::POST, url, HeaderMap::new(), Payload::none()).await?;
    Ok(reply.status() == StatusCode::CREATED)
}

fn kind(media_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media_type))])
}

struct Trying<'a> {
    client: &'a Client,
    ledger: &'a Ledger,
    /// What it has taken so far.
    pushed: Vec<(String, Digest)>,
}

impl Trying<'_> {
    /// Pushes a manifest; the inner error is the registry's refusal.
    async fn put(
        &mut self,
        what: &str,
        media_type: &'static str,
        bytes: &[u8],
    ) -> Result<Result<(), (u16, String)>, RelayError> {
        let (tag, digest) = (self.ledger.trial_tag(what), Digest::of(bytes));
        self.ledger.pushing(Some(&tag), &digest)?;
        let url = self.client.url(&format!("manifests/{tag}"))?;
        let payload = Payload::Small(bytes.to_vec().into());
        let reply = self.client.send(Method::PUT, url, kind(media_type), payload).await?;
        if reply.status().is_success() {
            self.pushed.push((tag, digest));
            return Ok(Ok(()));
        }
        self.ledger.forget(&tag, &digest)?;
        Ok(Err(refused(self.client, reply).await))
    }

    /// Finds out how deleting works, and deletes what was pushed here.
    async fn tidy(&mut self, others: Option<usize>) -> Result<Deletes, RelayError> {
        let mut how = Deletes::No;
        // An index goes before what it points to.
        while let Some((tag, digest)) = self.pushed.pop() {
            let by_digest = how != Deletes::ByTag && others == Some(0);
            how = if by_digest && self.delete(digest.as_str()).await? {
                Deletes::ByDigest
            } else if self.delete(&tag).await? {
                Deletes::ByTag
            } else {
                // What it does not delete once it does not delete at all.
                return Ok(Deletes::No);
            };
            self.ledger.forget(&tag, &digest)?;
        }
        Ok(how)
    }

    /// Whether this deletes. A registry that does not know the way answers 404 too.
    async fn delete(&self, reference: &str) -> Result<bool, RelayError> {
        Ok(matches!(delete(self.client, reference).await?, Deleted::Now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_is_said_in_words() {
        let ecr = Accepts {
            oci_index: true,
            cache_manifest: true,
            deletes: Deletes::No,
            others: Some(3),
            ..Accepts::default()
        };
        let words = ecr.words().join("; ");
        assert!(words.contains("refuses caches as indexes (image-manifest=false)"), "{words}");
        assert!(words.contains("holds 3 tags of others"), "{words}");
        let own = Accepts { deletes: Deletes::ByDigest, others: Some(0), ..ecr };
        assert!(own.words().contains(&"deletes manifests by digest".to_owned()));
    }
}
