//! Which stage of another Dockerfile a stage was, and which step a step.
//!
//! By name where it has one, else by what its steps say: stages come, go and are renamed, and those
//! without a name are told apart by where they stand.

use std::cmp::Reverse;
use std::collections::HashMap;

use similar::DiffOp;

use crate::dockerfile::Place;

use super::recipe::{Key, Recipe, Step};

/// The stages and steps of one Dockerfile held against another.
pub struct Pairing<'a> {
    before: &'a Recipe<'a>,
    now: &'a Recipe<'a>,
    /// For each stage of `now` the one of `before` that it was.
    old: Vec<Option<usize>>,
    /// The other way round.
    new: Vec<Option<usize>>,
}

impl<'a> Pairing<'a> {
    pub fn of(before: &'a Recipe<'a>, now: &'a Recipe<'a>) -> Self {
        let (old, new) = (&before.dockerfile.stages, &now.dockerfile.stages);
        let mut pairing =
            Self { before, now, old: vec![None; new.len()], new: vec![None; old.len()] };
        for (stage, own) in new.iter().enumerate().filter(|(_, own)| own.name.is_some()) {
            let mut named = (0..old.len()).filter(|other| old[*other].name == own.name);
            if let Some(other) = named.find(|other| pairing.new[*other].is_none()) {
                pairing.pair(stage, other);
            }
        }
        let mut likely = vec![];
        for stage in 0..new.len() {
            let others = (0..old.len()).filter(|other| pairing.are_free(stage, *other));
            let scored = others.map(|other| (pairing.alike(stage, other), stage, other));
            likely.extend(scored.filter(|(alike, ..)| *alike > 0));
        }
        likely.sort_by_key(|(alike, stage, other)| (Reverse(*alike), stage.abs_diff(*other)));
        for (_, stage, other) in likely {
            if pairing.are_free(stage, other) {
                pairing.pair(stage, other);
            }
        }
        // Where nothing is as it was, the place is all there is to go by.
        let last = new.len().checked_sub(1).zip(old.len().checked_sub(1));
        for (stage, other) in (0..new.len().min(old.len())).map(|n| (n, n)).chain(last) {
            let nameless = new[stage].name.is_none() && old[other].name.is_none();
            if nameless && pairing.are_free(stage, other) {
                pairing.pair(stage, other);
            }
        }
        pairing
    }

    /// The stage of the other Dockerfile that `stage` was.
    pub fn counterpart(&self, stage: usize) -> Option<usize> {
        self.old.get(stage).copied().flatten()
    }

    /// What the steps of `stage` say, and what those that it was; equal where both say the same.
    pub fn lines(&self, stage: usize) -> (Vec<Line>, Vec<Line>) {
        let old = self.counterpart(stage).map_or(&[][..], |old| self.before.of_stage(old));
        let name = |other: usize| self.new.get(other).copied().flatten().ok_or(other);
        (
            old.iter().map(|step| Line::of(step, name)).collect(),
            self.now.of_stage(stage).iter().map(|step| Line::of(step, Ok)).collect(),
        )
    }

    fn pair(&mut self, stage: usize, other: usize) {
        self.old[stage] = Some(other);
        self.new[other] = Some(stage);
    }

    fn are_free(&self, stage: usize, other: usize) -> bool {
        self.old[stage].is_none() && self.new[other].is_none()
    }

    /// How many steps of a stage say what one of the other stage says.
    fn alike(&self, stage: usize, other: usize) -> usize {
        let mut said: HashMap<Key, usize> = HashMap::new();
        for step in self.before.of_stage(other) {
            *said.entry(step.said).or_default() += 1;
        }
        let one_less = |step: &&Step| match said.get_mut(&step.said) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        };
        self.now.of_stage(stage).iter().filter(one_less).count()
    }
}

/// What a step says, with the stages that it takes from by what they are now; one that is no more
/// by what it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    said: Key,
    from: Vec<Result<usize, usize>>,
}

impl Line {
    fn of(step: &Step, name: impl Fn(usize) -> Result<usize, usize>) -> Self {
        Self { said: step.said, from: step.stages.iter().map(|stage| name(*stage)).collect() }
    }
}

/// Where the steps of `new` stand in `old`: as the difference of the two pairs them, and of those that
/// it leaves over, several that say the same in their order.
pub fn matched(old: &[Line], new: &[Line], difference: &[DiffOp]) -> Vec<Option<usize>> {
    let mut found = vec![None; new.len()];
    let mut is_left = vec![true; old.len()];
    for operation in difference {
        if let DiffOp::Equal { old_index, new_index, len } = *operation {
            for step in 0..len {
                found[new_index + step] = Some(old_index + step);
                is_left[old_index + step] = false;
            }
        }
    }
    let mut places: HashMap<&Line, Vec<usize>> = HashMap::new();
    for (place, line) in old.iter().enumerate().rev().filter(|(place, _)| is_left[*place]) {
        places.entry(line).or_default().push(place);
    }
    for (place, line) in found.iter_mut().zip(new).filter(|(place, _)| place.is_none()) {
        *place = places.get_mut(line).and_then(Vec::pop);
    }
    found
}

/// What stands in the place of a step that was changed alone.
pub fn instead<'s>(old: &'s [Step], new: &[Step], index: usize) -> Option<&'s Step> {
    old.get(index).filter(|_| old.len() == new.len())
}

/// By the place of each step.
pub fn by_key(recipe: &Recipe<'_>) -> HashMap<Key, Place> {
    recipe.steps.iter().rev().map(|step| (step.key, step.place)).collect()
}
