//! The order of a run's sequences: every strategy once a round, shuffled by the recorded seed.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::strategy::Strategy;

/// One strategy over the commits of one round, over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 0.
    pub round: u32,
    /// Places in the lists of strategies and links.
    pub strategy: usize,
    pub link: usize,
}

/// Every turn in the order of play, over `links` links; the same for the same seed, for ever.
///
/// Shuffled so that a machine that grows slower over the run favours no strategy. ChaCha8 is
/// used because its output is fixed across versions and platforms.
pub fn sequences(strategies: &[Strategy], links: usize, rounds: u32, seed: u64) -> Vec<Turn> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = vec![];
    for round in 0..rounds {
        let mut turns: Vec<Turn> = (0..links)
            .flat_map(|link| {
                (0..strategies.len()).map(move |strategy| Turn { round, strategy, link })
            })
            .collect();
        turns.shuffle(&mut random);
        found.extend(turns);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::strategy::built_in;

    #[test]
    fn every_strategy_is_played_once_a_round_and_link_and_the_seed_alone_decides_the_order() {
        let order = sequences(built_in(), 2, 3, 7);
        assert_eq!(order, sequences(built_in(), 2, 3, 7));
        assert_ne!(order, sequences(built_in(), 2, 3, 8));
        for round in 0..3 {
            let played: BTreeSet<(usize, usize)> = order
                .iter()
                .filter(|turn| turn.round == round)
                .map(|turn| (turn.strategy, turn.link))
                .collect();
            assert_eq!(played.len(), 2 * built_in().len());
        }
    }
}
