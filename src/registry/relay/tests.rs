//! Claims about the relay: an engine on one side, and on the other a registry that does wrong as told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream;
use reqwest::{Body, Client, Response, StatusCode};
use serde_json::json;

use super::front::{Does, Front};
use super::*;
use crate::registry::manifest::INDEX;
use crate::registry::meter::Count;
use crate::registry::{Registry, Tag};
use crate::units::Bytes;

const REFUSED: Does = Does::Answer(StatusCode::METHOD_NOT_ALLOWED);
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// One run's way to the registry behind a front.
struct Run {
    registry: Registry,
    relay: Arc<Relay>,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Run {
    /// A run that is called `run`, with a registry that may be silent for `silence`.
    async fn start(front: &Front, run: &str, silence: Duration) -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let registry = Registry::start(folder.path().join("registry")).await.expect("registry");
        let address = format!("http://{}/team/cache", front.address).parse().expect("address");
        let remote = Remote { address, ca: None, keep_refs: false };
        let list = Some(folder.path().join("refs.txt"));
        let login = Default::default();
        let relay = Relay::connect(&remote, login, "s/r".to_owned(), run, list).await;
        let mut relay = relay.expect("relay");
        relay.client.silence = silence;
        let relay = Arc::new(relay);
        registry.relay(Arc::clone(&relay));
        let client = Client::builder().no_proxy().build().expect("client");
        Self { registry, relay, client, _folder: folder }
    }

    /// The same, of a registry that was tried out.
    async fn ready(front: &Front, run: &str) -> Self {
        let run = Self::start(front, run, Duration::from_secs(60)).await;
        run.relay.try_out().await.expect("accepted");
        run
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.registry.address())
    }

    /// Opens an upload; where its parts go.
    async fn upload(&self) -> String {
        let reply = self.client.post(self.url("/v2/s/r0/x/blobs/uploads/")).send().await;
        let reply = reply.expect("reply");
        assert_eq!(reply.status(), 202);
        self.url(reply.headers()["location"].to_str().expect("text"))
    }

    async fn put(&self, location: &str, content: &[u8], body: impl Into<Body>) -> Response {
        let url = format!("{location}?digest={}", Digest::of(content));
        let request = self.client.put(url).header("content-length", content.len());
        request.body(body).send().await.expect("reply")
    }

    async fn push_blob(&self, content: &'static [u8]) -> Digest {
        assert_eq!(self.put(&self.upload().await, content, content).await.status(), 201);
        Digest::of(content)
    }

    async fn push(&self, tag: &str, kind: &str, manifest: &serde_json::Value) -> Digest {
        let url = self.url(&format!("/v2/s/r0/x/manifests/{tag}"));
        let bytes = manifest.to_string();
        let request = self.client.put(url).header("content-type", kind).body(bytes.clone());
        assert_eq!(request.send().await.expect("reply").status(), 201);
        Digest::of(bytes.as_bytes())
    }

    /// What `tag` is called in the real registry.
    fn real(&self, tag: &str) -> Tag {
        let tag = tag.parse().expect("tag");
        self.relay.ledger.real_tag(&"s/r0/x".parse().expect("name"), &tag).expect("tag")
    }

    /// What was pushed that became no blob.
    fn lost(&self) -> Count {
        self.registry.meter().snapshot().count(Direction::Push, Kind::Other)
    }
}

/// An image of one blob, unlike others' by `variant`.
fn image(blob: &Digest, variant: usize) -> serde_json::Value {
    let blob = json!({ "mediaType": "x", "digest": blob, "size": 4 });
    let note = json!({ "variant": variant.to_string() });
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": blob, "layers": [], "annotations": note })
}

fn index(child: &Digest, variant: usize) -> serde_json::Value {
    let child = json!({ "mediaType": IMAGE, "digest": child, "size": 4 });
    let note = json!({ "variant": variant.to_string() });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child], "annotations": note })
}

/// `pieces`, and `gap` before each but the first.
fn slowly(pieces: &'static [&'static [u8]], gap: Duration) -> Body {
    Body::wrap_stream(stream::unfold(0, move |at| async move {
        if at > 0 {
            tokio::time::sleep(gap).await;
        }
        Some((Ok::<_, std::io::Error>(*pieces.get(at)?), at + 1))
    }))
}

/// Whether the real registry has what `reference` names.
fn holds(front: &Front, reference: &str) -> bool {
    let (name, reference) = ("team/cache".parse(), reference.parse());
    front.registry.manifest(&name.expect("name"), &reference.expect("reference")).unwrap().is_some()
}

#[tokio::test]
async fn an_engine_may_take_longer_for_an_upload_than_the_registry_may_be_silent() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_secs(2)).await;
    let body = slowly(&[b"one ", b"two ", b"three"], Duration::from_millis(2500));
    let reply = run.put(&run.upload().await, b"one two three", body).await;
    assert_eq!(reply.status(), 201, "{}", reply.text().await.unwrap());
    let name = "team/cache".parse().unwrap();
    let digest = Digest::of(b"one two three");
    assert!(front.registry.end_of_blob(&name, &digest, 1).await.unwrap().is_some());
}

#[tokio::test]
async fn a_silent_registry_is_given_up_and_what_it_was_sent_is_counted() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_millis(500)).await;
    let (one, other) = (run.upload().await, run.upload().await);
    front.rule(|_, path| path.contains("/uploads/").then_some(Does::Silent));
    let reply = run.put(&one, b"0123456789", "0123456789").await;
    assert_eq!(reply.status(), 502);
    let text = reply.text().await.unwrap();
    assert!(text.contains("it was silent for 0.5 s"), "{text}");
    // The request that opened the upload is one of the upload's.
    assert_eq!((run.lost().requests, run.lost().bytes), (2, Bytes(10)));
    // A part of no length known, and an upload that is not opened.
    let part = slowly(&[b"01", b"234"], Duration::ZERO);
    assert_eq!(run.client.patch(&other).body(part).send().await.unwrap().status(), 502);
    assert_eq!((run.lost().requests, run.lost().bytes), (4, Bytes(15)));
    let opened = run.client.post(run.url("/v2/s/r0/x/blobs/uploads/")).send().await.unwrap();
    assert_eq!((opened.status().as_u16(), run.lost().requests), (502, 5));
    assert!(run.lost().time.seconds() >= 1.5, "{:?}", run.lost());
}

#[tokio::test]
async fn a_registry_that_takes_nothing_is_given_up_in_the_middle_of_a_body() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_millis(500)).await;
    let location = run.upload().await;
    front.rule(|method, _| (method == Method::PUT).then_some(Does::Deaf));
    // More than the machine keeps on the way.
    let content = vec![7; 64 << 20];
    let url = format!("{location}?digest={}", Digest::of(&content));
    // Whether the answer is read before the connection breaks is luck.
    if let Ok(reply) = run.client.put(url).body(content).send().await {
        assert_eq!(reply.status(), 502);
    }
    let lost = run.lost();
    assert!(lost.requests == 2 && (1..64 << 20).contains(&lost.bytes.0), "{lost:?}");
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_breaks() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_millis(500)).await;
    let digest = run.push_blob(b"blob").await;
    front.rule(|method, _| (method == Method::GET).then_some(Does::Half));
    let url = run.url(&format!("/v2/s/r0/x/blobs/{digest}"));
    let reply = run.client.get(url).send().await.unwrap();
    assert_eq!(reply.content_length(), Some(20));
    assert!(reply.bytes().await.is_err());
}

#[tokio::test]
async fn what_an_engine_sent_before_it_went_away_is_counted() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_secs(60)).await;
    let location = run.upload().await;
    let body = slowly(&[b"0123456789", b""], Duration::from_secs(600));
    let url = format!("{location}?digest={}", Digest::of(b"0123456789"));
    let sent = run.client.put(url).body(body).send();
    assert!(tokio::time::timeout(Duration::from_secs(1), sent).await.is_err());
    let begun = Instant::now();
    while run.lost().bytes != Bytes(10) {
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", run.lost());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_login_that_is_lost_during_an_upload_is_fetched_anew_for_the_next_try() {
    let front = Front::start().await;
    front.revoke();
    let run = Run::start(&front, "1", Duration::from_secs(60)).await;
    run.push_blob(b"blob").await;
    let location = run.upload().await;
    front.revoke();
    let first = run.put(&location, b"content", "content").await;
    // What engines try again after.
    assert_eq!(first.status(), 503);
    assert!(first.text().await.unwrap().contains("stopped accepting the login"));
    assert_eq!(run.put(&location, b"content", "content").await.status(), 201);
    assert_eq!(run.lost().bytes, Bytes(7));
}

#[tokio::test]
async fn what_trying_out_pushed_is_deleted_where_it_was_not_finished() {
    // What deletes work for, and what is never answered.
    for (deletes, last) in
        [("/sha256:", "mount="), ("-preflight-", "preflight-cache"), ("?", "mount=")]
    {
        let front = Front::start().await;
        let run = Run::start(&front, "1", Duration::from_millis(500)).await;
        front.rule(move |method, path| match *method {
            Method::DELETE if !path.contains(deletes) => Some(REFUSED),
            Method::PUT | Method::POST if path.contains(last) => Some(Does::Silent),
            _ => None,
        });
        run.relay.try_out().await.expect_err("it is silent");
        let pushed = front.tags();
        assert!(pushed.len() > 1 && run.relay.has_refs(), "{pushed:?}");
        assert!(run.relay.ledger.list().is_some());
        let cleared = run.relay.clear(false).await;
        if deletes == "?" {
            assert_eq!((cleared.left.len(), front.tags().len()), (pushed.len(), pushed.len()));
            assert!(cleared.because.contains("405"), "{cleared:?}");
        } else {
            assert_eq!((cleared.left, front.tags()), (vec![], vec![]), "{deletes}");
            assert!(cleared.deleted >= pushed.len() && run.relay.ledger.list().is_none());
        }
    }
}

#[tokio::test]
async fn what_a_tag_of_another_run_leads_to_is_not_deleted() {
    let front = Front::start().await;
    let (kept, run) = (Run::ready(&front, "1").await, Run::ready(&front, "2").await);
    for run in [&kept, &run] {
        run.push_blob(b"blob").await;
    }
    let blob = Digest::of(b"blob");
    // Both push the first; to the second only an index of the other's leads.
    let mut digests = vec![];
    for variant in [1, 2] {
        kept.push(&format!("t{variant}"), IMAGE, &image(&blob, variant)).await;
        digests.push(run.push(&format!("t{variant}"), IMAGE, &image(&blob, variant)).await);
    }
    kept.push("t2", INDEX, &index(&digests[1], 0)).await;
    let own = run.push("own", IMAGE, &image(&blob, 3)).await;
    let before = front.tags().len();
    // As Debian's registry does.
    front.rule(|method, path| {
        (*method == Method::DELETE && !path.contains("/sha256:")).then_some(REFUSED)
    });
    let cleared = run.relay.clear(false).await;
    assert_eq!((cleared.deleted, front.tags().len()), (1, before - 1));
    let left = ["t1", "t2"].map(|tag| format!("{}/team/cache:{}", front.address, run.real(tag)));
    assert_eq!(cleared.left, left);
    assert!(cleared.because.contains("others' tags"), "{cleared:?}");
    assert!(!holds(&front, own.as_str()));
    for reference in ["t1", "t2"].map(|tag| kept.real(tag).to_string()) {
        assert!(holds(&front, &reference));
    }
    assert!(digests.iter().all(|digest| holds(&front, digest.as_str())));
    // Where a tag can go alone it does.
    front.rule(|_, _| None);
    assert_eq!(run.relay.clear(false).await.left, Vec::<String>::new());
    assert!(digests.iter().all(|digest| holds(&front, digest.as_str())));
    assert_eq!(kept.relay.clear(false).await.left, Vec::<String>::new());
    assert_eq!(front.tags(), []);
}

#[tokio::test]
async fn one_refused_deletion_is_one_ref_that_stays() {
    let front = Front::start().await;
    let run = Run::ready(&front, "1").await;
    let blob = run.push_blob(b"blob").await;
    let refused = run.push("refused", IMAGE, &image(&blob, 1)).await;
    let moved = run.push("moved", IMAGE, &image(&blob, 2)).await;
    run.push("moved", IMAGE, &image(&blob, 3)).await;
    run.push("gone", IMAGE, &image(&blob, 4)).await;
    front.rule(move |method, path| {
        let kept = [&refused, &moved].iter().any(|digest| path.contains(digest.as_str()));
        (*method == Method::DELETE && kept).then_some(REFUSED)
    });
    let cleared = run.relay.clear(false).await;
    // A tag that was moved away from what is not deleted is gone.
    assert_eq!(front.tags(), [run.real("refused")]);
    assert_eq!((cleared.deleted, cleared.left.len()), (2, 1));
    assert!(cleared.left[0].ends_with(run.real("refused").as_str()), "{cleared:?}");
    assert!(cleared.because.contains("405"), "{cleared:?}");
    assert!(run.relay.ledger.list().is_some());
}

#[tokio::test]
async fn what_was_deleted_before_the_registry_fell_silent_is_not_said_to_be_left() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_millis(500)).await;
    run.relay.try_out().await.expect("accepted");
    let blob = run.push_blob(b"blob").await;
    let last = run.push("first", IMAGE, &image(&blob, 1)).await;
    run.push("second", IMAGE, &image(&blob, 2)).await;
    front.rule(move |method, path| {
        (*method == Method::DELETE && path.contains(last.as_str())).then_some(Does::Silent)
    });
    let cleared = run.relay.clear(false).await;
    assert_eq!((cleared.deleted, cleared.left.len()), (1, 1), "{cleared:?}");
    assert!(cleared.because.contains("silent"), "{cleared:?}");
}

#[tokio::test]
async fn an_index_is_deleted_before_what_it_points_to() {
    let front = Front::start().await;
    let run = Run::ready(&front, "1").await;
    let blob = run.push_blob(b"blob").await;
    let child = run.push("child", IMAGE, &image(&blob, 0)).await;
    // In the order of their digests, the child would be first.
    let digest = |variant| Digest::of(index(&child, variant).to_string().as_bytes());
    let variant = (0..).find(|variant| digest(*variant) > child).expect("half of them are");
    let parent = run.push("parent", INDEX, &index(&child, variant)).await;
    // A later push of the child changes nothing.
    run.push("again", IMAGE, &image(&blob, 0)).await;
    let before = front.asked(&Method::DELETE).len();
    assert_eq!(run.relay.clear(false).await.left, Vec::<String>::new());
    assert_eq!(front.asked(&Method::DELETE)[before..], [parent.to_string(), child.to_string()]);
}

#[tokio::test]
async fn tags_are_read_to_the_last_page() {
    let front = Front::start().await;
    let run = Run::start(&front, "1", Duration::from_secs(60)).await;
    let blob = run.push_blob(b"blob").await;
    for tag in ["a", "b", "c", "d", "e"] {
        run.push(tag, IMAGE, &image(&blob, 0)).await;
    }
    front.rule(|method, path| {
        (*method == Method::GET && path.ends_with("/tags/list")).then_some(Does::Pages)
    });
    let tags = others::tags(&run.relay.client).await.unwrap();
    assert_eq!(tags.unwrap().len(), 5);
    assert_eq!(front.asked(&Method::GET).iter().filter(|path| *path == "list").count(), 3);
    front.rule(|_, path| path.contains("/tags/list").then_some(REFUSED));
    assert_eq!(others::tags(&run.relay.client).await.unwrap(), None);
}

#[tokio::test]
async fn indexes_that_name_indexes_are_followed_only_so_far() {
    let front = Front::start().await;
    let run = Run::ready(&front, "a").await;
    let blob = run.push_blob(b"blob").await;
    let innermost = run.push("one", IMAGE, &image(&blob, 1)).await;
    let nested = run.push("two", INDEX, &index(&innermost, 2)).await;
    let child = json!({ "mediaType": INDEX, "digest": nested, "size": 4 });
    let outer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    run.push("three", INDEX, &outer).await;
    let reached = async |manifests| {
        let tags = vec![run.real("three").to_string()];
        others::reached_within(&run.relay.client, tags, manifests).await.expect("answers")
    };
    assert!(reached(2).await.expect("all of it").contains(&innermost));
    assert_eq!(reached(1).await, None);
}

#[tokio::test]
async fn a_namespace_that_is_called_like_the_scenario_is_not_the_runs_own() {
    let front = Front::start().await;
    let run = Run::ready(&front, "a").await;
    let serves = |name: &str| run.relay.serves(&name.parse().expect("name"));
    assert!(serves("s/r0/l0/x") && serves("s/r12/x"));
    assert!(!serves("s/redis") && !serves("s/r0") && !serves("s/r/x") && !serves("t/r0/x"));
}
