//! Cache strategies as data, and the pure function that plans a commit's caches.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How caches travel between builds. Data, not code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Strategy {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub engine: EngineUse,
    #[serde(default)]
    pub no_cache: bool,
    /// Imported caches, nearest first; each `type` plus attributes, with placeholders.
    #[serde(default, rename = "import")]
    pub imports: Vec<CacheEntry>,
    #[serde(default, rename = "export")]
    pub exports: Vec<CacheEntry>,
    /// The image's name; pushed to the run's registry when present. With placeholders.
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
    #[serde(flatten)]
    pub attrs: BTreeMap<String, String>,
}
