//! Engines elsewhere: by TLS, and several at once.

mod front;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use cachefrom::journal::{Recorded, TrialRecord};
use tokio::net::TcpListener;

use crate::engines::{
    engine, recorded, reused, run, run_with, scenario, serve_tcp, serve_unix, temporary,
};
use front::{Authority, Behind, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_buildkitd_and_a_docker_engine_behind_tls_build_as_they_do_without() {
    let folder = temporary();
    let (engine, _root) = engine(folder.path()).await;
    let path = scenario(folder.path(), "strategies = ['local']");
    let authority = Authority::create(&folder.path().join("certificates"), "127.0.0.1");
    let results = folder.path().join("results");

    // A buildkitd knows HTTP/2 alone, and holds who we are against its own authority.
    let control = Behind::Control(engine.socket().to_owned());
    let address = format!("tcp://{}", serve(&authority, true, control).await);
    let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| authority.file(name));
    let arguments = [
        "--builder",
        &address,
        "--builder-tlscacert",
        &ca,
        "--builder-tlscert",
        &certificate,
        "--builder-tlskey",
        &key,
    ];
    let output = run(folder.path(), &path, None, &arguments).await;
    let recorded = recorded(folder.path(), &output);
    assert_eq!(reused(&recorded, "local"), [(0, 3), (0, 3), (3, 3)]);
    assert_eq!(recorded.header.environment.builder, address);
    assert!(recorded.header.environment.engine.starts_with("buildkitd"));
    assert!(recorded.trials.iter().all(|trial| trial.verifications.is_empty()));

    // A Docker engine is told apart from it, and its images are run.
    engine.stop().await.unwrap();
    let (engine, _root) = self::engine(folder.path()).await;
    std::fs::remove_dir_all(&results).unwrap();
    let docker = Behind::Docker(engine.socket().to_owned());
    let address = format!("tcp://{}", serve(&authority, true, docker).await);
    let certificates = authority.folder.display().to_string();
    let arguments = ["--builder", &address, "--builder-tlsdir", &certificates];
    let output = run(folder.path(), &path, None, &arguments).await;
    let recorded = self::recorded(folder.path(), &output);
    assert_eq!(recorded.trials.len(), 3);
    assert!(recorded.trials.iter().all(|trial| trial.verifications.len() == 1));

    // So is the user's own, in the words of the docker CLI.
    std::fs::remove_dir_all(&results).unwrap();
    let environment = [
        ("DOCKER_HOST", &*address),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", &certificates),
    ];
    let output = run_with(folder.path(), &path, &environment, &["--builder", "docker://"]).await;
    let recorded = self::recorded(folder.path(), &output);
    assert!(recorded.trials.iter().all(|trial| trial.verifications.len() == 1));
    engine.stop().await.unwrap();
}

/// The standard error of a run that found no engine.
fn refused(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    stderr
}

/// Runs the scenario at `path` on `address`, in vain.
async fn in_vain(folder: &Path, path: &Path, address: &str, options: &[&str]) -> String {
    let address = format!("tcp://{address}");
    let arguments: Vec<&str> = ["--builder", &address].iter().chain(options).copied().collect();
    let stderr = refused(&run(folder, path, None, &arguments).await);
    assert!(stderr.contains('\n') && !stderr.contains("PRIVATE KEY"), "{stderr}");
    stderr
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_which_tls_fails_has_a_sentence_and_a_remedy() {
    let folder = temporary();
    let path = scenario(folder.path(), "strategies = ['local']");
    let ours = Authority::create(&folder.path().join("ours"), "engine.test");
    let other = Authority::create(&folder.path().join("other"), "127.0.0.1");
    let [ca, certificate, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| ours.file(name));
    let vain = async |address: &str, options: &[&str]| {
        in_vain(folder.path(), &path, address, options).await
    };
    let by_name = ["--builder-tlscacert", &*ca, "--builder-tlsservername", "engine.test"];

    // What the options name.
    let missing = folder.path().join("missing.pem").display().to_string();
    let stderr = vain("127.0.0.1:1", &["--builder-tlscacert", &missing]).await;
    assert!(stderr.contains("cannot read the CA certificate in"), "{stderr}");
    assert!(stderr.contains("missing.pem: "), "{stderr}");
    let stderr = vain("127.0.0.1:1", &["--builder-tlscacert", &key]).await;
    assert!(stderr.contains("key.pem: it holds none"), "{stderr}");
    let wrong = other.file("key.pem");
    let pair = ["--builder-tlscert", &*certificate, "--builder-tlskey", &wrong];
    let stderr = vain("127.0.0.1:1", &pair).await;
    assert!(stderr.contains("key.pem is not the key of the certificate in"), "{stderr}");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let stderr = vain("127.0.0.1:1", &["--builder-tlsdir", empty.to_str().unwrap()]).await;
    assert!(stderr.contains("holds none of ca.pem, cert.pem and key.pem"), "{stderr}");
    std::fs::copy(&certificate, empty.join("cert.pem")).unwrap();
    let stderr = vain("127.0.0.1:1", &["--builder-tlsdir", empty.to_str().unwrap()]).await;
    assert!(stderr.contains("it needs both cert.pem and key.pem"), "{stderr}");

    // Whom we refuse.
    let open = serve(&ours, false, Behind::Echo).await;
    let stderr = vain(&open, &["--builder-tlscacert", &other.file("ca.pem")]).await;
    assert!(stderr.contains("is not signed by an authority in"), "{stderr}");
    assert!(stderr.contains("--builder-tlscacert"), "{stderr}");
    let stderr = vain(&open, &["--builder-tlsservername", "engine.test"]).await;
    assert!(stderr.contains("an authority that this machine does not know"), "{stderr}");
    let stderr = vain(&open, &["--builder-tlscacert", &ca]).await;
    assert!(stderr.contains("its certificate is for engine.test, not for 127.0.0.1"), "{stderr}");
    assert!(stderr.contains("--builder-tlsservername"), "{stderr}");

    // Who refuses us.
    let mutual = serve(&ours, true, Behind::Echo).await;
    let stderr = vain(&mutual, &by_name).await;
    assert!(stderr.contains("it demands a client certificate"), "{stderr}");
    assert!(stderr.contains("--builder-tlscert and --builder-tlskey"), "{stderr}");
    let (certificate, key) = (other.file("cert.pem"), other.file("key.pem"));
    let stranger = ["--builder-tlscert", &*certificate, "--builder-tlskey", &key];
    let stderr = vain(&mutual, &[by_name, stranger].concat()).await;
    assert!(stderr.contains("it does not accept the client certificate in"), "{stderr}");

    // Who does not speak TLS, and whom we did not ask to.
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = plain.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let stderr = vain(&address, &by_name).await;
    assert!(stderr.contains("what answers there does not speak TLS"), "{stderr}");
    server.abort();
    let _ = server.await;
    let stderr = vain(&address, &by_name).await;
    assert!(stderr.contains("nothing listens at"), "{stderr}");
    let stderr = vain(&open, &[]).await;
    assert!(stderr.contains("if it speaks TLS, name its authority"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_options_that_cannot_mean_anything_are_usage_errors() {
    let folder = temporary();
    let path = scenario(folder.path(), "strategies = ['local']");
    let tcp = ["--builder", "tcp://127.0.0.1:1"];
    let cases: [(&[&str], &str); 5] = [
        (&[tcp[0], tcp[1], "--builder-tlscert", "a.pem"], "--builder-tlskey"),
        (&[tcp[0], tcp[1], "--builder-tlsservername", "not a name"], "neither a host name nor"),
        (&[tcp[0], tcp[1], "--builder-tlsdir", ".", "--builder-tlscacert", "a.pem"], "cannot be"),
        (&["--builder-tlscacert", "a.pem"], "--builder <ADDRESS>"),
        (&["--builder", "docker://", "--builder-tlscacert", "a.pem"], "and docker:// is none"),
    ];
    for (arguments, said) in cases {
        let output = run(folder.path(), &path, None, arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds_are_dealt_to_builders_and_a_resumed_run_deals_them_alike() {
    let folder = temporary();
    let (one, _root) = engine(&folder.path().join("one")).await;
    let (other, _root) = engine(&folder.path().join("other")).await;
    let path = scenario(folder.path(), "strategies = ['local', 'cold']");
    let plain = folder.path().join("plain.sock");
    let _server = serve_unix(&plain, one.socket());
    let (port, _server) = serve_tcp(other.socket()).await;
    let addresses = [format!("unix://{}", plain.display()), format!("tcp://127.0.0.1:{port}")];
    let [first, second] = addresses.each_ref().map(String::as_str);
    let both = ["--builder", first, "--builder", second, "--rounds", "2"];
    let output = run(folder.path(), &path, None, &both).await;
    let recorded = recorded(folder.path(), &output);
    // The second round finds nothing of the first: it is on an engine that has built nothing.
    let once = [(0, 3), (0, 3), (3, 3)];
    assert_eq!(reused(&recorded, "local"), [once, once].concat());
    let played = |recorded: &Recorded| -> Vec<(u32, Option<String>)> {
        let key = |trial: &TrialRecord| (trial.key.round, trial.builder.clone());
        recorded.trials.iter().map(key).collect()
    };
    let expected: Vec<_> =
        (0..6).map(|n| (n / 3, Some(addresses[n as usize / 3].clone()))).collect();
    assert_eq!(played(&recorded), expected);
    let environment = &recorded.header.environment;
    let listed: Vec<&String> = environment.builders.iter().map(|b| &b.address).collect();
    assert_eq!(listed, addresses.iter().collect::<Vec<_>>());
    assert_eq!(environment.builder, addresses.join(", "));
    let skipped = &recorded.header.skipped[0];
    assert!(skipped.because.starts_with(&format!("on {first}, it wants a new")), "{skipped:?}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("rounds were dealt to 2 builders"), "{stdout}");

    // What is cut off is played again, where it was.
    let journal = folder.path().join("results/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    // Without its end and its last trial.
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&journal, lines[..lines.len() - 2].join("\n") + "\n").unwrap();
    let swapped = ["--builder", second, "--builder", first, "--rounds", "2", "--resume"];
    let output = run(folder.path(), &path, None, &swapped).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("was recorded on other builders: unix://"), "{stderr}");
    let output = run(folder.path(), &path, None, &[&both[..], &["--resume"]].concat()).await;
    let recorded = self::recorded(folder.path(), &output);
    assert_eq!(played(&recorded), expected);
    let keys: BTreeSet<_> = recorded.trials.iter().map(|trial| &trial.key).collect();
    assert_eq!(keys.len(), 6);
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_that_rounds_cannot_be_dealt_to_are_usage_errors() {
    let folder = temporary();
    let path = scenario(folder.path(), "strategies = ['local']");
    let cases: [(&[&str], &str); 3] = [
        (&["unix:///a", "unix:///a", "2"], "--builder unix:///a is given twice"),
        (&["unix:///a", "docker://", "2"], "docker:// is none"),
        (&["unix:///a", "unix:///b", "1"], "play --rounds 2 or more"),
    ];
    for (words, said) in cases {
        let builders = ["--builder", words[0], "--builder", words[1], "--rounds", words[2]];
        let arguments = [&builders[..], &["--dry-run"]].concat();
        let output = run(folder.path(), &path, None, &arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
        assert!(stderr.contains(said), "{words:?}: {stderr}");
    }
    let arguments =
        ["--builder", "unix:///a", "--builder", "unix:///b", "--rounds", "2", "--dry-run"];
    let output = run(folder.path(), &path, None, &arguments).await;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("round 1 local on unix:///a: "), "{stdout}");
    assert!(stdout.contains("round 2 local on unix:///b: "), "{stdout}");
}
