//! The Docker API, from the one place that opens connections to it: bollard over a unix socket.
//!
//! Stops at images: containers are `container`'s and `trial`'s. Surprising: a `DOCKER_HOST` on TCP
//! is given a unix socket of its own too, so that everything behind this knows only sockets.

use std::path::{Path, PathBuf};

use bollard::errors::Error;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};

use super::bridge::Bridge;
use super::tls::{Dialer, Protocol, TlsOptions};
use super::{EngineError, request};
use crate::units::Bytes;

/// Seconds that any one answer may take.
const PATIENCE: u64 = 120;
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Where the user's Docker daemon listens.
#[derive(Debug)]
pub struct Host {
    pub socket: PathBuf,
    /// As the user wrote it.
    pub address: String,
    /// Whether it runs on this machine.
    pub local: bool,
    /// Carries a TCP host's bytes for as long as this lives.
    _bridge: Option<Bridge>,
}

impl Host {
    /// The daemon that listens on `socket`.
    pub fn at(socket: PathBuf) -> Self {
        Self { address: format!("unix://{}", socket.display()), socket, local: true, _bridge: None }
    }
}

/// Whether the user's daemon may be there, as far as can be told without a folder to work in.
pub async fn may_be_there() -> bool {
    let address = std::env::var("DOCKER_HOST").unwrap_or_default();
    let socket =
        if address.is_empty() { Some(DEFAULT_SOCKET) } else { address.strip_prefix("unix://") };
    match socket {
        Some(socket) => request::ping(Path::new(socket)).await.is_ok(),
        None => true,
    }
}

/// The user's daemon: `DOCKER_HOST`, else the usual socket. Docker contexts are not read.
pub async fn host(run_root: &Path) -> Result<Host, EngineError> {
    let address = std::env::var("DOCKER_HOST").unwrap_or_default();
    let host = if address.is_empty() {
        Host::at(DEFAULT_SOCKET.into())
    } else if let Some(path) = address.strip_prefix("unix://") {
        Host::at(path.into())
    } else if let Some(authority) = address.strip_prefix("tcp://") {
        let tls = tls_of_environment()?;
        let mut host = over_tcp(run_root, authority.trim_end_matches('/'), tls.as_ref()).await?;
        host.address.clone_from(&address);
        host
    } else {
        return Err(EngineError::DockerHost { address });
    };
    match request::ping(&host.socket).await {
        Ok(()) => Ok(host),
        Err(source) => Err(EngineError::NoDocker { address: host.address, source }),
    }
}

/// What listens at `authority`, whether or not that is a Docker daemon. With TLS, both sides have
/// accepted each other.
pub async fn over_tcp(
    run_root: &Path,
    authority: &str,
    tls: Option<&TlsOptions>,
) -> Result<Host, EngineError> {
    let socket = run_root.join("docker.sock");
    let (to, local) = (authority.to_owned(), is_loopback(authority).await);
    let bridge = match tls {
        None => Bridge::open(&socket, move || TcpStream::connect(to.clone()))?,
        Some(options) => {
            let dialer = Dialer::new(options, authority)?;
            dialer.check().await?;
            Bridge::serve(&socket, move |ours| carry(ours, dialer.clone()))?
        }
    };
    Ok(Host { socket, address: format!("tcp://{authority}"), local, _bridge: Some(bridge) })
}

/// Carries one connection through TLS.
///
/// Which protocol is offered there is what the caller turns out to speak: a Docker engine knows
/// HTTP/1, a buildkitd HTTP/2 alone, and either refuses an offer of the other.
async fn carry(mut ours: UnixStream, dialer: Dialer) -> std::io::Result<()> {
    // No HTTP/1 method starts like the preface of HTTP/2 (RFC 9113 §3.4).
    let mut first = [0; 3];
    ours.read_exact(&mut first).await?;
    let protocol = if &first == b"PRI" { Protocol::Http2 } else { Protocol::Http1 };
    let mut theirs = dialer.dial(protocol).await?;
    theirs.write_all(&first).await?;
    copy_bidirectional(&mut ours, &mut theirs).await.map(drop)
}

/// What `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` ask for, as the docker CLI reads them.
fn tls_of_environment() -> Result<Option<TlsOptions>, EngineError> {
    if std::env::var_os("DOCKER_TLS_VERIFY").is_none_or(|value| value.is_empty()) {
        return Ok(None);
    }
    let folder = match std::env::var_os("DOCKER_CERT_PATH").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".docker"),
    };
    Ok(Some(TlsOptions::of_folder(&folder)?))
}

/// Whether `HOST:PORT` is this machine.
pub async fn is_loopback(authority: &str) -> bool {
    match tokio::net::lookup_host(authority).await {
        Ok(mut found) => found.all(|address| address.ip().is_loopback()),
        Err(_) => false,
    }
}

/// A client of the engine at `socket`. It opens connections when it is used.
pub fn connect(socket: &Path) -> Result<bollard::Docker, EngineError> {
    // The oldest API of engine 25, the oldest engine we take.
    let oldest = bollard::ClientVersion { major_version: 1, minor_version: 44 };
    bollard::Docker::connect_with_unix(&socket.to_string_lossy(), PATIENCE, &oldest)
        .map_err(request::failed(socket, "connect"))
}

/// Pulls `reference` into the engine at `socket`.
pub async fn pull(socket: &Path, reference: &str) -> Result<(), EngineError> {
    // An engine that is asked for no tag pulls all of them.
    let name = reference.rsplit('/').next().unwrap_or_default();
    let tag = if name.contains([':', '@']) { "" } else { ":latest" };
    let image = format!("{reference}{tag}");
    let options = CreateImageOptionsBuilder::default().from_image(&image).build();
    connect(socket)?
        .create_image(Some(options), None, None)
        .try_collect::<Vec<_>>()
        .await
        .map_err(|source| EngineError::Pull { reference: reference.to_owned(), source })?;
    Ok(())
}

/// Removes the images whose names start with any of `prefixes`, but for those named in `kept`.
pub async fn remove_images(
    socket: &Path,
    prefixes: &[String],
    kept: &[String],
) -> Result<(), EngineError> {
    const PATH: &str = "/images";
    let docker = connect(socket)?;
    let all = ListImagesOptionsBuilder::new().build();
    let images = docker.list_images(Some(all)).await.map_err(request::failed(socket, PATH))?;
    // One that was pulled by its digest has no tag.
    let names = images.iter().flat_map(|image| match image.repo_tags.as_slice() {
        [] => &image.repo_digests,
        _ => &image.repo_tags,
    });
    for name in names {
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) && !kept.contains(name) {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            match docker.remove_image(name, Some(options), None).await {
                // The engine's garbage collector, or another run, was faster.
                Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
                removed => drop(removed.map_err(request::failed(socket, PATH))?),
            }
        }
    }
    Ok(())
}

/// The layers of `image`, lowest first: digest and size, both of the uncompressed layer.
///
/// The sizes are those of the engine's history, which counts a layer's files as they lie on its disk.
/// None where the engine cannot say, such as for an image that was pushed and never unpacked.
pub async fn layers(socket: &Path, image: &str) -> Option<Vec<(String, Bytes)>> {
    let docker = connect(socket).ok()?;
    let digests = docker.inspect_image(image).await.ok()?.root_fs?.layers?;
    let history = docker.image_history(image).await.ok()?;
    // Newest first, and with instructions that made no layer, which have no size.
    let sizes: Vec<i64> =
        history.iter().rev().map(|entry| entry.size).filter(|size| *size > 0).collect();
    (sizes.len() == digests.len()).then(|| {
        let sizes = sizes.into_iter().map(|size| Bytes(size.unsigned_abs()));
        digests.into_iter().zip(sizes).collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::wire::{Answer, serve};
    use super::*;

    fn image(id: &str, tags: &[&str], digests: &[&str]) -> serde_json::Value {
        json!({
            "Id": id, "ParentId": "", "RepoTags": tags, "RepoDigests": digests, "Created": 0,
            "Size": 0, "SharedSize": 0, "Labels": {}, "Containers": 0,
        })
    }

    /// Serves `images`, answers each removal with `status`, and tells what was to be removed.
    async fn removed(
        images: Vec<serde_json::Value>,
        status: u16,
        kept: &[String],
    ) -> (Result<(), EngineError>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let asked = serve(&socket, move |method, _| match method == http::Method::DELETE {
            true if status < 300 => Answer::Json(status, json!([])),
            true => Answer::Json(status, json!({ "message": "No" })),
            false => Answer::Json(200, images.clone().into()),
        });
        let done = remove_images(&socket, &["ours/".into()], kept).await;
        let asked = asked.lock().unwrap();
        let deleted = asked.iter().filter_map(|request| request.strip_prefix("DELETE /images/"));
        let names = deleted.map(|path| path.split('?').next().unwrap().to_owned());
        (done, names.collect())
    }

    fn three() -> Vec<serde_json::Value> {
        ["ours/a:1", "ours/b:1", "theirs:1"].map(|name| image(name, &[name], &[])).into()
    }

    #[tokio::test]
    async fn an_image_that_is_gone_already_counts_as_removed() {
        let (done, names) = removed(three(), 404, &[]).await;
        done.unwrap();
        assert_eq!(names, ["ours/a:1", "ours/b:1"]);
    }

    #[tokio::test]
    async fn an_image_that_stays_is_an_error() {
        assert!(removed(three(), 409, &[]).await.0.is_err());
    }

    #[tokio::test]
    async fn an_image_that_was_pulled_by_its_digest_is_removed_by_it() {
        let images = || {
            vec![
                image("1", &[], &["ours/base@sha256:1", "theirs@sha256:1"]),
                // One that has a tag goes with that.
                image("2", &["theirs:1"], &["ours/x@sha256:2"]),
            ]
        };
        let (done, names) = removed(images(), 200, &[]).await;
        done.unwrap();
        assert_eq!(names, ["ours/base@sha256:1"]);
        let (_, names) = removed(images(), 200, &["ours/base@sha256:1".into()]).await;
        assert_eq!(names, [""; 0]);
    }

    #[tokio::test]
    async fn a_reference_without_a_tag_pulls_one_image_and_not_all() {
        for (reference, asked_for) in [
            ("moby/buildkit", "moby%2Fbuildkit%3Alatest"),
            ("a.example:5000/b", "a.example%3A5000%2Fb%3Alatest"),
            ("a:1", "a%3A1"),
            ("a@sha256:1", "a%40sha256%3A1"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("docker.sock");
            let asked = serve(&socket, |_, _| Answer::Json(200, json!({ "status": "done" })));
            pull(&socket, reference).await.unwrap();
            let asked = asked.lock().unwrap().concat();
            assert!(asked.contains(&format!("fromImage={asked_for}")), "{asked}");
            assert!(asked.ends_with(asked_for) || asked.contains(&format!("{asked_for}&")));
        }
    }
}
