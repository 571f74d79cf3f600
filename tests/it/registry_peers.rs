//! The embedded registry beside Debian's `docker-registry`: the same requests get the same answers.

use cachefrom::registry::{Digest, Registry};
use reqwest::{Client, Response};
use serde_json::json;

use crate::docker_registry::Peer;

pub const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Requests to one registry, and what of its answers the specification fixes.
struct Replay {
    address: String,
    client: Client,
    seen: Vec<String>,
}

impl Replay {
    /// Sends it, notes the answer under `what`, and returns where it leads.
    async fn send(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let path = path.replace(&format!("http://{}", self.address), "");
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.parse().unwrap(), url).body(body.to_vec());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.unwrap();
        let location = text(&reply, "location");
        let noted = [
            "docker-content-digest",
            "content-range",
            "range",
            "link",
            "docker-distribution-api-version",
        ];
        let headers: Vec<String> =
            noted.iter().map(|name| format!("{name}: {}", text(&reply, name))).collect();
        let (status, kind) = (reply.status(), text(&reply, "content-type"));
        let length = text(&reply, "content-length");
        let body = reply.bytes().await.unwrap();
        let body = match serde_json::from_slice::<serde_json::Value>(&body) {
            // The words and the detail of an error are each registry's own.
            Ok(error) if status.as_u16() >= 400 => error["errors"][0]["code"].to_string(),
            Ok(json) => json.to_string(),
            Err(_) => String::from_utf8_lossy(&body).into_owned(),
        };
        let mut line = format!("{what}: {} {} {body}", status.as_u16(), headers.join(" "));
        // How other bodies are spelled, and so their length, is free.
        if status.is_success() && path.contains("/manifests/") {
            line.push_str(&format!(" {length} bytes of {kind}"));
        }
        if status.is_success() && path.contains("/blobs/sha256:") {
            line.push_str(&format!(" {length} bytes"));
        }
        self.seen.push(line.replace(&self.address, "HOST"));
        location
    }

    async fn blob(&mut self, what: &str, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let upload =
            self.send(what, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"").await;
        let join = if upload.contains('?') { '&' } else { '?' };
        let kind = [("content-type", "application/octet-stream")];
        let path = format!("{upload}{join}digest={digest}");
        self.send(what, "PUT", &path, &kind, bytes).await;
        digest
    }
}

fn text(reply: &Response, name: &str) -> String {
    let value = reply.headers().get(name).map(|value| value.to_str().unwrap());
    value.unwrap_or_default().to_owned()
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> serde_json::Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}

fn image(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let value = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, layer)],
    });
    value.to_string().into_bytes()
}

/// One session of everything that both registries offer.
async fn session(address: &str) -> Vec<String> {
    let client = Client::new();
    let mut to = Replay { address: address.into(), client, seen: vec![] };
    to.send("version", "GET", "/v2/", &[], b"").await;
    to.send("tags of nothing", "GET", "/v2/none/tags/list", &[], b"").await;
    to.send("manifest of nothing", "GET", "/v2/none/manifests/v1", &[], b"").await;
    let absent = format!("/v2/none/blobs/{}", Digest::of(b"absent"));
    to.send("absent blob", "GET", &absent, &[], b"").await;
    to.send("absent blob", "HEAD", &absent, &[], b"").await;

    let config = to.blob("config", "a/b/c", b"{}").await;
    let layer = to.blob("layer", "a/b/c", b"0123456789").await;
    to.blob("layer again", "a/b/c", b"0123456789").await;
    let path = format!("/v2/a/b/c/blobs/{layer}");
    to.send("blob", "HEAD", &path, &[], b"").await;
    to.send("blob", "GET", &path, &[], b"").await;
    to.send("range", "GET", &path, &[("range", "bytes=2-4")], b"").await;
    to.send("open range", "GET", &path, &[("range", "bytes=7-")], b"").await;
    to.send("suffix", "GET", &path, &[("range", "bytes=-3")], b"").await;
    let elsewhere = path.replace("a/b/c", "other");
    to.send("blob elsewhere", "GET", &elsewhere, &[], b"").await;

    let mount = format!("/v2/other/blobs/uploads/?mount={layer}&from=a/b/c");
    to.send("mount", "POST", &mount, &[], b"").await;
    to.send("mounted", "GET", &elsewhere, &[], b"").await;
    let mount = format!("/v2/other/blobs/uploads/?mount={}&from=a/b/c", Digest::of(b"absent"));
    to.send("mount of nothing", "POST", &mount, &[], b"").await;

    let kind = ("content-type", "application/octet-stream");
    let upload = to.send("chunks", "POST", "/v2/a/b/c/blobs/uploads/", &[], b"").await;
    let upload =
        to.send("chunk", "PATCH", &upload, &[kind, ("content-range", "0-4")], b"hello").await;
    to.send("progress", "GET", &upload, &[], b"").await;
    let upload =
        to.send("chunk", "PATCH", &upload, &[kind, ("content-range", "5-9")], b"world").await;
    let join = if upload.contains('?') { '&' } else { '?' };
    let last = format!("{upload}{join}digest={}", Digest::of(b"helloworld"));
    to.send("last chunk", "PUT", &last, &[], b"").await;
    to.send("upload is gone", "GET", &upload, &[], b"").await;
    let chunked = format!("/v2/a/b/c/blobs/{}", Digest::of(b"helloworld"));
    to.send("chunked blob", "GET", &chunked, &[], b"").await;
    let upload = to.send("wrong", "POST", "/v2/a/b/c/blobs/uploads/", &[], b"").await;
    let join = if upload.contains('?') { '&' } else { '?' };
    let wrong = format!("{upload}{join}digest={}", Digest::of(b"promised"));
    to.send("wrong digest", "PUT", &wrong, &[kind], b"delivered").await;
    let upload = to.send("cancel", "POST", "/v2/a/b/c/blobs/uploads/", &[], b"").await;
    to.send("cancel", "DELETE", &upload, &[], b"").await;
    to.send("cancelled", "GET", &upload, &[], b"").await;

    let manifest = image(b"{}", b"0123456789");
    let kind = [("content-type", IMAGE)];
    let accept = [("accept", IMAGE), ("accept", INDEX)];
    to.send("manifest", "PUT", "/v2/a/b/c/manifests/v1", &kind, &manifest).await;
    to.send("manifest", "PUT", "/v2/a/b/c/manifests/v2", &kind, &manifest).await;
    let digest = Digest::of(&manifest);
    for reference in ["v1", &digest.to_string()] {
        let path = format!("/v2/a/b/c/manifests/{reference}");
        to.send("manifest", "GET", &path, &accept, b"").await;
        to.send("manifest", "HEAD", &path, &accept, b"").await;
    }
    to.send("tags", "GET", "/v2/a/b/c/tags/list", &[], b"").await;
    to.send("no manifest", "PUT", "/v2/a/b/c/manifests/v3", &kind, b"not json").await;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor(IMAGE, &manifest)],
    });
    let index = index.to_string().into_bytes();
    to.send("index", "PUT", "/v2/a/b/c/manifests/all", &[("content-type", INDEX)], &index).await;
    to.send("index", "GET", "/v2/a/b/c/manifests/all", &accept, b"").await;

    let by_digest = format!("/v2/a/b/c/manifests/{digest}");
    to.send("delete manifest", "DELETE", &by_digest, &[], b"").await;
    to.send("deleted manifest", "GET", &by_digest, &accept, b"").await;
    to.send("delete it again", "DELETE", &by_digest, &[], b"").await;
    let blob = format!("/v2/a/b/c/blobs/{config}");
    to.send("delete blob", "DELETE", &blob, &[], b"").await;
    to.send("deleted blob", "GET", &blob, &[], b"").await;
    to.send("delete it again", "DELETE", &blob, &[], b"").await;
    to.seen
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_requests_get_the_answers_of_debians_registry() {
    let peer = Peer::start().await;
    let store = tempfile::tempdir().unwrap();
    let ours = Registry::start(store.path().to_owned()).await.unwrap();
    let (theirs, ours) = (session(&peer.address).await, session(&ours.address().to_string()).await);
    let different: Vec<_> =
        theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).collect();
    assert!(different.is_empty(), "{different:#?}");
    assert_eq!(theirs.len(), ours.len());
}

/// What specification 1.1 asks for and not every registry does.
async fn beyond(address: &str) -> Vec<String> {
    let client = Client::new();
    let mut to = Replay { address: address.into(), client, seen: vec![] };
    let kind = ("content-type", "application/octet-stream");
    let upload = to.send("gap", "POST", "/v2/a/b/c/blobs/uploads/", &[], b"").await;
    let first = [kind, ("content-range", "0-4")];
    let upload = to.send("first", "PATCH", &upload, &first, b"hello").await;
    let later = [kind, ("content-range", "7-9")];
    to.send("out of order", "PATCH", &upload, &later, b"rld").await;
    to.send("what is there", "GET", &upload, &[], b"").await;

    for blob in [&b"{}"[..], b"0123456789"] {
        to.blob("blob", "a/b/c", blob).await;
    }
    let (manifest, kind) = (image(b"{}", b"0123456789"), [("content-type", IMAGE)]);
    for tag in ["v1", "v2", "v3"] {
        let path = format!("/v2/a/b/c/manifests/{tag}");
        to.send("manifest", "PUT", &path, &kind, &manifest).await;
    }
    for page in ["n=1", "n=1&last=v1", "n=1&last=v3", "n=0", "last=v1"] {
        let path = format!("/v2/a/b/c/tags/list?{page}");
        to.send(&format!("tags {page}"), "GET", &path, &[], b"").await;
    }
    to.send("delete tag", "DELETE", "/v2/a/b/c/manifests/v2", &[], b"").await;
    let accept = [("accept", IMAGE)];
    to.send("deleted tag", "GET", "/v2/a/b/c/manifests/v2", &accept, b"").await;
    to.send("other tag", "GET", "/v2/a/b/c/manifests/v1", &accept, b"").await;
    to.seen
}

/// The requests of [`beyond`] in which registries differ: the answer of specification 1.1, and the one
/// of a registry that is older. The answers begin with these words.
const BEYOND: [(&str, &str, &str); 9] = [
    ("out of order", "416", "202"),
    ("what is there", "204", "404"),
    ("tags n=1", "200 [v1] and more", "200 [v1,v2,v3]"),
    ("tags n=1&last=v1", "200 [v2] and more", "200 [v1,v2,v3]"),
    ("tags n=1&last=v3", "200 []", "200 [v1,v2,v3]"),
    ("tags n=0", "200 []", "200 [v1,v2,v3]"),
    ("tags last=v1", "200 [v2,v3]", "200 [v1,v2,v3]"),
    ("delete tag", "202", "400"),
    ("deleted tag", "404", "200"),
];

/// The status, and the tags of a list.
fn in_short(line: &str) -> (&str, String) {
    let (what, answer) = line.split_once(": ").unwrap();
    let status = &answer[..3];
    let Some((_, tags)) = answer.split_once("\"tags\":") else { return (what, status.to_owned()) };
    let tags = tags.trim_end_matches('}').replace('"', "");
    let more = if answer.contains("rel=\"next\"") { " and more" } else { "" };
    (what, format!("{status} {tags}{more}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn where_debians_registry_is_older_than_the_specification_ours_answers_as_that_says() {
    let peer = Peer::start().await;
    let store = tempfile::tempdir().unwrap();
    let ours = Registry::start(store.path().to_owned()).await.unwrap();
    let (theirs, ours) = (beyond(&peer.address).await, beyond(&ours.address().to_string()).await);
    assert_eq!(theirs.len(), ours.len());
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let ((what, old), (_, new)) = (in_short(theirs), in_short(ours));
        match BEYOND.iter().find(|(name, ..)| *name == what) {
            None => assert_eq!(theirs, ours),
            Some((_, specified, older)) => {
                assert_eq!(new, *specified, "{what}");
                // A later package may have caught up.
                assert!(old == *older || old == *specified, "{what}: {old}");
            }
        }
    }
}
