//! For tests: a registry that lets nobody in without a login, on the wire.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// How it asks for a login.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Basic,
    /// By a token, which a login gets.
    Token,
    /// By a token, which anybody gets, and a wrong login does not.
    OpenToken,
    /// By a token, over a way on which a password could be read.
    PlainToken,
    /// Not at all: nobody is let in.
    Forbids,
}

pub struct Guard {
    pub address: String,
    /// Every `Authorization` that it was sent.
    pub seen: Arc<Mutex<Vec<String>>>,
}

/// What lets in, beside the password.
const TOKEN: &str = "Bearer token-of-the-guard";

impl Guard {
    /// In front of the registry at `behind`, for one user.
    pub async fn start(behind: String, asks: Asks, user: &str, password: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let both = format!("{user}:{password}");
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both));
        let (host, seen) = (address.clone(), Arc::<Mutex<Vec<String>>>::default());
        let requests = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (behind, basic) = (behind.clone(), basic.clone());
                let (host, seen) = (host.clone(), Arc::clone(&requests));
                let service = service_fn(move |request: Request<Incoming>| {
                    let given = request.headers().get(AUTHORIZATION);
                    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
                    if !given.is_empty() {
                        seen.lock().unwrap().push(given.to_owned());
                    }
                    let path = request.uri().path_and_query().unwrap().to_string();
                    let refusal = refusal(asks, &host, &basic, given, &path);
                    let to = format!("http://{behind}{path}");
                    async move {
                        Ok::<_, Infallible>(match refusal {
                            Some(refusal) => refusal,
                            None => send_on(&to, request).await,
                        })
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, seen }
    }
}

/// What is answered instead of what is behind it.
fn refusal(
    asks: Asks,
    host: &str,
    basic: &str,
    given: &str,
    path: &str,
) -> Option<Response<Full<Bytes>>> {
    let answer = |status: StatusCode, body: String| {
        Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap()
    };
    if path.starts_with("/token?") {
        assert!(path.ends_with("scope=repository%3Ateam%2Fbase%3Apull"), "{path}");
        let good = given == basic || (asks == Asks::OpenToken && given.is_empty());
        let token = TOKEN.strip_prefix("Bearer ").unwrap();
        return Some(match good {
            true => answer(StatusCode::OK, format!("{{\"token\":\"{token}\"}}")),
            false => answer(StatusCode::UNAUTHORIZED, String::new()),
        });
    }
    let (good, wants) = match asks {
        Asks::Basic => (basic, "Basic realm=\"guard\"".to_owned()),
        Asks::Token | Asks::OpenToken => {
            (TOKEN, format!("Bearer realm=\"http://{host}/token\",service=\"guard\""))
        }
        Asks::PlainToken => (TOKEN, "Bearer realm=\"http://tokens.test/\"".to_owned()),
        Asks::Forbids => {
            return Some(answer(StatusCode::FORBIDDEN, String::new()));
        }
    };
    (given != good).then(|| {
        let mut reply = answer(StatusCode::UNAUTHORIZED, String::new());
        reply.headers_mut().insert(WWW_AUTHENTICATE, wants.parse().unwrap());
        reply
    })
}

async fn send_on(to: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut headers = request.headers().clone();
    headers.remove(AUTHORIZATION);
    headers.remove(hyper::header::HOST);
    let reply = client.get(to).headers(headers).send().await.unwrap();
    let mut answer = Response::builder().status(reply.status());
    for (name, value) in reply.headers() {
        answer = answer.header(name, value);
    }
    answer.body(Full::new(reply.bytes().await.unwrap())).unwrap()
}
