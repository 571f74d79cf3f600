//! For tests: stands in front of a registry of our own, on the wire, and does wrong as it is told.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::registry::{Registry, Tag};

/// What is done instead of asking the registry.
#[derive(Clone, Copy)]
pub enum Does {
    Answer(StatusCode),
    /// Takes the whole request, and never answers.
    Silent,
    /// Takes the headers, and nothing more.
    Deaf,
    /// Answers 20 bytes, of which 10 come.
    Half,
    /// Asks the registry for the first two of a list.
    Pages,
}

/// Of a method, and of a path with its query.
type Rule = Box<dyn Fn(&Method, &str) -> Option<Does> + Send>;
type Reply = Response<UnsyncBoxBody<Bytes, io::Error>>;

pub struct Front {
    pub address: String,
    pub registry: Registry,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

struct Shared {
    behind: String,
    client: reqwest::Client,
    rule: Mutex<Rule>,
    /// Method and path of what was asked.
    asked: Mutex<Vec<(Method, String)>>,
    /// Which token is good, where one is wanted.
    token: Mutex<Option<usize>>,
}

impl Front {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary directory");
        let registry = Registry::start(folder.path().to_owned()).await.expect("registry");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let address = listener.local_addr().expect("address").to_string();
        let shared = Arc::new(Shared {
            behind: registry.address().to_string(),
            client: reqwest::Client::builder().no_proxy().build().expect("client"),
            rule: Mutex::new(Box::new(|_, _| None)),
            asked: Mutex::default(),
            token: Mutex::default(),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, registry, shared, server, _folder: folder }
    }

    /// From now on, what `rule` says of a method and a path is done.
    pub fn rule(&self, rule: impl Fn(&Method, &str) -> Option<Does> + Send + 'static) {
        *self.shared.rule.lock().expect("lock") = Box::new(rule);
    }

    /// From now on a token is wanted, and none that was handed out before is good.
    pub fn revoke(&self) {
        let mut token = self.shared.token.lock().expect("lock");
        *token = Some(token.map_or(0, |token| token + 1));
    }

    /// What the registry behind it lists.
    pub fn tags(&self) -> Vec<Tag> {
        let name = "team/cache".parse().expect("name");
        self.registry.shared.store.tags(&name).expect("store").unwrap_or_default()
    }

    /// The last parts of the paths that were asked for with `method`.
    pub fn asked(&self, method: &Method) -> Vec<String> {
        let asked = self.shared.asked.lock().expect("lock");
        let asked = asked.iter().filter(|(asked, _)| asked == method);
        asked.filter_map(|(_, path)| Some(path.rsplit_once('/')?.1.to_owned())).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(shared.answer(request).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        if let Some(refusal) = self.login(&request) {
            return refusal;
        }
        self.asked.lock().expect("lock").push((method.clone(), path.clone()));
        let asked = request.uri().path_and_query().expect("path").to_string();
        let does = (self.rule.lock().expect("lock"))(&method, &asked);
        match does {
            None => self.send_on(request, &asked).await,
            Some(Does::Pages) => self.send_on(request, &format!("{asked}?n=2")).await,
            Some(Does::Answer(status)) => {
                // A connection on which something is left unread cannot be used again.
                let _ = request.into_body().collect().await;
                plain(status, "")
            }
            Some(Does::Silent) => {
                let _ = request.into_body().collect().await;
                std::future::pending().await
            }
            Some(Does::Deaf) => std::future::pending().await,
            Some(Does::Half) => {
                let half = Ok(Frame::data(Bytes::from_static(b"0123456789")));
                let body = stream::iter([half]).chain(stream::pending());
                let reply = Response::builder().header(CONTENT_LENGTH, 20);
                reply.body(StreamBody::new(body).boxed_unsync()).expect("reply")
            }
        }
    }

    /// Hands out the token, or refuses whoever has another.
    fn login(&self, request: &Request<Incoming>) -> Option<Reply> {
        let good = format!("token-{}", (*self.token.lock().expect("lock"))?);
        if request.uri().path() == "/token" {
            return Some(plain(StatusCode::OK, &format!("{{\"token\":\"{good}\"}}")));
        }
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        (given != Some(&format!("Bearer {good}"))).then(|| {
            let host = request.headers()[HOST].to_str().expect("text");
            let realm = format!("Bearer realm=\"http://{host}/token\",service=\"front\"");
            let mut reply = plain(StatusCode::UNAUTHORIZED, "{}");
            reply.headers_mut().insert(WWW_AUTHENTICATE, realm.parse().expect("header"));
            reply
        })
    }

    async fn send_on(&self, request: Request<Incoming>, path: &str) -> Reply {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        for name in [AUTHORIZATION, HOST, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let Ok(body) = body.collect().await else { return plain(StatusCode::BAD_REQUEST, "") };
        let sent = self.client.request(parts.method, format!("http://{}{path}", self.behind));
        let reply = sent.headers(headers).body(body.to_bytes()).send().await.expect("reply");
        let mut answer = Response::builder().status(reply.status());
        for (name, value) in reply.headers() {
            answer = answer.header(name, value);
        }
        let bytes = reply.bytes().await.expect("body");
        answer.body(Full::new(bytes).map_err(|never| match never {}).boxed_unsync()).expect("reply")
    }
}

fn plain(status: StatusCode, body: &str) -> Reply {
    let body = Full::new(Bytes::from(body.to_owned())).map_err(|never| match never {});
    Response::builder().status(status).body(body.boxed_unsync()).expect("reply")
}
