//! Every fault as a client on the wire sees it.

use std::time::Instant;

use reqwest::{Client, Response, StatusCode};

use super::*;
use crate::units::Bytes;

const BLOB: &[u8] = b"0123456789";

/// A registry that holds [`BLOB`] in `a`, armed with `fault`, and the blob's address.
async fn armed(fault: &str) -> (Registry, String, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let registry = Registry::start(directory.path().to_owned()).await.expect("registry");
    let digest = registry.put_blob_bytes(&"a".parse().expect("name"), BLOB).expect("blob");
    registry.arm(&[toml::from_str(fault).expect("fault")]);
    let url = format!("http://{}/v2/a/blobs/{digest}", registry.address());
    (registry, url, directory)
}

async fn get(url: &str) -> reqwest::Result<Response> {
    // No connection is used again: a closed one would be tried once more.
    Client::builder().pool_max_idle_per_host(0).build().expect("client").get(url).send().await
}

async fn push(registry: &Registry) -> reqwest::Result<StatusCode> {
    let digest = Digest::of(b"another one");
    let url = format!("http://{}/v2/a/blobs/uploads/?digest={digest}", registry.address());
    Ok(Client::new().post(url).body("another one").send().await?.status())
}

#[tokio::test]
async fn an_answer_says_what_is_wrong_and_only_the_asked_for_request_gets_it() {
    for (does, status) in
        [("too-many-requests", 429), ("internal-error", 500), ("unavailable", 503)]
    {
        let fault = format!("does = \"{does}\"\nnth = 2\nkind = \"blob\"\nseconds = 7");
        let (registry, url, _directory) = armed(&fault).await;
        assert_eq!(get(&url).await.expect("reply").status(), 200);
        let reply = get(&url).await.expect("reply");
        assert_eq!(reply.status().as_u16(), status);
        let retry = reply.headers().get("retry-after").map(|value| value.to_str().expect("text"));
        assert_eq!(retry, (status == 429).then_some("7"));
        let body: serde_json::Value =
            serde_json::from_str(&reply.text().await.expect("body")).expect("json");
        assert!(body["errors"][0]["code"].is_string());
        assert_eq!(get(&url).await.expect("reply").status(), 200);
        let fired = registry.meter().snapshot().faults;
        assert_eq!((fired.len(), fired[0].method.as_str()), (1, "GET"));
        assert!(url.ends_with(&fired[0].path));
    }
}

#[tokio::test]
async fn a_pulled_body_is_cut_shortened_or_altered_and_the_store_is_not() {
    let (registry, url, _directory) = armed("does = \"close\"\nmethod = \"GET\"").await;
    let reply = get(&url).await.expect("headers");
    assert_eq!(reply.content_length(), Some(10));
    assert!(reply.bytes().await.is_err());
    // What was held back did not cross.
    assert_eq!(registry.meter().snapshot().pulled(), Bytes(5));
    assert_eq!(get(&url).await.expect("reply").bytes().await.expect("body"), BLOB);

    let (registry, url, _directory) = armed("does = \"truncate\"").await;
    let reply = get(&url).await.expect("reply");
    assert_eq!(reply.content_length(), Some(5));
    assert_eq!(reply.bytes().await.expect("body"), &BLOB[..5]);
    assert_eq!(registry.meter().snapshot().pulled(), Bytes(5));

    let (_registry, url, _directory) = armed("does = \"corrupt\"").await;
    let body = get(&url).await.expect("reply").bytes().await.expect("body");
    let wrong: Vec<usize> = (0..10).filter(|&at| body[at] != BLOB[at]).collect();
    assert_eq!((body.len(), wrong), (10, vec![5]));
    assert_eq!(get(&url).await.expect("reply").bytes().await.expect("body"), BLOB);
}

#[tokio::test]
async fn a_pushed_body_that_was_spoiled_is_never_stored() {
    for does in ["close", "truncate", "corrupt"] {
        let fault = format!("does = \"{does}\"\nkind = \"upload\"");
        let (registry, _, _directory) = armed(&fault).await;
        match push(&registry).await {
            Ok(status) => assert_eq!((does == "close", status.as_u16()), (false, 400)),
            Err(_) => assert_eq!(does, "close"),
        }
        let (name, digest) = ("a".parse().expect("name"), Digest::of(b"another one"));
        assert!(registry.shared.store.blob(&name, &digest).expect("store").is_none(), "{does}");
        assert_eq!(push(&registry).await.expect("reply"), 201);
    }
}

#[tokio::test]
async fn a_stall_ends_after_its_time_and_disarming_ends_all_faults() {
    let (registry, url, _directory) = armed("does = \"stall\"\nseconds = 1\ntimes = 9").await;
    let since = Instant::now();
    assert_eq!(get(&url).await.expect("reply").status(), 200);
    assert!(since.elapsed() >= Duration::from_secs(1));
    registry.arm(&[]);
    assert_eq!(get(&url).await.expect("reply").status(), 200);
    assert_eq!(registry.meter().snapshot().faults.len(), 1);
}
