//! Splitting a run over machines: `slice:m/n` or `hash:m/n`, as nextest has them.
//!
//! What is dealt out is never less than a sequence, since its commits build on each other. With
//! `slice` and a round for every machine whole rounds are dealt, so that a strategy and the cold
//! it is held against ran on one machine; `hash` deals sequences by name, so that an added
//! strategy moves no other. A part may be left without any sequence: its journal is empty, and
//! `merge` takes it like the others.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::Turn;
use crate::strategy::Strategy;

/// The part `part` of `parts`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    by: By,
    part: u64,
    parts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Slice,
    Hash,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Slice => "slice",
            By::Hash => "hash",
        };
        write!(f, "{by}:{}/{}", self.part, self.parts)
    }
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = || {
            let (by, part) = text.split_once(':')?;
            let by = match by {
                "slice" => By::Slice,
                "hash" => By::Hash,
                _ => return None,
            };
            let (part, parts) = part.split_once('/')?;
            let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
            (1..=parts).contains(&part).then_some(Self { by, part, parts })
        };
        parsed().ok_or_else(|| "give slice:M/N or hash:M/N with 1 ≤ M ≤ N".to_owned())
    }
}

impl Partition {
    /// Those of `order` that belong to this part, in their order.
    pub fn of(&self, order: Vec<Turn>, strategies: &[Strategy], rounds: u32) -> Vec<Turn> {
        let own = |number: u64| number % self.parts == self.part - 1;
        let whole_rounds = u64::from(rounds) >= self.parts;
        let mine = |(place, turn): &(usize, Turn)| match self.by {
            By::Slice if whole_rounds => own(u64::from(turn.round)),
            By::Slice => own(*place as u64),
            By::Hash => {
                let name = strategies.get(turn.strategy).map_or("", |strategy| &strategy.name);
                let digest = Sha256::digest(format!("{}/{}/{name}", turn.round, turn.link));
                let number = digest.iter().take(8).fold(0, |n, b| n << 8 | u64::from(*b));
                own(number)
            }
        };
        order.into_iter().enumerate().filter(mine).map(|(_, turn)| turn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::built_in;

    fn part(text: &str) -> Partition {
        text.parse().unwrap()
    }

    #[test]
    fn a_part_is_written_as_it_is_read() {
        for text in ["slice:1/3", "hash:7/7"] {
            assert_eq!(part(text).to_string(), text);
        }
    }

    #[test]
    fn every_sequence_is_in_exactly_one_part() {
        for (by, rounds) in [("slice", 1), ("slice", 7), ("hash", 5)] {
            let order = super::super::sequences(built_in(), 2, rounds, 3);
            let key = |turn: &Turn| (turn.round, turn.link, turn.strategy);
            let mut all: Vec<Turn> = (1..=4)
                .flat_map(|m| part(&format!("{by}:{m}/4")).of(order.clone(), built_in(), rounds))
                .collect();
            all.sort_by_key(key);
            let mut whole = order;
            whole.sort_by_key(key);
            assert_eq!(all, whole, "{by}");
        }
    }

    #[test]
    fn rounds_stay_on_one_machine_where_there_are_enough() {
        let order = super::super::sequences(built_in(), 1, 4, 3);
        let own = part("slice:2/2").of(order, built_in(), 4);
        assert!(own.iter().all(|turn| turn.round % 2 == 1));
        assert_eq!(own.len(), 2 * built_in().len());
    }

    #[test]
    fn a_part_may_be_left_with_nothing() {
        let two = &built_in()[..2];
        let sizes: Vec<usize> = (1..=8)
            .map(|m| part(&format!("hash:{m}/8")).of(super::super::sequences(two, 1, 1, 3), two, 1))
            .map(|part| part.len())
            .collect();
        assert_eq!(sizes.iter().sum::<usize>(), 2);
        assert!(sizes.contains(&0));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "slice", "slice:0/2", "slice:3/2", "hash:1/0", "odd:1/2", "slice:1"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
