//! A warm image holds what a cold one does: file by file, for every strategy, after an edit.

use std::collections::BTreeMap;
use std::io::Read;

use cachefrom::buildkit::{Address, BuildRequest, CacheOption, Connection, ImageOutput, build};
use cachefrom::history::{History, Written};
use cachefrom::scenario;
use cachefrom::strategy::{EngineUse, Position, Strategy, built_in, plan};
use sha2::{Digest, Sha256};

use crate::buildx::Bench;
use crate::parity;

/// Path → kind, mode, owner and content; times are left out, a cache keeps the old ones.
type Tree = BTreeMap<String, String>;

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_image_holds_what_a_cold_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = scenario::load(&parity::scenario(folder.path())).unwrap();
    let history = History::script(&loaded, Written::NOTHING, folder.path()).unwrap();
    let bench = Bench::new().await;
    let mut images: BTreeMap<String, Vec<Tree>> = BTreeMap::new();
    for strategy in built_in() {
        images.insert(strategy.name.clone(), played(&bench, &history, strategy).await);
    }
    let cold = &images["cold"];
    assert!(cold[0].contains_key("all") && cold[0].contains_key("bin/busybox"), "{:?}", cold[0]);
    assert_ne!(cold[0]["all"], cold[1]["all"], "the edit must change the image");
    for (strategy, trees) in &images {
        for (commit, tree) in trees.iter().enumerate() {
            assert_eq!(tree, &cold[commit], "{strategy} at commit {commit}");
        }
    }
}

/// The last target's image of the first two commits.
async fn played(bench: &Bench, history: &History, strategy: &Strategy) -> Vec<Tree> {
    let registry = bench.registry.address();
    let mut kept = None;
    let mut trees = vec![];
    for commit in &history.commits()[..2] {
        let repo = format!("content/{}", strategy.name);
        let position = Position {
            repo: format!("{registry}/{repo}"),
            commit: commit.id.clone(),
            ancestors: commit
                .parent
                .iter()
                .map(|&parent| history.commits()[parent].id.clone())
                .collect(),
            branch: commit.branch.clone(),
            targets: vec!["builder".into(), "production".into()],
            ..Position::default()
        };
        let plan = plan(strategy, &position);
        let context = tempfile::tempdir().unwrap();
        history.checkout(commit.index, context.path()).unwrap();
        let engine = match kept.take() {
            Some(engine) => engine,
            None => bench.engine().await,
        };
        let address = Address::Docker(engine.socket().to_path_buf());
        let connection = Connection::open(&address).await.unwrap();
        let mut tag = String::new();
        for part in &plan.builds {
            let target = part.target.clone().unwrap();
            tag = format!("{target}_{}", commit.id);
            let name = part.push.clone().unwrap_or_else(|| format!("{registry}/{repo}:{tag}"));
            let option = |entry: &cachefrom::strategy::CacheEntry| CacheOption {
                kind: entry.kind.clone(),
                attrs: entry.attrs.clone(),
            };
            let request = BuildRequest {
                context: context.path().to_path_buf(),
                dockerfile: "Dockerfile".into(),
                target: Some(target),
                no_cache: plan.no_cache,
                imports: part.imports.iter().map(option).collect(),
                exports: part.exports.iter().map(option).collect(),
                image: Some(ImageOutput { names: vec![name], push: true, attrs: BTreeMap::new() }),
                network_host: true,
                ..Default::default()
            };
            let outcome = build(&connection, &request, None).await.unwrap();
            assert_eq!(outcome.failure, None);
        }
        trees.push(tree(&format!("http://{registry}/v2/{repo}"), &tag).await);
        match strategy.engine {
            EngineUse::Fresh => drop(engine.stop().await.unwrap()),
            EngineUse::Kept => kept = Some(engine),
        }
    }
    trees
}

/// The files of an image: its layers, one over the other (OCI image-spec 1.1, "layer").
async fn tree(repository: &str, tag: &str) -> Tree {
    let manifest = get(&format!("{repository}/manifests/{tag}")).await;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let mut tree = Tree::new();
    for layer in manifest["layers"].as_array().unwrap() {
        let blob = get(&format!("{repository}/blobs/{}", layer["digest"].as_str().unwrap())).await;
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&blob[..]));
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if let Some(gone) = name.strip_prefix(".wh.") {
                let gone = format!("{folder}/{gone}").trim_start_matches('/').to_owned();
                tree.retain(|path, _| *path != gone && !path.starts_with(&format!("{gone}/")));
                continue;
            }
            let mut content = vec![];
            entry.read_to_end(&mut content).unwrap();
            let header = entry.header();
            let description = format!(
                "{:?} {:o} {}:{} {:?} {:x?}",
                header.entry_type(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.link_name().unwrap(),
                Sha256::digest(&content)
            );
            tree.insert(path, description);
        }
    }
    tree
}

async fn get(url: &str) -> Vec<u8> {
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(url).header("Accept", accept).send().await.unwrap();
    answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
}
