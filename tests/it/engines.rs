//! Every kind of engine address, on real engines: a private one plays the user's Docker, and a
//! buildkitd, which no package registry carries, where it is put behind a plain socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptionsBuilder,
    ListVolumesOptions,
};
use cachefrom::engine::{self, EngineOptions, PrivateEngine, RunRoot, docker, guarded};
use cachefrom::journal::{Outcome, Recorded};
use cachefrom::measure::reuse;
use cachefrom::registry::Registry;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// A scenario of two stages and three commits, the last of which changes nothing.
pub fn scenario(folder: &Path, strategies: &str) -> PathBuf {
    let source = folder.join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("a.txt"), "one").unwrap();
    // An engine without a bridge has no network to give, but for the machine's.
    let dockerfile = "FROM busybox AS builder\nCOPY a.txt /a.txt\n\
                      RUN --network=none cp /a.txt /b.txt\n\
                      FROM busybox AS final\nCOPY --from=builder /b.txt /b.txt\n\
                      CMD [\"cat\", \"/b.txt\"]\n";
    std::fs::write(source.join("Dockerfile"), dockerfile).unwrap();
    let text = format!(
        "schema = 1\nname = 'tiny'\nsource = 'source'\n{strategies}\n\
         [build]\ntargets = ['final']\n\
         [[commit]]\nmessage = 'first'\n\
         [[commit]]\nmessage = 'edit'\nedits = [{{ write = 'a.txt', content = 'two' }}]\n\
         [[commit]]\nmessage = 'again'\nedits = [{{ touch = 'a.txt' }}]\n\
         [[verify]]\ntarget = 'final'\nstdout = 'one|two'\n"
    );
    let path = folder.join("tiny.toml");
    std::fs::write(&path, text).unwrap();
    path
}

/// `cachefrom run` of the scenario at `path`, with `docker` as the user's daemon.
pub async fn run(folder: &Path, path: &Path, docker: Option<&Path>, arguments: &[&str]) -> Output {
    let host = docker.map(|socket| format!("unix://{}", socket.display()));
    let environment: Vec<(&str, &str)> =
        host.iter().map(|host| ("DOCKER_HOST", host.as_str())).collect();
    run_with(folder, path, &environment, arguments).await
}

/// The same with `environment`, and nothing else that the docker CLI would read.
pub async fn run_with(
    folder: &Path,
    path: &Path,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
    command
        .arg("run")
        .arg(path)
        .arg("--out")
        .arg(folder.join("results"))
        .args(arguments)
        .env("BUILDKIT_PROGRESS", "plain")
        .env("TMPDIR", folder);
    for name in ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub fn recorded(folder: &Path, output: &Output) -> Recorded {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let recorded = Recorded::read(&folder.join("results/journal.jsonl")).unwrap();
    for trial in &recorded.trials {
        assert_eq!(trial.outcome, Outcome::Built, "{:?}", trial.key);
    }
    recorded
}

/// Which of the strategy's steps were cached, and how many there were, commit by commit.
pub fn reused(recorded: &Recorded, strategy: &str) -> Vec<(usize, usize)> {
    let trials = recorded.trials.iter().filter(|trial| trial.key.strategy == strategy);
    trials.map(reuse).map(|reuse| (reuse.cached, reuse.steps)).collect()
}

fn cache() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/cachefrom")
}

/// A private engine in a run's folder below `folder`.
pub async fn engine(folder: &Path) -> (PrivateEngine, RunRoot) {
    let binaries = engine::find(&cache(), &|line| eprintln!("{line}")).await.unwrap();
    let root = RunRoot::create(&folder.join("other")).unwrap();
    let options = EngineOptions { run_root: root.path().into(), mirror: None, golden: None };
    (PrivateEngine::start(&binaries, options).await.unwrap(), root)
}

pub fn temporary() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cf-").tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cache_survives_the_engine_that_wrote_it() {
    let folder = temporary();
    let strategies = "strategies = ['dir']\n[[strategy]]\nname = 'dir'\nengine = 'fresh'\n\
                      import = [{ type = 'local', src = 'cache' }]\n\
                      export = [{ type = 'local', dest = 'cache', mode = 'max' }]\n";
    // The own table must stand behind the file's plain keys.
    let path = scenario(folder.path(), "strategies = ['dir']");
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(strategies.split_once('\n').unwrap().1);
    std::fs::write(&path, text).unwrap();
    let output = run(folder.path(), &path, None, &[]).await;
    let recorded = recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "dir"), [(0, 3), (0, 3), (3, 3)]);
    let errors = &recorded.trials[0].builds[0].import_errors;
    assert!(errors[0].ends_with("there is no cache yet"), "{errors:?}");
    assert!(recorded.trials[1..].iter().all(|trial| trial.builds[0].import_errors.is_empty()));
    assert!(recorded.trials.iter().all(|trial| trial.verifications.len() == 1));
    // The base image's layer, and the one that COPY made; only the second is another after the edit.
    let layers = |commit: usize| &recorded.trials[commit].builds[0].layers;
    assert_eq!(layers(0).len(), 2);
    assert_eq!(layers(0)[0], layers(1)[0]);
    assert_ne!(layers(0)[1].diff_id, layers(1)[1].diff_id);
    assert!(layers(0).iter().all(|layer| layer.bytes.0 > 0), "{:?}", layers(0));
}

/// Carries connections from a plain listener to the control API of the Docker engine at `socket`.
pub async fn to_control_api(mut ours: impl AsyncRead + AsyncWrite + Unpin, socket: PathBuf) {
    let mut theirs = UnixStream::connect(socket).await.unwrap();
    let ask = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    theirs.write_all(ask).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(theirs.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    // Whoever goes first takes the connection along.
    let _ = copy_bidirectional(&mut ours, &mut theirs).await;
}

pub fn serve_unix(plain: &Path, socket: &Path) -> tokio::task::JoinHandle<()> {
    let (listener, socket) = (UnixListener::bind(plain).unwrap(), socket.to_owned());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(to_control_api(stream, socket.clone()));
        }
    })
}

pub async fn serve_tcp(socket: &Path) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), socket.to_owned());
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(to_control_api(stream, socket.clone()));
        }
    });
    (port, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_buildkitd_plays_kept_strategies_and_says_what_it_cannot_do() {
    let folder = temporary();
    let (engine, _root) = engine(folder.path()).await;
    let plain = folder.path().join("plain.sock");
    let _server = serve_unix(&plain, engine.socket());
    let path = scenario(folder.path(), "strategies = ['cold', 'local', 'inline', 'registry-max']");
    let address = format!("unix://{}", plain.display());
    let output = run(folder.path(), &path, None, &["--builder", &address]).await;
    let recorded = recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "local"), [(0, 3), (0, 3), (3, 3)]);
    let skipped: Vec<_> = recorded.header.skipped.iter().map(|s| s.strategy.as_str()).collect();
    assert_eq!(skipped, ["cold", "inline", "registry-max"]);
    assert_eq!(recorded.header.environment.builder, address);
    let limits = recorded.header.environment.limits.join("\n");
    assert!(limits.contains("no image is verified"), "{limits}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no image is verified"), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("cold was skipped, because it wants a new engine"), "{stdout}");

    // The same engine by TCP, where nothing that was asked for can be played.
    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    let (port, _server) = serve_tcp(engine.socket()).await;
    let address = format!("tcp://127.0.0.1:{port}");
    let arguments = ["--builder", &address, "--strategy", "cold"];
    let output = run(folder.path(), &path, None, &arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("cold: it wants a new engine"), "{stderr}");

    // Pruning makes what is not new new enough, where it is allowed.
    let arguments =
        ["--builder", &address, "--strategy", "cold,inline,registry-max", "--allow-prune"];
    let output = run(folder.path(), &path, None, &arguments).await;
    let recorded = self::recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "cold"), [(0, 3); 3]);
    assert_eq!(reused(&recorded, "registry-max"), [(0, 3), (0, 3), (3, 3)]);
    // What was pushed is measured in the registry, where the engine itself cannot be asked.
    for trial in &recorded.trials {
        let pushed = trial.key.strategy == "inline";
        assert_eq!(trial.builds[0].layers.len(), if pushed { 2 } else { 0 }, "{:?}", trial.key);
    }
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_docker_is_used_as_it_stands_and_its_images_are_as_before() {
    let folder = temporary();
    let (engine, _root) = engine(folder.path()).await;
    let path = scenario(folder.path(), "strategies = ['cold', 'local']");
    let output =
        run(folder.path(), &path, Some(engine.socket()), &["--builder", "docker://"]).await;
    let recorded = recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "local"), [(0, 3), (0, 3), (3, 3)]);
    assert_eq!(recorded.header.skipped[0].strategy, "cold");
    assert!(recorded.header.skipped[0].because.contains("--allow-prune"));
    assert!(recorded.trials.iter().all(|trial| trial.verifications.len() == 1));
    let docker = docker::connect(engine.socket()).unwrap();
    let all = || ListImagesOptionsBuilder::new().build();
    assert_eq!(docker.list_images(Some(all())).await.unwrap(), []);

    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    let arguments = ["--builder", "docker://", "--allow-prune"];
    let output = run(folder.path(), &path, Some(engine.socket()), &arguments).await;
    let recorded = self::recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "cold"), [(0, 3); 3]);
    assert_eq!(reused(&recorded, "local"), [(0, 3), (0, 3), (3, 3)]);
    assert_eq!(docker.list_images(Some(all())).await.unwrap(), []);

    // By TCP too it is told apart from a buildkitd, and its images can be run.
    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let socket = engine.socket().to_owned();
    let _server = tokio::spawn(async move {
        while let Ok((mut ours, _)) = listener.accept().await {
            let mut theirs = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut ours, &mut theirs).await });
        }
    });
    let arguments = ["--builder", &address, "--strategy", "local"];
    let output = run(folder.path(), &path, None, &arguments).await;
    let recorded = self::recorded(folder.path(), &output);
    assert_eq!(recorded.trials.len(), 3);
    assert!(recorded.trials.iter().all(|trial| trial.verifications.len() == 1));
    engine.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_that_is_not_there_is_one_clear_error() {
    let folder = temporary();
    let path = scenario(folder.path(), "strategies = ['local']");
    let nobody = folder.path().join("nobody.sock");
    for address in ["docker://", "docker-container://"] {
        let output = run(folder.path(), &path, Some(&nobody), &["--builder", address]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{stderr}");
        assert!(stderr.contains("no Docker daemon answers at unix://"), "{stderr}");
    }
    let address = format!("unix://{}", nobody.display());
    let output = run(folder.path(), &path, None, &["--builder", &address]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("nothing listens at"), "{stderr}");
}

/// An image that passes for BuildKit's: its `buildctl dial-stdio` leads to `port` on the machine.
async fn load_stand_in(folder: &Path, socket: &Path, port: u16) {
    let base = engine::local_base("busybox", &cache(), &|line| eprintln!("{line}")).await;
    let tar = folder.join("stand-in.tar");
    std::fs::copy(base.unwrap().unwrap().path, &tar).unwrap();
    let mut file = std::fs::File::options().read(true).write(true).open(&tar).unwrap();
    // Behind the last entry, over the two empty blocks that end an archive.
    let end =
        tar::Archive::new(&file).entries().unwrap().map(|e| e.unwrap()).fold(0, |end, entry| {
            end.max(entry.raw_file_position() + entry.size().div_ceil(512) * 512)
        });
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(end)).unwrap();
    let mut builder = tar::Builder::new(file);
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = dial-stdio ]; then exec nc 127.0.0.1 {port}; fi\n[ -s /etc/buildkit/buildkitd.toml ]\n"
    );
    for (name, text) in
        [("bin/buildctl", &*script), ("bin/buildkitd", "#!/bin/sh\nexec sleep 300\n")]
    {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(text.len() as u64);
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.finish().unwrap();
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("stand-in")
        .tag("1")
        .changes(vec!["ENTRYPOINT [\"/bin/buildkitd\"]".to_owned()])
        .build();
    let body = bollard::body_full(std::fs::read(&tar).unwrap().into());
    let docker = docker::connect(socket).unwrap();
    docker.create_image(Some(options), Some(body), None).try_collect::<Vec<_>>().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buildkit_container_is_made_labelled_used_and_removed() {
    let folder = temporary();
    let (engine, _root) = engine(folder.path()).await;
    let path = scenario(folder.path(), "strategies = ['local']");
    let socket = engine.socket();

    let missing = ["--builder", "docker-container://mine?image=127.0.0.1:1/no/such:1"];
    let output = run(folder.path(), &path, Some(socket), &missing).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("neither in the user's Docker nor can it be pulled"), "{stderr}");
    assert!(stderr.contains("docker load"), "{stderr}");

    let (port, _server) = serve_tcp(socket).await;
    load_stand_in(folder.path(), socket, port).await;
    let docker = docker::connect(socket).unwrap();
    // What a killed run left: its folder is gone. The one before has made the folder of all runs.
    let dead = bollard::models::ContainerCreateBody {
        image: Some("stand-in:1".to_owned()),
        labels: Some(guarded::labels(&folder.path().join("cachefrom/run-1"))),
        ..Default::default()
    };
    docker.create_container(None, dead).await.unwrap();
    let watched = watch_containers(socket.to_owned());
    let arguments = ["--builder", "docker-container://mine?image=stand-in:1"];
    let output = run(folder.path(), &path, Some(socket), &arguments).await;
    let seen = watched.await;
    let recorded = recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "local"), [(0, 3), (0, 3), (3, 3)]);
    assert!(recorded.trials[0].engine_start.is_some());
    assert!(seen.iter().any(|(name, run)| name == "/mine-1" && run.contains("/run-")), "{seen:?}");
    let all = ListContainersOptionsBuilder::new().all(true).build();
    assert_eq!(docker.list_containers(Some(all)).await.unwrap(), []);
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap();
    assert_eq!(volumes.volumes.unwrap_or_default(), []);
    engine.stop().await.unwrap();
}

/// The names and labels of the containers that run while a run goes on; ends when they are gone.
fn watch_containers(socket: PathBuf) -> impl Future<Output = Vec<(String, String)>> {
    let watching = tokio::spawn(async move {
        let docker = docker::connect(&socket).unwrap();
        let mut seen = vec![];
        for _ in 0..2_000 {
            let running = docker.list_containers(None).await.unwrap_or_default();
            for container in running {
                let name = container.names.unwrap_or_default().concat();
                let run = container.labels.unwrap_or_default().remove(guarded::LABEL);
                seen.push((name, run.unwrap_or_default()));
            }
            if seen.iter().any(|(name, _)| name == "/mine-1") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        seen
    });
    async move { watching.await.unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_progress_carries_what_buildkit_says_beside_the_trial() {
    let folder = temporary();
    let path = scenario(folder.path(), "strategies = ['cold']");
    let output = run(folder.path(), &path, None, &["--progress", "rawjson", "--commit", "1"]).await;
    let stdout = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses = || lines.iter().filter(|line| line["reason"] == "status");
    assert!(
        statuses().all(|line| line["trial"]["strategy"] == "cold" && line["target"] == "final")
    );
    let names: Vec<&str> = statuses()
        .flat_map(|line| line["vertexes"].as_array().into_iter().flatten())
        .filter(|vertex| vertex["completed"].is_string())
        .filter_map(|vertex| vertex["name"].as_str())
        .collect();
    assert!(names.iter().any(|name| name.contains("RUN --network=none cp")), "{names:?}");
    let reasons: Vec<_> = lines.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert_eq!(reasons.last(), Some(&"trial-ended"), "{reasons:?}");
}

/// Puts busybox as tag `1` of `name` into `registry`; the digest of its manifest.
pub async fn put_base(registry: &Registry, name: &str, folder: &Path) -> String {
    let base = engine::local_base("busybox", &cache(), &|line| eprintln!("{line}")).await;
    let image = engine::oci_image(&base.unwrap().unwrap().path, &folder.join("oci")).unwrap();
    let name = name.parse().unwrap();
    registry.put_blob_bytes(&name, &image.config.1).unwrap();
    registry.put_blob_file(&name, &image.layer.0.parse().unwrap(), &image.layer.1).await.unwrap();
    let kind = engine::image::MANIFEST_TYPE;
    registry.put_manifest(&name, &"1".parse().unwrap(), kind, &image.manifest).unwrap();
    image.manifest_digest
}

/// A `XDG_CACHE_HOME` below `folder`, with the machine's engine in it and nothing else.
pub async fn own_cache(folder: &Path) -> PathBuf {
    let home = folder.join("cache");
    let own = home.join("cachefrom");
    std::fs::create_dir_all(&own).unwrap();
    engine::find(&cache(), &|line| eprintln!("{line}")).await.unwrap();
    if cache().join("engine").exists() {
        std::os::unix::fs::symlink(cache().join("engine"), own.join("engine")).unwrap();
    }
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_image_of_another_registry_is_pulled_once_and_then_kept() {
    let folder = temporary();
    let upstream = Registry::start(folder.path().join("upstream")).await.unwrap();
    let digest = put_base(&upstream, "team/base", folder.path()).await;
    let path = scenario(folder.path(), "strategies = ['cold']");
    let dockerfile = folder.path().join("source/Dockerfile");
    let text = std::fs::read_to_string(&dockerfile).unwrap();
    let reference = format!("{}/team/base:1", upstream.address());
    std::fs::write(&dockerfile, text.replace("busybox", &reference)).unwrap();

    let home = own_cache(folder.path()).await;
    let once = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cachefrom"));
        command.arg("run").arg(&path).args(["--progress", "plain", "--out"]);
        command.arg(folder.path().join("results")).env("TMPDIR", folder.path());
        command.env("XDG_CACHE_HOME", &home);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        recorded(folder.path(), &output)
    };
    let first = once().await;
    let served = &first.header.images[0];
    assert_eq!((&served.reference, &served.digest), (&reference, &digest));
    assert_eq!(served.source, upstream.address().to_string());
    assert!(first.trials.iter().all(|trial| trial.verifications.len() == 1));
    assert!(first.trials.iter().all(|trial| trial.cache_records_before == 0));
    drop(upstream);
    std::fs::remove_dir_all(folder.path().join("results")).unwrap();
    let second = once().await;
    let source = &second.header.images[0].source;
    assert!(source.contains(", kept from an earlier run (20"), "{source}");
    assert_eq!(second.header.images[0].digest, digest);
}
