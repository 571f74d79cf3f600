//! Counts what crosses the registry's wire: requests, bytes and time, by repository and kind.
//!
//! In-process seeding is not counted. Surprising: a blob crosses before the manifest that says
//! what it is, so counts are kept by digest and get their kind when a snapshot is taken; a
//! blob no manifest has named yet counts as `Cache` in a cache repository and `Layer` elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::{CacheSize, Digest, Fired, RepositoryName};
use crate::units::{Bytes, Nanos};

/// What sort of content a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Manifests and indexes, a cache's too.
    Manifest,
    /// An image's configuration.
    Config,
    /// An image's layer, also where a cache in the same repository names it too.
    Layer,
    /// A blob that only BuildKit cache manifests name.
    Cache,
    /// Attestations, tag lists, referrers, uploads that came to nothing.
    Other,
}

/// Seen from the builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// `GET` and `HEAD`.
    Pull,
    /// Everything that changes the registry.
    Push,
}

/// The traffic of one blob, or of all manifests, in one repository and direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    pub repository: Option<RepositoryName>,
    pub direction: Direction,
    pub kind: Kind,
    /// The blob; `None` for manifests and for requests about no one blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Digest>,
    #[serde(flatten)]
    pub count: Count,
}

/// A sum over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub requests: u64,
    /// Body bytes; headers are left out.
    pub bytes: Bytes,
    /// From a request's headers to its last body byte, on the monotonic clock, summed over
    /// requests that may have run at the same time.
    pub time: Nanos,
}

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Pulled,
    Pushed,
    /// Linked from another repository, without bytes.
    Mounted,
    /// `HEAD` answered 200, by which a pusher learns that it need not push.
    Skipped,
}

/// One thing that happened to one blob, in the order in which it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub repository: RepositoryName,
    pub action: Action,
    pub digest: Digest,
    pub kind: Kind,
    /// Pulled, pushed: bytes that crossed. Mounted, skipped: bytes that did not have to.
    pub bytes: Bytes,
}

/// What had crossed when the snapshot was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metered {
    /// Sorted by repository, direction and blob; no two with the same.
    pub flows: Vec<Flow>,
    pub events: Vec<Event>,
    /// Faults that requests met, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fired>,
    /// What each repository that was talked to held afterwards: over a commit sequence, the growth
    /// of a cache.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stored: BTreeMap<RepositoryName, CacheSize>,
}

impl Metered {
    /// What crossed after `earlier`, an older snapshot of the same meter.
    pub fn since(&self, earlier: &Self) -> Self {
        let before: BTreeMap<_, _> = earlier.flows.iter().map(|f| (f.key(), f.count)).collect();
        let flows = self.flows.iter().filter_map(|flow| {
            let old = before.get(&flow.key()).copied().unwrap_or_default();
            let count = flow.count.minus(old);
            (count.requests > 0 || count.bytes.0 > 0).then(|| Flow { count, ..flow.clone() })
        });
        let events = self.events.iter().skip(earlier.events.len()).cloned().collect();
        let faults = self.faults.iter().skip(earlier.faults.len()).cloned().collect();
        Self { flows: flows.collect(), events, faults, stored: BTreeMap::new() }
    }

    /// Every body byte that the registry sent.
    pub fn pulled(&self) -> Bytes {
        self.sum(|flow| flow.direction == Direction::Pull).bytes
    }

    /// Every body byte that the registry received.
    pub fn pushed(&self) -> Bytes {
        self.sum(|flow| flow.direction == Direction::Push).bytes
    }

    /// The traffic of one kind in one direction.
    pub fn count(&self, direction: Direction, kind: Kind) -> Count {
        self.sum(|flow| flow.direction == direction && flow.kind == kind)
    }

    fn sum(&self, wanted: impl Fn(&Flow) -> bool) -> Count {
        let flows = self.flows.iter().filter(|flow| wanted(flow));
        flows.fold(Count::default(), |total, flow| total.plus(flow.count))
    }
}

impl Count {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            bytes: self.bytes + other.bytes,
            time: self.time + other.time,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(other.requests),
            bytes: Bytes(self.bytes.0.saturating_sub(other.bytes.0)),
            time: self.time.saturating_sub(other.time),
        }
    }
}

/// A request's subject. A blob's kind may not be known yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Kind(Kind),
    Blob(Digest),
}

type Key = (Option<RepositoryName>, Direction, Subject);

impl Flow {
    /// A blob's kind is not part of its key: a later snapshot may know it better.
    fn key(&self) -> Key {
        let subject = self.blob.clone().map_or(Subject::Kind(self.kind), Subject::Blob);
        (self.repository.clone(), self.direction, subject)
    }
}

/// The registry's meter; clones count into the same one.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    counts: BTreeMap<Key, Count>,
    events: Vec<(RepositoryName, Action, Digest, Bytes)>,
    kinds: BTreeMap<RepositoryName, BTreeMap<Digest, Kind>>,
    caches: BTreeSet<RepositoryName>,
    faults: Vec<Fired>,
}

impl Meter {
    /// What has crossed since the registry started. A request that is still under way is not in it.
    pub fn snapshot(&self) -> Metered {
        let ledger = self.ledger();
        let flows = ledger.counts.iter().map(|((repository, direction, subject), count)| {
            let (kind, blob) = match subject {
                Subject::Kind(kind) => (*kind, None),
                Subject::Blob(digest) => {
                    (ledger.kind(repository.as_ref(), digest), Some(digest.clone()))
                }
            };
            let (repository, direction) = (repository.clone(), *direction);
            Flow { repository, direction, kind, blob, count: *count }
        });
        let events = ledger.events.iter().map(|(repository, action, digest, bytes)| Event {
            kind: ledger.kind(Some(repository), digest),
            repository: repository.clone(),
            action: *action,
            digest: digest.clone(),
            bytes: *bytes,
        });
        Metered {
            flows: flows.collect(),
            events: events.collect(),
            faults: ledger.faults.clone(),
            stored: BTreeMap::new(),
        }
    }

    /// Learns from a manifest that was stored or served what its blobs are.
    pub(super) fn learn(&self, repository: &RepositoryName, manifest: &Manifest) {
        let mut ledger = self.ledger();
        if manifest.is_cache() {
            ledger.caches.insert(repository.clone());
        }
        let kinds = ledger.kinds.entry(repository.clone()).or_default();
        for (descriptor, kind) in manifest.blobs() {
            // `Kind` is ordered so that an image's claim on a blob beats a cache's.
            let known = kinds.entry(descriptor.digest.clone()).or_insert(kind);
            *known = (*known).min(kind);
        }
    }

    pub(super) fn count(
        &self,
        repository: Option<&RepositoryName>,
        direction: Direction,
        subject: Subject,
        count: Count,
    ) {
        let mut ledger = self.ledger();
        let entry = ledger.counts.entry((repository.cloned(), direction, subject)).or_default();
        *entry = entry.plus(count);
    }

    pub(super) fn event(
        &self,
        repository: &RepositoryName,
        action: Action,
        digest: &Digest,
        bytes: u64,
    ) {
        let event = (repository.clone(), action, digest.clone(), Bytes(bytes));
        self.ledger().events.push(event);
    }

    pub(super) fn fired(&self, fired: Fired) {
        self.ledger().faults.push(fired);
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic elsewhere leaves sums that are whole: each is changed in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn kind(&self, repository: Option<&RepositoryName>, digest: &Digest) -> Kind {
        let known = repository.and_then(|name| self.kinds.get(name)?.get(digest));
        let cache = repository.is_some_and(|name| self.caches.contains(name));
        known.copied().unwrap_or(if cache { Kind::Cache } else { Kind::Layer })
    }
}

/// A request being counted: booked once, when it is dropped.
pub(super) struct Tally {
    pub meter: Meter,
    pub repository: Option<RepositoryName>,
    pub direction: Direction,
    pub subject: Subject,
    pub bytes: u64,
    pub started: Instant,
    /// Whether somebody else books the request.
    pub forgotten: bool,
    /// Whether a fault ends the answer in its middle, and how long it was to be; the bytes so far
    /// where that is not said.
    pub cut: bool,
    pub whole: Option<u64>,
}

impl Tally {
    /// Books nothing: the request is counted elsewhere.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if self.forgotten {
            return;
        }
        if self.cut {
            self.bytes = self.bytes.min(self.whole.unwrap_or(self.bytes) / 2);
        }
        let time = Nanos::of(self.started.elapsed());
        let count = Count { requests: 1, bytes: Bytes(self.bytes), time };
        self.meter.count(self.repository.as_ref(), self.direction, self.subject.clone(), count);
        if let (Direction::Pull, Subject::Blob(digest), Some(repository), 1..) =
            (self.direction, &self.subject, &self.repository, self.bytes)
        {
            self.meter.event(repository, Action::Pulled, digest, self.bytes);
        }
    }
}
