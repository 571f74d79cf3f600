//! A strategy as a scenario file or the built-in table writes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How caches travel between builds. Data, not code.
///
/// Import and export attributes, and `push`, may hold placeholders: `{repo}` (a repository of
/// the trial's own registry, one a strategy and round), `{commit}`, `{parent}`, `{ancestor-N}` (the
/// N-th first-parent ancestor, 1 to 9), `{branch}`, `{default-branch}`, `{merge-base}` (the commit
/// where the branch left the default branch; the parent on that branch itself), `{tag}` (the
/// nearest ancestor that a release tag names), `{stage}` (the target being built), `{each-stage}` (an import repeated for
/// every target) and `{built-stage}` (repeated for the targets this commit has built already).
/// An import whose placeholder has no value at a commit, such as the first one's `{parent}`,
/// is left out there. In attributes `{env:NAME}` stands for the environment variable NAME of
/// cachefrom itself: for logins such as a `gha` cache's `token` or an `s3` cache's
/// `secret_access_key`, which no journal, report or log shows, and which a scenario that is committed
/// must not hold; a variable that is not set is an error before anything is built. The folders `src` and `dest` of a `local` cache, where they are relative,
/// are in one that the strategy's trials of a round share and that goes with the run.
/// What is pushed, by `push` or by an export of `type = "registry"`, must begin with `{repo}`;
/// imports may come from anywhere, and what they read elsewhere is not counted.
/// Any other word in braces is an error, since an engine takes a cache that it cannot read for one
/// that is not there yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Strategy {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub engine: EngineUse,
    #[serde(default)]
    pub no_cache: bool,
    /// Imported caches, nearest first.
    #[serde(default, rename = "import")]
    pub imports: Vec<CacheEntry>,
    #[serde(default, rename = "export")]
    pub exports: Vec<CacheEntry>,
    /// The name under which the image is pushed to the trial's registry; not pushed when absent.
    #[serde(default)]
    pub push: Option<String>,
}

impl Strategy {
    /// Every attribute of its caches, with its value.
    pub fn attrs(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.imports.iter().chain(&self.exports);
        entries.flat_map(|entry| entry.attrs.iter()).map(|(attr, value)| (&**attr, &**value))
    }

    /// Its caches whose bytes nobody counts, each once, as `type=…`.
    pub fn uncounted(&self) -> Vec<String> {
        let mut found = vec![];
        for entry in self.imports.iter().chain(&self.exports).filter(|entry| !entry.is_counted()) {
            let place =
                entry.attrs.get("ref").map_or(String::new(), |place| format!(",ref={place}"));
            let name = format!("type={}{place}", entry.kind);
            if !found.contains(&name) {
                found.push(name);
            }
        }
        found
    }

    /// As it may be written down: with `***` for what logs in, but where that only names a variable.
    pub fn without_credentials(&self) -> Self {
        let mut strategy = self.clone();
        for entry in strategy.imports.iter_mut().chain(&mut strategy.exports) {
            for (attr, value) in &mut entry.attrs {
                let name = value.strip_prefix("{env:").and_then(|rest| rest.strip_suffix('}'));
                let named = name.is_some_and(|name| !name.contains(['{', '}']));
                if is_credential(attr) && !named {
                    *value = "***".to_owned();
                }
            }
        }
        strategy
    }
}

/// Whether the cache attribute `name` logs in: of BuildKit's these are `token` and `ghtoken` (gha),
/// `access_key_id`, `secret_access_key` and `session_token` (s3), and `secret_access_key` (azblob);
/// later ones will be called alike.
pub fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "key", "credential"].iter().any(|word| name.contains(word))
}

/// Where the engine of a trial comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineUse {
    /// A brand-new engine for every commit.
    Fresh,
    /// One engine over the whole commit sequence of a round.
    Kept,
}

/// One cache source or destination, in buildx's words: `type=registry,ref=…`.
///
/// The types are BuildKit's: `registry` (with `ref`), `local` (with `src` or `dest`), `gha`, `s3`,
/// `azblob`, and for exports `inline`; an export's `mode` is `min` or `max`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheEntry {
    #[serde(rename = "type")]
    pub kind: String,
    /// Passed through to BuildKit as they are, once placeholders are filled in.
    #[serde(flatten)]
    pub attrs: BTreeMap<String, String>,
}

impl CacheEntry {
    /// Whether what it moves crosses the run's registry, where alone bytes are counted; an inline
    /// cache goes with the image.
    pub fn is_counted(&self) -> bool {
        match self.kind.as_str() {
            "inline" => true,
            "registry" => self.attrs.get("ref").is_some_and(|place| place.starts_with("{repo}")),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_is_written_down_without_what_logs_in() {
        let text = r#"
            name = "s3"
            engine = "fresh"
            import = [{ type = "gha", token = "ghs_1", url_v2 = "http://a", scope = "main" }]
            [[export]]
            type = "s3"
            bucket = "b"
            access_key_id = "AKIA1"
            secret_access_key = "{env:SECRET}"
            session_token = "{env:A}plain{env:B}"
        "#;
        let strategy: Strategy = toml::from_str(text).unwrap();
        let written = strategy.without_credentials();
        let (import, export) = (&written.imports[0].attrs, &written.exports[0].attrs);
        assert_eq!((&*import["token"], &*import["scope"]), ("***", "main"));
        assert_eq!((&*import["url_v2"], &*export["bucket"]), ("http://a", "b"));
        assert_eq!((&*export["access_key_id"], &*export["session_token"]), ("***", "***"));
        assert_eq!(export["secret_access_key"], "{env:SECRET}");
        assert_eq!(strategy.attrs().count(), 7);
    }

    #[test]
    fn only_what_crosses_the_runs_registry_is_counted() {
        let text = r#"
            name = "mixed"
            engine = "fresh"
            import = [
                { type = "registry", ref = "{repo}:cache" },
                { type = "registry", ref = "ghcr.io/a/b:main" },
                { type = "gha" },
            ]
            export = [{ type = "inline" }, { type = "gha", mode = "max" }]
        "#;
        let strategy: Strategy = toml::from_str(text).unwrap();
        assert_eq!(strategy.uncounted(), ["type=registry,ref=ghcr.io/a/b:main", "type=gha"]);
        let built_in = super::super::built_in();
        assert!(built_in.iter().all(|strategy| strategy.uncounted().is_empty()));
    }
}
