//! A registry that demands bearer tokens and keeps its blobs elsewhere, as the large hosted ones do.
//!
//! It stands in front of a real one and sends on what it lets in.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// In the URLs of its storage, which are secrets as well.
pub const SIGNATURE: &str = "signature-of-the-storage";

/// How many requests without a body a token is good for: as if it ran out early.
const USES: usize = 40;

pub struct Front {
    pub address: String,
    shared: Arc<Shared>,
}

/// What was seen of its clients.
#[derive(Clone, Default)]
pub struct Seen {
    /// Every token that was handed out.
    pub issued: Vec<String>,
    /// How often a blob was said to be elsewhere.
    pub redirected: usize,
    /// How many requests will never be answered.
    pub stalled: usize,
    /// What no client should do.
    pub wrong: Vec<String>,
}

struct Shared {
    address: String,
    /// Whether it deletes, but never answers who wants a blob mounted.
    stalls: bool,
    storage: String,
    peer: String,
    login: String,
    client: reqwest::Client,
    seen: Mutex<Seen>,
    /// How often each token may still be used.
    tokens: Mutex<HashMap<String, usize>>,
}

type Reply = Response<Full<Bytes>>;

impl Front {
    /// In front of the registry at `peer`, for one user.
    pub async fn start(peer: String, user: &str, password: &str) -> Self {
        Self::with(peer, user, password, false).await
    }

    /// One that deletes, but never answers who wants a blob mounted.
    pub async fn stalling(peer: String, user: &str, password: &str) -> Self {
        Self::with(peer, user, password, true).await
    }

    async fn with(peer: String, user: &str, password: &str, stalls: bool) -> Self {
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = front.local_addr().unwrap().to_string();
        let both = format!("{user}:{password}");
        let login = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both));
        let redirects = reqwest::redirect::Policy::none();
        let shared = Arc::new(Shared {
            address: address.clone(),
            stalls,
            storage: storage.local_addr().unwrap().to_string(),
            peer,
            login,
            client: reqwest::Client::builder().no_proxy().redirect(redirects).build().unwrap(),
            seen: Mutex::default(),
            tokens: Mutex::default(),
        });
        serve(front, Arc::clone(&shared), false);
        serve(storage, Arc::clone(&shared), true);
        Self { address, shared }
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

fn serve(listener: TcpListener, shared: Arc<Shared>, storage: bool) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shared = Arc::clone(&shared);
            let answer = service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move {
                    Ok::<_, Infallible>(match storage {
                        true => shared.stored(request).await,
                        false => shared.answer(request).await,
                    })
                }
            });
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let given = header(&request, "authorization");
        if request.uri().path() == "/token" {
            return self.token(&given, request.uri().query().unwrap_or_default());
        }
        let bodiless = [Method::GET, Method::HEAD].contains(request.method());
        if !given.strip_prefix("Bearer ").is_some_and(|token| self.let_in(token, bodiless)) {
            if given.starts_with("Basic") {
                self.wrong("the password was sent to the registry, which asked for a token");
            }
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"front\"", self.address);
            let mut reply = plain(StatusCode::UNAUTHORIZED, "{}");
            reply.headers_mut().insert("www-authenticate", realm.parse().unwrap());
            return reply;
        }
        if self.stalls && request.uri().query().is_some_and(|query| query.contains("mount=")) {
            self.seen.lock().unwrap().stalled += 1;
            std::future::pending::<()>().await;
        }
        if request.method() == Method::DELETE && !self.stalls {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "{}");
        }
        let path = request.uri().path().to_owned();
        if request.method() == Method::GET && path.contains("/blobs/sha256:") {
            self.seen.lock().unwrap().redirected += 1;
            let to = format!("http://{}{path}?sig={SIGNATURE}", self.storage);
            let mut reply = plain(StatusCode::TEMPORARY_REDIRECT, "");
            reply.headers_mut().insert("location", to.parse().unwrap());
            return reply;
        }
        self.send_on(request).await
    }

    /// What the storage answers: to anybody with the signature, and no questions asked.
    async fn stored(&self, request: Request<Incoming>) -> Reply {
        if !header(&request, "authorization").is_empty() {
            self.wrong("the storage was told who we are");
        }
        if !request.uri().query().is_some_and(|query| query.contains(SIGNATURE)) {
            self.wrong("the signature got lost");
        }
        self.send_on(request).await
    }

    fn token(&self, given: &str, query: &str) -> Reply {
        if given != self.login {
            return plain(StatusCode::UNAUTHORIZED, "{}");
        }
        if !query.contains("service=front") || !query.contains("scope=repository%3Ateam%2Fcache%3A")
        {
            self.wrong(&format!("asked for a token with {query}"));
        }
        let token = format!("token-{:032x}", rand::random::<u128>());
        self.tokens.lock().unwrap().insert(token.clone(), USES);
        self.seen.lock().unwrap().issued.push(token.clone());
        plain(StatusCode::OK, &format!("{{\"token\":\"{token}\",\"expires_in\":300}}"))
    }

    /// A body that was streamed cannot be sent again, so only requests without one use a token up.
    fn let_in(&self, token: &str, bodiless: bool) -> bool {
        let mut tokens = self.tokens.lock().unwrap();
        let Some(left) = tokens.get_mut(token) else { return false };
        if bodiless && *left == 0 {
            return false;
        }
        *left -= usize::from(bodiless);
        true
    }

    fn wrong(&self, what: &str) {
        self.seen.lock().unwrap().wrong.push(what.to_owned());
    }

    async fn send_on(&self, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().unwrap().as_str();
        let mut headers = parts.headers;
        for name in ["authorization", "host", "content-length", "transfer-encoding"] {
            headers.remove(name);
        }
        let body = body.collect().await.unwrap().to_bytes();
        let sent = self.client.request(parts.method, format!("http://{}{path}", self.peer));
        let reply = sent.headers(headers).body(body).send().await.unwrap();
        let mut answer = Response::builder().status(reply.status());
        for (name, value) in reply.headers() {
            answer = answer.header(name, value);
        }
        answer.body(Full::new(reply.bytes().await.unwrap())).unwrap()
    }
}

fn header(request: &Request<Incoming>, name: &str) -> String {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn plain(status: StatusCode, body: &str) -> Reply {
    Response::builder().status(status).body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}
