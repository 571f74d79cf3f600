//! Registry credentials as the docker CLI keeps them: `config.json` and credential helpers.
//!
//! Reads files and runs helpers; talks to no registry. Never logs or prints a secret, not even in
//! `Debug`. Surprising: Docker Hub is asked for as `registry-1.docker.io` but stored as
//! `https://index.docker.io/v1/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;

use crate::go_json::or_null;

/// How long a credential helper may think: some ask a cloud, none asks a person.
const LONGEST_HELP: Duration = Duration::from_secs(30);

const HUB: &str = "https://index.docker.io/v1/";

/// What to log in with; an empty user name means that the secret is an identity token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub secret: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    #[serde(deserialize_with = "or_null")]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(deserialize_with = "or_null")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_null")]
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(deserialize_with = "or_null")]
    auth: String,
    #[serde(deserialize_with = "or_null")]
    username: String,
    #[serde(deserialize_with = "or_null")]
    password: String,
    #[serde(deserialize_with = "or_null")]
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

/// Where the docker CLI keeps its configuration: below `DOCKER_CONFIG` or `~/.docker`.
pub fn config_file() -> Option<PathBuf> {
    let directory = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
    directory.map(|directory| directory.join("config.json"))
}

/// The credentials for `host`, empty (anonymous) where none are stored or they cannot be read.
pub async fn credentials(host: &str) -> Credentials {
    stored(host).await.0
}

/// The credentials for `host`, and in a sentence what kept them from being read, if anything did.
pub async fn stored(host: &str) -> (Credentials, Option<String>) {
    let Some(path) = config_file() else { return Default::default() };
    let text = match tokio::fs::read(&path).await {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Default::default(),
        Err(error) => return (Default::default(), Some(format!("{}: {error}", path.display()))),
    };
    match serde_json::from_slice(&text) {
        Ok(config) => lookup(&config, host).await,
        Err(error) => (Default::default(), Some(unreadable(&path, &error))),
    }
}

/// Where the file is wrong; never how, since the parser quotes what it met.
fn unreadable(path: &Path, error: &serde_json::Error) -> String {
    let (path, line, column) = (path.display(), error.line(), error.column());
    let what = if error.is_data() { "not what Docker writes there" } else { "no JSON" };
    format!("{path}:{line}:{column}: {what}")
}

async fn lookup(config: &Config, host: &str) -> (Credentials, Option<String>) {
    let hub = matches!(host, "registry-1.docker.io" | "docker.io" | "index.docker.io");
    let key = if hub { HUB } else { host };
    let helper = config.cred_helpers.get(key).unwrap_or(&config.creds_store);
    let mut problem = None;
    if !helper.is_empty() {
        match ask(helper, key).await {
            Ok(Some(found)) => return (found, None),
            Ok(None) => {}
            Err(error) => {
                let program = format!("docker-credential-{helper}");
                problem = Some(format!("{program}, which config.json names: {error}"));
            }
        }
    }
    let entry = config.auths.get(key).or_else(|| {
        config.auths.iter().find(|(name, _)| host_of(name) == host_of(key)).map(|(_, e)| e)
    });
    (entry.and_then(Option::as_ref).map(decode).unwrap_or_default(), problem)
}

fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let rest = rest.unwrap_or(key);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

fn decode(entry: &Entry) -> Credentials {
    if !entry.identitytoken.is_empty() {
        return Credentials { username: String::new(), secret: entry.identitytoken.clone() };
    }
    let plain = base64::engine::general_purpose::STANDARD.decode(&entry.auth).unwrap_or_default();
    let plain = String::from_utf8(plain).unwrap_or_default();
    match plain.split_once(':') {
        Some((username, secret)) => Credentials {
            username: username.to_owned(),
            secret: secret.trim_end_matches('\0').to_owned(),
        },
        None => Credentials { username: entry.username.clone(), secret: entry.password.clone() },
    }
}

/// Runs `docker-credential-<helper> get`; a helper that fails has nothing stored, one that cannot be
/// run is an error.
async fn ask(helper: &str, key: &str) -> std::io::Result<Option<Credentials>> {
    let mut child = tokio::process::Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that ends without reading says so by its status.
        let _ = stdin.write_all(key.as_bytes()).await;
    }
    // Waiting ends, and the helper with it, when the future is dropped.
    let output = tokio::time::timeout(LONGEST_HELP, child.wait_with_output()).await;
    let output = output.map_err(|_| {
        std::io::Error::other(format!("no answer within {} s", LONGEST_HELP.as_secs()))
    })??;
    let Ok(helped) = serde_json::from_slice::<Helped>(&output.stdout) else { return Ok(None) };
    let token = helped.username == "<token>";
    let username = if token { String::new() } else { helped.username };
    Ok(Some(Credentials { username, secret: helped.secret }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(json: &str, host: &str) -> (String, String) {
        let (found, problem) = lookup(&serde_json::from_str(json).unwrap(), host).await;
        assert_eq!(problem, None);
        (found.username, found.secret)
    }

    #[tokio::test]
    async fn docker_hub_is_found_under_its_old_name() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"bWU6cGE6c3M="}}}"#;
        let found = found(json, "registry-1.docker.io").await;
        assert_eq!(found, ("me".into(), "pa:ss".into()));
    }

    #[tokio::test]
    async fn an_identity_token_has_no_user_and_a_stranger_is_anonymous() {
        let json = r#"{"auths":{"https://r.example/v2/":{"identitytoken":"t"}}}"#;
        assert_eq!(found(json, "r.example").await, (String::new(), "t".into()));
        assert_eq!(found(json, "other.example").await, (String::new(), String::new()));
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let config = serde_json::from_str(r#"{"credsStore":"no-such-helper"}"#).unwrap();
        let (found, problem) = lookup(&config, "r.example").await;
        assert!(found == Credentials::default());
        assert!(problem.unwrap().contains("docker-credential-no-such-helper"));
    }

    #[tokio::test]
    async fn null_is_absence() {
        let json = r#"{"auths":{"r.example":{"auth":null,"username":"u","password":"p"},
            "other.example":null},"credHelpers":null,"credsStore":null}"#;
        assert_eq!(found(json, "r.example").await, ("u".into(), "p".into()));
        assert_eq!(found(json, "other.example").await, (String::new(), String::new()));
    }

    #[test]
    fn a_file_that_cannot_be_read_tells_its_place_and_no_content() {
        let cases = [
            (r#"{"auths":{"r":"hunter2"}}"#, "1:23: not what Docker writes there"),
            ("{\"auths\":{\"r\":{\n\"auth\":20252025}}}", "2:15: not what Docker writes there"),
            (r#"{"auths":hunter2}"#, "1:10: no JSON"),
        ];
        for (json, expected) in cases {
            let error = serde_json::from_str::<Config>(json).err().unwrap();
            assert_eq!(unreadable(Path::new("c.json"), &error), format!("c.json:{expected}"));
        }
    }

    #[test]
    fn debugging_shows_no_secret() {
        let secret = Credentials { username: "u".into(), secret: "hunter2".into() };
        assert_eq!(format!("{secret:?}"), "Credentials(…)");
    }
}
