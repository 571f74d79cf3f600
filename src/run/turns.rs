//! The turns of a run, played: those of one machine one after another, machines side by side.
//!
//! What is recorded is what the journal lacks; a sequence that it holds in part is played again from
//! its first commit. A trial that fails stops nothing, a journal that cannot be written everything.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use crate::engine::machine::groups;
use crate::journal::{Journal, Line, TrialKey};
use crate::strategy::Strategy;

use super::sequence::{Beginning, Ready, Sequence};
use super::{Event, RunError, Setup, Turn};

/// What is to be played.
pub struct Turns<'a> {
    pub strategies: &'a [Strategy],
    pub order: Vec<Turn>,
    /// The place of the builder that plays each round.
    pub dealt: BTreeMap<u32, usize>,
    /// How many commits of the sequence are played.
    pub commits: usize,
}

impl Turns<'_> {
    /// Which trial the commit at `commit` of `turn` is, over the links of `setup`.
    fn key(&self, setup: &Setup<'_>, turn: &Turn, commit: usize) -> TrialKey {
        TrialKey {
            round: turn.round,
            strategy: self.strategies[turn.strategy].name.clone(),
            link: setup.ways[turn.link].link.as_ref().map(|link| link.name.clone()),
            commit,
        }
    }

    /// Every trial; the links of all builders have the same names as those of `setup`.
    pub fn keys(&self, setup: &Setup<'_>) -> BTreeSet<TrialKey> {
        let keys = |turn| (0..self.commits).map(move |commit| self.key(setup, turn, commit));
        self.order.iter().flat_map(keys).collect()
    }

    /// Plays what is in `wanted`, on one of `setups` for each builder, into `journal`.
    pub async fn play(
        &self,
        setups: &[Setup<'_>],
        wanted: &BTreeSet<TrialKey>,
        journal: &mut Journal,
    ) -> Result<(), RunError> {
        let machines: Vec<_> = setups.iter().map(|setup| setup.machine.clone()).collect();
        let journal = RefCell::new(journal);
        let journal = &journal;
        let players = groups(&machines).into_iter().map(|builders| async move {
            let mut turns = vec![];
            for turn in &self.order {
                let Some(&builder) = self.dealt.get(&turn.round) else { continue };
                let Some(setup) = setups.get(builder).filter(|_| builders.contains(&builder))
                else {
                    continue;
                };
                let last = self.last(setup, turn, wanted);
                turns.extend(last.map(|last| (builder, setup, turn, last)));
            }
            // By builder, the engine that its sequence before has started.
            let mut ready: BTreeMap<usize, Ready> = BTreeMap::new();
            for (place, &(builder, setup, turn, last)) in turns.iter().enumerate() {
                let more = turns[place + 1..].iter().any(|(other, ..)| *other == builder);
                let beginning = Beginning {
                    setup,
                    strategy: &self.strategies[turn.strategy],
                    turn: *turn,
                    way: &setup.ways[turn.link],
                    last,
                    more,
                    ready: ready.remove(&builder),
                };
                if let Some(next) = self.one(beginning, wanted, journal).await? {
                    ready.insert(builder, next);
                }
            }
            Ok::<(), RunError>(())
        });
        try_join_all(players).await.map(drop)
    }

    /// The place of the last commit of `turn` that is wanted.
    fn last(&self, setup: &Setup<'_>, turn: &Turn, wanted: &BTreeSet<TrialKey>) -> Option<usize> {
        (0..self.commits).rev().find(|commit| wanted.contains(&self.key(setup, turn, *commit)))
    }

    async fn one(
        &self,
        beginning: Beginning<'_>,
        wanted: &BTreeSet<TrialKey>,
        journal: &RefCell<&mut Journal>,
    ) -> Result<Option<Ready>, RunError> {
        let Beginning { setup, turn, last, .. } = beginning;
        let mut sequence = Sequence::new(beginning);
        for commit in 0..=last {
            let key = self.key(setup, &turn, commit);
            (setup.on_event)(Event::TrialStarted(&key));
            let mut record = sequence.trial(key, commit).await;
            record.builder.clone_from(&setup.builder);
            if wanted.contains(&record.key) {
                journal.borrow_mut().append(&Line::Trial(Box::new(record.clone())))?;
                (setup.on_event)(Event::TrialEnded(&record));
            }
        }
        Ok(sequence.finish().await)
    }
}
