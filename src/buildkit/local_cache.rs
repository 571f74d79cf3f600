//! Caches of `type=local`, as far as they are the client's: which manifest a tag names.
//!
//! The engine reads and writes blobs by digest alone; the folder's `index.json` is ours (buildkit
//! `client/solve.go`, `client/ociindex`). An import from a folder without one is left out of the build,
//! with the reason, since the engine would refuse it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::request::CacheOption;

const TAG: &str = "org.opencontainers.image.ref.name";

/// The caches of one build, ready to be sent.
#[derive(Debug, Default)]
pub struct LocalCaches {
    pub imports: Vec<CacheOption>,
    /// Why some are missing from `imports`.
    pub import_errors: Vec<String>,
    /// The folders of the session's content stores, by the names that the engine uses.
    pub stores: BTreeMap<String, PathBuf>,
    /// The folders that get a new manifest, and under which tag.
    written: Vec<(PathBuf, String)>,
}

/// Looks up what `imports` name and where `exports` go; those of other types stay as they are.
pub fn prepare(imports: &[CacheOption], exports: &[CacheOption]) -> LocalCaches {
    let mut caches = LocalCaches::default();
    for import in imports {
        let Some(source) = local(import, "src") else {
            caches.imports.push(import.clone());
            continue;
        };
        let mut import = import.clone();
        let found = match import.attrs.get("digest") {
            Some(digest) => Ok(digest.clone()),
            None => digest_of(Path::new(source), tag(&import)),
        };
        match found {
            Ok(digest) => {
                caches.stores.insert(format!("local:{source}"), source.into());
                import.attrs.insert("digest".to_owned(), digest);
                caches.imports.push(import);
            }
            Err(reason) => caches.import_errors.push(format!("local:{source}: {reason}")),
        }
    }
    for export in exports {
        if let Some(destination) = local(export, "dest") {
            caches.stores.insert(format!("local:{destination}"), destination.into());
            caches.written.push((destination.into(), tag(export).to_owned()));
        }
    }
    caches
}

impl LocalCaches {
    /// Makes `manifest`, the engine's descriptor of what it exported, the one of its tag.
    ///
    /// The engine tells one descriptor a build, so of several local exports each names the last.
    pub fn finish(&self, manifest: &str) -> std::io::Result<()> {
        let descriptor: Value = serde_json::from_str(manifest).map_err(std::io::Error::other)?;
        for (folder, tag) in &self.written {
            let mut descriptor = descriptor.clone();
            descriptor["annotations"][TAG] = json!(tag);
            let mut manifests = manifests(folder).unwrap_or_default();
            manifests.retain(|other| other["annotations"][TAG] != json!(tag));
            manifests.push(descriptor);
            std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
            let index = json!({ "schemaVersion": 2, "manifests": manifests });
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            std::io::Write::write_all(&mut file, index.to_string().as_bytes())?;
            file.persist(folder.join("index.json"))?;
        }
        Ok(())
    }

    pub fn exports_any(&self) -> bool {
        !self.written.is_empty()
    }
}

/// The folder of a local cache.
fn local<'a>(option: &'a CacheOption, attr: &str) -> Option<&'a str> {
    let folder = option.attrs.get(attr)?;
    (option.kind == "local").then_some(folder)
}

fn tag(option: &CacheOption) -> &str {
    option.attrs.get("tag").map_or("latest", String::as_str)
}

fn digest_of(folder: &Path, tag: &str) -> Result<String, String> {
    let manifests = manifests(folder)?;
    let tagged = manifests.iter().find(|manifest| manifest["annotations"][TAG] == json!(tag));
    let digest = tagged.and_then(|manifest| manifest["digest"].as_str());
    digest.map(str::to_owned).ok_or_else(|| format!("no cache has the tag {tag}"))
}

fn manifests(folder: &Path) -> Result<Vec<Value>, String> {
    let text = match std::fs::read(folder.join("index.json")) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("there is no cache yet".to_owned());
        }
        Err(error) => return Err(error.to_string()),
    };
    let index: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    Ok(index["manifests"].as_array().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(attrs: &[(&str, &str)]) -> CacheOption {
        let attrs = attrs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        CacheOption { kind: "local".into(), attrs: attrs.collect() }
    }

    #[test]
    fn an_export_is_found_by_the_next_import_of_its_tag_and_not_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let (import, export) = (option(&[("src", path)]), option(&[("dest", path)]));
        let first = prepare(std::slice::from_ref(&import), std::slice::from_ref(&export));
        assert!(first.imports.is_empty());
        assert_eq!(first.import_errors, [format!("local:{path}: there is no cache yet")]);
        first.finish(r#"{"digest":"sha256:1","size":1}"#).unwrap();
        first.finish(r#"{"digest":"sha256:2","size":1}"#).unwrap();
        let second = prepare(&[import], &[export]);
        assert_eq!(second.imports[0].attrs["digest"], "sha256:2");
        assert_eq!(second.stores[&format!("local:{path}")], folder.path());
        let other = prepare(&[option(&[("src", path), ("tag", "other")])], &[]);
        assert_eq!(other.import_errors.len(), 1);
    }
}
