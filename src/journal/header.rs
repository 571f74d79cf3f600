//! The first line of a journal: what was asked for, and everything that may vary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::link::LinkProfile;
use crate::registry::relay::Accepts;
use crate::strategy::{Position, Standing, Strategy};

/// What the repository of a run's caches is called where its journal is read; only the run knew where
/// it was.
pub const REPOSITORY: &str = "repo";

/// The first line: what was asked for, and everything that may vary between machines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub schema: u32,
    pub scenario: String,
    pub title: String,
    /// SHA-256 of the scenario file, lower-case hexadecimal.
    pub scenario_sha256: String,
    /// Shuffles the strategies of each round.
    pub seed: u64,
    pub rounds: u32,
    /// The part of the run that was played, as `--partition` names it; absent where it was the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// How many of the run's trials are of that part; absent where it was the whole, and in older
    /// journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_trials: Option<usize>,
    pub strategies: Vec<Strategy>,
    pub skipped: Vec<Skipped>,
    pub commits: Vec<CommitRecord>,
    /// The branch that others leave and come back to; the first commit's in journals without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_branch: String,
    pub targets: Vec<String>,
    /// The links that every strategy was played over; none where the registry was as near as can be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkProfile>,
    pub environment: Environment,
    pub images: Vec<ImageSource>,
}

impl Header {
    /// Whether both are of the same commits in the same order, going by their ids.
    pub fn same_commits(&self, other: &Self) -> bool {
        self.commits
            .iter()
            .map(|commit| &commit.id)
            .eq(other.commits.iter().map(|commit| &commit.id))
    }

    /// The strategy of that name, as the run had it.
    pub fn strategy(&self, name: &str) -> Option<&Strategy> {
        self.strategies.iter().find(|strategy| strategy.name == name)
    }

    /// Where each commit stood in the run, with caches in a repository called [`REPOSITORY`].
    pub fn positions(&self) -> impl Iterator<Item = Position> + '_ {
        let first = || self.commits.first().map_or("", |commit| commit.branch.as_str());
        let named = Some(self.default_branch.as_str()).filter(|name| !name.is_empty());
        let branch = named.unwrap_or_else(first);
        let standings: Vec<Standing<'_>> =
            self.commits.iter().map(CommitRecord::standing).collect();
        (0..standings.len()).map(move |index| Position {
            repo: REPOSITORY.to_owned(),
            targets: self.targets.clone(),
            ..Position::at(&standings, index, branch)
        })
    }
}

/// A strategy that was asked for and could not be run, with the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    pub strategy: String,
    pub because: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CommitRecord {
    pub id: String,
    pub message: String,
    pub branch: String,
    /// The parent's place in the sequence.
    pub parent: Option<usize>,
    /// The places of what it merges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<usize>,
    /// Whether a release tag names it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tagged: bool,
    /// Build args at this commit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// The Dockerfile's text; absent where the commit has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<String>,
    /// The text of the ignore file that the frontend would read for that Dockerfile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dockerignore: Option<String>,
    /// What of the build context differs from the commit before it in the sequence; everything
    /// for the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FileChange>,
}

impl CommitRecord {
    /// What caches depend on.
    pub fn standing(&self) -> Standing<'_> {
        let Self { id, branch, parent, merged, tagged, .. } = self;
        Standing { id, branch, parent: *parent, merged, tagged: *tagged }
    }
}

/// One file of the build context that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Relative to the context, with `/`.
    pub path: String,
    /// The git object's id; absent where the file was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The git file mode, such as 0o100644; 0 where the file was deleted.
    #[serde(default)]
    pub mode: u32,
    /// Where a symlink leads; absent for all else, and in older journals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What may vary between machines (DESIGN §5.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub cachefrom: String,
    pub engine: String,
    /// The engines' address, such as `dockerd:///usr/bin/dockerd`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub builder: String,
    /// The builders that rounds were dealt to, in that order; empty where there was only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builders: Vec<BuilderRecord>,
    /// What was asked for and these engines cannot do, a sentence each; the run went on without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// The real registry that caches and images were in; the embedded one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RealRegistry>,
    pub storage_driver: String,
    /// What the engines build for where a Dockerfile does not say; empty where they do not tell.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// The network of `RUN` steps that do not say: `host` or `default`; empty in older journals.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    /// RFC 3339, UTC, to the second.
    pub started: String,
}

/// One of several builders of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderRecord {
    pub address: String,
    pub engine: String,
    pub storage_driver: String,
}

/// A real registry that a run's caches and images went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealRegistry {
    /// `HOST/REPOSITORY`.
    pub repository: String,
    /// What it was found to accept before anything was built.
    pub accepts: Accepts,
}

/// Which source served a base image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    pub reference: String,
    pub digest: String,
    pub source: String,
}
