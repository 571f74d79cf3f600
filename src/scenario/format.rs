//! The scenario file as it is written (DESIGN §6), before anything on disk was looked at.

mod edits;
mod gate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::link::{LinkError, LinkProfile};

pub use edits::*;
pub use gate::{Assertion, CheckTable, SIZES, Size, SizeError};

/// A scenario: a source tree, commits to script, what to build and which strategies to compare.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// The version of this format; 1.
    pub schema: u32,
    /// Lower-case letters, digits and hyphens; names the results folder.
    pub name: String,
    #[serde(default)]
    pub title: String,
    /// The tree the first commit starts from, relative to the scenario file. Left out of it are
    /// `.git`, a top folder `target`, what git ignores where the tree is in a work tree, folders
    /// called `.cachefrom`, and those that hold the results of runs.
    #[serde(default = "here")]
    pub source: PathBuf,
    /// Paths inside `source` that are taken, or patterns with `*`; all of it when empty. What git
    /// ignores is taken where it, or a folder that it is in, is named before any `*`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Names of built-in strategies or of `[[strategy]]` tables.
    #[serde(default = "default_strategies")]
    pub strategies: Vec<String>,
    pub build: Build,
    /// Whether base images are there before the clock starts.
    #[serde(default)]
    pub base_images: BaseImages,
    #[serde(rename = "commit")]
    pub commits: Vec<Commit>,
    #[serde(default, rename = "verify")]
    pub verify: Vec<Verify>,
    /// How much may change against a baseline.
    #[serde(default)]
    pub check: CheckTable,
    /// The scenario's own strategies.
    #[serde(default, rename = "strategy")]
    pub own_strategies: Vec<crate::strategy::Strategy>,
    /// What the registry does wrong while trials build, to see what that does to them.
    #[serde(default, rename = "fault")]
    pub faults: Vec<crate::fault::Fault>,
    /// How far away the registry is: every strategy is played over each.
    #[serde(default, rename = "link")]
    pub link_tables: Vec<LinkTable>,
    /// Local sources of base images, by reference.
    #[serde(default, rename = "image")]
    pub images: Vec<LocalImage>,
}

impl Scenario {
    /// One with the default strategies and no commits of its own.
    pub fn of_build(build: Build) -> Self {
        Self {
            schema: 1,
            name: String::new(),
            title: String::new(),
            source: here(),
            include: vec![],
            strategies: default_strategies(),
            build,
            base_images: BaseImages::default(),
            commits: vec![],
            verify: vec![],
            check: CheckTable::default(),
            own_strategies: vec![],
            faults: vec![],
            link_tables: vec![],
            images: vec![],
        }
    }
}

fn here() -> PathBuf {
    PathBuf::from(".")
}

pub(super) fn default_strategies() -> Vec<String> {
    ["cold", "local", "inline", "stages", "registry-min", "registry-max"].map(String::from).into()
}

/// What is built at every commit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Build {
    #[serde(default = "dockerfile")]
    pub dockerfile: String,
    /// Stages built in this order, one build each; the last stage when empty. Every commit's
    /// Dockerfile must have them.
    #[serde(default)]
    pub targets: Vec<String>,
    #[serde(default)]
    pub args: BTreeMap<String, String>,
}

fn dockerfile() -> String {
    "Dockerfile".into()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BaseImages {
    #[default]
    Warm,
    Cold,
}

/// One commit of the sequence.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Commit {
    pub message: String,
    /// The branch it is made on; the previous commit's branch (first: `main`) when absent.
    #[serde(default)]
    pub branch: Option<String>,
    /// The branch, or the earlier commit's message, it starts from. When absent: the tip of
    /// `branch` if that exists, else the previous commit.
    #[serde(default)]
    pub from: Option<String>,
    /// A release tag: `{tag}` in a strategy stands for the nearest tagged ancestor.
    #[serde(default)]
    pub tag: Option<String>,
    #[serde(default)]
    pub edits: Vec<Edit>,
    /// Steps that must come from a cache, as `stage: instruction` or an instruction of any stage; `*`
    /// stands for any text, every other character for itself.
    #[serde(default)]
    pub must_hit: Vec<String>,
    /// Steps that must be built anew.
    #[serde(default)]
    pub must_miss: Vec<String>,
    /// Further assertions, each of the strategies that it names.
    #[serde(default, rename = "assert")]
    pub assertions: Vec<Assertion>,
}

/// A run of a built image that must print what is expected, at most 16 MiB, and end within 5 minutes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Verify {
    /// One of `build.targets`; the last that is built when absent.
    #[serde(default)]
    pub target: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Only at the commits with these messages; at all when empty.
    #[serde(default)]
    pub commits: Vec<String>,
    /// A regular expression that must match the output, with or without the newline that ends it.
    #[serde(default)]
    pub stdout: Option<String>,
    /// A value that the output, parsed as JSON, must equal.
    #[serde(default)]
    pub stdout_json: Option<serde_json::Value>,
}

/// A link between engines and the registry: `lan`, `ci`, `home` or `slow` by name alone, or one of
/// the scenario's own. Base images are there before the clock starts and are never slowed down.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkTable {
    pub name: String,
    /// Added to every request, such as `20ms`; at most 60 s.
    #[serde(default)]
    pub latency: Option<String>,
    /// From the registry to the engine, such as `200Mbit`; at least 8kbit.
    #[serde(default)]
    pub down: Option<String>,
    /// From the engine to the registry.
    #[serde(default)]
    pub up: Option<String>,
}

impl LinkTable {
    /// What the table means.
    pub fn profile(&self) -> Result<LinkProfile, LinkError> {
        let properties = [("latency", &self.latency), ("down", &self.down), ("up", &self.up)];
        let given: Vec<String> = properties
            .iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?)))
            .collect();
        if given.is_empty() {
            return self.name.parse();
        }
        let profile: LinkProfile = given.join(",").parse()?;
        Ok(LinkProfile { name: self.name.clone(), ..profile })
    }
}

impl Scenario {
    /// The links of its `[[link]]` tables; a loaded scenario has no table that means nothing.
    pub fn links(&self) -> Vec<LinkProfile> {
        self.link_tables.iter().filter_map(|table| table.profile().ok()).collect()
    }
}

/// Where a base image comes from when the upstream registry is out of reach: exactly one source.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LocalImage {
    /// As `FROM` writes it, such as `debian:bookworm-slim`.
    pub reference: String,
    /// A tar of a root file system, relative to the scenario file.
    #[serde(default)]
    pub rootfs: Option<PathBuf>,
    /// An OCI layout folder, relative to the scenario file.
    #[serde(default)]
    pub oci_layout: Option<PathBuf>,
}
