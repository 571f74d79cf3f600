//! What steps came out as over a run: which came out the same, which did not, and which never do.
//!
//! Goes by the digests of layers' files that the journal holds; where it holds none, nothing is
//! said. Surprising: that a step comes out different with the same inputs is seen across strategies
//! and rounds too, since they all build the same commits.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dockerfile::Place;
use crate::journal::Difference;
use crate::measure::{Analysis, Name, TrialRow};

use super::cause::{ChangedFile, Differing, Output};

/// One trial: strategy, link, round and commit.
type Key = (usize, usize, u32, usize);

/// The outputs of every trial of a run.
#[derive(Default)]
pub struct Outputs<'a> {
    trials: HashMap<Key, BTreeMap<Place, Name>>,
    by_commit: HashMap<usize, Vec<Key>>,
    /// By the two outputs.
    differences: HashMap<(&'a str, &'a str), &'a Difference>,
}

impl<'a> Outputs<'a> {
    /// `place` says which instruction a step of a commit is.
    pub fn new(
        analysis: &'a Analysis,
        mut place: impl FnMut(&TrialRow, Name) -> Option<Place>,
    ) -> Self {
        let mut found = Self::default();
        for row in &analysis.trials {
            let known = row.steps.iter().filter_map(|step| Some((step.name, step.output?)));
            let outputs: BTreeMap<Place, Name> =
                known.filter_map(|(step, output)| Some((place(row, step)?, output))).collect();
            if outputs.is_empty() {
                continue;
            }
            let key = (row.strategy, row.link, row.round, row.commit);
            found.trials.insert(key, outputs);
            found.by_commit.entry(row.commit).or_default().push(key);
            for (output, difference) in &row.differences {
                let pair = (analysis.text(*output), difference.from.as_str());
                found.differences.insert(pair, difference);
            }
        }
        found
    }

    pub fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// What the step at `place` came out as in `row`, and the one at `before` in the trial of the
    /// commit `against` of the same sequence.
    pub fn pair(
        &self,
        row: &TrialRow,
        place: Place,
        against: usize,
        before: Place,
    ) -> Option<(Name, Name)> {
        let at = |commit, place: Place| {
            let key = (row.strategy, row.link, row.round, commit);
            self.trials.get(&key)?.get(&place).copied()
        };
        Some((at(row.commit, place)?, at(against, before)?))
    }

    /// What differs between two outputs of one step.
    pub fn between(&self, analysis: &Analysis, one: Name, other: Name) -> Output {
        if one == other {
            return Output::Same;
        }
        let (one, other) = (analysis.text(one), analysis.text(other));
        let found =
            self.differences.get(&(one, other)).or_else(|| self.differences.get(&(other, one)));
        Output::Different(found.map_or_else(Differing::default, |difference| Differing {
            files: difference.files.clone(),
            count: difference.count,
        }))
    }

    /// Whether a step came out different with the same inputs, and in what. `places` are where it
    /// stood at which commits, with what it was made from there, in the same order everywhere; its
    /// inputs are the same at all of these commits.
    pub fn unstable(
        &self,
        analysis: &Analysis,
        places: &[(usize, Place, Vec<Place>)],
    ) -> Option<Differing> {
        // What it came out as, by what it was made from.
        let mut found: BTreeMap<Vec<Name>, BTreeSet<Name>> = BTreeMap::new();
        for (commit, place, made_from) in places {
            let trials = self.by_commit.get(commit).into_iter().flatten();
            for outputs in trials.filter_map(|key| self.trials.get(key)) {
                let inputs = made_from.iter().map(|place| outputs.get(place).copied());
                // An input of which nothing is known may be what differs.
                let Some(inputs) = inputs.collect::<Option<Vec<Name>>>() else { continue };
                let output = outputs.get(place).copied();
                found.entry(inputs).or_default().extend(output);
            }
        }
        let mut all: Option<Vec<Differing>> = None;
        for outputs in found.values().filter(|outputs| outputs.len() > 1) {
            let differing = all.get_or_insert_default();
            for one in outputs {
                for other in
                    outputs.range((std::ops::Bound::Excluded(one), std::ops::Bound::Unbounded))
                {
                    if let Output::Different(files) = self.between(analysis, *one, *other) {
                        differing.push(files);
                    }
                }
            }
        }
        all.map(together)
    }
}

/// Several differences as one.
pub fn together(all: Vec<Differing>) -> Differing {
    let files: BTreeSet<String> =
        all.iter().flat_map(|differing| differing.files.iter().cloned()).collect();
    // Of more than are named it is not known which are the same.
    let most = all.iter().map(|differing| differing.count).max().unwrap_or(0);
    let count = most.max(files.len());
    Differing { files: files.into_iter().take(ChangedFile::SHOWN).collect(), count }
}
