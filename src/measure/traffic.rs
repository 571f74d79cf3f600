//! What crossed to and from the registry in one trial.

use crate::journal::{Count, Direction, Kind};
use crate::units::Bytes;

/// What crossed to and from the registry, by direction and kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic([[Count; 5]; 2]);

/// Every kind of content, in the order in which reports show them.
pub const KINDS: [Kind; 5] = [Kind::Layer, Kind::Cache, Kind::Manifest, Kind::Config, Kind::Other];

/// Both directions, seen from the builder.
pub const DIRECTIONS: [Direction; 2] = [Direction::Pull, Direction::Push];

impl Traffic {
    pub fn get(&self, direction: Direction, kind: Kind) -> Count {
        self.0[direction as usize][kind as usize]
    }

    /// Body bytes of all kinds.
    pub fn bytes(&self, direction: Direction) -> Bytes {
        self.0[direction as usize].iter().map(|count| count.bytes).sum()
    }

    pub fn from_fn(count: impl Fn(Direction, Kind) -> Count) -> Self {
        let mut traffic = Self::default();
        for direction in DIRECTIONS {
            for kind in KINDS {
                traffic.0[direction as usize][kind as usize] = count(direction, kind);
            }
        }
        traffic
    }

    pub fn add(&mut self, direction: Direction, kind: Kind, count: Count) {
        let sum = &mut self.0[direction as usize][kind as usize];
        sum.requests = sum.requests.saturating_add(count.requests);
        sum.bytes = sum.bytes + count.bytes;
        sum.time = sum.time + count.time;
    }
}
