//! BuildKit containers beside the user's Docker: `docker-container://`.
//!
//! Each wish is a new container with a new volume, so it has built nothing; both go with it, also
//! when the run is interrupted, and what a killed run left goes with the next run of this machine:
//! a Docker may be many machines', such as the containers that share its socket. BuildKit is
//! reached as buildx does it, through `buildctl dial-stdio` run inside, behind a unix socket here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, LogsOptionsBuilder,
    StartContainerOptions, UploadToContainerOptionsBuilder,
};
use futures_util::TryStreamExt;
use tokio::sync::Mutex;

use super::bridge::Bridge;
use super::docker::{self, Host};
use super::guarded::{self, Guard};
use super::inside::{answers, dial};
use super::source::{Control, Engine, Engines, Fresh, Place, Terms};
use super::sweep::identity;
use super::{EngineAddress, EngineError};
use crate::units::Nanos;

const READY_PATIENCE: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
/// buildx keeps BuildKit's state there too.
const STATE: &str = "/var/lib/buildkit";

/// See the module.
#[derive(Debug)]
pub struct ContainerEngines {
    // Before the host, which may carry the bytes that remove it.
    looked_at: Mutex<Option<Container>>,
    host: Host,
    address: EngineAddress,
    /// Names start with this.
    name: String,
    image: String,
    place: Place,
    terms: Terms,
    next: AtomicU32,
}

impl ContainerEngines {
    /// With `named` neither the containers' name nor their image is the usual one.
    pub async fn open(
        named: Option<(Option<&str>, &str)>,
        place: Place,
    ) -> Result<Self, EngineError> {
        let mut address = EngineAddress::container();
        if let (Some((name, image)), EngineAddress::Container { name: to, image: from }) =
            (named, &mut address)
        {
            *to = name.map(str::to_owned);
            *from = image.to_owned();
        }
        let EngineAddress::Container { name, image } = &address else {
            return Err(EngineError::NoEngine { reason: address.to_string() });
        };
        let host = docker::host(&place.run_root).await?;
        guarded::sweep(&host.socket, &identity(&place.run_root)).await?;
        let run = place.run_root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.clone().unwrap_or_else(|| format!("cachefrom-{run}"));
        let image = image.clone();
        let docker = docker::connect(&host.socket)?;
        if docker.inspect_image(&image).await.is_err() {
            docker::pull(&host.socket, &image).await.map_err(|error| {
                EngineError::NoBuildkitImage { image: image.clone(), source: Box::new(error) }
            })?;
        }
        let terms = Terms {
            fresh: Fresh::New,
            // It is told of our mirror, but a build context for each image does not depend on that.
            mirrored: false,
            local: host.local,
            host_network: false,
            docker_api: false,
        };
        let (next, looked_at) = (AtomicU32::new(0), Mutex::default());
        Ok(Self { looked_at, host, address, name, image, place, terms, next })
    }

    async fn container(&self) -> Result<Container, EngineError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let since = Instant::now();
        let socket = &self.host.socket;
        let failed = |source| EngineError::Container { name: self.name.clone(), source };
        let docker = docker::connect(socket)?;
        let options = CreateContainerOptionsBuilder::default();
        let options = options.name(&format!("{}-{number}", self.name)).build();
        let id = docker.create_container(Some(options), self.body()).await.map_err(failed)?.id;
        // From here on its guard removes it.
        let guard = Guard::new(socket, id.clone());
        let mut container = Container { guard, start_time: Nanos(0), bridge: None };
        let to = UploadToContainerOptionsBuilder::default().path("/etc").build();
        let config = bollard::body_full(config_tar(self.place.registry).into());
        docker.upload_to_container(&id, Some(to), config).await.map_err(failed)?;
        let plainly = None::<StartContainerOptions>;
        docker.start_container(&id, plainly).await.map_err(failed)?;
        container.wait_until_ready(&docker).await?;
        let path = self.place.run_root.join(format!("c{number}"));
        container.bridge =
            Some((path.clone(), Bridge::open(&path, move || dial(docker.clone(), id.clone()))?));
        container.start_time = Nanos::of(since.elapsed());
        Ok(container)
    }

    fn body(&self) -> ContainerCreateBody {
        let state = Mount {
            target: Some(STATE.to_owned()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(vec!["--config".to_owned(), "/etc/buildkit/buildkitd.toml".to_owned()]),
            labels: Some(guarded::labels(&self.place.run_root)),
            host_config: Some(HostConfig {
                privileged: Some(true),
                // Our registry listens on the machine's loopback interface.
                network_mode: Some("host".to_owned()),
                mounts: Some(vec![state]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }
}

#[async_trait]
impl Engines for ContainerEngines {
    fn address(&self) -> String {
        self.address.to_string()
    }

    fn describe(&self) -> String {
        format!("{} beside Docker at {}", self.image, self.host.address)
    }

    fn terms(&self) -> &Terms {
        &self.terms
    }

    async fn look(&self) -> Result<Control, EngineError> {
        let mut looked_at = self.looked_at.lock().await;
        let container = match looked_at.take() {
            Some(container) => container,
            None => self.container().await?,
        };
        Ok(looked_at.insert(container).control())
    }

    async fn warm(&self, images: &[String]) -> Result<bool, EngineError> {
        self.close().await?;
        // A buildkitd holds build results, and no images that could be pulled beforehand.
        Ok(images.is_empty())
    }

    async fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(self.container().await?))
    }

    async fn close(&self) -> Result<(), EngineError> {
        let container = self.looked_at.lock().await.take();
        match container {
            Some(container) => container.guard.remove().await,
            None => Ok(()),
        }
    }
}

/// A container with a BuildKit that is up.
#[derive(Debug)]
struct Container {
    guard: Guard,
    start_time: Nanos,
    bridge: Option<(PathBuf, Bridge)>,
}

impl Container {
    async fn wait_until_ready(&self, docker: &bollard::Docker) -> Result<(), EngineError> {
        let since = Instant::now();
        loop {
            if answers(docker, self.guard.id()).await {
                return Ok(());
            }
            let inspected =
                docker.inspect_container(self.guard.id(), None::<InspectContainerOptions>);
            let state = inspected.await.ok().and_then(|found| found.state);
            if state.is_none_or(|state| state.running != Some(true)) {
                let status = "its container ended".to_owned();
                return Err(EngineError::Died { status, log: self.end_of_log(docker).await });
            }
            if since.elapsed() > READY_PATIENCE {
                let waited = Nanos::of(since.elapsed());
                return Err(EngineError::NotReady { waited, log: self.end_of_log(docker).await });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    async fn end_of_log(&self, docker: &bollard::Docker) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("12").build();
        let lines: Vec<_> =
            docker.logs(self.guard.id(), Some(options)).try_collect().await.unwrap_or_default();
        lines.into_iter().map(|line| line.to_string()).collect()
    }
}

#[async_trait]
impl Engine for Container {
    fn control(&self) -> Control {
        Control::Unix(self.bridge.as_ref().map(|(path, _)| path.clone()).unwrap_or_default())
    }

    fn docker(&self) -> Option<&Path> {
        None
    }

    fn start_time(&self) -> Option<Nanos> {
        Some(self.start_time)
    }

    async fn prove_new(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(self: Box<Self>) -> Result<(), EngineError> {
        self.guard.remove().await
    }
}

/// `buildkit/buildkitd.toml` as Docker takes files for a container: our registry as the mirror of
/// Docker Hub, and no garbage collection between two builds.
fn config_tar(registry: Option<SocketAddr>) -> Vec<u8> {
    let mut config = "[worker.oci]\n  gc = false\n".to_owned();
    if let Some(registry) = registry {
        config.push_str(&format!(
            "[registry.\"docker.io\"]\n  mirrors = [\"{registry}\"]\n[registry.\"{registry}\"]\n  http = true\n"
        ));
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(config.len() as u64);
    let mut tar = tar::Builder::new(Vec::new());
    // Writing to memory cannot fail, and the path is short and relative.
    let _ = tar.append_data(&mut header, "buildkit/buildkitd.toml", config.as_bytes());
    tar.into_inner().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::wire::{Answer, serve};
    use super::*;

    #[test]
    fn the_configuration_names_our_registry_as_the_mirror() {
        let tar = config_tar(Some(([127, 0, 0, 1], 5000).into()));
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("buildkit/buildkitd.toml"));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed["registry"]["docker.io"]["mirrors"][0].as_str(), Some("127.0.0.1:5000"));
        assert_eq!(parsed["registry"]["127.0.0.1:5000"]["http"].as_bool(), Some(true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_carries_bytes_to_a_docker_on_tcp_outlives_the_container_there() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("behind.sock");
        let asked = serve(&socket, |_, _| Answer::Json(204, serde_json::Value::Null));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut behind = tokio::net::UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(async move {
                    tokio::io::copy_bidirectional(&mut stream, &mut behind).await
                });
            }
        });
        let run = folder.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let host = docker::over_tcp(&run, &authority, None).await.unwrap();
        let guard = Guard::new(&host.socket, "one".to_owned());
        let container = Container { guard, start_time: Nanos(0), bridge: None };
        let place = Place {
            cache_dir: run.clone(),
            run_root: run,
            registry: None,
            own_images: vec![],
            allow_prune: false,
            tls: None,
        };
        let terms = Terms {
            fresh: Fresh::New,
            mirrored: false,
            local: true,
            host_network: false,
            docker_api: false,
        };
        drop(ContainerEngines {
            looked_at: Mutex::new(Some(container)),
            host,
            address: EngineAddress::container(),
            name: String::new(),
            image: String::new(),
            place,
            terms,
            next: AtomicU32::new(0),
        });
        let asked = asked.lock().unwrap();
        assert!(asked.iter().any(|asked| asked.starts_with("DELETE /containers/one")), "{asked:?}");
    }
}
