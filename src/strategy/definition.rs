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
/// is left out there. The folders `src` and `dest` of a `local` cache, where they are relative,
/// are in one that the strategy's trials of a round share and that goes with the run.
/// What is pushed, by `push` or by an export of `type = "registry"`, must begin with `{repo}`;
/// imports may come from anywhere, and what they read elsewhere is not counted.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheEntry {
    #[serde(rename = "type")]
    pub kind: String,
    /// Passed through to BuildKit as they are, once placeholders are filled in.
    #[serde(flatten)]
    pub attrs: BTreeMap<String, String>,
}
