//! Claims about the registry, each made by a real HTTP client on the wire.

use reqwest::{Client, Method, Response, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::manifest::{CACHE_CONFIG, INDEX};
use super::meter::{Action, Direction, Kind};
use super::*;
use crate::units::Bytes;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

struct Fixture {
    registry: Registry,
    client: Client,
    directory: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let directory = tempfile::tempdir().expect("temporary directory");
    let registry = Registry::start(directory.path().to_owned()).await.expect("registry");
    Fixture { registry, client: Client::new(), directory }
}

impl Fixture {
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response {
        let url = format!("http://{}{path}", self.registry.address());
        let method: Method = method.parse().expect("method");
        let mut request = self.client.request(method, url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.expect("reply")
    }

    async fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], "").await
    }

    async fn push_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send("POST", &path, &[], bytes).await.status(), 201);
        digest
    }

    async fn push_manifest(&self, path: &str, kind: &str, body: &serde_json::Value) -> Response {
        self.send("PUT", path, &[("Content-Type", kind)], body.to_string()).await
    }

    async fn open_upload(&self, repository: &str) -> String {
        let reply = self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], "").await;
        assert_eq!(reply.status(), 202);
        header(&reply, "location")
    }
}

fn header(reply: &Response, name: &str) -> String {
    reply.headers()[name].to_str().expect("text").to_owned()
}

async fn code(reply: Response) -> (StatusCode, String) {
    let status = reply.status();
    let body: serde_json::Value =
        serde_json::from_slice(&reply.bytes().await.expect("body")).expect("json");
    (status, body["errors"][0]["code"].as_str().expect("code").to_owned())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

fn image(config: &[u8], layers: &[&[u8]]) -> serde_json::Value {
    let layers: Vec<_> = layers.iter().map(|l| descriptor(LAYER, l)).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor(CONFIG, config), "layers": layers })
}

fn name(text: &str) -> RepositoryName {
    text.parse().expect("name")
}

#[tokio::test]
async fn an_image_that_was_pushed_can_be_pulled_by_tag_and_by_digest() {
    let f = fixture().await;
    assert_eq!(f.get("/v2/").await.status(), 200);
    let big = vec![7u8; 3_000_001];
    let layer = f.push_blob("a/b/c", &big).await;
    f.push_blob("a/b/c", b"config").await;
    let body = image(b"config", &[&big]);
    let put = f.push_manifest("/v2/a/b/c/manifests/v1", IMAGE, &body).await;
    assert_eq!(put.status(), 201);
    let digest = header(&put, "docker-content-digest");
    for reference in ["v1", digest.as_str()] {
        let reply = f.get(&format!("/v2/a/b/c/manifests/{reference}?ns=docker.io")).await;
        assert_eq!(header(&reply, "content-type"), IMAGE);
        assert_eq!(header(&reply, "docker-content-digest"), digest);
        assert_eq!(reply.text().await.expect("body"), body.to_string());
    }
    let path = format!("/v2/a/b/c/blobs/{layer}");
    assert_eq!(f.get(&path).await.bytes().await.expect("body"), big);
    let head = f.send("HEAD", &path, &[], "").await;
    assert_eq!(
        (head.status(), header(&head, "content-length")),
        (StatusCode::OK, "3000001".into())
    );
    let head = f.send("HEAD", "/v2/a/b/c/manifests/v1", &[], "").await;
    assert_eq!(header(&head, "content-length"), body.to_string().len().to_string());
}

#[tokio::test]
async fn a_blob_is_seen_only_in_its_own_repository_until_it_is_mounted() {
    let f = fixture().await;
    let digest = f.push_blob("a", b"secret").await;
    let path = format!("/v2/b/blobs/{digest}");
    assert_eq!(code(f.get(&path).await).await, (StatusCode::NOT_FOUND, "BLOB_UNKNOWN".into()));
    let from_nowhere = format!("/v2/b/blobs/uploads/?mount={digest}");
    assert_eq!(f.send("POST", &from_nowhere, &[], "").await.status(), 202);
    let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    let reply = f.send("POST", &mount, &[], "").await;
    assert_eq!((reply.status(), header(&reply, "location")), (StatusCode::CREATED, path.clone()));
    assert_eq!(f.get(&path).await.text().await.expect("body"), "secret");
    let absent = format!("/v2/b/blobs/uploads/?mount={}&from=a", Digest::of(b"none"));
    assert_eq!(f.send("POST", &absent, &[], "").await.status(), 202);
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stopped_and_refuses_parts_that_do_not_follow() {
    let f = fixture().await;
    let upload = f.open_upload("a").await;
    let first = f.send("PATCH", &upload, &[("Content-Range", "0-4")], "hello").await;
    assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-4".into()));
    for wrong in ["0-4", "6-10"] {
        let reply = f.send("PATCH", &upload, &[("Content-Range", wrong)], "world").await;
        assert_eq!((reply.status().as_u16(), header(&reply, "range")), (416, "0-4".into()));
    }
    let status = f.get(&upload).await;
    assert_eq!((status.status(), header(&status, "range")), (StatusCode::NO_CONTENT, "0-4".into()));
    assert_eq!(f.send("PATCH", &upload, &[], "wor").await.status(), 202);
    let digest = Digest::of(b"helloworld");
    let put = f.send("PUT", &format!("{upload}?digest={digest}"), &[], "ld").await;
    assert_eq!(put.status(), 201);
    let blob = f.get(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(blob.text().await.expect("body"), "helloworld");
    assert_eq!(code(f.get(&upload).await).await.1, "BLOB_UPLOAD_UNKNOWN");
}

#[tokio::test]
async fn a_client_that_broke_off_can_resume_from_what_arrived() {
    let f = fixture().await;
    let upload = f.open_upload("a").await;
    let mut broken = tokio::net::TcpStream::connect(f.registry.address()).await.expect("connect");
    let part = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
    broken.write_all(part.as_bytes()).await.expect("write");
    drop(broken);
    let mut range = String::new();
    for _ in 0..100 {
        range = header(&f.get(&upload).await, "range");
        if range == "0-4" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(range, "0-4");
    // Nobody may go on with it, and it crossed all the same.
    let pushed = |kind| f.registry.meter().snapshot().count(Direction::Push, kind);
    assert_eq!((pushed(Kind::Other).requests, pushed(Kind::Other).bytes), (2, Bytes(5)));
    let digest = Digest::of(b"helloworld");
    let rest = [("Content-Range", "5-9")];
    assert_eq!(f.send("PATCH", &upload, &rest, "world").await.status(), 202);
    let put = f.send("PUT", &format!("{upload}?digest={digest}"), &[], "").await;
    assert_eq!(put.status(), 201);
    assert_eq!((pushed(Kind::Layer).requests, pushed(Kind::Layer).bytes), (2, Bytes(5)));
    assert_eq!(f.registry.meter().snapshot().pushed(), Bytes(10));
}

#[tokio::test]
async fn a_dropped_registry_no_longer_answers() {
    let f = fixture().await;
    let address = f.registry.address();
    assert_eq!(f.get("/v2/").await.status(), 200);
    drop(f.registry);
    let url = format!("http://{address}/v2/");
    let mut refused = false;
    for _ in 0..100 {
        refused = f.client.get(&url).send().await.is_err();
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(refused);
}

#[tokio::test]
async fn content_that_is_not_its_digest_is_refused_and_leaves_nothing() {
    let f = fixture().await;
    let digest = Digest::of(b"promised");
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let reply = f.send("POST", &path, &[], "delivered").await;
    assert_eq!(code(reply).await, (StatusCode::BAD_REQUEST, "DIGEST_INVALID".into()));
    assert_eq!(f.get(&format!("/v2/a/blobs/{digest}")).await.status(), 404);
    let cancelled = f.open_upload("a").await;
    f.send("PATCH", &cancelled, &[], "part").await;
    assert_eq!(f.send("DELETE", &cancelled, &[], "").await.status(), 204);
    let files = std::fs::read_dir(f.directory.path().join("incoming")).expect("directory");
    assert_eq!(files.count(), 0);
    // The bytes crossed, so they are counted even so.
    assert_eq!(f.registry.meter().snapshot().pushed(), Bytes(13));
}

#[tokio::test]
async fn a_range_is_served_alone_and_one_past_the_end_is_refused() {
    let f = fixture().await;
    let path = format!("/v2/a/blobs/{}", f.push_blob("a", b"0123456789").await);
    let reply = f.send("GET", &path, &[("Range", "bytes=2-4")], "").await;
    assert_eq!(reply.status(), 206);
    assert_eq!(header(&reply, "content-range"), "bytes 2-4/10");
    assert_eq!(reply.text().await.expect("body"), "234");
    let reply = f.send("GET", &path, &[("Range", "bytes=10-")], "").await;
    assert_eq!(
        (reply.status().as_u16(), header(&reply, "content-range")),
        (416, "bytes */10".into())
    );
}

#[tokio::test]
async fn a_manifest_needs_its_blobs_and_an_index_its_manifests() {
    let f = fixture().await;
    let body = image(b"config", &[b"layer"]);
    f.push_blob("a", b"config").await;
    let reply = f.push_manifest("/v2/a/manifests/v1", IMAGE, &body).await;
    assert_eq!(code(reply).await.1, "MANIFEST_BLOB_UNKNOWN");
    // In another repository is not in this one.
    f.push_blob("b", b"layer").await;
    let reply = f.push_manifest("/v2/a/manifests/v1", IMAGE, &body).await;
    assert_eq!(code(reply).await.1, "MANIFEST_BLOB_UNKNOWN");
    let index = json!({ "schemaVersion": 2, "manifests": [descriptor(IMAGE, body.to_string().as_bytes())] });
    let reply = f.push_manifest("/v2/a/manifests/all", INDEX, &index).await;
    assert_eq!(code(reply).await.1, "MANIFEST_BLOB_UNKNOWN");
    f.push_blob("a", b"layer").await;
    assert_eq!(f.push_manifest("/v2/a/manifests/v1", IMAGE, &body).await.status(), 201);
    assert_eq!(f.push_manifest("/v2/a/manifests/all", INDEX, &index).await.status(), 201);
    let reply = f.push_manifest("/v2/a/manifests/v2", INDEX, &body).await;
    assert_eq!(code(reply).await.1, "MANIFEST_INVALID");
}

#[tokio::test]
async fn tags_come_in_pages_that_lead_to_each_other() {
    let f = fixture().await;
    assert_eq!(code(f.get("/v2/a/tags/list").await).await.1, "NAME_UNKNOWN");
    f.push_blob("a", b"config").await;
    for tag in ["c", "a", "D", "b", "e", "A"] {
        let path = format!("/v2/a/manifests/{tag}");
        f.push_manifest(&path, IMAGE, &image(b"config", &[])).await;
    }
    let (mut path, mut pages) = ("/v2/a/tags/list?n=2".to_owned(), Vec::new());
    loop {
        let reply = f.get(&path).await;
        let link = reply.headers().get("link").map(|l| l.to_str().expect("text").to_owned());
        let body: serde_json::Value =
            serde_json::from_str(&reply.text().await.expect("body")).expect("json");
        pages.push(body["tags"].clone());
        let Some(link) = link else { break };
        path = link[1..link.find('>').expect("link")].to_owned();
    }
    assert_eq!(json!(pages), json!([["A", "a"], ["b", "c"], ["D", "e"]]));
}

#[tokio::test]
async fn referrers_are_found_by_subject_and_artifact_type() {
    let f = fixture().await;
    f.push_blob("a", b"{}").await;
    let subject = image(b"{}", &[]);
    let digest = Digest::of(subject.to_string().as_bytes());
    for kind in ["x/sbom+json", "x/signature"] {
        let mut body = image(b"{}", &[]);
        body["subject"] = descriptor(IMAGE, subject.to_string().as_bytes());
        body["artifactType"] = json!(kind);
        let path = format!("/v2/a/manifests/{}", Digest::of(body.to_string().as_bytes()));
        let put = f.push_manifest(&path, IMAGE, &body).await;
        assert_eq!(header(&put, "oci-subject"), digest.as_str());
    }
    for (query, count) in [("", 2), ("?artifactType=x/sbom+json", 1), ("?artifactType=y", 0)] {
        let reply = f.get(&format!("/v2/a/referrers/{digest}{query}")).await;
        assert_eq!(reply.headers().contains_key("oci-filters-applied"), !query.is_empty());
        let body: serde_json::Value =
            serde_json::from_str(&reply.text().await.expect("body")).expect("json");
        assert_eq!(body["manifests"].as_array().map(Vec::len), Some(count), "{query}");
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_a_manifest_takes_its_tags_with_it() {
    let f = fixture().await;
    let config = f.push_blob("a", b"config").await;
    let body = image(b"config", &[]);
    let digest = Digest::of(body.to_string().as_bytes());
    for tag in ["v1", "v2"] {
        f.push_manifest(&format!("/v2/a/manifests/{tag}"), IMAGE, &body).await;
    }
    assert_eq!(f.send("DELETE", "/v2/a/manifests/v1", &[], "").await.status(), 202);
    assert_eq!(f.get("/v2/a/manifests/v2").await.status(), 200);
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(f.send("DELETE", &path, &[], "").await.status(), 202);
    assert_eq!(code(f.get("/v2/a/manifests/v2").await).await.1, "MANIFEST_UNKNOWN");
    let path = format!("/v2/a/blobs/{config}");
    assert_eq!(f.send("DELETE", &path, &[], "").await.status(), 202);
    assert_eq!(f.send("DELETE", &path, &[], "").await.status(), 404);
}

#[tokio::test]
async fn two_pushers_of_one_digest_both_succeed() {
    let f = fixture().await;
    let bytes = vec![1u8; 2_000_000];
    let pushes = (0..8).map(|_| f.push_blob("a", &bytes));
    let digests = futures_util::future::join_all(pushes).await;
    let blob = f.get(&format!("/v2/a/blobs/{}", digests[0])).await;
    assert_eq!(blob.bytes().await.expect("body"), bytes);
    let size = f.registry.cache_size(&name("a")).expect("size");
    assert_eq!((size.blobs, size.bytes), (1, Bytes(2_000_000)));
}

#[tokio::test]
async fn after_a_crash_whole_blobs_are_there_and_half_ones_are_not() {
    let f = fixture().await;
    let whole = f.push_blob("a", b"whole").await;
    let Fixture { registry, directory, .. } = f;
    drop(registry);
    let half = directory.path().join("incoming/0");
    std::fs::write(&half, "hal").expect("write");
    let orphan = directory.path().join("blobs/sha256").join(Digest::of(b"orphan").hex());
    std::fs::write(&orphan, "orphan").expect("write");
    let registry = Registry::start(directory.path().to_owned()).await.expect("registry");
    assert!(!half.exists() && !orphan.exists());
    let again = Registry::start(directory.path().to_owned()).await;
    assert!(matches!(again, Err(RegistryError::InUse { .. })));
    let f = Fixture { registry, client: Client::new(), directory };
    let blob = f.get(&format!("/v2/a/blobs/{whole}")).await;
    assert_eq!(blob.text().await.expect("body"), "whole");
}

#[tokio::test]
async fn a_blob_is_counted_as_what_the_manifest_that_came_after_it_says() {
    let f = fixture().await;
    f.push_blob("image", b"layer").await;
    f.push_blob("image", b"configuration").await;
    let body = image(b"configuration", &[b"layer"]);
    let early = f.registry.meter().snapshot();
    f.push_manifest("/v2/image/manifests/v1", IMAGE, &body).await;
    // BuildKit's old cache index: layer blobs and the configuration as "manifests".
    f.push_blob("cache", b"cached layer").await;
    f.push_blob("cache", b"cache config").await;
    let index = json!({ "schemaVersion": 2, "manifests": [
        descriptor(LAYER, b"cached layer"), descriptor(CACHE_CONFIG, b"cache config"),
    ]});
    assert_eq!(f.push_manifest("/v2/cache/manifests/c", INDEX, &index).await.status(), 201);
    let metered = f.registry.meter().snapshot();
    let pushed = |kind| metered.count(Direction::Push, kind).bytes.0;
    assert_eq!(pushed(Kind::Layer), 5);
    assert_eq!(pushed(Kind::Config), 13);
    assert_eq!(pushed(Kind::Cache), 24);
    let manifests = (body.to_string().len() + index.to_string().len()) as u64;
    assert_eq!(pushed(Kind::Manifest), manifests);
    // What a kind was taken for earlier does not spoil the difference.
    let since = metered.since(&early);
    assert_eq!(since.count(Direction::Push, Kind::Config).bytes, Bytes(0));
    assert_eq!(since.pushed(), Bytes(24 + manifests));
    let text = serde_json::to_string(&metered).expect("json");
    assert_eq!(serde_json::from_str::<Metered>(&text).expect("json"), metered);
}

#[tokio::test]
async fn pulls_mounts_and_skips_are_events_and_seeding_is_not() {
    // What is seeded is another registry's, and is pushed like anything else.
    let f = fixture().await;
    let digest = f.registry.put_blob_bytes(&name("base"), b"layer").expect("seed");
    let path = f.directory.path().join("file");
    std::fs::write(&path, "config").expect("write");
    let config = Digest::of(b"config");
    f.registry.put_blob_file(&name("base"), &config, &path).await.expect("seed");
    let wrong = f.registry.put_blob_file(&name("base"), &Digest::of(b"other"), &path).await;
    assert!(matches!(wrong, Err(RegistryError::DigestMismatch { .. })));
    let body = image(b"config", &[b"layer"]).to_string();
    let tag = "v1".parse().expect("tag");
    f.registry.put_manifest(&name("base"), &tag, IMAGE, body.as_bytes()).expect("seed");
    let stored = f.registry.manifest(&name("base"), &tag).expect("read").expect("there");
    assert_eq!(stored, (IMAGE.to_owned(), body.into_bytes()));
    assert_eq!(f.registry.meter().snapshot(), Metered::default());

    f.get(&format!("/v2/base/blobs/{digest}")).await.bytes().await.expect("body");
    let mount = async |from: &str| {
        let path = format!("/v2/app/blobs/uploads/?mount={digest}&from={from}");
        f.send("POST", &path, &[], "").await.status()
    };
    assert_eq!(mount("base").await, StatusCode::ACCEPTED);
    f.push_blob("pushed", b"layer").await;
    assert_eq!(mount("pushed").await, StatusCode::CREATED);
    f.send("HEAD", &format!("/v2/base/blobs/{config}"), &[], "").await;
    let metered = f.registry.meter().snapshot();
    let events: Vec<_> = metered.events.iter().map(|e| (e.action, e.kind, e.bytes.0)).collect();
    assert_eq!(
        events,
        [
            (Action::Pulled, Kind::Layer, 5),
            (Action::Pushed, Kind::Layer, 5),
            (Action::Mounted, Kind::Layer, 5),
            (Action::Skipped, Kind::Config, 6),
        ]
    );
    assert_eq!((metered.pulled(), metered.pushed()), (Bytes(5), Bytes(5)));
}

#[tokio::test]
async fn blobs_that_no_tag_leads_to_are_unreachable() {
    let f = fixture().await;
    for bytes in [&b"config"[..], b"old layer", b"new"] {
        f.push_blob("a", bytes).await;
    }
    for layer in [&b"old layer"[..], b"new"] {
        f.push_manifest("/v2/a/manifests/c", IMAGE, &image(b"config", &[layer])).await;
    }
    let size = f.registry.cache_size(&name("a")).expect("size");
    let wanted = CacheSize { blobs: 3, bytes: Bytes(18), unreachable_bytes: Bytes(9) };
    assert_eq!(size, wanted);
}
