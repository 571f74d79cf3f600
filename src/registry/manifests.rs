//! Manifests, tags and referrers over HTTP.

use hyper::header::{CONTENT_TYPE, HeaderName, LINK, LOCATION};
use hyper::{Method, Request, StatusCode, Uri};

use super::faults::RequestBody;
use super::manifest::{Descriptor, INDEX, Manifest};
use super::meter::Tally;
use super::name::place;
use super::reply::{DOCKER_CONTENT_DIGEST, Problem, Reply, empty, header, with_body};
use super::route::query;
use super::transfer::receive_small;
use super::{Children, Digest, Reference, RegistryError, RepositoryName, Shared};

pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// The specification asks registries to take at least 4 MiB.
pub const MANIFEST_LIMIT: usize = 16 * 1024 * 1024;

/// Everything at `…/manifests/REFERENCE`.
pub async fn manifest(
    shared: &Shared,
    repository: &RepositoryName,
    reference: &Reference,
    request: Request<RequestBody>,
    tally: &mut Tally,
) -> Result<Reply, Problem> {
    match *request.method() {
        Method::GET | Method::HEAD => {
            let stored = shared.store.manifest(repository, reference)?;
            let stored = stored.ok_or_else(Problem::manifest_unknown)?;
            if let Ok(manifest) = Manifest::parse(&stored.bytes) {
                shared.meter.learn(repository, &manifest);
            }
            if request.method() == Method::GET {
                tally.bytes += stored.bytes.len() as u64;
            }
            let reply = with_body(StatusCode::OK, &stored.media_type, stored.bytes);
            Ok(header(reply, DOCKER_CONTENT_DIGEST, stored.digest))
        }
        Method::PUT => put(shared, repository, reference, request, tally).await,
        Method::DELETE => match shared.store.delete_manifest(repository, reference)? {
            true => Ok(empty(StatusCode::ACCEPTED)),
            false => Err(Problem::manifest_unknown()),
        },
        _ => Err(Problem::unsupported()),
    }
}

async fn put(
    shared: &Shared,
    repository: &RepositoryName,
    reference: &Reference,
    request: Request<RequestBody>,
    tally: &mut Tally,
) -> Result<Reply, Problem> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let given = given.map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
    let bytes = receive_small(request.into_body(), MANIFEST_LIMIT).await?;
    tally.bytes += bytes.len() as u64;
    let parsed =
        Manifest::parse(&bytes).map_err(|source| RegistryError::ManifestInvalid { source })?;
    let Some(media_type) = given.or(parsed.media_type) else {
        let message = "no media type: neither Content-Type nor mediaType";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message));
    };
    let children = Children::MustExist;
    let digest = shared.put_manifest(repository, reference, &media_type, &bytes, children)?;
    let reply = header(empty(StatusCode::CREATED), DOCKER_CONTENT_DIGEST, &digest);
    let reply = header(reply, LOCATION, format!("/v2/{repository}/manifests/{digest}"));
    Ok(match parsed.subject {
        Some(subject) => header(reply, OCI_SUBJECT, subject.digest),
        None => reply,
    })
}

/// `…/tags/list`, a page at a time where `n` says so.
pub fn tags(shared: &Shared, repository: &RepositoryName, uri: &Uri) -> Result<Reply, Problem> {
    let tags = shared.store.tags(repository)?.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository unknown to the registry")
    })?;
    let last = query(uri, "last").unwrap_or_default();
    let mut page: Vec<&str> =
        tags.iter().map(|tag| tag.as_str()).filter(|tag| place(tag) > place(&last)).collect();
    let limit = query(uri, "n").and_then(|n| n.parse::<usize>().ok());
    let more = limit.is_some_and(|limit| limit < page.len());
    page.truncate(limit.unwrap_or(usize::MAX));
    let body = serde_json::json!({ "name": repository, "tags": page }).to_string();
    let reply = with_body(StatusCode::OK, "application/json", body);
    Ok(match (more, limit, page.last()) {
        (true, Some(n), Some(last)) => {
            let next = format!("</v2/{repository}/tags/list?n={n}&last={last}>; rel=\"next\"");
            header(reply, LINK, next)
        }
        _ => reply,
    })
}

/// `…/referrers/DIGEST`: the manifests whose subject that is, whether it exists or not.
pub fn referrers(
    shared: &Shared,
    repository: &RepositoryName,
    subject: &Digest,
    uri: &Uri,
) -> Result<Reply, Problem> {
    let wanted = query(uri, "artifactType");
    let mut descriptors = Vec::new();
    for stored in shared.store.manifests(repository)? {
        let Ok(manifest) = Manifest::parse(&stored.bytes) else { continue };
        if manifest.subject.as_ref().is_none_or(|s| s.digest != *subject) {
            continue;
        }
        let artifact_type = manifest.artifact_type();
        if wanted.is_some() && wanted != artifact_type {
            continue;
        }
        descriptors.push(Descriptor {
            media_type: stored.media_type,
            digest: stored.digest,
            size: stored.bytes.len() as u64,
            artifact_type,
            annotations: manifest.annotations,
            urls: Vec::new(),
        });
    }
    let index =
        serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors });
    let reply = with_body(StatusCode::OK, INDEX, index.to_string());
    Ok(match wanted {
        Some(_) => header(reply, OCI_FILTERS_APPLIED, "artifactType"),
        None => reply,
    })
}
