//! What can make a step miss, as plain data.

use serde::Serialize;

use crate::units::Bytes;

/// Why a step was rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Cause {
    /// The strategy reads no cache at all.
    NoCacheRead,
    /// No trial of the sequence had written a cache before this one.
    FirstBuild,
    /// BuildKit could not import the cache, and said so.
    ImportFailed { message: String },
    /// A cache that was to be read had not been written.
    NeverWritten { reference: String },
    /// The cache that held it was overwritten by another commit's.
    Overwritten {
        reference: String,
        /// The commit that held it.
        lost: usize,
        /// The commit that wrote last.
        by: usize,
        /// The target that was built then, where the scenario names targets.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// The instruction itself.
    Instruction {
        change: InstructionChange,
        /// What the other Dockerfile says; the removed instruction where one was removed.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        after: String,
    },
    /// What reads the Dockerfile, by `# syntax=` or the build arg `BUILDKIT_SYNTAX`; `None` is the
    /// engine's own.
    Frontend {
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// The image that the stage starts from.
    Base { before: String, after: String },
    /// A build arg that the instruction sees.
    Argument(Variable),
    /// An environment variable that the Dockerfile sets.
    Environment(Variable),
    /// `USER` or `SHELL` above it.
    Setting { keyword: String, before: String, after: String },
    /// Files that a `COPY`, `ADD` or bind mount takes from the build context.
    Files {
        /// At most [`ChangedFile::SHOWN`].
        files: Vec<ChangedFile>,
        /// How many there are in all.
        count: usize,
    },
    /// The step right above it was rebuilt.
    Above {
        step: String,
        /// What that came out as, where the journal tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Output>,
    },
    /// It takes files from a stage that was rebuilt to something else.
    Stage {
        stage: String,
        /// What it takes came out as, where the journal tells.
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Output>,
        /// The step that makes what differs anew each time it runs, if one is known to.
        #[serde(skip_serializing_if = "Option::is_none")]
        unstable: Option<String>,
    },
    /// The cache holds the final image's layers only.
    LeftOut {
        /// `min` or `inline`.
        mode: String,
    },
    /// No build that wrote a cache which could be read needed it.
    NeverBuilt,
    /// The kept engine had let go of build-cache records, by garbage collection or a prune.
    Collected {
        /// The commit before whose builds they were found to be gone.
        commit: usize,
        /// How many were.
        records: usize,
        /// How large they were, in bytes, as BuildKit's disk usage counts them.
        bytes: Bytes,
        /// Whether one of them was of this very step.
        own: bool,
    },
    /// Nothing that the journal holds tells: every input is as it was when the cache was written.
    Unexplained {
        /// How many caches the build could read.
        caches: usize,
    },
}

/// A variable's value then and now; none where it had or has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Variable {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The Dockerfile line that declares it, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstructionChange {
    Changed,
    Added,
    /// It stood elsewhere in its stage.
    Moved,
    /// One that stood right above it is gone.
    RemovedAbove,
    /// One of those that it is made from is another, which a cache holds all the same, since another
    /// stage says that too. `after` is empty where it is gone.
    ChangedAbove,
}

/// A file of the build context that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChangedFile {
    /// Relative to the context.
    pub path: String,
    pub change: FileKind,
    /// The commit of the sequence that changed it last, by its place.
    pub commit: usize,
}

impl ChangedFile {
    /// How many are named; a changed folder may hold thousands.
    pub const SHOWN: usize = 20;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    Content,
    Mode,
    Added,
    Deleted,
}

/// What a step that ran again came out as, held against what it was. Files' times do not count, as
/// they do not for BuildKit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Output {
    Same,
    Different(Differing),
}

/// Files of a step's output that differ from one time to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// Paths in the image without a leading `/`, at most [`ChangedFile::SHOWN`]; none where only
    /// that they differ is known.
    pub files: Vec<String>,
    /// How many there are in all; 0 where that is not known.
    pub count: usize,
}

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// BuildKit said so, or text and digests differ.
    Known,
    /// What is left when everything that can be compared is equal.
    Inferred,
}

impl Cause {
    /// Whether it lies in another step.
    pub fn is_inherited(&self) -> bool {
        matches!(self, Self::Above { .. } | Self::Stage { .. })
    }

    /// Whether it says of all steps of a trial at once that there was no cache.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::NoCacheRead | Self::FirstBuild | Self::NeverWritten { .. })
    }

    /// How sure it is whenever it is given.
    pub fn evidence(&self) -> Evidence {
        match self {
            Self::Stage { output: None, .. }
            | Self::Frontend { .. }
            | Self::LeftOut { .. }
            | Self::NeverBuilt
            | Self::Overwritten { .. }
            | Self::Collected { own: false, .. }
            | Self::Unexplained { .. } => Evidence::Inferred,
            _ => Evidence::Known,
        }
    }

    /// What it is about, where that has a name that is the same at every commit; else empty.
    pub fn name(&self) -> &str {
        match self {
            Self::Argument(variable) | Self::Environment(variable) => &variable.name,
            Self::Setting { keyword, .. } => keyword,
            Self::NeverWritten { reference } | Self::Overwritten { reference, .. } => reference,
            Self::LeftOut { mode } => mode,
            Self::NoCacheRead
            | Self::FirstBuild
            | Self::ImportFailed { .. }
            | Self::Instruction { .. }
            | Self::Frontend { .. }
            | Self::Base { .. }
            | Self::Files { .. }
            | Self::Above { .. }
            | Self::Stage { .. }
            | Self::NeverBuilt
            | Self::Collected { .. }
            | Self::Unexplained { .. } => "",
        }
    }

    /// Whether it is the same as `other` but for the commits at which files changed.
    pub fn says_as(&self, other: &Self) -> bool {
        let (Self::Files { files, count }, Self::Files { files: others, count: other_count }) =
            (self, other)
        else {
            return self == other;
        };
        let told = |file: &ChangedFile| (file.path.clone(), file.change);
        count == other_count && files.iter().map(told).eq(others.iter().map(told))
    }

    /// One word for the kind, as in the serialized form.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoCacheRead => "no-cache-read",
            Self::FirstBuild => "first-build",
            Self::ImportFailed { .. } => "import-failed",
            Self::NeverWritten { .. } => "never-written",
            Self::Overwritten { .. } => "overwritten",
            Self::Instruction { .. } => "instruction",
            Self::Frontend { .. } => "frontend",
            Self::Base { .. } => "base",
            Self::Argument(_) => "argument",
            Self::Environment(_) => "environment",
            Self::Setting { .. } => "setting",
            Self::Files { .. } => "files",
            Self::Above { .. } => "above",
            Self::Stage { .. } => "stage",
            Self::LeftOut { .. } => "left-out",
            Self::NeverBuilt => "never-built",
            Self::Collected { .. } => "collected",
            Self::Unexplained { .. } => "unexplained",
        }
    }
}
