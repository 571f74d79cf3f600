//! A private Docker engine: a dockerd that has never built anything, from exec to nothing left.
//!
//! It lives in one directory (`e0`, `e1`, … below the run's) and one pair of namespaces, and both go
//! together. It has no bridge and touches no firewall: builds must ask for the host's network.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::error::at;
use super::process::{self, Contained};
use super::{Binaries, EngineError, golden, request, sweep};
use crate::units::Nanos;

/// The kernel's limit on a unix socket's path, without the closing NUL (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;
/// The longest socket path that dockerd makes below an engine's directory.
const LONGEST_SOCKET: &str = "/x/containerd/containerd-debug.sock";
const READY_PATIENCE: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(2);
/// dockerd gives its containerd and containers 15 s each before it kills them.
const STOP_PATIENCE: Duration = Duration::from_secs(40);

/// What a private engine is to be like.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The run's directory, in which the engine makes its own.
    pub run_root: PathBuf,
    /// A registry without TLS that serves every image the engine would ask Docker Hub for.
    pub mirror: Option<SocketAddr>,
    /// A data root with pulled bases to start from; without one, the engine starts empty.
    pub golden: Option<PathBuf>,
}

/// A running engine; dropping it ends it and removes everything it left.
#[derive(Debug)]
pub struct PrivateEngine {
    contained: Contained,
    directory: EngineDirectory,
    start_time: Nanos,
}

impl PrivateEngine {
    /// Starts an engine, and returns once it answers.
    pub async fn start(binaries: &Binaries, options: EngineOptions) -> Result<Self, EngineError> {
        if !rustix::process::geteuid().is_root() {
            return Err(EngineError::NotRoot);
        }
        let since = Instant::now();
        let binaries = binaries.clone();
        // In one piece that cannot be cut: where this future is dropped meanwhile, what was begun is
        // finished on its thread, and then removed.
        let (contained, directory) = blocking(move || {
            let directory = EngineDirectory::create(&options.run_root)?;
            if let Some(golden) = &options.golden {
                golden::clone_directory(golden, &directory.data_root())?;
            }
            let config = directory.path.join("daemon.json");
            fs::write(&config, daemon_json(&directory, options.mirror).to_string())
                .map_err(at("write", &config))?;
            Ok((spawn(&binaries, &directory, &config)?, directory))
        })
        .await?;
        let mut engine = Self { contained, directory, start_time: Nanos(0) };
        engine.wait_until_ready().await?;
        engine.start_time = Nanos::of(since.elapsed());
        Ok(engine)
    }

    /// The unix socket of the Docker API.
    pub fn socket(&self) -> &Path {
        &self.directory.socket
    }

    /// From the wish for an engine, over the clone of the golden data root, to its first answer.
    pub fn start_time(&self) -> Nanos {
        self.start_time
    }

    /// The host pid of the engine's first process.
    pub fn pid(&self) -> i32 {
        self.contained.init()
    }

    /// The engine's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.log()).unwrap_or_default()
    }

    /// Ends the engine at once and removes all it left; says how long that took.
    pub async fn stop(self) -> Result<Nanos, EngineError> {
        let since = Instant::now();
        self.end().await?.remove().await?;
        Ok(Nanos::of(since.elapsed()))
    }

    /// Ends the engine at once: no process or mount of it is left, but its files are.
    pub(super) async fn end(self) -> Result<Remains, EngineError> {
        blocking(move || {
            let Self { mut contained, directory, .. } = self;
            contained.kill();
            Ok(Remains(directory))
        })
        .await
    }

    /// Lets the engine finish its writing, and keeps its data root as `golden`, which must not exist.
    pub async fn stop_gracefully(self, golden: &Path) -> Result<Nanos, EngineError> {
        let golden = golden.to_owned();
        blocking(move || {
            let Self { mut contained, mut directory, .. } = self;
            let since = Instant::now();
            if !contained.terminate(STOP_PATIENCE).map_err(at("wait for", &directory.path))? {
                return Err(EngineError::NotStopped { waited: Nanos::of(since.elapsed()) });
            }
            golden::keep(&directory.data_root(), &golden)?;
            directory.remove()?;
            Ok(Nanos::of(since.elapsed()))
        })
        .await
    }

    async fn wait_until_ready(&mut self) -> Result<(), EngineError> {
        let since = Instant::now();
        loop {
            let wait = READY_PATIENCE.saturating_sub(since.elapsed());
            if let Ok(Ok(_)) =
                tokio::time::timeout(wait, request::get(self.socket(), "/_ping")).await
            {
                return Ok(());
            }
            let ended = self.contained.ended().map_err(at("wait for", &self.directory.path))?;
            if let Some(status) = ended {
                return Err(EngineError::Died {
                    status: status.to_string(),
                    log: self.end_of_log(),
                });
            }
            if wait.is_zero() {
                let waited = Nanos::of(since.elapsed());
                return Err(EngineError::NotReady { waited, log: self.end_of_log() });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

/// The files of an engine that has ended, removed when dropped.
#[derive(Debug)]
pub(super) struct Remains(EngineDirectory);

impl Remains {
    /// Removes them.
    pub(super) async fn remove(self) -> Result<(), EngineError> {
        let Self(mut directory) = self;
        blocking(move || directory.remove()).await
    }

    /// Of an engine that never was, and where they are.
    #[cfg(test)]
    pub(super) fn in_run(run_root: &Path) -> (PathBuf, Self) {
        let directory = EngineDirectory::create(run_root).unwrap();
        (directory.path.clone(), Self(directory))
    }
}

/// An engine's directory, removed when dropped. Declared after the processes that use it, so that
/// they are gone by then.
#[derive(Debug)]
struct EngineDirectory {
    path: PathBuf,
    socket: PathBuf,
    cgroup: String,
    removed: bool,
    /// Last, because the run's directory may go when it does.
    _presence: sweep::Presence,
}

impl EngineDirectory {
    fn create(run_root: &Path) -> Result<Self, EngineError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(run_root).map_err(at("create", run_root))?;
        // dockerd and the sweep's check of mount points need the path as the kernel sees it.
        let run_root = run_root.canonicalize().map_err(at("resolve", run_root))?;
        let path = run_root.join(format!("e{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let limit = SOCKET_PATH_LIMIT - LONGEST_SOCKET.len();
        let length = path.as_os_str().as_bytes().len();
        if length > limit {
            return Err(EngineError::LongPath { path, length, limit });
        }
        fs::create_dir(&path).map_err(at("create", &path))?;
        let directory = Self {
            socket: path.join("s"),
            cgroup: sweep::cgroup_of(&path),
            path,
            removed: false,
            _presence: sweep::Presence::in_run(&run_root),
        };
        for folder in [directory.data_root(), directory.exec_root()] {
            fs::create_dir(&folder).map_err(at("create", &folder))?;
        }
        Ok(directory)
    }

    fn data_root(&self) -> PathBuf {
        self.path.join("d")
    }

    fn exec_root(&self) -> PathBuf {
        self.path.join("x")
    }

    fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    fn remove(&mut self) -> Result<(), EngineError> {
        if !self.removed {
            self.removed = true;
            sweep::remove_engine_directory(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for EngineDirectory {
    fn drop(&mut self) {
        // A drop has nobody to tell; the next sweep tries again.
        let _ = self.remove();
    }
}

/// The engine's whole configuration; nothing is read from `/etc/docker/daemon.json`.
fn daemon_json(directory: &EngineDirectory, mirror: Option<SocketAddr>) -> serde_json::Value {
    let mut config = serde_json::json!({
        "hosts": [format!("unix://{}", directory.socket.display())],
        "data-root": directory.data_root(),
        "exec-root": directory.exec_root(),
        "pidfile": directory.path.join("dockerd.pid"),
        "features": { "containerd-snapshotter": true },
        "builder": { "gc": { "enabled": false } },
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
        "userland-proxy": false,
        "cgroup-parent": format!("/{}", directory.cgroup),
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-level": "warn",
    });
    if let Some(mirror) = mirror {
        config["registry-mirrors"] = serde_json::json!([format!("http://{mirror}")]);
        config["insecure-registries"] = serde_json::json!([mirror.to_string()]);
    }
    config
}

fn spawn(
    binaries: &Binaries,
    directory: &EngineDirectory,
    config: &Path,
) -> Result<Contained, EngineError> {
    let log_path = directory.log();
    let log = fs::File::create(&log_path).map_err(at("create", &log_path))?;
    let errors = log.try_clone().map_err(at("open", &log_path))?;
    let mut command = Command::new(&binaries.dockerd);
    command
        .arg("--config-file")
        .arg(config)
        .env("PATH", binaries.search_path())
        .env_remove("NOTIFY_SOCKET")
        .env_remove("LISTEN_FDS")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    process::spawn(command, &directory.path.join(sweep::PID_FILE)).map_err(|source| {
        EngineError::Spawn { program: binaries.dockerd.display().to_string(), source }
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
