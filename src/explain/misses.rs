//! From a trial's rebuilt steps to their causes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use crate::dockerfile::{Dockerfile, Place};
use crate::journal::Outcome;
use crate::measure::{Analysis, Name, StepRow, StepState, TrialRow};
use crate::strategy::EngineUse;

use super::bases::Bases;
use super::cause::Cause;
use super::collected::Collections;
use super::comparisons::Comparisons;
use super::depends::{above, cache_mounts, rests_on, steps, takes_from};
use super::outputs::Outputs;
use super::parents::Unstable;
use super::recipe::Key;
use super::sources::{Extent, Readable, Source, Sources};
use super::{Miss, TrialMisses};

impl Trial<'_> {
    /// Whether the chain of the miss at `number` begins with `cause`.
    fn begins_with(&self, number: Option<usize>, cause: &Cause) -> bool {
        let mut number = number;
        for _ in 0..self.misses.len() {
            let Some(miss) = number.and_then(|number| self.misses.get(number)) else {
                return false;
            };
            if !miss.cause.is_inherited() {
                return miss.cause == *cause;
            }
            number = Some(miss.first);
        }
        false
    }
}

/// Explains trials of one journal, one after the other, and remembers what it compared.
pub struct Explainer<'a> {
    pub(super) analysis: &'a Analysis,
    pub(super) comparisons: Comparisons<'a>,
    pub(super) outputs: Outputs<'a>,
    collected: Collections<'a>,
    bases: Bases<'a>,
    pub(super) unstable: Unstable,
    sources: Sources<'a>,
    held: HashMap<Cached, Rc<Held>>,
    /// Which instruction each step of each commit is.
    places: HashMap<(usize, Name), Option<Place>>,
}

/// The rebuilt steps of a trial that an instruction is known for, by their places among all.
type Rebuilt = BTreeMap<Place, usize>;

/// Whether a step is as it was, whether the cache holds it, how many steps are as they were, and the
/// commit: the greater, the nearer.
type Likeness = (bool, bool, usize, usize);

/// What a cache holds some steps of: a recipe, the target, whether an engine kept it, and whether it is
/// of the final image only.
type Cached = (usize, Option<String>, bool, bool);

/// The steps that a cache holds.
struct Held {
    keys: HashSet<Key>,
    places: BTreeSet<Place>,
}

/// A rebuilt step and the trial around it.
#[derive(Clone, Copy)]
struct Trial<'t> {
    row: &'t TrialRow,
    step: &'t StepRow,
    readable: &'t Readable,
    rebuilt: &'t Rebuilt,
    /// Every rebuilt step.
    steps: &'t [(&'t StepRow, Option<Place>)],
    /// What is explained already: steps that stand above.
    misses: &'t [Miss],
}

impl<'a> Explainer<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        let commits = &analysis.header.commits;
        let comparisons = Comparisons::new(commits);
        let mut places = HashMap::new();
        let outputs = Outputs::new(analysis, |row, name| {
            let found = || comparisons.recipe(row.commit).dockerfile.find_step(analysis.text(name));
            *places.entry((row.commit, name)).or_insert_with(found)
        });
        Self {
            analysis,
            outputs,
            collected: Collections::new(&analysis.trials),
            bases: Bases::new(analysis),
            unstable: Unstable::new(),
            comparisons,
            sources: Sources::new(&analysis.header, &analysis.trials),
            held: HashMap::new(),
            places,
        }
    }

    /// The misses of `row`; none where nothing was built or the journal does not hold its Dockerfile.
    pub fn trial(&mut self, row: &TrialRow) -> Option<TrialMisses> {
        if !is_explained(self.analysis, row) {
            return None;
        }
        let mut misses: Vec<Miss> = vec![];
        let mut rebuilt = Rebuilt::new();
        let missed = row.steps.iter().filter(|step| step.state == StepState::Rebuilt);
        let mut places: Vec<(&StepRow, Option<Place>)> =
            missed.map(|step| (step, self.place(row, step))).collect();
        // Steps of which no instruction is known come last, as they came.
        places.sort_by_key(|(_, place)| (place.is_none(), *place));
        for (number, (_, place)) in places.iter().enumerate() {
            if let Some(place) = place {
                rebuilt.insert(*place, number);
            }
        }
        let builds = places.iter().map(|(step, _)| step.build + 1).max().unwrap_or(0);
        let readable: Vec<Readable> = (0..builds).map(|build| self.readable(row, build)).collect();
        for (number, (step, place)) in places.iter().enumerate() {
            let trial = Trial {
                row,
                step,
                readable: &readable[step.build],
                rebuilt: &rebuilt,
                steps: &places,
                misses: &misses,
            };
            let (cause, because, against) = self.cause(&trial, *place);
            let cause = match place {
                Some(place) => self.with_output(row, *place, cause, against),
                None => cause,
            };
            let unstable = place.and_then(|place| self.unstable(row, place, against));
            let output = place
                .zip(against)
                .and_then(|(place, against)| self.own_output(row, place, against));
            let instruction = place.and_then(|place| self.dockerfile(row).at(place));
            let fresh = self.sources.strategy(row).is_some_and(|s| s.engine == EngineUse::Fresh);
            misses.push(Miss {
                step: self.text(step).to_owned(),
                line: instruction.map(|instruction| instruction.first_line),
                time: step.time,
                evidence: cause.evidence(),
                cause,
                first: because.unwrap_or(number),
                against,
                output,
                unstable,
                empty_mounts: instruction.filter(|_| fresh).map(cache_mounts).unwrap_or_default(),
            });
        }
        follow(&mut misses);
        Some(TrialMisses {
            round: row.round,
            strategy: self.analysis.strategies.get(row.strategy).cloned().unwrap_or_default(),
            link: self.analysis.links.get(row.link).cloned().flatten(),
            commit: row.commit,
            cached: row.cached(),
            misses,
        })
    }

    /// What the build of `row` at the place `build` could read.
    pub(super) fn readable(&self, row: &TrialRow, build: usize) -> Readable {
        self.sources.of(row, build)
    }

    /// The targets of every commit.
    pub fn targets(&self) -> &'a [String] {
        &self.analysis.header.targets
    }

    /// For a trial that was not played: whether a cache that its `build` could read holds the step
    /// at `place`, and whether everything it is made from is as it was there. A source for which
    /// both hold wins.
    pub fn would_hold(&mut self, row: &TrialRow, build: usize, place: Place) -> (bool, bool) {
        let readable = self.readable(row, build);
        let mut best = (false, false);
        for source in self.telling(row, place, &readable.sources) {
            let same = !self.is_affected(source, row, place);
            let holds = same && self.holds(source, row, place);
            best = best.max((holds, same));
        }
        best
    }

    /// What would make the step at `place` miss by itself.
    pub fn own_cause(&mut self, row: &TrialRow, build: usize, place: Place) -> Option<Cause> {
        let readable = self.readable(row, build);
        if !readable.reads {
            return Some(Cause::NoCacheRead);
        }
        if readable.sources.is_empty() {
            return Some(Cause::FirstBuild);
        }
        let nearest = self.nearest(row, place, &readable.sources);
        self.comparisons.own(nearest.commit, row.commit, place)
    }

    fn place(&mut self, row: &TrialRow, step: &StepRow) -> Option<Place> {
        let dockerfile = &self.comparisons.recipe(row.commit).dockerfile;
        let found = || dockerfile.find_step(self.analysis.text(step.name));
        *self.places.entry((row.commit, step.name)).or_insert_with(found)
    }

    fn text(&self, step: &StepRow) -> &'a str {
        self.analysis.text(step.name)
    }

    pub fn dockerfile(&self, row: &TrialRow) -> &Dockerfile {
        &self.comparisons.recipe(row.commit).dockerfile
    }

    /// The cause, the rebuilt step it lies in if that is another, and the commit compared with.
    fn cause(
        &mut self,
        trial: &Trial<'_>,
        place: Option<Place>,
    ) -> (Cause, Option<usize>, Option<usize>) {
        let Trial { row, readable, .. } = *trial;
        if !readable.reads {
            return (Cause::NoCacheRead, None, None);
        }
        if readable.sources.is_empty() {
            let cause = match readable.missing.first() {
                Some(reference) if readable.any_before => {
                    Cause::NeverWritten { reference: reference.clone() }
                }
                _ => Cause::FirstBuild,
            };
            return (cause, None, None);
        }
        let Some(place) = place else {
            return (Cause::Unexplained { caches: readable.caches() }, None, None);
        };
        let nearest = self.nearest(row, place, &readable.sources);
        let against = Some(nearest.commit);
        let own = self.comparisons.own(nearest.commit, row.commit, place);
        let recipe = self.comparisons.recipe(row.commit);
        let own = own.or_else(|| self.bases.moved(row, place, nearest.commit, recipe));
        // A step that is as it was is another's doing, unless the cache that was read lacks it.
        let inherited = self.inherited(trial, place);
        let lacking = own.is_some() || (inherited.is_none() && !self.holds(&nearest, row, place));
        if lacking && let Some((lost, reference)) = self.lost(row, place, readable) {
            let by = nearest.commit;
            let target = nearest.target.clone();
            return (Cause::Overwritten { reference, lost, by, target }, None, Some(lost));
        }
        if let Some(cause) = own {
            // What changed above it too is one cause with it, such as a build arg that both see.
            let above = inherited.filter(|(_, number)| trial.begins_with(*number, &cause));
            return above.map_or((cause, None, against), |(above, n)| (above, n, against));
        }
        let (cause, because) = inherited.unwrap_or_else(|| match self.left(trial, place) {
            // An engine that cannot lay a linked copy onto others makes it on top of them.
            Cause::Unexplained { caches } => {
                let above = above(self.dockerfile(row), place);
                self.rebuilt(trial, above).unwrap_or((Cause::Unexplained { caches }, None))
            }
            left => (left, None),
        });
        (cause, because, against)
    }

    /// The first of the steps at `above` that was rebuilt, as the cause of one that is made from it.
    fn rebuilt(
        &self,
        trial: &Trial<'_>,
        above: impl IntoIterator<Item = Place>,
    ) -> Option<(Cause, Option<usize>)> {
        let number = above.into_iter().find_map(|place| trial.rebuilt.get(&place).copied())?;
        let step = trial.steps.get(number).map(|(step, _)| self.text(step).to_owned());
        Some((Cause::Above { step: step.unwrap_or_default(), output: None }, Some(number)))
    }

    /// The rebuilt step or stage that the one at `place` is made from.
    fn inherited(&self, trial: &Trial<'_>, place: Place) -> Option<(Cause, Option<usize>)> {
        let Trial { row, rebuilt, .. } = *trial;
        let dockerfile = self.dockerfile(row);
        if let Some(above) = self.rebuilt(trial, rests_on(dockerfile, place)) {
            return Some(above);
        }
        takes_from(dockerfile, place).into_iter().find_map(|stage| {
            let (_, number) = rebuilt
                .iter()
                .filter(|(other, _)| is_in(dockerfile, **other, stage))
                .max_by_key(|(other, _)| **other)?;
            let stage = dockerfile.stage_name(stage);
            Some((Cause::Stage { stage, output: None, unstable: None }, Some(*number)))
        })
    }

    /// Why a step missed whose every input is as it was.
    fn left(&mut self, trial: &Trial<'_>, place: Place) -> Cause {
        let Trial { row, step, readable, .. } = *trial;
        let unexplained = Cause::Unexplained { caches: readable.caches() };
        let mut unaffected: Vec<&Source> = vec![];
        for source in self.telling(row, place, &readable.sources) {
            if !self.is_affected(source, row, place) {
                unaffected.push(source);
            }
        }
        let holding: Vec<&Source> =
            unaffected.iter().copied().filter(|source| self.holds(source, row, place)).collect();
        if !holding.is_empty() || unaffected.is_empty() {
            let failed = row.builds.get(step.build).map(|build| build.failed_imports.as_slice());
            let messages = failed.unwrap_or_default().iter().map(|name| self.analysis.text(*name));
            if let Some(message) = readable.failure(&holding, &messages.collect()) {
                return Cause::ImportFailed { message: message.to_owned() };
            }
        }
        if !holding.is_empty() {
            let held: Option<usize> = unaffected.iter().map(|source| source.commit).max();
            if let Some(frontend) = held.and_then(|held| self.other_frontend(held, row.commit)) {
                return frontend;
            }
            let collected = held.and_then(|held| self.collected.since(row, held, self.text(step)));
            return collected.unwrap_or(unexplained);
        }
        let left_out = unaffected.iter().find_map(|source| match &source.extent {
            Extent::Image(mode) => Some(mode.clone()),
            Extent::All => None,
        });
        match left_out {
            Some(mode) => Cause::LeftOut { mode },
            None if unaffected.is_empty() => unexplained,
            None => Cause::NeverBuilt,
        }
    }

    /// The frontends of two commits, where they are not the same.
    pub fn other_frontend(&self, before: usize, now: usize) -> Option<Cause> {
        let frontend = |commit: usize| {
            let recipe = self.comparisons.recipe(commit);
            recipe.dockerfile.frontend(recipe.args).map(str::to_owned)
        };
        let (before, after) = (frontend(before), frontend(now));
        (before != after).then_some(Cause::Frontend { before, after })
    }

    /// Whether the cache holds the step at `place`, going by how much of a build it holds: of what was
    /// built then, as long as that has the step.
    fn holds(&mut self, source: &Source, row: &TrialRow, place: Place) -> bool {
        let changed = self.comparisons.changed(source.commit, row.commit);
        let recipe = self.comparisons.recipe(row.commit).clone();
        if !changed.is_new(place) {
            let key = recipe.step(place).map(|step| step.key);
            return key.is_some_and(|key| self.held(source).keys.contains(&key));
        }
        match changed.was(place) {
            Some(was) => self.held(source).places.contains(&was),
            None => self.covers(source, &recipe.dockerfile, place),
        }
    }

    /// The steps of its own commit that the cache holds.
    fn held(&mut self, source: &Source) -> Rc<Held> {
        let recipe = self.comparisons.recipe(source.commit).clone();
        let is_kept = source.reference.is_none();
        let is_image = matches!(source.extent, Extent::Image(_));
        let cached = (recipe.number, source.target.clone(), is_kept, is_image);
        if let Some(held) = self.held.get(&cached) {
            return held.clone();
        }
        let steps = recipe.steps.iter();
        let held = steps.filter(|step| self.covers(source, &recipe.dockerfile, step.place));
        let (keys, places) = held.map(|step| (step.key, step.place)).unzip();
        let held = Rc::new(Held { keys, places });
        self.held.insert(cached, held.clone());
        held
    }

    /// Whether a build of `dockerfile` leaves the step at `place` in a cache such as `source`.
    fn covers(&self, source: &Source, dockerfile: &Dockerfile, place: Place) -> bool {
        let count = dockerfile.stages.len();
        let stage = |target: Option<&str>| match target {
            Some(name) => dockerfile.stage_named(name, count),
            None => count.checked_sub(1),
        };
        let is_built = |stage: usize| match &source.extent {
            Extent::All => is_needed(dockerfile, place, stage),
            Extent::Image(_) => is_in(dockerfile, place, stage),
        };
        // A kept engine built everything that any of the commit's targets needs.
        if source.reference.is_none() && !self.targets().is_empty() {
            let targets = self.targets().iter();
            return targets.filter_map(|target| stage(Some(target))).any(is_built);
        }
        stage(source.target.as_deref()).is_some_and(is_built)
    }

    /// Those of `sources` that tell why the step at `place` was rebuilt, or all if none does. What an
    /// earlier build of the same trial wrote differs in nothing, so it tells only where it holds the step.
    fn telling<'s>(
        &mut self,
        row: &TrialRow,
        place: Place,
        sources: &'s [Rc<Source>],
    ) -> Vec<&'s Rc<Source>> {
        let mut telling: Vec<&Rc<Source>> = vec![];
        for source in sources {
            if source.commit != row.commit || self.holds(source, row, place) {
                telling.push(source);
            }
        }
        if telling.is_empty() { sources.iter().collect() } else { telling }
    }

    /// The source of which most is as it was: for the step itself, then all in all, then the latest.
    fn nearest(&mut self, row: &TrialRow, place: Place, sources: &[Rc<Source>]) -> Rc<Source> {
        let mut best: Option<(Likeness, &Rc<Source>)> = None;
        for source in self.telling(row, place, sources) {
            let holds = self.holds(source, row, place);
            let compared = self.comparisons.between(source.commit, row.commit);
            let score = (!compared.is_affected(place), holds, compared.same(), source.commit);
            if best.is_none_or(|(other, _)| score >= other) {
                best = Some((score, source));
            }
        }
        // The caller has at least one source.
        best.map_or_else(|| sources[0].clone(), |(_, source)| source.clone())
    }

    /// An overwritten cache that held the step, which and all it is made from are as they are now.
    fn lost(&mut self, row: &TrialRow, place: Place, found: &Readable) -> Option<(usize, String)> {
        found.overwritten.iter().rev().find_map(|source| {
            let holds = self.holds(source, row, place);
            let reference = source.reference.clone().filter(|_| holds)?;
            let same = !self.is_affected(source, row, place);
            same.then_some((source.commit, reference))
        })
    }

    /// Whether anything that the step at `place` is made from differs from what the cache was
    /// written from.
    fn is_affected(&mut self, source: &Source, row: &TrialRow, place: Place) -> bool {
        self.comparisons.between(source.commit, row.commit).is_affected(place)
    }
}

/// Whether anything can be told of `row`. Not without its Dockerfile, as in older journals and pruned
/// baselines.
pub fn is_explained(analysis: &Analysis, row: &TrialRow) -> bool {
    let commit = analysis.header.commits.get(row.commit);
    !matches!(row.outcome, Outcome::Broken { .. })
        && commit.is_some_and(|commit| commit.dockerfile.is_some())
}

/// Whether `place` is in `stage` or in one that it starts from.
fn is_in(dockerfile: &Dockerfile, place: Place, stage: usize) -> bool {
    let mut chain = std::iter::successors(Some(stage), |stage| dockerfile.parent_stage(*stage));
    chain.any(|stage| stage == place.stage)
}

/// Whether building `stage` needs `place`: in its own chain, or in that of a stage it takes from.
pub fn is_needed(dockerfile: &Dockerfile, place: Place, stage: usize) -> bool {
    let mut waiting = vec![stage];
    let mut seen = vec![false; dockerfile.stages.len()];
    while let Some(stage) = waiting.pop() {
        if stage == place.stage {
            return true;
        }
        // Each stage is looked at once, whatever takes from it.
        if seen.get_mut(stage).is_none_or(|seen| std::mem::replace(seen, true)) {
            continue;
        }
        waiting.extend(dockerfile.parent_stage(stage));
        let steps = steps(dockerfile, stage).into_iter();
        waiting.extend(steps.flat_map(|(place, _)| takes_from(dockerfile, place)));
    }
    false
}

/// Makes each miss point at the step where its chain begins.
fn follow(misses: &mut [Miss]) {
    for number in 0..misses.len() {
        let mut first = misses[number].first;
        // At most as many steps as there are, whatever the journal holds.
        for _ in 0..misses.len() {
            let Some(next) = misses.get(first).map(|miss| miss.first) else { break };
            if next == first {
                break;
            }
            first = next;
        }
        misses[number].first = first;
    }
}
