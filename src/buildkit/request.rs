//! What to build and with which caches, and the request that says so.
//!
//! Uses the engine's own `dockerfile.v0` frontend directly. Surprising: for a Dockerfile the
//! engine reads cache imports only from the frontend attribute `cache-imports`; `Cache.Imports`
//! alone is silently ignored (buildkit `frontend/dockerui/config.go`, `Client.init`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard_buildkit_proto::moby::buildkit::v1::{
    CacheOptions, CacheOptionsEntry, Exporter, SolveRequest,
};

use super::channel::BuildkitError;
use crate::secrets::Secrets;

/// What to build, and with which caches.
#[derive(Clone, Debug, Default)]
pub struct BuildRequest {
    pub context: PathBuf,
    /// Relative to `context`, or absolute where it is outside.
    pub dockerfile: String,
    pub frontend: Frontend,
    /// A stage; none means the last.
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub no_cache: bool,
    pub imports: Vec<CacheOption>,
    pub exports: Vec<CacheOption>,
    /// Without an image only the cache is filled.
    pub image: Option<ImageOutput>,
    /// Other names for images: what a `FROM` writes, and the reference to take instead.
    pub contexts: BTreeMap<String, String>,
    pub network_host: bool,
    /// A fresh one sends the whole context, a known one only what changed.
    pub shared_key: String,
    /// Handed to the engine when it asks for them, and shown nowhere.
    pub secrets: Secrets,
}

/// What reads the Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Frontend {
    /// What the Dockerfile or the build arg `BUILDKIT_SYNTAX` names, else the engine's own.
    #[default]
    Named,
    /// The engine's own, whatever is named.
    Own,
    /// This image, whatever is named.
    Image(String),
}

/// One cache backend, such as `registry` with `ref=…`.
/// The folders of the kind `local`, `src` and `dest`, are ours and absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOption {
    pub kind: String,
    pub attrs: BTreeMap<String, String>,
}

/// The image to make, for the engine's store or a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageOutput {
    pub names: Vec<String>,
    pub push: bool,
    /// Further attributes of the exporter, which win over ours.
    pub attrs: BTreeMap<String, String>,
}

/// A Dockerfile's directory (empty for the context itself) and its name there.
pub(super) fn split(dockerfile: &str) -> Result<(&str, &str), BuildkitError> {
    let (directory, name) = dockerfile.rsplit_once('/').unwrap_or(("", dockerfile));
    if matches!(name, "" | "." | "..") {
        return Err(BuildkitError::Dockerfile(dockerfile.to_owned()));
    }
    Ok((directory, name))
}

pub(super) fn solve_request(
    request: &BuildRequest,
    imports: &[CacheOption],
    docker: bool,
    reference: &str,
    session: String,
) -> Result<SolveRequest, BuildkitError> {
    let (_, filename) = split(&request.dockerfile)?;
    let mut attrs = HashMap::from([
        ("filename".to_owned(), filename.to_owned()),
        // What the docker CLI always sends to its engine.
        ("image-resolve-mode".to_owned(), "local".to_owned()),
    ]);
    if let Some(target) = &request.target {
        attrs.insert("target".to_owned(), target.clone());
    }
    for (name, value) in &request.args {
        attrs.insert(format!("build-arg:{name}"), value.clone());
    }
    match &request.frontend {
        Frontend::Named => {}
        // Where it is present, the engine looks for no other frontend (buildkit
        // `frontend/dockerfile/builder/build.go`, `Build`).
        Frontend::Own => drop(attrs.insert("cmdline".to_owned(), String::new())),
        Frontend::Image(image) => {
            attrs.insert("build-arg:BUILDKIT_SYNTAX".to_owned(), image.clone());
        }
    }
    for (name, reference) in &request.contexts {
        attrs.insert(format!("context:{name}"), format!("docker-image://{reference}"));
    }
    if request.no_cache {
        // Present and empty means every stage.
        attrs.insert("no-cache".to_owned(), String::new());
    }
    if !imports.is_empty() {
        attrs.insert("cache-imports".to_owned(), imports_json(imports));
    }
    let mut entitlements = Vec::new();
    if request.network_host {
        attrs.insert("force-network-mode".to_owned(), "host".to_owned());
        entitlements.push("network.host".to_owned());
    }
    let cache = CacheOptions {
        exports: request.exports.iter().map(entry).collect(),
        imports: imports.iter().map(entry).collect(),
        ..CacheOptions::default()
    };
    Ok(SolveRequest {
        r#ref: reference.to_owned(),
        session,
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attrs,
        cache: Some(cache),
        entitlements,
        exporters: request.image.iter().map(|image| exporter(image, docker)).collect(),
        ..SolveRequest::default()
    })
}

fn entry(option: &CacheOption) -> CacheOptionsEntry {
    let attrs = option.attrs.clone().into_iter().collect();
    CacheOptionsEntry { r#type: option.kind.clone(), attrs }
}

fn imports_json(imports: &[CacheOption]) -> String {
    // The capitals are protobuf-Go's, which the frontend decodes.
    let entries = imports
        .iter()
        .map(|import| serde_json::json!({ "Type": import.kind, "Attrs": import.attrs }));
    serde_json::Value::Array(entries.collect()).to_string()
}

fn exporter(image: &ImageOutput, docker: bool) -> Exporter {
    let mut attrs = HashMap::from([("name".to_owned(), image.names.join(","))]);
    if image.push {
        attrs.insert("push".to_owned(), "true".to_owned());
    }
    attrs.extend(image.attrs.clone());
    // dockerd's own exporter also unpacks, and on graph drivers it is the only one.
    let kind = if docker && !image.push { "moby" } else { "image" };
    Exporter { r#type: kind.to_owned(), attrs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(reference: &str) -> CacheOption {
        let attrs = BTreeMap::from([("ref".to_owned(), reference.to_owned())]);
        CacheOption { kind: "registry".into(), attrs }
    }

    fn sent(request: &BuildRequest, docker: bool) -> SolveRequest {
        solve_request(request, &request.imports, docker, "ref", "session".into()).unwrap()
    }

    #[test]
    fn imports_are_sent_where_the_frontend_reads_them() {
        let request = BuildRequest {
            dockerfile: "docker/app.Dockerfile".into(),
            imports: vec![registry("r/a:b")],
            ..Default::default()
        };
        let sent = sent(&request, true);
        let expected = r#"[{"Attrs":{"ref":"r/a:b"},"Type":"registry"}]"#;
        assert_eq!(sent.frontend_attrs["cache-imports"], expected);
        assert_eq!(sent.frontend_attrs["filename"], "app.Dockerfile");
        assert_eq!(sent.cache.unwrap().imports[0].attrs["ref"], "r/a:b");
        assert!(!sent.frontend_attrs.contains_key("no-cache"));
    }

    #[test]
    fn only_an_image_that_stays_in_dockerd_is_exported_by_moby() {
        let image =
            |push| ImageOutput { names: vec!["a".into(), "b".into()], push, ..Default::default() };
        assert_eq!(exporter(&image(false), true).r#type, "moby");
        assert_eq!(exporter(&image(true), true).r#type, "image");
        assert_eq!(exporter(&image(false), false).r#type, "image");
        assert_eq!(exporter(&image(true), true).attrs["name"], "a,b");
    }

    #[test]
    fn host_networking_is_also_asked_for_as_an_entitlement() {
        let request = BuildRequest {
            dockerfile: "Dockerfile".into(),
            network_host: true,
            ..Default::default()
        };
        let sent = sent(&request, true);
        assert_eq!(sent.frontend_attrs["force-network-mode"], "host");
        assert_eq!(sent.entitlements, ["network.host"]);
    }

    #[test]
    fn another_frontend_is_asked_for_only_where_one_is_given() {
        let of = |frontend| {
            let request =
                BuildRequest { dockerfile: "Dockerfile".into(), frontend, ..Default::default() };
            let attrs = sent(&request, true).frontend_attrs;
            let attr = |name: &str| attrs.get(name).cloned();
            (attr("cmdline"), attr("build-arg:BUILDKIT_SYNTAX"))
        };
        assert_eq!(of(Frontend::Named), (None, None));
        assert_eq!(of(Frontend::Own), (Some(String::new()), None));
        assert_eq!(of(Frontend::Image("r/a:1".into())), (None, Some("r/a:1".into())));
    }

    #[test]
    fn a_dockerfile_without_a_name_is_refused() {
        assert!(split("docker/").is_err());
        assert_eq!(split("a/b/Dockerfile").unwrap(), ("a/b", "Dockerfile"));
    }
}
