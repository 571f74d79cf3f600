//! What differs between commits of a sequence for each step, files and all.
//!
//! Commits that build the same Dockerfile with the same build args share a recipe. What was compared
//! last is remembered, but not all of it: a long sequence compares each commit with dozens.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use crate::dockerfile::Place;
use crate::journal::CommitRecord;

use super::cause::{Cause, ChangedFile};
use super::compare::Changed;
use super::files::Files;
use super::recipe::Recipe;

/// The commits of a sequence, held against each other as often as is asked for.
pub struct Comparisons<'a> {
    recipes: Vec<Rc<Recipe<'a>>>,
    files: Files<'a>,
    changed: Recent<(usize, usize), Changed>,
    compared: Recent<(usize, usize), Comparison>,
}

impl<'a> Comparisons<'a> {
    pub fn new(commits: &'a [CommitRecord]) -> Self {
        let mut known: HashMap<(&str, &BTreeMap<String, String>), Rc<Recipe<'a>>> = HashMap::new();
        let mut recipes = vec![];
        for commit in commits {
            let text = commit.dockerfile.as_deref().unwrap_or_default();
            let number = known.len();
            let recipe = known
                .entry((text, &commit.args))
                .or_insert_with(|| Rc::new(Recipe::new(number, text, &commit.args)));
            recipes.push(recipe.clone());
        }
        Self {
            recipes,
            files: Files::new(commits),
            changed: Recent::default(),
            compared: Recent::default(),
        }
    }

    /// What a commit of the sequence builds.
    pub fn recipe(&self, commit: usize) -> &Rc<Recipe<'a>> {
        &self.recipes[commit]
    }

    /// What differs between the Dockerfiles of two commits.
    pub fn changed(&mut self, before: usize, now: usize) -> Rc<Changed> {
        let (before, now) = (&self.recipes[before], &self.recipes[now]);
        let key = (before.number, now.number);
        self.changed.get_or_insert_with(key, || Changed::of(before, now))
    }

    /// Which steps of `now` are as they were at `before`.
    pub fn between(&mut self, before: usize, now: usize) -> Rc<Comparison> {
        let changed = self.changed(before, now);
        let (recipe, files) = (&self.recipes[now], &mut self.files);
        self.compared.get_or_insert_with((before, now), || {
            let mut found = Comparison { steps: recipe.steps.len(), ..Comparison::default() };
            for step in &recipe.steps {
                let place = step.place;
                let is_own = changed.own(place).is_some();
                let is_new = changed.is_new(place);
                let taken = step.taken.as_ref().filter(|_| !is_own && changed.was(place).is_some());
                let differ = taken.is_some_and(|taken| files.differ(before, now, taken));
                if differ {
                    found.files.insert(place);
                }
                if is_new || differ || step.from.iter().any(|from| found.is_affected(*from)) {
                    found.affected.insert(place);
                }
            }
            found
        })
    }

    /// What differs between two commits at the step at `place` of `now` itself.
    pub fn own(&mut self, before: usize, now: usize, place: Place) -> Option<Cause> {
        if let Some(cause) = self.changed(before, now).own(place) {
            return Some(cause.clone());
        }
        if !self.between(before, now).files.contains(&place) {
            return None;
        }
        let taken = self.recipes[now].step(place)?.taken.as_ref()?;
        let mut files = self.files.changed(before, now, taken);
        let count = files.len();
        files.truncate(ChangedFile::SHOWN);
        Some(Cause::Files { files, count })
    }
}

/// Which steps of the later of two commits are not as they were.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Those of which files of the build context differ, and nothing else that is their own.
    files: BTreeSet<Place>,
    affected: BTreeSet<Place>,
    steps: usize,
}

impl Comparison {
    /// Whether anything differs that the step at `place` is made from.
    pub fn is_affected(&self, place: Place) -> bool {
        self.affected.contains(&place)
    }

    /// How many steps are as they were.
    pub fn same(&self) -> usize {
        self.steps - self.affected.len()
    }
}

/// So many values are remembered at least; at most twice as many.
const REMEMBERED: usize = 1 << 13;

/// What was asked for last.
struct Recent<K, V> {
    new: HashMap<K, Rc<V>>,
    old: HashMap<K, Rc<V>>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { new: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> Rc<V> {
        if let Some(known) = self.new.get(&key) {
            return known.clone();
        }
        let value = self.old.remove(&key).unwrap_or_else(|| Rc::new(make()));
        if self.new.len() == REMEMBERED {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_last_is_remembered_and_no_more() {
        let mut recent: Recent<usize, usize> = Recent::default();
        let mut made = 0;
        for round in 0..3 {
            for key in 0..REMEMBERED {
                let value = recent.get_or_insert_with(key, || {
                    made += 1;
                    key
                });
                assert_eq!((*value, round == 0 || made == REMEMBERED), (key, true));
            }
        }
        for key in 0..10 * REMEMBERED {
            recent.get_or_insert_with(key, || key);
            assert!(recent.new.len() + recent.old.len() <= 2 * REMEMBERED);
        }
    }
}
