//! The lines of a journal. Their meaning may grow; a change that breaks readers raises [`SCHEMA`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::header::Header;
use crate::registry::Metered;
use crate::registry::relay::Cleared;
use crate::trace::Trace;
use crate::units::{Bytes, Nanos};

/// The version of the format that this build writes and reads.
pub const SCHEMA: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    Header(Box<Header>),
    Trial(Box<TrialRecord>),
    End(End),
}

/// What tells one trial from every other of its run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrialKey {
    /// From 0.
    pub round: u32,
    pub strategy: String,
    /// The link profile's name; absent where the link to the registry was not shaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The commit's place in the sequence, from 0.
    pub commit: usize,
}

/// One commit under one strategy in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    #[serde(flatten)]
    pub key: TrialKey,
    pub outcome: Outcome,
    /// The address of the builder that played the round; absent where the run had only one. In a
    /// merged journal it tells the parts apart, which other machines may have played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    pub builds: Vec<BuildRecord>,
    pub verifications: Vec<Verification>,
    /// From the wish for the engine to its first answer; absent where a kept engine was used. It may
    /// have started while the trial before was still being verified.
    pub engine_start: Option<Nanos>,
    /// Ending the trial's engine; absent where the engine stayed. What files it left are removed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_stop: Option<Nanos>,
    /// Writing the commit's tree out as a build context.
    pub checkout: Nanos,
    /// Build-cache records in the engine before the first build; a fresh trial needs 0.
    pub cache_records_before: usize,
    /// What a kept engine's build cache held during the trial before and no longer held when this one
    /// began; absent where nothing was gone, and for new engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected: Option<Collected>,
    /// What crossed to and from the registry during the builds.
    pub metered: Metered,
}

impl TrialRecord {
    /// A trial of which nothing but its outcome is known.
    pub fn new(key: TrialKey, outcome: Outcome) -> Self {
        Self {
            key,
            outcome,
            builder: None,
            builds: vec![],
            verifications: vec![],
            engine_start: None,
            engine_stop: None,
            checkout: Nanos::default(),
            cache_records_before: 0,
            collected: None,
            metered: Metered::default(),
        }
    }

    /// Wall time of the trial's builds, from sending `Solve` to its reply.
    ///
    /// Excludes engine start, checkout, base-image warm-up and verification.
    pub fn wall(&self) -> Nanos {
        self.builds.iter().map(|build| build.wall).sum()
    }

    /// Bytes that left the registry during the builds.
    pub fn pulled(&self) -> Bytes {
        self.metered.pulled()
    }

    /// Bytes that reached the registry during the builds.
    pub fn pushed(&self) -> Bytes {
        self.metered.pushed()
    }
}

/// Build-cache records that a kept engine let go of: by garbage collection, or by a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    pub records: usize,
    /// As BuildKit's disk usage counts them.
    pub bytes: Bytes,
    /// What they were of, in BuildKit's words; the first 100, sorted.
    pub of: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    Built,
    /// A build failed: at `step`, with the last lines it printed.
    BuildFailed {
        step: String,
        exit_code: Option<i32>,
        message: String,
        log: Vec<String>,
    },
    /// Everything was built, but an image does not do what `[[verify]]` or the cold image says.
    WrongImage {
        message: String,
    },
    /// The engine, registry or checkout failed before or during the builds.
    Broken {
        message: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub target: Option<String>,
    /// From sending `Solve` to its reply, on the client's monotonic clock.
    pub wall: Nanos,
    pub trace: Trace,
    /// Imports that BuildKit reported as failed; the build went on without them.
    pub import_errors: Vec<String>,
    pub exporter_response: BTreeMap<String, String>,
    /// The built image's layers, lowest first; empty where the engine could not be asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerRecord>,
    /// What steps came out as, where their layers could be looked into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<StepOutput>,
}

/// What a step came out as: the files of the layer it added, without their times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutput {
    /// The vertex' digest, as in the trace.
    pub vertex: String,
    /// Digest over the layer's files: names, modes, owners and contents. Equal for equal outputs
    /// whenever they were made, unlike a layer's own digest, which depends on files' times.
    pub content: String,
    /// How it differs from what the step of this name came out as earlier in the run, where it was
    /// seen for the first time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Difference>,
}

/// How a step's output differs from another of the same step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The other's [`StepOutput::content`].
    pub from: String,
    /// Paths in the image without a leading `/`; the first 20, sorted.
    pub files: Vec<String>,
    /// How many there are in all.
    pub count: usize,
}

/// One layer of a built image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the uncompressed layer (OCI image-spec 1.1, "DiffID").
    pub diff_id: String,
    /// Uncompressed size.
    pub bytes: Bytes,
}

/// One run of a built image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    pub target: String,
    pub args: Vec<String>,
    pub passed: bool,
    /// At most 2 kB of what the image printed.
    pub stdout: String,
}

/// The last line of a run that was not killed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    pub interrupted: bool,
    /// From the first trial's start to the last one's end.
    pub wall: Nanos,
    /// From the run's start to this line, preparations and teardown included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole: Option<Nanos>,
    /// Making the base images ready: fetching, serving, and pulling them once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bases: Option<Nanos>,
    /// The most memory that cachefrom itself held at once (`VmHWM` of proc(5)), without engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<Bytes>,
    /// What became of the refs in a real registry; absent where none was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refs: Option<Cleared>,
}
