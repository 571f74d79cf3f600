//! Requests to the real registry, logged in: everything secret stays behind this file.
//!
//! Credentials go to the registry itself and to the token server that it names, never to where it
//! redirects. A token is fetched before it runs out, since a body that is streamed cannot be sent
//! twice. Sources: distribution/distribution `docs/spec/auth/{token,oauth}.md`.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::address::{RemoteAddress, is_loopback};
use super::answer::small;
use super::challenge::Challenge;
use super::error::{RelayError, reason};
use super::silence::{Watch, answered};
use crate::credentials::Credentials;

/// How long a registry may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long it may be silent; after a body's last byte too, when the machine may still hold some of it.
const SILENCE: Duration = Duration::from_secs(120);
/// How long a token is good for where its server does not say (`token.md`).
const TOKEN_LIFE: u64 = 60;
const REDIRECTS: usize = 5;

/// What a request sends.
pub enum Payload {
    Small(bytes::Bytes),
    /// Sent once: a refusal for want of a login ends the request. The body tells the watch whom it
    /// waits for.
    Stream(Body, Watch),
}

impl Payload {
    pub fn none() -> Self {
        Self::Small(bytes::Bytes::new())
    }
}

pub struct Client {
    http: reqwest::Client,
    pub address: RemoteAddress,
    /// `scheme://host/`.
    root: Url,
    login: Credentials,
    /// What kept credentials from being read.
    problem: Option<String>,
    /// Whether it never asks for more than to pull.
    reads_only: bool,
    /// How long the registry may be silent.
    pub silence: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    tokens: Vec<Token>,
}

/// A token for some actions on the repository.
struct Token {
    actions: &'static str,
    value: String,
    good_until: Instant,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Granted {
    token: String,
    access_token: String,
    expires_in: Option<u64>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

/// A client for HTTP/1.1, which is what BuildKit itself speaks with registries.
fn http(ca: Option<&Path>, loopback: bool) -> Result<reqwest::Client, RelayError> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .user_agent(concat!("cachefrom/", env!("CARGO_PKG_VERSION")));
    if loopback {
        builder = builder.no_proxy();
    }
    if let Some(path) = ca {
        let wrong = |reason: String| RelayError::Certificates { path: path.to_owned(), reason };
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let certificates =
            reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(reason(&error)))?;
        if certificates.is_empty() {
            return Err(wrong("no PEM certificate in it".to_owned()));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    let made = builder.build();
    made.map_err(|error| RelayError::Unreachable { host: String::new(), reason: reason(&error) })
}

impl Client {
    /// Finds the registry and asks it how it wants to be logged in to.
    ///
    /// `login` may be empty; `problem` is then told if a login turns out to be needed.
    pub async fn connect(
        address: RemoteAddress,
        ca: Option<&Path>,
        (login, problem): (Credentials, Option<String>),
    ) -> Result<Self, RelayError> {
        let (mut client, reply, refused_tls) = Self::reach(address, ca, SILENCE).await?;
        (client.login, client.problem) = (login, problem);
        match (client.greeted(&reply), refused_tls) {
            (Ok(()), _) => Ok(client),
            // It answers a plain request, but only to say that it wants TLS.
            (Err(RelayError::NoRegistry { host, .. }), Some(reason)) => {
                Err(RelayError::Unreachable { host, reason })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// A client that only pulls, and from a registry that answers anything at all within `reach`.
    /// It is not logged in.
    pub async fn reader(
        address: RemoteAddress,
        reach: Duration,
        silence: Duration,
    ) -> Result<Self, RelayError> {
        let (client, ..) = Self::reach(address, None, reach).await?;
        Ok(Self { reads_only: true, silence, ..client })
    }

    /// Logs in with `login` from now on, where the registry asks for one.
    pub fn log_in(&mut self, (login, problem): (Credentials, Option<String>)) {
        (self.login, self.problem) = (login, problem);
        self.state = Mutex::default();
    }

    /// Finds the registry: what it answered, and why it was not asked over TLS if it was not.
    async fn reach(
        address: RemoteAddress,
        ca: Option<&Path>,
        limit: Duration,
    ) -> Result<(Self, Response, Option<String>), RelayError> {
        let http = http(ca, address.is_loopback())?;
        let schemes: &[&str] = match address.tls {
            Some(true) => &["https"],
            Some(false) => &["http"],
            None if address.is_loopback() => &["https", "http"],
            None => &["https"],
        };
        let mut last = None;
        for scheme in schemes {
            let host = address.connected();
            let root = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| {
                RelayError::Unreachable { host: host.to_owned(), reason: error.to_string() }
            })?;
            // A path that begins with a slash always joins.
            let Ok(version) = root.join("/v2/") else { continue };
            match answered(http.get(version), &Watch::begin(), limit).await {
                Ok(reply) => {
                    let (login, problem, state) = Default::default();
                    let (reads_only, silence) = (false, SILENCE);
                    let client =
                        Self { http, address, root, login, problem, reads_only, silence, state };
                    return Ok((client, reply, last));
                }
                Err(reason) => last = last.or(Some(reason)),
            }
        }
        let reason = last.unwrap_or_default();
        Err(RelayError::Unreachable { host: address.host, reason })
    }

    fn greeted(&self, reply: &Response) -> Result<(), RelayError> {
        match reply.status() {
            StatusCode::UNAUTHORIZED => self.learn(reply),
            status if status.is_success() => Ok(()),
            status => Err(RelayError::NoRegistry { host: self.host(), status: status.as_u16() }),
        }
    }

    /// Remembers how a 401 wants a login.
    fn learn(&self, reply: &Response) -> Result<(), RelayError> {
        let values = reply.headers().get_all(WWW_AUTHENTICATE);
        let texts: Vec<&str> = values.iter().filter_map(|value| value.to_str().ok()).collect();
        let challenge = texts.iter().find_map(|text| Challenge::parse(text));
        let Some(challenge) = challenge else {
            let scheme = texts.first().and_then(|text| text.split(' ').next());
            let challenge = scheme.unwrap_or_default().to_owned();
            return Err(RelayError::Challenge { host: self.host(), challenge });
        };
        if challenge == Challenge::Basic && self.login == Credentials::default() {
            return Err(self.no_credentials());
        }
        self.state().challenge = Some(challenge);
        Ok(())
    }

    fn no_credentials(&self) -> RelayError {
        RelayError::NoCredentials { host: self.host(), found: self.found() }
    }

    /// Whether a login was found for this registry, in words.
    pub fn found(&self) -> String {
        let file = crate::credentials::config_file();
        let file = file.map_or_else(|| "config.json".to_owned(), |p| p.display().to_string());
        match &self.problem {
            _ if self.login != Credentials::default() => format!("{file} holds a login for it"),
            Some(problem) => problem.clone(),
            None => format!("{file} holds no login for it"),
        }
    }

    pub fn host(&self) -> String {
        self.address.host.clone()
    }

    /// The URL of something in the repository, such as `blobs/sha256:…`.
    pub fn url(&self, part: &str) -> Result<Url, RelayError> {
        let path = format!("/v2/{}/{part}", self.address.repository);
        self.resolve(&self.root, &path)
    }

    /// `location` as seen from `base`.
    pub fn resolve(&self, base: &Url, location: &str) -> Result<Url, RelayError> {
        let unreadable = |_| RelayError::Unreachable {
            host: self.host(),
            reason: "it sent a location that is no URL".to_owned(),
        };
        base.join(location).map_err(unreadable)
    }

    /// Sends one request, logged in with what `method` needs, and follows redirects of reads.
    ///
    /// An answer that is no success is an answer; an error is a registry that gave none, or one that
    /// does not let us in.
    pub async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Response, RelayError> {
        let actions = match method {
            _ if self.reads_only => "pull",
            Method::DELETE => "pull,push,delete",
            _ => "pull,push",
        };
        let (body, small, watch) = match payload {
            Payload::Small(bytes) => (Body::from(bytes.clone()), Some(bytes), Watch::begin()),
            Payload::Stream(body, watch) => (body, None, watch),
        };
        let reply = self.once(&method, url.clone(), &headers, body, actions, &watch).await?;
        let reply = match (reply.status(), small) {
            (StatusCode::UNAUTHORIZED, Some(bytes)) => {
                // The token ran out early, or this is the first that anybody says of a login.
                self.learn(&reply)?;
                let body = Body::from(bytes);
                self.once(&method, url.clone(), &headers, body, actions, &watch).await?
            }
            (StatusCode::UNAUTHORIZED, None) => {
                return Err(RelayError::LoginLost { host: self.host() });
            }
            _ => reply,
        };
        if reply.status() == StatusCode::UNAUTHORIZED {
            if self.login == Credentials::default() {
                return Err(self.no_credentials());
            }
            return Err(RelayError::LoginRefused { host: self.host(), status: 401 });
        }
        self.follow(&method, url, &headers, reply, actions).await
    }

    async fn follow(
        &self,
        method: &Method,
        mut url: Url,
        headers: &HeaderMap,
        mut reply: Response,
        actions: &'static str,
    ) -> Result<Response, RelayError> {
        let reads = *method == Method::GET || *method == Method::HEAD;
        for _ in 0..REDIRECTS {
            let location = reply.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let (true, true, Some(location)) = (reads, reply.status().is_redirection(), location)
            else {
                return Ok(reply);
            };
            url = self.resolve(&url, location)?;
            let (body, watch) = (Body::default(), Watch::begin());
            reply = self.once(method, url.clone(), headers, body, actions, &watch).await?;
        }
        Ok(reply)
    }

    async fn once(
        &self,
        method: &Method,
        url: Url,
        headers: &HeaderMap,
        body: Body,
        actions: &'static str,
        watch: &Watch,
    ) -> Result<Response, RelayError> {
        let mut request = self.http.request(method.clone(), url.clone()).headers(headers.clone());
        // Only the registry itself may see who we are.
        if url.origin() == self.root.origin()
            && let Some(value) = self.authorization(actions).await?
        {
            request = request.header(AUTHORIZATION, value);
        }
        if *method != Method::GET && *method != Method::HEAD && *method != Method::DELETE {
            request = request.body(body);
        }
        let reply = answered(request, watch, self.silence).await;
        let reply =
            reply.map_err(|reason| RelayError::Unreachable { host: self.host(), reason })?;
        if reply.status() == StatusCode::UNAUTHORIZED {
            // Whatever was refused must not be used again.
            self.state().tokens.clear();
        }
        Ok(reply)
    }

    /// The header that logs in, where a login was asked for.
    async fn authorization(
        &self,
        actions: &'static str,
    ) -> Result<Option<HeaderValue>, RelayError> {
        let challenge = self.state().challenge.clone();
        let text = match challenge {
            None => return Ok(None),
            Some(Challenge::Basic) => {
                self.guard_password(&self.root)?;
                self.basic()
            }
            Some(Challenge::Bearer { realm, service }) => {
                format!("Bearer {}", self.token(&realm, &service, actions).await?)
            }
        };
        let Ok(mut value) = HeaderValue::from_str(&text) else {
            return Err(RelayError::Token { host: self.host() });
        };
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn basic(&self) -> String {
        let Credentials { username, secret } = &self.login;
        let both = format!("{username}:{secret}");
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
    }

    /// A password may cross this machine in the clear, and no other.
    fn guard_password(&self, url: &Url) -> Result<(), RelayError> {
        let host = url.host_str().unwrap_or_default();
        if url.scheme() == "https" || is_loopback(host) || self.login == Credentials::default() {
            return Ok(());
        }
        Err(RelayError::PlainPassword { host: host.to_owned() })
    }

    async fn token(
        &self,
        realm: &str,
        service: &str,
        actions: &'static str,
    ) -> Result<String, RelayError> {
        let now = Instant::now();
        {
            let mut state = self.state();
            state.tokens.retain(|token| token.good_until > now);
            if let Some(token) = state.tokens.iter().find(|token| token.actions == actions) {
                return Ok(token.value.clone());
            }
        }
        let unreadable = || RelayError::Token { host: self.host() };
        let mut url = Url::parse(realm).map_err(|_| unreadable())?;
        self.guard_password(&url)?;
        let scope = format!("repository:{}:{actions}", self.address.repository);
        let identity = self.login.username.is_empty() && !self.login.secret.is_empty();
        let request = if identity {
            let form = [
                ("grant_type", "refresh_token"),
                ("client_id", "cachefrom"),
                ("service", service),
                ("scope", &scope),
                ("refresh_token", &self.login.secret),
            ];
            // The parameters of a URL and a form are spelled alike.
            let mut body = Url::parse("x:?").map_err(|_| unreadable())?;
            body.query_pairs_mut().extend_pairs(form);
            let body = body.query().unwrap_or_default().to_owned();
            let kind = "application/x-www-form-urlencoded";
            self.http.post(url.clone()).header("content-type", kind).body(body)
        } else {
            if !service.is_empty() {
                url.query_pairs_mut().append_pair("service", service);
            }
            url.query_pairs_mut().append_pair("scope", &scope);
            let request = self.http.get(url.clone());
            match self.login == Credentials::default() {
                true => request,
                false => request.header(AUTHORIZATION, self.basic()),
            }
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let reply = answered(request, &Watch::begin(), self.silence).await;
        let reply =
            reply.map_err(|reason| RelayError::Unreachable { host: host.clone(), reason })?;
        let status = reply.status();
        if !status.is_success() {
            if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
                let reason = format!("asked for a token, it answered {status}");
                return Err(RelayError::Unreachable { host, reason });
            }
            if self.login == Credentials::default() {
                return Err(self.no_credentials());
            }
            return Err(RelayError::LoginRefused { host, status: status.as_u16() });
        }
        let bytes = small(reply).await.map_err(|_| unreadable())?;
        let granted: Granted = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        let value = match granted.token.is_empty() {
            true => granted.access_token,
            false => granted.token,
        };
        // Renewed when a fifth of its life is left: a large blob may then still be on its way.
        let life = granted.expires_in.unwrap_or(TOKEN_LIFE).clamp(1, 24 * 60 * 60);
        let good_until = now + Duration::from_millis(life * 800);
        self.state().tokens.push(Token { actions, value: value.clone(), good_until });
        Ok(value)
    }

    /// `text` without anything secret, should a registry have echoed it.
    pub fn scrubbed(&self, text: &str) -> String {
        let basic = self.basic();
        let tokens: Vec<String> =
            self.state().tokens.iter().map(|token| token.value.clone()).collect();
        let mut text = text.to_owned();
        for secret in tokens.iter().chain([&self.login.secret, &basic["Basic ".len()..].to_owned()])
        {
            if secret.len() > 3 {
                text = text.replace(secret, "…");
            }
        }
        text
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
