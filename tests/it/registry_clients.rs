//! Clients that others wrote copy images through the embedded registry and Debian's `docker-registry`.

use std::path::{Path, PathBuf};
use std::process::Command;

use cachefrom::engine::{cache_dir, machine_packages};
use cachefrom::registry::{Digest, Registry};
use serde_json::json;

use crate::docker_registry::{Peer, program};
use crate::registry_peers::{CONFIG, IMAGE, INDEX, LAYER, descriptor};

/// An image of two layers as an OCI layout.
fn layout(folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, bytes: Vec<u8>| {
        std::fs::write(blobs.join(Digest::of(&bytes).hex()), &bytes).unwrap();
        descriptor(kind, &bytes)
    };
    let layers: Vec<Vec<u8>> = [("one", 700_000), ("two", 3)]
        .map(|(name, size)| {
            let mut tar = tar::Builder::new(vec![]);
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o644);
            let content = std::io::Read::take(std::io::repeat(7), size);
            tar.append_data(&mut header, name, content).unwrap();
            tar.into_inner().unwrap()
        })
        .into();
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let layers: Vec<_> = layers.into_iter().map(|layer| put(LAYER, layer)).collect();
    let config = put(CONFIG, config.to_string().into_bytes());
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers });
    let mut manifest = put(IMAGE, manifest.to_string().into_bytes());
    manifest["annotations"] = json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

/// The digests of everything in a layout but its index.
fn content(folder: &Path) -> std::collections::BTreeSet<String> {
    let entries = std::fs::read_dir(folder.join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn run(program: &Path, arguments: &[&str], home: &Path) {
    let output = Command::new(program).args(arguments).env("HOME", home).output().unwrap();
    assert!(output.status.success(), "{} {arguments:?}: {output:?}", program.display());
}

#[tokio::test(flavor = "multi_thread")]
async fn crane_and_oras_copy_an_image_in_across_and_out_unchanged() {
    let (crane, oras) =
        (program("crane", "usr/bin/crane").await, program("oras", "usr/bin/oras").await);
    let peer = Peer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ours = Registry::start(folder.path().join("store")).await.unwrap();
    let (home, layout_in) = (folder.path(), folder.path().join("in"));
    layout(&layout_in);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (here, there) = (format!("{}/x/y", ours.address()), format!("{}/x/y", peer.address));

    run(&crane, &["push", "--insecure", &path("in"), &format!("{here}:crane")], home);
    run(&crane, &["copy", "--insecure", &format!("{here}:crane"), &format!("{there}:crane")], home);
    run(&crane, &["copy", "--insecure", &format!("{there}:crane"), &format!("{here}:back")], home);
    let back = format!("{here}:back");
    run(&crane, &["pull", "--insecure", "--format", "oci", &back, &path("crane-out")], home);
    assert_eq!(content(&folder.path().join("crane-out")), content(&layout_in));

    let from = format!("{}:v1", path("in"));
    let plain = ["--from-plain-http", "--to-plain-http"];
    run(
        &oras,
        &["cp", "--from-oci-layout", "--to-plain-http", &from, &format!("{here}:oras")],
        home,
    );
    let (a, b, c) = (format!("{here}:oras"), format!("{there}:oras"), format!("{here}:oras-back"));
    run(&oras, &["cp", plain[0], plain[1], &a, &b], home);
    run(&oras, &["cp", plain[0], plain[1], &b, &c], home);
    let out = format!("{}:v1", path("oras-out"));
    run(&oras, &["cp", plain[0], "--to-oci-layout", &c, &out], home);
    assert_eq!(content(&folder.path().join("oras-out")), content(&layout_in));
}

/// skopeo and what it is linked to that a machine may lack, by the names of two generations of Debian.
async fn skopeo() -> (PathBuf, PathBuf) {
    let generations = [
        ["skopeo", "libgpgme11t64", "libassuan9", "libdevmapper1.02.1"],
        ["skopeo", "libgpgme11", "libassuan0", "libdevmapper1.02.1"],
    ];
    let mut reasons = vec![];
    for names in generations {
        match machine_packages(&cache_dir(), &names, &|text| eprintln!("{text}")).await {
            Ok(root) => {
                let libraries = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
                return (root.join("usr/bin/skopeo"), libraries);
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    panic!("no skopeo: {reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_an_image_in_across_and_out_unchanged() {
    let (skopeo, libraries) = skopeo().await;
    let peer = Peer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ours = Registry::start(folder.path().join("store")).await.unwrap();
    let layout_in = folder.path().join("in");
    std::fs::create_dir(&layout_in).unwrap();
    layout(&layout_in);
    let layout_out = folder.path().join("out");
    let (here, there) = (format!("docker://{}/s", ours.address()), &peer.address);
    let there = format!("docker://{there}/s");
    for (from, to) in [
        (format!("oci:{}:v1", layout_in.display()), format!("{here}:in")),
        (format!("{here}:in"), format!("{there}:across")),
        (format!("{there}:across"), format!("{here}:back")),
        (format!("{here}:back"), format!("oci:{}:v1", layout_out.display())),
    ] {
        let mut copy = Command::new(&skopeo);
        copy.args(["--insecure-policy", "copy", "--src-tls-verify=false"])
            .args(["--dest-tls-verify=false", "--preserve-digests", &from, &to])
            .env("LD_LIBRARY_PATH", &libraries)
            .env("HOME", folder.path());
        let output = copy.output().unwrap();
        assert!(output.status.success(), "{from} to {to}: {output:?}");
    }
    assert_eq!(content(&layout_out), content(&layout_in));
}
