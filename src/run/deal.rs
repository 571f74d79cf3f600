//! Rounds dealt to builders, and which builders may build at once.
//!
//! A round is never split: its strategies are held against each other, so they run on one builder.
//! Builders of one machine take turns, since two builds that are timed would slow each other down.

use std::collections::BTreeMap;

use super::{RunError, Turn};

/// The place of the builder that plays each round of `order`, dealt in turn.
///
/// Fails where a builder would be left without a round: its numbers would be missing in silence.
pub fn deal(order: &[Turn], builders: usize) -> Result<BTreeMap<u32, usize>, RunError> {
    let builders = builders.max(1);
    let mut dealt = BTreeMap::new();
    for turn in order {
        let next = dealt.len() % builders;
        dealt.entry(turn.round).or_insert(next);
    }
    if !dealt.is_empty() && dealt.len() < builders {
        return Err(RunError::FewRounds { rounds: dealt.len(), builders });
    }
    Ok(dealt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Partition, sequences};
    use crate::strategy::built_in;

    #[test]
    fn rounds_are_dealt_whole_and_evenly_and_the_same_each_time() {
        let order = sequences(built_in(), 2, 5, 7);
        let dealt = deal(&order, 2).unwrap();
        assert_eq!(dealt, BTreeMap::from([(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]));
        assert_eq!(deal(&order, 1).unwrap().values().sum::<usize>(), 0);
    }

    #[test]
    fn a_part_of_a_run_is_dealt_evenly_too() {
        let part: Partition = "slice:1/2".parse().unwrap();
        let order = part.of(sequences(built_in(), 1, 4, 7), built_in(), 4);
        assert_eq!(deal(&order, 2).unwrap(), BTreeMap::from([(0, 0), (2, 1)]));
    }

    #[test]
    fn a_builder_without_a_round_is_an_error() {
        let order = sequences(built_in(), 1, 1, 7);
        let error = deal(&order, 2).unwrap_err().to_string();
        assert!(error.contains("1 round") && error.contains("--rounds 2"), "{error}");
        assert!(deal(&[], 2).unwrap().is_empty());
    }
}
