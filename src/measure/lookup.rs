//! Finds a trial's counterparts: the cold one of the same round, the parent commit's.

use std::collections::{BTreeSet, HashMap};

use crate::journal::Header;

use super::row::TrialRow;

/// The strategy that others are held against.
pub const COLD: &str = "cold";

/// All trials of a run, findable by what they are.
pub struct Lookup<'a> {
    pub header: &'a Header,
    pub trials: &'a [TrialRow],
    /// The place of [`COLD`] in the list of strategies.
    pub cold: Option<usize>,
    built: HashMap<(usize, usize, usize, u32), usize, foldhash::fast::RandomState>,
    first_built: Option<usize>,
    counted: BTreeSet<usize>,
}

impl<'a> Lookup<'a> {
    pub fn new(header: &'a Header, trials: &'a [TrialRow], cold: Option<usize>) -> Self {
        let built = trials.iter().enumerate().filter(|(_, trial)| trial.built());
        let key = |trial: &TrialRow| (trial.strategy, trial.link, trial.commit, trial.round);
        let built: HashMap<_, usize, _> = built.map(|(place, trial)| (key(trial), place)).collect();
        let mut counted: BTreeSet<usize> = built.keys().map(|(_, _, commit, _)| *commit).collect();
        let first_built = counted.first().copied();
        if header.commits.len() > 1 {
            counted.pop_first();
        }
        Self { header, trials, cold, built, first_built, counted }
    }

    /// The commits that strategies are judged by: those that any built, but for the first, which has
    /// nothing to import and only fills the cache.
    pub fn counted(&self) -> &BTreeSet<usize> {
        &self.counted
    }

    /// Whether any strategy built `commit`.
    pub fn is_built(&self, commit: usize) -> bool {
        self.first_built == Some(commit) || self.counted.contains(&commit)
    }

    /// Each of `rows` with the cold trial of its round, commit and link on the same builder; those
    /// without one, and cold itself, are left out.
    pub fn paired_with_cold<'r>(&self, rows: &[&'r TrialRow]) -> Vec<(&'a TrialRow, &'r TrialRow)> {
        let Some(cold) = self.cold else { return vec![] };
        let others = rows.iter().filter(|row| row.strategy != cold);
        others
            .filter_map(|row| Some((self.find(cold, row.link, row.commit, row.round)?, *row)))
            .filter(|(cold, row)| cold.builder == row.builder)
            .collect()
    }

    /// The built trial of the parent commit in the same sequence.
    pub fn parent(&self, row: &TrialRow) -> Option<&'a TrialRow> {
        let parent = self.header.commits.get(row.commit)?.parent?;
        self.find(row.strategy, row.link, parent, row.round)
    }

    fn find(
        &self,
        strategy: usize,
        link: usize,
        commit: usize,
        round: u32,
    ) -> Option<&'a TrialRow> {
        let place = *self.built.get(&(strategy, link, commit, round))?;
        self.trials.get(place)
    }
}
