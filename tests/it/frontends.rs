//! Frontends that a `# syntax=` line names, and images that files are taken from: found and served like base images, told where they are
//! not to be had, and given as the cause where another one alone makes steps miss.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefrom::explain::{Cause, Evidence, explain};
use cachefrom::measure::Analysis;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::end_to_end::{left_behind, played};

/// An image of `tests/frontend` as an OCI layout at `folder`; `options` are what it adds to builds'.
fn layout(folder: &Path, options: &[&str]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |kind: &str, content: &[u8]| {
        let digest = hex(content);
        fs::write(blobs.join(&digest), content).unwrap();
        let media_type = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": content.len()})
    };
    let program = frontend();
    let mut tar = tar::Builder::new(vec![]);
    // containerd knows no sparse files.
    tar.sparse(false);
    tar.append_path_with_name(&program, "frontend").unwrap();
    for library in libraries(&program) {
        tar.append_path_with_name(&library, library.strip_prefix("/").unwrap()).unwrap();
    }
    let layer = tar.into_inner().unwrap();
    let entrypoint: Vec<&str> = ["/frontend"].iter().chain(options).copied().collect();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        // As that of docker/dockerfile; the engines of the test have no other network.
        "config": {"Entrypoint": entrypoint, "Labels": {"moby.buildkit.frontend.network.none": "true"}},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", config.to_string().as_bytes()),
        "layers": [blob("layer.v1.tar", &layer)],
    });
    let index = json!({"schemaVersion": 2, "manifests": [blob("manifest.v1+json", manifest.to_string().as_bytes())]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The example, which `cargo test` builds before it runs this.
fn frontend() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let built = deps.parent().and_then(Path::parent).unwrap().join("examples/frontend");
    assert!(built.exists(), "cargo build --example frontend makes {}", built.display());
    built
}

/// The shared libraries that `program` is loaded with.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}

/// A scenario in `folder` whose Dockerfile begins with `syntax`, with more of it at the end.
fn scenario(folder: &Path, syntax: &str, more: &str) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(&tree).unwrap();
    let dockerfile = format!(
        "# syntax={syntax}\nFROM busybox\nCOPY list.txt /\nRUN cat /list.txt > /copy.txt\n"
    );
    fs::write(tree.join("Dockerfile"), dockerfile).unwrap();
    fs::write(tree.join("list.txt"), "one\n").unwrap();
    let path = folder.join("syntax-line.toml");
    let text = format!(
        "schema = 1\nname = \"syntax-line\"\nsource = \"tree\"\nstrategies = [\"local\", \"registry-max\"]\n\
         [build]\n[[commit]]\nmessage = \"first\"\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}

fn edit(message: &str, pattern: &str, with: &str) -> String {
    format!(
        "[[commit]]\nmessage = \"{message}\"\nedits = [{{ replace = \"Dockerfile\", pattern = \"{pattern}\", with = \"{with}\" }}]\n"
    )
}

#[test]
fn a_syntax_line_that_names_another_frontend_is_the_cause_where_that_makes_other_steps() {
    let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let folder = temporary.path();
    // Docker Hub's mirror serves the first two; the third one's registry is out of reach.
    let (one, two) = ("cachefrom-test/frontend:1", "cachefrom-test/frontend:2");
    let far = "127.0.0.1:1/frontend:3";
    layout(&folder.join("one"), &[]);
    layout(&folder.join("two"), &["label:made-by=two"]);
    layout(&folder.join("far"), &["add-hosts=other=127.0.0.1"]);
    let mut more =
        edit("one that makes the same steps", one, two) + &edit("one that adds a host", two, far);
    for (reference, layout) in [(one, "one"), (two, "two"), (far, "far")] {
        more.push_str(&format!(
            "[[image]]\nreference = \"{reference}\"\noci-layout = \"{layout}\"\n"
        ));
    }
    let recorded = played(&scenario(folder, one, &more), folder);
    assert_eq!(left_behind(folder), Vec::<String>::new());
    let images: Vec<&str> = recorded.header.images.iter().map(|image| &*image.reference).collect();
    assert_eq!(images, ["busybox", far, one, two]);
    let analysis = Analysis::of(&recorded);
    for trial in explain(&analysis).filter(|trial| trial.commit > 0) {
        let steps: Vec<&str> = trial.misses.iter().map(|miss| &*miss.step).collect();
        if trial.commit == 1 {
            assert_eq!((trial.cached, steps.len()), (2, 0), "{}: {steps:?}", trial.strategy);
            continue;
        }
        let [miss] = &*trial.misses else { panic!("{}: {steps:?}", trial.strategy) };
        assert!(miss.step.contains("RUN cat"), "{steps:?}");
        let expected = Cause::Frontend { before: Some(two.into()), after: Some(far.into()) };
        assert_eq!((&miss.cause, miss.evidence), (&expected, Evidence::Inferred));
    }
}

#[test]
fn a_frontend_that_is_not_to_be_had_is_told_and_the_engines_own_builds() {
    let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let recorded =
        played(&scenario(temporary.path(), "127.0.0.1:1/nothing:1", ""), temporary.path());
    let limits = recorded.header.environment.limits.join("\n");
    let told = "the engine's own frontend instead of 127.0.0.1:1/nothing:1, which is not to be had";
    assert!(limits.contains(told), "{limits}");
    assert_eq!(recorded.trials.len(), 2);
}

#[test]
fn an_image_that_files_are_taken_from_is_served_as_a_base_image_is() {
    let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let folder = temporary.path();
    layout(&folder.join("tools"), &[]);
    // Its registry is out of reach.
    let tools = "127.0.0.1:1/tools:1";
    let declared = format!("[[image]]\nreference = \"{tools}\"\noci-layout = \"tools\"\n");
    let path = scenario(folder, "", &declared);
    let dockerfile = format!(
        "FROM busybox\nCOPY --from={tools} /frontend /tool\n\
         RUN --mount=from={tools},target=/tools cmp /tools/frontend /tool\n"
    );
    fs::write(folder.join("tree/Dockerfile"), dockerfile).unwrap();
    let recorded = played(&path, folder);
    let images: Vec<&str> = recorded.header.images.iter().map(|image| &*image.reference).collect();
    assert_eq!(images, [tools, "busybox"]);
    assert_eq!(recorded.trials.len(), 2);
}
