//! Where a build's wall time went: a partition of it into [`Phase`]s.
//!
//! BuildKit's activities overlap (a context is sent while an image is resolved, an image is
//! pushed while a cache is exported), so lengths of intervals cannot be added up. A sweep over the
//! trace decides each instant once, for the first phase of [`Phase::PRIORITY`] that is active; what
//! no activity covers is *other*. So the phases of a build add up to its wall time exactly.

mod activity;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::journal::{BuildRecord, BuildView};
use crate::units::Nanos;

pub use activity::{Activity, activities, activities_of, imports, is_fetched};

/// A share of a build's wall time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Metadata of base images and of the frontend's, and their layers where they were not there.
    BaseResolve,
    /// Reading cache manifests.
    CacheImport,
    /// Dockerfile, ignore file and build context from the client.
    ContextTransfer,
    /// Fetching and unpacking what a cache holds: eagerly, or lazily for a step or an exporter.
    CachePull,
    /// Running instructions that no cache served.
    Steps,
    /// Making the image: layers, manifest, unpacking into the engine's image store.
    ImageExport,
    /// Sending the image to a registry.
    ImagePush,
    /// Making and sending a cache, an inline one too.
    CacheExport,
    /// What no vertex covers: scheduling, the session, the answer.
    Other,
}

impl Phase {
    /// Every phase, in the order in which a build passes through them.
    pub const ALL: [Self; 9] = [
        Self::BaseResolve,
        Self::CacheImport,
        Self::ContextTransfer,
        Self::CachePull,
        Self::Steps,
        Self::ImageExport,
        Self::ImagePush,
        Self::CacheExport,
        Self::Other,
    ];

    /// Which phase an instant belongs to where several are active: the first of these.
    ///
    /// What a build without any cache would do too comes first, so that a cache is charged only
    /// for the time that it adds. The exception is that a pull goes before pushing and exporting,
    /// because an exporter that unpacks lazily cached layers waits for them all that while.
    pub const PRIORITY: [Self; 9] = [
        Self::Steps,
        Self::ContextTransfer,
        Self::BaseResolve,
        Self::CachePull,
        Self::ImagePush,
        Self::ImageExport,
        Self::CacheImport,
        Self::CacheExport,
        Self::Other,
    ];

    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BaseResolve => "base resolve",
            Self::CacheImport => "cache import",
            Self::ContextTransfer => "context transfer",
            Self::CachePull => "cache pull",
            Self::Steps => "steps",
            Self::ImageExport => "image export",
            Self::ImagePush => "image push",
            Self::CacheExport => "cache export",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The time of each phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases([Nanos; 9]);

impl Phases {
    pub fn get(&self, phase: Phase) -> Nanos {
        self.0[phase as usize]
    }

    /// Each phase with its time, in the order of [`Phase::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Nanos)> + '_ {
        Phase::ALL.into_iter().map(|phase| (phase, self.get(phase)))
    }

    /// Their sum: the wall time of what they partition.
    pub fn total(&self) -> Nanos {
        self.0.iter().copied().sum()
    }

    /// Phases with `time` of each.
    pub fn from_fn(time: impl Fn(Phase) -> Nanos) -> Self {
        Self(Phase::ALL.map(time))
    }
}

impl std::ops::Add for Phases {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::from_fn(|phase| self.get(phase) + other.get(phase))
    }
}

impl std::iter::Sum for Phases {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), |total, item| total + item)
    }
}

/// The partition of one build's wall time.
pub fn phases(build: &BuildRecord) -> Phases {
    phases_of(&BuildView::from(build))
}

/// See [`phases`].
pub fn phases_of(build: &BuildView<'_>) -> Phases {
    sweep(activities_of(build).into_iter().map(|(_, activity)| activity), build.wall)
}

/// Gives each instant of `0..wall` to the active phase that comes first in [`Phase::PRIORITY`].
///
/// What lies beyond the wall time, where the engine's clock and ours disagree, is cut off.
pub fn sweep(activities: impl Iterator<Item = Activity>, wall: Nanos) -> Phases {
    let mut edges: Vec<(Nanos, Phase, i32)> = vec![];
    for Activity { phase, interval } in activities {
        let (start, end) = (interval.start.min(wall), interval.end.min(wall));
        if start < end {
            edges.push((start, phase, 1));
            edges.push((end, phase, -1));
        }
    }
    edges.sort_unstable_by_key(|&(time, ..)| time);
    let mut active = [0_i32; 9];
    let mut phases = Phases::default();
    let mut last = Nanos(0);
    let mut give = |from: Nanos, to: Nanos, active: &[i32; 9]| {
        let phase = Phase::PRIORITY.into_iter().find(|phase| active[*phase as usize] > 0);
        let time = &mut phases.0[phase.unwrap_or(Phase::Other) as usize];
        *time = *time + to.saturating_sub(from);
    };
    for (time, phase, change) in edges {
        give(last, time, &active);
        active[phase as usize] += change;
        last = time;
    }
    give(last, wall, &active);
    phases
}
