//! What else is in the repository: the tags of other runs and of other people, and what they lead to.
//!
//! Two runs that build the same push the same manifests, and a manifest is deleted for everybody.

use std::collections::BTreeSet;

use hyper::header::{ACCEPT, LINK};
use hyper::{Method, StatusCode};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Response, Url};
use serde::Deserialize;

use super::answer::{json_of, small};
use super::client::{Client, Payload};
use super::error::RelayError;
use crate::registry::Digest;
use crate::registry::manifest::Manifest;
use crate::registry::reply::DOCKER_CONTENT_DIGEST;

/// A repository whose tags fill more pages than this is not read to its end.
const PAGES: usize = 100;
/// Nor are more manifests asked for than this, or more digests kept: indexes may name indexes.
const MANIFESTS: usize = 10_000;
const DIGESTS: usize = 1_000_000;

/// Every kind of manifest that a tag may lead to; a registry converts what is not accepted, or hides it.
const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, */*";

/// Every tag of the repository; nothing where the registry does not list them all.
pub async fn tags(client: &Client) -> Result<Option<Vec<String>>, RelayError> {
    #[derive(Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let mut url = client.url("tags/list")?;
    let mut tags = vec![];
    for _ in 0..PAGES {
        let headers = HeaderMap::new();
        let reply = client.send(Method::GET, url.clone(), headers, Payload::none()).await?;
        // A repository that nobody has pushed to is unknown to most registries.
        if reply.status() == StatusCode::NOT_FOUND {
            return Ok(Some(tags));
        }
        let next = next(client, &url, &reply)?;
        let listed = reply.status().is_success();
        let Some(page) = json_of::<Page>(reply).await.filter(|_| listed) else { return Ok(None) };
        tags.extend(page.tags.unwrap_or_default());
        match next {
            Some(next) => url = next,
            None => return Ok(Some(tags)),
        }
    }
    Ok(None)
}

/// The next page, as the specification has it: `Link: <URL>; rel="next"`.
fn next(client: &Client, from: &Url, reply: &Response) -> Result<Option<Url>, RelayError> {
    let link = reply.headers().get(LINK).and_then(|value| value.to_str().ok());
    let location = link.and_then(|link| link.split_once('<')?.1.split_once('>'));
    location.map(|(location, _)| client.resolve(from, location)).transpose()
}

/// The manifests that `tags` lead to, those that an index names among them; nothing where the registry
/// does not say.
pub async fn reached(
    client: &Client,
    tags: Vec<String>,
) -> Result<Option<BTreeSet<Digest>>, RelayError> {
    reached_within(client, tags, MANIFESTS).await
}

/// The same, unless more than `manifests` were to be asked for.
pub async fn reached_within(
    client: &Client,
    tags: Vec<String>,
    manifests: usize,
) -> Result<Option<BTreeSet<Digest>>, RelayError> {
    let mut reached = BTreeSet::new();
    let (mut asked, mut answered) = (tags, 0);
    while let Some(reference) = asked.pop() {
        answered += 1;
        if answered > manifests || reached.len() > DIGESTS {
            return Ok(None);
        }
        let url = client.url(&format!("manifests/{reference}"))?;
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(KINDS))]);
        let reply = client.send(Method::GET, url, headers, Payload::none()).await?;
        match reply.status() {
            // Somebody has deleted it since it was listed.
            StatusCode::NOT_FOUND => continue,
            status if !status.is_success() => return Ok(None),
            _ => {}
        }
        let said = reply.headers().get(DOCKER_CONTENT_DIGEST).and_then(|v| v.to_str().ok());
        reached.extend(said.and_then(|digest| digest.parse::<Digest>().ok()));
        let Ok(bytes) = small(reply).await else { return Ok(None) };
        reached.insert(Digest::of(&bytes));
        let Ok(manifest) = Manifest::parse(&bytes) else { continue };
        for child in manifest.children() {
            let nested = child.media_type.contains("index") || child.media_type.contains("list");
            if reached.insert(child.digest.clone()) && nested {
                asked.push(child.digest.to_string());
            }
        }
    }
    Ok(Some(reached))
}
