//! The order of a run's sequences: every strategy once a round, shuffled by the recorded seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::strategy::Strategy;

/// `(round, index of the strategy)` in the order of play; the same for the same seed, for ever.
///
/// Shuffled so that a machine that grows slower over the run favours no strategy. ChaCha8 is
/// used because its output is fixed across versions and platforms.
pub fn sequences(strategies: &[Strategy], rounds: u32, seed: u64) -> Vec<(u32, usize)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = vec![];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..strategies.len()).collect();
        order.shuffle(&mut random);
        found.extend(order.into_iter().map(|strategy| (round, strategy)));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::strategy::built_in;

    #[test]
    fn every_strategy_is_played_once_a_round_and_the_seed_alone_decides_the_order() {
        let order = sequences(built_in(), 3, 7);
        assert_eq!(order, sequences(built_in(), 3, 7));
        assert_ne!(order, sequences(built_in(), 3, 8));
        for round in 0..3 {
            let played: BTreeSet<usize> =
                order.iter().filter(|(r, _)| *r == round).map(|(_, s)| *s).collect();
            assert_eq!(played.len(), built_in().len());
        }
    }
}
