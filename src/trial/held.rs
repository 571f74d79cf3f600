//! What a kept engine's build cache holds over a sequence, and what it let go of between trials.
//!
//! Records are told apart by what they are of, not by their ids: BuildKit lists the same data now as
//! a mutable record and now as the immutable one made from it (buildkit `cache/manager.go`,
//! `DiskUsage`).

use std::collections::BTreeMap;

use crate::buildkit::CacheRecord;
use crate::journal::Collected;
use crate::units::Bytes;

/// So many records are named.
const NAMED: usize = 100;

/// How many records of a kind an engine held, and how large they were together, by what they are of.
#[derive(Clone, Debug, Default)]
pub struct Held(BTreeMap<String, (usize, Bytes)>);

impl Held {
    /// Only results of steps and cache mounts: build contexts and frontends come and go.
    pub fn of(records: &[CacheRecord]) -> Self {
        let mut held = BTreeMap::new();
        let lasting =
            |record: &&CacheRecord| matches!(record.kind.as_str(), "regular" | "exec.cachemount");
        for record in records.iter().filter(lasting) {
            let (count, bytes) = held.entry(record.description.clone()).or_default();
            *count += 1;
            *bytes = *bytes + record.bytes;
        }
        Self(held)
    }

    /// Everything that was held before or after a trial's builds.
    pub fn or(mut self, other: &Self) -> Self {
        for (of, (count, bytes)) in &other.0 {
            let held = self.0.entry(of.clone()).or_default();
            *held = (*held).max((*count, *bytes));
        }
        self
    }

    /// What is no longer there `now`; none where all is.
    pub fn lost(&self, now: &Self) -> Option<Collected> {
        let mut lost = Collected::default();
        for (of, (count, bytes)) in &self.0 {
            let (left, size) = now.0.get(of).copied().unwrap_or_default();
            let gone = count.saturating_sub(left);
            if gone == 0 {
                continue;
            }
            lost.records += gone;
            lost.bytes = lost.bytes + Bytes(bytes.0.saturating_sub(size.0));
            if lost.of.len() < NAMED {
                lost.of.push(of.clone());
            }
        }
        (lost.records > 0).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, of: &str, bytes: u64) -> CacheRecord {
        CacheRecord { kind: kind.into(), description: of.into(), bytes: Bytes(bytes) }
    }

    #[test]
    fn only_steps_and_cache_mounts_that_are_gone_are_lost() {
        let run = || record("regular", "[2/3] RUN one", 7);
        let copy = || record("regular", "[3/3] COPY a /", 5);
        let mount = || record("exec.cachemount", "cached mount /root", 3);
        let context = record("source.local", "local source for context", 9);
        let before = Held::of(&[run(), run(), copy(), context]);
        let held = Held::of(&[run(), mount()]).or(&before);
        assert_eq!(held.lost(&held), None);
        let lost = held.lost(&Held::of(&[run()])).unwrap();
        assert_eq!((lost.records, lost.bytes), (3, Bytes(15)));
        assert_eq!(lost.of, ["[2/3] RUN one", "[3/3] COPY a /", "cached mount /root"]);
    }
}
