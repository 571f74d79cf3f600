//! What differs between two commits for each step of a Dockerfile.
//!
//! Mirrors what goes into BuildKit's cache keys: the instruction with its variables filled in, for
//! `RUN` also every variable it sees, the files it takes, and all of that for what lies below
//! (buildkit `frontend/dockerfile/dockerfile2llb/convert.go`, `solver/llbsolver/ops`).

use std::collections::{BTreeMap, BTreeSet};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::dockerfile::{self, Dockerfile, Instruction, Place};
use crate::journal::CommitRecord;

use super::cause::{Cause, ChangedFile, InstructionChange, Variable};
use super::depends::{above, takes_from};
use super::files::{Files, Wanted};

/// A commit of the sequence, with its Dockerfile parsed.
pub struct Revision<'a> {
    /// Its place in the sequence.
    pub place: usize,
    pub dockerfile: Dockerfile,
    pub args: &'a BTreeMap<String, String>,
}

impl<'a> Revision<'a> {
    pub fn new(place: usize, commit: &'a CommitRecord) -> Self {
        let text = commit.dockerfile.as_deref().unwrap_or_default();
        Self { place, dockerfile: dockerfile::parse_with(text, &commit.args), args: &commit.args }
    }
}

/// Every difference between two revisions, by the step of the later one.
#[derive(Debug, Default)]
pub struct Comparison {
    own: BTreeMap<Place, Cause>,
    affected: BTreeSet<Place>,
    steps: usize,
}

impl Comparison {
    pub fn of(before: &Revision<'_>, now: &Revision<'_>, files: &Files<'_>) -> Self {
        let mut found = Self::default();
        for stage in 0..now.dockerfile.stages.len() {
            let pair = Pair { before, now, files, stage, old: counterpart(before, now, stage) };
            found.add_stage(&pair);
        }
        found
    }

    /// What differs at `place` itself.
    pub fn own(&self, place: Place) -> Option<&Cause> {
        self.own.get(&place)
    }

    /// Whether anything differs that the step at `place` is made from.
    pub fn is_affected(&self, place: Place) -> bool {
        self.affected.contains(&place)
    }

    /// How many steps are as they were.
    pub fn same(&self) -> usize {
        self.steps - self.affected.len()
    }

    fn add_stage(&mut self, pair: &Pair<'_>) {
        let dockerfile = &pair.now.dockerfile;
        let causes = pair.causes();
        for (index, (place, instruction)) in steps(dockerfile, pair.stage).into_iter().enumerate() {
            self.steps += 1;
            let cause = causes[index].clone().or_else(|| pair.inputs(place, instruction));
            let above = above(dockerfile, place);
            let taken = takes_from(dockerfile, place);
            let below = above.is_some_and(|place| self.is_affected(place))
                || taken.iter().any(|&stage| self.stage_is_affected(dockerfile, stage));
            if cause.is_some() || below {
                self.affected.insert(place);
            }
            if let Some(cause) = cause {
                self.own.insert(place, cause);
            }
        }
    }

    fn stage_is_affected(&self, dockerfile: &Dockerfile, stage: usize) -> bool {
        let mut stage = Some(stage);
        while let Some(current) = stage {
            if steps(dockerfile, current).iter().any(|(place, _)| self.is_affected(*place)) {
                return true;
            }
            stage = dockerfile.parent_stage(current);
        }
        false
    }
}

/// The steps of a stage, with their places.
pub fn steps(dockerfile: &Dockerfile, stage: usize) -> Vec<(Place, &Instruction)> {
    let instructions = dockerfile.stages.get(stage).map_or(&[][..], |stage| &stage.instructions);
    let numbered = instructions.iter().enumerate().filter(|(_, found)| found.is_step());
    numbered.map(|(instruction, found)| (Place { stage, instruction }, found)).collect()
}

/// The stage of `before` that `stage` of `now` was: of that name, or nameless at that place.
fn counterpart(before: &Revision<'_>, now: &Revision<'_>, stage: usize) -> Option<usize> {
    let name = &now.dockerfile.stages.get(stage)?.name;
    let old = &before.dockerfile.stages;
    match name {
        Some(_) => old.iter().position(|other| other.name == *name),
        None => Some(stage).filter(|place| old.get(*place).is_some_and(|s| s.name.is_none())),
    }
}

/// Where the instruction at `place` of `now` stood in `before`, where it said the same.
pub fn was(before: &Revision<'_>, now: &Revision<'_>, place: Place) -> Option<Place> {
    let stage = counterpart(before, now, place.stage)?;
    let instruction = now.dockerfile.at(place)?;
    let same = |(_, other): &(Place, &Instruction)| instruction.same_as(other);
    // Of several that say the same, the one at this place among them.
    let above = steps(&now.dockerfile, place.stage).into_iter().filter(|(other, _)| *other < place);
    let nth = above.filter(same).count();
    steps(&before.dockerfile, stage).into_iter().filter(same).nth(nth).map(|(place, _)| place)
}

/// The same, or what stands there now instead: an instruction that was changed alone.
pub fn stood(before: &Revision<'_>, now: &Revision<'_>, place: Place) -> Option<Place> {
    was(before, now, place).or_else(|| {
        let stage = counterpart(before, now, place.stage)?;
        let (old, new) = (steps(&before.dockerfile, stage), steps(&now.dockerfile, place.stage));
        let index = new.iter().position(|(other, _)| *other == place)?;
        let (found, _) = old.get(index).filter(|_| old.len() == new.len())?;
        Some(*found)
    })
}

/// One stage then and now.
struct Pair<'a> {
    before: &'a Revision<'a>,
    now: &'a Revision<'a>,
    files: &'a Files<'a>,
    stage: usize,
    old: Option<usize>,
}

impl Pair<'_> {
    /// Differences of the instructions' own text and order, and of the base, by step.
    fn causes(&self) -> Vec<Option<Cause>> {
        let new = texts(&self.now.dockerfile, self.stage);
        let old = self.old.map(|stage| texts(&self.before.dockerfile, stage)).unwrap_or_default();
        let mut causes = vec![None; new.len()];
        for operation in capture_diff_slices(Algorithm::Myers, &old, &new) {
            match operation {
                DiffOp::Equal { .. } => {}
                DiffOp::Delete { old_index, old_len, new_index } => {
                    let last = old_index + old_len - 1;
                    if let Some(cause) = causes.get_mut(new_index) {
                        *cause = instruction(
                            InstructionChange::RemovedAbove,
                            Some(&old[last]),
                            &new[new_index],
                        );
                    }
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    for place in new_index..new_index + new_len {
                        let moved = old.contains(&new[place]);
                        let change =
                            if moved { InstructionChange::Moved } else { InstructionChange::Added };
                        causes[place] = instruction(change, None, &new[place]);
                    }
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    for step in 0..new_len {
                        let place = new_index + step;
                        let other = old.get(old_index + step).filter(|_| step < old_len);
                        causes[place] = replaced(other, &new[place], &old);
                    }
                }
            }
        }
        if let (Some(first), Some(base)) = (causes.first_mut(), self.base()) {
            *first = Some(base);
        }
        causes
    }

    fn base(&self) -> Option<Cause> {
        let text = |revision: &Revision<'_>, stage: usize| {
            let stage = revision.dockerfile.stages.get(stage)?;
            let globals = revision.dockerfile.globals(revision.args);
            let platform = stage.from.flag("platform").map(|value| format!("--platform={value} "));
            let text = format!("{}{}", platform.unwrap_or_default(), stage.base);
            Some(dockerfile::expand(&text, &globals))
        };
        let (before, after) = (text(self.before, self.old?)?, text(self.now, self.stage)?);
        (before != after).then_some(Cause::Base { before, after })
    }

    /// Differences of what an instruction that says the same as before sees and takes.
    fn inputs(&self, place: Place, instruction: &Instruction) -> Option<Cause> {
        let old_place = was(self.before, self.now, place)?;
        let before = self.before.dockerfile.variables(old_place, self.before.args);
        let after = self.now.dockerfile.variables(place, self.now.args);
        self.variable(place, instruction, &before, &after)
            .or_else(|| self.setting(place, old_place, instruction))
            .or_else(|| self.files(instruction, &after))
    }

    fn variable(
        &self,
        place: Place,
        instruction: &Instruction,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
    ) -> Option<Cause> {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let differing = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
        let mut seen = differing.filter(|name| match instruction.keyword.as_str() {
            "RUN" => !is_proxy(name),
            _ => {
                let alone = |value: Option<&String>| {
                    let mut values = after.clone();
                    values.remove(*name);
                    values.extend(value.map(|value| ((*name).clone(), value.clone())));
                    dockerfile::expand(&instruction.text, &values)
                };
                alone(before.get(*name)) != alone(after.get(*name))
            }
        });
        let name = seen.next()?;
        let variable = Variable {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
            line: declaration(&self.now.dockerfile, place, name),
        };
        let given = |args: &BTreeMap<String, String>| args.get(name).cloned();
        let is_argument = given(self.now.args) != given(self.before.args)
            || !sets(&self.now.dockerfile, place, name, "ENV");
        Some(if is_argument { Cause::Argument(variable) } else { Cause::Environment(variable) })
    }

    fn setting(&self, place: Place, old: Place, instruction: &Instruction) -> Option<Cause> {
        if instruction.keyword != "RUN" {
            return None;
        }
        ["USER", "SHELL"].into_iter().find_map(|keyword| {
            let before = last_above(&self.before.dockerfile, old, keyword);
            let after = last_above(&self.now.dockerfile, place, keyword);
            (before != after).then(|| Cause::Setting { keyword: keyword.into(), before, after })
        })
    }

    fn files(
        &self,
        instruction: &Instruction,
        variables: &BTreeMap<String, String>,
    ) -> Option<Cause> {
        let wanted = Wanted::of(instruction, variables)?;
        let mut files = self.files.changed(self.before.place, self.now.place, &wanted);
        let count = files.len();
        files.truncate(ChangedFile::SHOWN);
        (count > 0).then_some(Cause::Files { files, count })
    }
}

fn instruction(change: InstructionChange, before: Option<&Text>, after: &Text) -> Option<Cause> {
    let line = |(_, text, heredocs): &Text| {
        let body: String = heredocs.iter().map(|body| format!("\n{body}")).collect();
        format!("{text}{body}")
    };
    Some(Cause::Instruction { change, before: before.map(line), after: line(after) })
}

/// Keyword, the whole line and the bodies of heredocs.
type Text = (String, String, Vec<String>);

fn replaced(old: Option<&Text>, new: &Text, all_old: &[Text]) -> Option<Cause> {
    match old.filter(|old| old.0 == new.0) {
        Some(old) => instruction(InstructionChange::Changed, Some(old), new),
        None if all_old.contains(new) => instruction(InstructionChange::Moved, None, new),
        None => instruction(InstructionChange::Added, None, new),
    }
}

fn texts(dockerfile: &Dockerfile, stage: usize) -> Vec<Text> {
    let line = |found: &Instruction| format!("{} {}", found.keyword, found.text);
    let steps = steps(dockerfile, stage).into_iter();
    steps.map(|(_, found)| (found.keyword.clone(), line(found), found.heredocs.clone())).collect()
}

/// Build args that are not part of a `RUN`'s cache key (`dockerfile2llb/convert.go`, proxy args).
fn is_proxy(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_str(), "http_proxy" | "https_proxy" | "ftp_proxy" | "no_proxy" | "all_proxy")
}

/// The instructions of `keyword` that the one at `place` stands below, lowest first.
fn all_above<'a>(
    dockerfile: &'a Dockerfile,
    place: Place,
    keyword: &'a str,
) -> impl Iterator<Item = &'a Instruction> {
    let chain = std::iter::successors(Some((place.stage, place.instruction)), |(stage, _)| {
        dockerfile.parent_stage(*stage).map(|parent| (parent, usize::MAX))
    });
    chain.flat_map(move |(stage, end)| {
        let instructions = dockerfile.stages.get(stage).map_or(&[][..], |s| &s.instructions);
        let end = end.min(instructions.len());
        instructions[..end].iter().rev().filter(move |found| found.keyword == keyword)
    })
}

/// What the last `keyword` above `place` says; nothing where there is none.
fn last_above(dockerfile: &Dockerfile, place: Place, keyword: &str) -> String {
    all_above(dockerfile, place, keyword).next().map_or(String::new(), |found| found.text.clone())
}

fn declares(instruction: &Instruction, name: &str) -> bool {
    let names = instruction.words.iter().map(|word| word.split_once('=').map_or(&**word, |w| w.0));
    names.into_iter().any(|declared| declared == name)
}

fn sets(dockerfile: &Dockerfile, place: Place, name: &str, keyword: &str) -> bool {
    all_above(dockerfile, place, keyword).any(|found| declares(found, name))
}

/// The line of the lowest `ARG` or `ENV` above `place` that declares `name`.
fn declaration(dockerfile: &Dockerfile, place: Place, name: &str) -> Option<usize> {
    let line = |keyword| {
        let mut found = all_above(dockerfile, place, keyword);
        found.find(|found| declares(found, name)).map(|found| found.first_line)
    };
    let global = || dockerfile.global.iter().find(|found| declares(found, name));
    line("ENV").max(line("ARG")).or_else(|| global().map(|found| found.first_line))
}
