//! What crossed to and from the registry in one trial.

use crate::journal::Direction;
use crate::units::Bytes;

/// Body bytes of registry requests by direction, of all kinds of content together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic([Bytes; 2]);

impl Traffic {
    pub fn bytes(&self, direction: Direction) -> Bytes {
        self.0[direction as usize]
    }

    pub fn add(&mut self, direction: Direction, bytes: Bytes) {
        let sum = &mut self.0[direction as usize];
        *sum = *sum + bytes;
    }
}
