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

use super::sequence::Sequence;
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
            for turn in &self.order {
                let builder = self.dealt.get(&turn.round).filter(|b| builders.contains(b));
                if let Some(setup) = builder.and_then(|builder| setups.get(*builder)) {
                    self.one(setup, turn, wanted, journal).await?;
                }
            }
            Ok::<(), RunError>(())
        });
        try_join_all(players).await.map(drop)
    }

    async fn one(
        &self,
        setup: &Setup<'_>,
        turn: &Turn,
        wanted: &BTreeSet<TrialKey>,
        journal: &RefCell<&mut Journal>,
    ) -> Result<(), RunError> {
        let last = (0..self.commits).rev();
        let last =
            last.map(|c| (c, self.key(setup, turn, c))).find(|(_, key)| wanted.contains(key));
        let Some((last, _)) = last else { return Ok(()) };
        let (strategy, way) = (&self.strategies[turn.strategy], &setup.ways[turn.link]);
        let mut sequence = Sequence::new(setup, strategy, *turn, way, last);
        for commit in 0..=last {
            let key = self.key(setup, turn, commit);
            (setup.on_event)(Event::TrialStarted(&key));
            let mut record = sequence.trial(key, commit).await;
            record.builder.clone_from(&setup.builder);
            if wanted.contains(&record.key) {
                journal.borrow_mut().append(&Line::Trial(Box::new(record.clone())))?;
                (setup.on_event)(Event::TrialEnded(&record));
            }
        }
        sequence.finish().await;
        Ok(())
    }
}
