//! `--registry`: runs whose caches are in a registry that others wrote, behind TLS, passwords and tokens.

mod front;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cachefrom::journal::{Outcome, Recorded};
use cachefrom::measure::reuse;
use cachefrom::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::docker_registry::Peer;
use crate::engines::{own_cache, put_base};
use crate::faults::{Case, ended};
use front::Front;

const USER: &str = "builder";
const PASSWORD: &str = "correct-horse-battery";

const DOCKERFILE: &str = "FROM busybox\nRUN seq 20000 >/numbers\nCOPY file /\n";
const SCENARIO: &str = "strategies = [\"cold\", \"inline\", \"stages\", \"registry-max\"]\n[build]\n\
    [[verify]]\nargs = [\"tail\", \"-n\", \"1\", \"/numbers\", \"/file\"]\nstdout = \"20000\"\n";

/// Debian's registry over TLS with an authority of its own, behind a password.
struct Guarded {
    peer: Peer,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut authority = CertificateParams::new(vec![]).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap());
        let authority = authority.unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&key, &authority).unwrap();
        std::fs::write(at("ca.pem"), authority.pem()).unwrap();
        std::fs::write(at("server.pem"), server.pem()).unwrap();
        std::fs::write(at("server.key"), key.serialize_pem()).unwrap();
        // The cheapest hash there is: the test is of the login, not of the hash.
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        std::fs::write(at("htpasswd"), format!("{USER}:{hash}\n")).unwrap();
        let http = json!({ "tls": { "certificate": at("server.pem"), "key": at("server.key") } });
        let auth = json!({ "htpasswd": { "realm": "test", "path": at("htpasswd") } });
        let peer = Peer::with(http, Some(auth)).await;
        Self { peer, folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Asks it past cachefrom: the status, and the body.
    async fn ask(&self, path: &str) -> (u16, String) {
        let pem = std::fs::read(self.ca()).unwrap();
        let ca = reqwest::Certificate::from_pem(&pem).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_merge([ca]).build().unwrap();
        let url = format!("https://{}/v2/{path}", self.peer.address);
        let kinds = "application/vnd.oci.image.manifest.v1+json, \
                     application/vnd.oci.image.index.v1+json, \
                     application/vnd.docker.distribution.manifest.v2+json";
        let request = client.get(url).basic_auth(USER, Some(PASSWORD)).header("accept", kinds);
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    }
}

/// Runs `case` with credentials for `host` in a configuration of its own.
fn run(case: &Case, host: &str, password: &str, more: &[&str]) -> Output {
    let mut command = command(case, host, password, more);
    tokio::task::block_in_place(|| command.output().unwrap())
}

fn command(case: &Case, host: &str, password: &str, more: &[&str]) -> Command {
    let auths = json!({ "auths": { host: { "username": USER, "password": password } } });
    let mut command = case.command(more);
    command.env("DOCKER_CONFIG", docker_config(case, &auths));
    command
}

/// A folder for `DOCKER_CONFIG`.
fn docker_config(case: &Case, config: &serde_json::Value) -> PathBuf {
    let docker = case.out().with_file_name("docker");
    std::fs::create_dir_all(&docker).unwrap();
    std::fs::write(docker.join("config.json"), config.to_string()).unwrap();
    docker
}

/// The same by a credential helper, a program on the PATH.
fn run_with_helper(case: &Case, host: &str, more: &[&str]) -> Output {
    let docker = docker_config(case, &json!({ "credHelpers": { host: "test" } }));
    let helper = docker.join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {host}' ] || exit 1\n\
         echo '{{\"ServerURL\":\"{host}\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", docker.display(), std::env::var("PATH").unwrap());
    let mut command = case.command(more);
    command.env("DOCKER_CONFIG", &docker).env("PATH", path);
    tokio::task::block_in_place(|| command.output().unwrap())
}

/// Fails if a secret is in anything that the run said or wrote.
fn assert_no_secret(output: &Output, out: &Path, secrets: &[String]) {
    let mut said = vec![output.stdout.clone(), output.stderr.clone()];
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => said.push(std::fs::read(entry.path()).unwrap()),
            }
        }
    }
    for secret in secrets {
        let found = said.iter().any(|said| String::from_utf8_lossy(said).contains(secret.as_str()));
        assert!(!found, "{secret} was told");
    }
}

/// The spellings in which a password may leak.
fn spellings(password: &str) -> Vec<String> {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
    vec![password.to_owned(), basic]
}

/// Every trial went well, and caches were found again.
fn assert_reused(recorded: &Recorded) {
    assert_eq!(recorded.trials.len(), 4 * 2);
    for trial in &recorded.trials {
        assert_eq!(trial.outcome, Outcome::Built, "{:?}", trial.key);
        let reused = trial.key.commit == 1 && trial.key.strategy != "cold";
        assert_eq!(reuse(trial).cached, usize::from(reused), "{:?}", trial.key);
        // The meter has counted what crossed, by the run's own names.
        if trial.key.strategy != "cold" {
            assert!(trial.pushed().0 > 0, "{:?}", trial.key);
            assert!(trial.key.commit == 0 || trial.pulled().0 > 0, "{:?}", trial.key);
            assert!(!trial.metered.stored.is_empty(), "{:?}", trial.key);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_a_password_and_an_authority_of_its_own_serves_a_run_and_is_left_as_it_was()
{
    let registry = Guarded::start().await;
    let case = Case::new(DOCKERFILE, SCENARIO);
    let to = format!("{}/team/cache", registry.peer.address);
    let ca = registry.ca();
    let more = ["--registry", &to, "--registry-ca", ca.to_str().unwrap()];
    let output = run(&case, &registry.peer.address, PASSWORD, &more);
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("accepts caches as image manifests"), "{stderr}");
    let recorded = case.recorded();
    assert_reused(&recorded);
    let used = recorded.header.environment.registry.as_ref().unwrap();
    assert_eq!(used.repository, to);
    assert!(used.accepts.cache_manifest && used.accepts.oci_index && used.accepts.mount);

    let refs = recorded.end.as_ref().unwrap().refs.clone().unwrap();
    assert!(refs.deleted >= 3, "{refs:?}");
    assert_eq!(refs.left, Vec::<String>::new());
    assert!(!case.out().join("registry-refs.txt").exists());
    // It answers 404 for a repository without tags, or an empty list.
    let (_, tags) = registry.ask("team/cache/tags/list").await;
    assert!(!tags.contains("cachefrom-"), "{tags}");
    assert_no_secret(&output, &case.out(), &spellings(PASSWORD));
    case.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn refs_that_are_kept_are_listed_and_a_link_is_shaped_as_ever() {
    let registry = Guarded::start().await;
    let case = Case::new(
        "FROM busybox\nRUN head -c 1000000 /dev/urandom >/big\nCOPY file /\n",
        "strategies = [\"registry-max\"]\n[build]\n",
    );
    let to = format!("{}/team/cache", registry.peer.address);
    let ca = registry.ca();
    let link = "latency=1ms,down=32Mbit,up=32Mbit";
    let more =
        ["--keep-refs", "--link", link, "--registry", &to, "--registry-ca", ca.to_str().unwrap()];
    let output = run_with_helper(&case, &registry.peer.address, &more);
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(0), "{stderr}");
    let recorded = case.recorded();
    for trial in &recorded.trials {
        let most = trial.pulled().0.max(trial.pushed().0) as f64 * 8.0 / 32e6;
        assert!(trial.wall().seconds() + 0.01 > most, "{:?}: {}", trial.key, trial.wall());
    }
    assert!(recorded.trials[0].pushed().0 > 1_000_000);

    let refs = recorded.end.as_ref().unwrap().refs.clone().unwrap();
    assert_eq!((refs.deleted, refs.because.as_str()), (0, "--keep-refs says so"));
    let listed = std::fs::read_to_string(case.out().join("registry-refs.txt")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), refs.left);
    assert!(!listed.contains("preflight"), "{listed}");
    for name in &refs.left {
        let tag = name.strip_prefix(&format!("{to}:")).unwrap();
        assert_eq!(registry.ask(&format!("team/cache/manifests/{tag}")).await.0, 200, "{name}");
    }
    assert_no_secret(&output, &case.out(), &spellings(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_let_us_in_is_an_error_that_says_what_to_do() {
    let registry = Guarded::start().await;
    let to = format!("{}/team/cache", registry.peer.address);
    let ca = registry.ca();
    let with_ca = ["--registry", &to, "--registry-ca", ca.to_str().unwrap()];
    let host = &registry.peer.address;
    for (host, password, more, says) in [
        (host.as_str(), "wrong-horse-staple", &with_ca[..], "refuses the credentials"),
        ("elsewhere.test", PASSWORD, &with_ca[..], "wants a login"),
        // Nobody vouches for its certificate.
        (host.as_str(), PASSWORD, &with_ca[..2], "certificate"),
    ] {
        let case = Case::new(DOCKERFILE, SCENARIO);
        let output = run(&case, host, password, more);
        let (code, stderr) = ended(&output);
        assert_eq!(code, Some(6), "{says}: {stderr}");
        assert!(stderr.contains(says), "{says}: {stderr}");
        assert!(!case.out().join("journal.jsonl").exists(), "{says}");
        assert_no_secret(&output, &case.out(), &spellings(password));
        case.assert_nothing_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_fetched_and_renewed_and_storage_elsewhere_never_sees_them() {
    let http = json!({ "relativeurls": true });
    let peer = Peer::with(http, None).await;
    let front = Front::start(peer.address.clone(), USER, PASSWORD).await;
    let case = Case::new(DOCKERFILE, SCENARIO);
    let to = format!("{}/team/cache", front.address);
    let output = run(&case, &front.address, PASSWORD, &["--registry", &to]);
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(0), "{stderr}");
    let recorded = case.recorded();
    assert_reused(&recorded);
    let seen = front.seen();
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.issued.len() > 2, "tokens wear out: {}", seen.issued.len());
    assert!(seen.redirected > 0, "blobs are elsewhere");

    // It deletes nothing: that is said, and what stays is listed.
    let refs = recorded.end.as_ref().unwrap().refs.clone().unwrap();
    assert_eq!(refs.deleted, 0);
    assert!(!refs.left.is_empty() && refs.because.contains("deletes nothing"), "{refs:?}");
    assert!(stderr.contains("registry-refs.txt"), "{stderr}");
    let listed = std::fs::read_to_string(case.out().join("registry-refs.txt")).unwrap();
    assert_eq!(listed.lines().collect::<Vec<_>>(), refs.left);
    let mut secrets = spellings(PASSWORD);
    secrets.extend(seen.issued);
    secrets.push(front::SIGNATURE.to_owned());
    assert_no_secret(&output, &case.out(), &secrets);
    case.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_base_image_is_pulled_with_dockers_login_and_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::start(folder.path().join("registry")).await.unwrap();
    let digest = put_base(&registry, "team/cache", folder.path()).await;
    let front = Front::start(registry.address().to_string(), USER, PASSWORD).await;
    let reference = format!("{}/team/cache:1", front.address);
    let dockerfile = format!("FROM {reference}\nCOPY file /\n");
    let case = Case::new(&dockerfile, "strategies = [\"cold\"]\n[build]\n");
    let home = own_cache(folder.path()).await;
    let run = |host: &str, password: &str| {
        let mut command = command(&case, host, password, &[]);
        command.env("XDG_CACHE_HOME", &home);
        tokio::task::block_in_place(|| command.output().unwrap())
    };
    for (host, password, says) in [
        (front.address.as_str(), "wrong-horse-staple", "refuses the credentials that are stored"),
        ("elsewhere.test", PASSWORD, "docker/config.json holds no login for it, and it is not one"),
    ] {
        let output = run(host, password);
        let (code, stderr) = ended(&output);
        assert_eq!(code, Some(6), "{stderr}");
        assert!(stderr.contains(says) && stderr.contains("\n  docker login "), "{stderr}");
        assert!(stderr.contains("[[image]]"), "{stderr}");
        assert_no_secret(&output, &case.out(), &spellings(password));
    }
    let output = run(&front.address, PASSWORD);
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(0), "{stderr}");
    let image = &case.recorded().header.images[0];
    assert_eq!((&image.reference, &image.digest), (&reference, &digest));
    let seen = front.seen();
    assert_eq!(seen.wrong, Vec::<String>::new());
    assert!(seen.redirected > 0, "blobs are elsewhere");
    let mut secrets = spellings(PASSWORD);
    secrets.extend(seen.issued);
    secrets.push(front::SIGNATURE.to_owned());
    assert_no_secret(&output, &case.out(), &secrets);
    case.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_deletes_what_was_pushed() {
    let registry = Guarded::start().await;
    let case = Case::new(
        "FROM busybox\nCOPY file /\nRUN ! grep -q 2 /file || sleep 600\n",
        "strategies = [\"registry-max\"]\n[build]\n",
    );
    let to = format!("{}/team/cache", registry.peer.address);
    let ca = registry.ca();
    let more = ["--registry", &to, "--registry-ca", ca.to_str().unwrap()];
    let mut command = command(&case, &registry.peer.address, PASSWORD, &more);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let list = case.out().join("registry-refs.txt");
    let (given_up, begun) = (Duration::from_secs(120), Instant::now());
    // The first commit's trial is in the journal, and the second's build will not end.
    while !case.out().join("journal.jsonl").is_file() || case.recorded().trials.is_empty() {
        assert!(begun.elapsed() < given_up, "the first trial does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(std::fs::read_to_string(&list).unwrap().contains(&to));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(!list.exists(), "{stderr}");
    let refs = case.recorded().end.as_ref().unwrap().refs.clone().unwrap();
    assert!(refs.deleted > 0 && refs.left.is_empty(), "{refs:?}");
    let (_, tags) = registry.ask("team/cache/tags/list").await;
    assert!(!tags.contains("cachefrom-"), "{tags}");
    case.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_while_it_asks_what_is_accepted_deletes_what_that_pushed() {
    let peer = Peer::with(json!({ "relativeurls": true }), None).await;
    let front = Front::stalling(peer.address.clone(), USER, PASSWORD).await;
    let case = Case::new(DOCKERFILE, SCENARIO);
    let to = format!("{}/team/cache", front.address);
    let mut command = command(&case, &front.address, PASSWORD, &["--registry", &to]);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let (given_up, begun) = (Duration::from_secs(120), Instant::now());
    while front.seen().stalled == 0 {
        assert!(begun.elapsed() < given_up, "nobody asks for a mount");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let list = case.out().join("registry-refs.txt");
    assert_eq!(std::fs::read_to_string(&list).unwrap().lines().count(), 4);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
    let (code, stderr) = ended(&output);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("deleting this run's refs"), "{stderr}");
    assert!(!list.exists(), "{stderr}");
    let tags = format!("http://{}/v2/team/cache/tags/list", peer.address);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let tags = client.get(tags).send().await.unwrap().text().await.unwrap();
    assert!(!tags.contains("cachefrom-"), "{tags}");
    case.assert_nothing_left();
}

#[test]
fn an_address_that_holds_a_password_is_a_usage_error_that_does_not_echo_it() {
    let case = Case::new(DOCKERFILE, SCENARIO);
    for (address, says) in [
        ("https://me:hunter2@h.io/a", "docker login"),
        ("ftp://me:hunter2@h.io/a@sha256:00", "docker login"),
        ("h..io/a", "\"h..io/a\" is not HOST/REPOSITORY"),
    ] {
        let output = case.command(&["--dry-run", "--registry", address]).output().unwrap();
        let (code, stderr) = ended(&output);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("invalid value for '--registry <HOST/REPO>'"), "{stderr}");
        assert!(stderr.contains(says) && !stderr.contains("hunter2"), "{stderr}");
    }
}
