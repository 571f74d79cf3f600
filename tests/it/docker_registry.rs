//! Debian's `docker-registry`, the registry that others measure against.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cachefrom::engine::{cache_dir, packages};
use serde_json::json;

/// A program of a Debian package, fetched once a machine.
pub async fn program(package: &str, path: &str) -> PathBuf {
    let root = packages(&cache_dir(), &[package], &|text| eprintln!("{text}")).await.unwrap();
    root.join(path)
}

/// Debian's registry on a free port, killed when dropped.
pub struct Peer {
    child: Child,
    pub address: String,
    _store: tempfile::TempDir,
}

impl Peer {
    pub async fn start() -> Self {
        Self::with(json!({}), None).await
    }

    /// With `http`'s settings and a way to log in, as its documentation spells them.
    pub async fn with(mut http: serde_json::Value, auth: Option<serde_json::Value>) -> Self {
        let program = program("docker-registry", "usr/bin/docker-registry").await;
        let store = tempfile::tempdir().unwrap();
        http["addr"] = json!("127.0.0.1:0");
        let mut config = json!({
            "version": "0.1",
            "storage": {
                "filesystem": { "rootdirectory": store.path() },
                "delete": { "enabled": true },
            },
            "http": http,
        });
        if let Some(auth) = auth {
            config["auth"] = auth;
        }
        let path = store.path().join("config.yml");
        std::fs::write(&path, config.to_string()).unwrap();
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&path)
            .env_remove("OTEL_TRACES_EXPORTER")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Its log says the port, and must be read on lest it block.
        let log = std::io::BufReader::new(child.stderr.take().unwrap());
        let (sender, port) = mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufRead::lines(log).map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on 127.0.0.1:") {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    let _ = sender.send(port);
                }
            }
        });
        let port = port.recv_timeout(Duration::from_secs(60)).expect("docker-registry listens");
        Self { child, address: format!("127.0.0.1:{port}"), _store: store }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
