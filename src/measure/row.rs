//! A trial as its numbers need it: a few hundred bytes, so that all fit in memory.

use crate::journal::{Collected, Difference, Outcome};
use crate::units::{Bytes, Nanos};

use super::names::Name;
use super::phases::Phases;
use super::traffic::Traffic;

/// Where a step's result came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepState {
    /// It ran.
    Rebuilt,
    /// A cache served it, and its layers were there or were fetched.
    Cached,
    /// A cache served it and its layers were never fetched, because nothing needed them.
    Lazy,
}

/// One step of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// As BuildKit names it, `[builder 2/6] RUN …`.
    pub name: Name,
    pub state: StepState,
    /// The first of the trial's builds in which it appeared, by its place.
    pub build: usize,
    /// Running it, or fetching it where a cache served it; time in several builds is added up.
    pub time: Nanos,
    /// Laying a linked copy onto what stands above it, which a cached one may need too; none where
    /// that did not run. A part of `time` where the step was rebuilt.
    pub laid: Option<Nanos>,
    /// The files of its layer, see [`crate::journal::StepOutput::content`]; none where unknown.
    pub output: Option<Name>,
}

/// One build of one trial.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildRow {
    pub target: Option<Name>,
    pub wall: Nanos,
    pub phases: Phases,
    /// What was said of imports that failed; the build went on without them.
    pub failed_imports: Vec<Name>,
    /// The image's layers with their uncompressed sizes; empty where it could not be asked.
    pub layers: Vec<(Name, Bytes)>,
}

/// One trial. Strategy and link are places in [`super::Analysis`]'s lists.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialRow {
    pub round: u32,
    pub strategy: usize,
    pub link: usize,
    pub commit: usize,
    /// The address of the builder that played its round; none where the run had only one.
    pub builder: Option<Name>,
    pub outcome: Outcome,
    pub builds: Vec<BuildRow>,
    /// The distinct steps, in the order in which they were first seen.
    pub steps: Vec<StepRow>,
    /// The images of its `FROM`s as BuildKit resolved them, `HOST/NAME:TAG@DIGEST`.
    pub bases: Vec<Name>,
    /// How outputs that were new in this trial differ from earlier ones of the same steps.
    pub differences: Vec<(Name, Difference)>,
    pub traffic: Traffic,
    /// What the strategy's own repositories held afterwards; none in journals that did not weigh it.
    pub stored: Option<Bytes>,
    pub engine_start: Option<Nanos>,
    pub checkout: Nanos,
    /// What a kept engine had let go of since the trial before.
    pub collected: Option<Collected>,
}

impl TrialRow {
    pub fn built(&self) -> bool {
        self.outcome == Outcome::Built
    }

    /// Wall time of its builds, see [`crate::journal::TrialRecord::wall`].
    pub fn wall(&self) -> Nanos {
        self.builds.iter().map(|build| build.wall).sum()
    }

    /// Phases of its builds, added up.
    pub fn phases(&self) -> Phases {
        self.builds.iter().map(|build| build.phases).sum()
    }

    /// Calls every name what `translate` makes of it.
    pub fn rename(&mut self, translate: impl Fn(Name) -> Name) {
        for step in &mut self.steps {
            step.name = translate(step.name);
            step.output = step.output.map(&translate);
        }
        for build in &mut self.builds {
            build.target = build.target.map(&translate);
            for name in &mut build.failed_imports {
                *name = translate(*name);
            }
            for (name, _) in &mut build.layers {
                *name = translate(*name);
            }
        }
        for name in &mut self.bases {
            *name = translate(*name);
        }
        for (name, _) in &mut self.differences {
            *name = translate(*name);
        }
        self.builder = self.builder.map(&translate);
    }

    /// Steps that a cache served.
    pub fn cached(&self) -> usize {
        self.steps.iter().filter(|step| step.state != StepState::Rebuilt).count()
    }
}
