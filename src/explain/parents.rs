//! What the parents of a rebuilt step came out as: the same as before, or different, and in what.
//!
//! Adds to the causes that lie in another step. Nothing here makes a cause of another kind.

use std::collections::BTreeMap;

use crate::dockerfile::{self, Place};
use crate::measure::TrialRow;

use super::cause::{Cause, Differing, Output};
use super::depends::{above, chain, made_from, takes_from, top};
use super::files::Wanted;
use super::misses::Explainer;
use super::outputs::together;

/// Steps that come out different with the same inputs, by commit and place; none for steps of which
/// that is not known.
pub type Unstable = BTreeMap<(usize, Place), Option<Differing>>;

impl Explainer<'_> {
    /// `cause` of the step at `place`, with what the parent that it names came out as against the
    /// commit `against`.
    pub fn with_output(
        &mut self,
        row: &TrialRow,
        place: Place,
        cause: Cause,
        against: Option<usize>,
    ) -> Cause {
        let Some(against) = against.filter(|_| !self.outputs.is_empty()) else { return cause };
        match cause {
            Cause::Above { step, .. } => {
                let parent = above(self.dockerfile(row), place);
                // What is changed itself would have missed anyway.
                let own = self.comparisons.own(against, row.commit, place).is_some();
                let parent = parent.filter(|_| !own);
                let output = parent.and_then(|parent| self.chain_output(row, parent, against));
                Cause::Above { step, output }
            }
            Cause::Stage { stage, .. } => {
                let output = self.taken_output(row, place, against);
                let different = matches!(output, Some(Output::Different(_)));
                let unstable = different.then(|| self.who(row, place, against)).flatten();
                Cause::Stage { stage, output, unstable }
            }
            other => other,
        }
    }

    /// In what the step at `place` is known to come out different with the same inputs.
    pub fn unstable(
        &mut self,
        row: &TrialRow,
        place: Place,
        against: Option<usize>,
    ) -> Option<Differing> {
        if self.outputs.is_empty() {
            return None;
        }
        if let Some(known) = self.unstable.get(&(row.commit, place)) {
            return known.clone();
        }
        let from: Vec<Place> = made_from(self.dockerfile(row), place).into_iter().collect();
        let mut places = vec![(row.commit, place, from.clone())];
        let same = against
            .filter(|&other| !self.comparisons.between(other, row.commit).is_affected(place));
        if let Some(other) = same.filter(|other| *other != row.commit) {
            let changed = self.comparisons.changed(other, row.commit);
            let all: Option<Vec<Place>> = from.iter().map(|place| changed.was(*place)).collect();
            let stood = changed.was(place).zip(all);
            places.extend(stood.map(|(place, from)| (other, place, from)));
        }
        let found = self.outputs.unstable(self.analysis, &places);
        self.unstable.insert((row.commit, place), found.clone());
        found
    }

    /// What the step at `place` itself came out as against `against`.
    pub(super) fn own_output(
        &mut self,
        row: &TrialRow,
        place: Place,
        against: usize,
    ) -> Option<Output> {
        let old = self.comparisons.changed(against, row.commit).stood(place)?;
        let (output, other) = self.outputs.pair(row, place, against, old)?;
        Some(self.outputs.between(self.analysis, output, other))
    }

    /// What the step at `place` and all above it came out as, which is what the step below it sees.
    fn chain_output(&mut self, row: &TrialRow, place: Place, against: usize) -> Option<Output> {
        let mut differing = vec![];
        let mut all_known = true;
        for place in chain(self.dockerfile(row), place) {
            match self.own_output(row, place, against) {
                Some(Output::Same) => {}
                Some(Output::Different(files)) => differing.push(files),
                None => all_known = false,
            }
        }
        match differing.is_empty() {
            false => Some(Output::Different(together(differing))),
            true => all_known.then_some(Output::Same),
        }
    }

    /// What the step at `place` takes from stages came out as. A copy holds just that; of a mount it
    /// is known only where the whole stage is the same.
    fn taken_output(&mut self, row: &TrialRow, place: Place, against: usize) -> Option<Output> {
        let dockerfile = self.dockerfile(row);
        if dockerfile.at(place)?.keyword != "RUN" {
            return self.own_output(row, place, against);
        }
        let stages = takes_from(dockerfile, place).into_iter();
        let tops: Vec<Place> = stages.filter_map(|stage| top(dockerfile, stage)).collect();
        let mut outputs = tops.into_iter().map(|top| self.chain_output(row, top, against));
        let same = outputs.all(|output| output == Some(Output::Same));
        same.then_some(Output::Same)
    }

    /// The one step that all differing files that the step at `place` copies come from, if it is
    /// known to make them anew each time.
    fn who(&mut self, row: &TrialRow, place: Place, against: usize) -> Option<String> {
        let recipe = self.comparisons.recipe(row.commit).clone();
        let dockerfile = &recipe.dockerfile;
        let instruction = dockerfile.at(place)?;
        let variables = dockerfile.variables(place, recipe.args);
        let sources: Vec<String> = instruction
            .sources()
            .iter()
            .map(|source| dockerfile::expand(source, &variables))
            .map(|source| source.trim_start_matches('/').to_owned())
            .map(|source| if source.is_empty() { ".".to_owned() } else { source })
            .collect();
        let wanted = Wanted::new(&sources, &[]);
        let stage = *takes_from(dockerfile, place).first()?;
        let mut found = None;
        for place in chain(dockerfile, top(dockerfile, stage)?) {
            let Some(Output::Different(files)) = self.own_output(row, place, against) else {
                continue;
            };
            // Files that are not named may be among those that are copied.
            if files.files.len() < files.count || files.files.is_empty() {
                return None;
            }
            let taken: Vec<&String> =
                files.files.iter().filter(|path| wanted.takes(path)).collect();
            if taken.is_empty() {
                continue;
            }
            let unstable = self.unstable(row, place, Some(against))?;
            let all = taken.iter().all(|path| unstable.files.contains(path));
            if !all || found.is_some() {
                return None;
            }
            found = Some(place);
        }
        let instruction = dockerfile.at(found?)?;
        Some(format!("{} {}", instruction.keyword, instruction.text))
    }
}
