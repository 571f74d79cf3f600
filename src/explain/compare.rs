//! What differs between two Dockerfiles for each step of the later one, files aside.
//!
//! A step of a key that the earlier one has is as it was, wherever it stands, and one of another key is
//! not. Why is told from the texts of the two stages, so a renamed stage is no difference. Surprising: a
//! change may have its first effect further below, where what it made is what another stage was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::dockerfile::{self, Dockerfile, Instruction, Place};

use super::cause::{Cause, InstructionChange, Variable};
use super::pairing::{Line, Pairing, by_key, instead, matched};
use super::recipe::{EPOCH, Key, Recipe, Step, epoch, filled, makes_folder};

/// Every difference between two recipes, by the step of the later one.
#[derive(Debug, Default)]
pub struct Changed {
    /// Steps of a key that the earlier one has not.
    new: BTreeSet<Place>,
    own: BTreeMap<Place, Cause>,
    was: BTreeMap<Place, Place>,
    stood: BTreeMap<Place, Place>,
}

impl Changed {
    pub fn of(before: &Recipe<'_>, now: &Recipe<'_>) -> Self {
        let mut found = Self::default();
        if before.number == now.number {
            found.was = now.steps.iter().map(|step| (step.place, step.place)).collect();
            found.stood.clone_from(&found.was);
            return found;
        }
        let pairing = Pairing::of(before, now);
        let known = by_key(before);
        let mut untold: Vec<Option<Cause>> = vec![];
        for stage in 0..now.dockerfile.stages.len() {
            let old = pairing.counterpart(stage);
            let pair = Pair { before, now, pairing: &pairing, stage, old };
            let left = pair.add(&known, &untold, &mut found);
            untold.push(left);
        }
        found
    }

    /// Whether the earlier one has no step that is as the one at `place`, files aside.
    pub fn is_new(&self, place: Place) -> bool {
        self.new.contains(&place)
    }

    /// What differs at `place` itself.
    pub fn own(&self, place: Place) -> Option<&Cause> {
        self.own.get(&place)
    }

    /// Where the step at `place` stood, where it said the same.
    pub fn was(&self, place: Place) -> Option<Place> {
        self.was.get(&place).copied()
    }

    /// The same, or what stands there now instead: a step that was changed alone.
    pub fn stood(&self, place: Place) -> Option<Place> {
        self.stood.get(&place).copied()
    }
}

/// One stage then and now.
struct Pair<'a> {
    before: &'a Recipe<'a>,
    now: &'a Recipe<'a>,
    pairing: &'a Pairing<'a>,
    stage: usize,
    old: Option<usize>,
}

/// What a stage starts from.
#[derive(PartialEq, Eq)]
enum Base {
    Image(String),
    /// A stage with steps.
    Stage(usize),
}

impl Pair<'_> {
    /// Adds what differs, with what no step of earlier stages `untold`; gives what none of this tells.
    fn add(
        &self,
        known: &HashMap<Key, Place>,
        untold: &[Option<Cause>],
        found: &mut Changed,
    ) -> Option<Cause> {
        let steps = self.now.of_stage(self.stage);
        let old_steps = self.old.map_or(&[][..], |old| self.before.of_stage(old));
        let (old, new) = self.pairing.lines(self.stage);
        let difference = capture_diff_slices(Algorithm::Myers, &old, &new);
        let places = matched(&old, &new, &difference);
        let of_stage = |stage: usize| untold.get(stage).cloned().flatten();
        let mut above = self.now.dockerfile.parent_stage(self.stage).and_then(of_stage);
        if steps.iter().all(|step| step.is_linked) {
            above = self.base().or(above);
        }
        let differences = || self.causes(&old, &new, &difference);
        let mut causes: Option<Vec<Option<Cause>>> = None;
        let mut any_new = false;
        for (index, step) in steps.iter().enumerate() {
            let was = places[index].and_then(|place| old_steps.get(place));
            if let Some(same) = was.filter(|was| was.key == step.key) {
                found.was.insert(step.place, same.place);
                found.stood.insert(step.place, same.place);
                // What sees past a linked copy may be new because of where that stands now.
                above = match step.is_linked {
                    true => above.or_else(|| {
                        let causes = causes.get_or_insert_with(differences);
                        causes[index].take().map(carried)
                    }),
                    false => None,
                };
                continue;
            }
            let causes = causes.get_or_insert_with(differences);
            let own = causes[index].take().or_else(|| {
                let was = was.filter(|was| was.own != step.own)?;
                self.inputs(step, was)
            });
            // One that is the same and stands in another stage is as good. What is made from it is not.
            if let Some(same) = known.get(&step.key) {
                found.was.insert(step.place, *same);
                found.stood.insert(step.place, *same);
                above = above.or(own.map(carried));
                continue;
            }
            any_new = true;
            found.new.insert(step.place);
            found.was.extend(was.map(|was| (step.place, was.place)));
            let stood = was.or_else(|| instead(old_steps, steps, index));
            found.stood.extend(stood.map(|stood| (step.place, stood.place)));
            let taken = || step.stages.iter().copied().find_map(of_stage);
            let own = own.or(above.take()).or_else(taken);
            found.own.extend(own.map(|cause| (step.place, cause)));
        }
        if any_new { None } else { above.or_else(|| self.cut(old_steps, &difference)) }
    }

    /// The last step of the stage, where it is gone and nothing stands there instead.
    fn cut(&self, old_steps: &[Step], difference: &[DiffOp]) -> Option<Cause> {
        let Some(DiffOp::Delete { old_index, old_len, .. }) = difference.last() else {
            return None;
        };
        let last = old_steps.get(old_index + old_len - 1)?;
        let gone = Text::of(self.before.dockerfile.at(last.place)?);
        Some(Cause::Instruction {
            change: InstructionChange::ChangedAbove,
            before: Some(gone.whole),
            after: String::new(),
        })
    }

    /// Differences of the instructions' own text and order, and of the base, by step.
    fn causes(&self, old: &[Line], new: &[Line], difference: &[DiffOp]) -> Vec<Option<Cause>> {
        // What sees what stands above `place`: no linked copy does.
        let steps = self.now.of_stage(self.stage);
        let seeing = |place: usize| (place..new.len()).find(|place| !steps[*place].is_linked);
        let texts = |recipe: &Recipe<'_>, stage| -> Vec<Text> {
            let steps = recipe.of_stage(stage).iter();
            steps.filter_map(|step| recipe.dockerfile.at(step.place)).map(Text::of).collect()
        };
        let old_texts = self.old.map(|stage| texts(self.before, stage)).unwrap_or_default();
        let texts = texts(self.now, self.stage);
        let mut causes = vec![None; new.len()];
        for operation in difference {
            match *operation {
                DiffOp::Equal { .. } => {}
                DiffOp::Delete { old_index, old_len, new_index } => {
                    let last = old_index + old_len - 1;
                    if let Some(place) = seeing(new_index) {
                        causes[place] = instruction(
                            InstructionChange::RemovedAbove,
                            Some(&old_texts[last]),
                            &texts[place],
                        );
                    }
                }
                DiffOp::Insert { new_index, new_len, .. } => {
                    for place in new_index..new_index + new_len {
                        let moved = old.contains(&new[place]);
                        let change =
                            if moved { InstructionChange::Moved } else { InstructionChange::Added };
                        causes[place] = instruction(change, None, &texts[place]);
                    }
                }
                DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                    for step in 0..new_len {
                        let place = new_index + step;
                        let other = old_texts.get(old_index + step).filter(|_| step < old_len);
                        let moved = old.contains(&new[place]);
                        causes[place] = replaced(other, &texts[place], moved);
                    }
                }
            }
        }
        if let (Some(first), Some(base)) = (seeing(0), self.base()) {
            causes[first] = Some(base);
        }
        causes
    }

    /// The difference of what the stage starts from.
    fn base(&self) -> Option<Cause> {
        let old = self.old?;
        let (was, is) = (base(self.before, old)?, base(self.now, self.stage)?);
        let same = match (&was, &is) {
            (Base::Stage(was), Base::Stage(is)) => self.pairing.counterpart(*is) == Some(*was),
            (was, is) => was == is,
        };
        if same {
            return None;
        }
        // A stage without steps may say the same and start from another one itself.
        let (chain_was, chain_is) = (stepless(self.before, old), stepless(self.now, self.stage));
        for (old, stage) in chain_was.iter().zip(&chain_is) {
            let (before, after) = (written(self.before, *old)?, written(self.now, *stage)?);
            if before != after {
                return Some(Cause::Base { before, after });
            }
        }
        let lost = matches!(is, Base::Image(_)) || chain_was.len() < chain_is.len();
        match was {
            // It starts from a stage of that name, and that has lost its steps.
            Base::Stage(was) if lost => {
                let removed = self.before.of_stage(was).last()?;
                let removed = Text::of(self.before.dockerfile.at(removed.place)?);
                let first = self.now.of_stage(self.stage).first();
                let first = first.and_then(|first| self.now.dockerfile.at(first.place));
                let from = || self.now.dockerfile.stages.get(self.stage).map(|stage| &stage.from);
                let after = Text::of(first.or_else(from)?);
                instruction(InstructionChange::RemovedAbove, Some(&removed), &after)
            }
            Base::Stage(_) | Base::Image(_) => None,
        }
    }

    /// Differences of what a step that says the same as before sees.
    fn inputs(&self, step: &Step, was: &Step) -> Option<Cause> {
        let instruction = self.now.dockerfile.at(step.place)?;
        let before = self.before.dockerfile.variables(was.place, self.before.args);
        let after = self.now.dockerfile.variables(step.place, self.now.args);
        self.variable(step.place, instruction, &before, &after)
            .or_else(|| self.setting(step.place, was.place, instruction))
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
        let mut seen = differing.filter(|name| {
            if instruction.keyword == "RUN" {
                return true;
            }
            let with = |values: &BTreeMap<String, String>, value: Option<&String>| {
                let mut values = values.clone();
                values.remove(*name);
                values.extend(value.map(|value| ((*name).clone(), value.clone())));
                filled(&instruction.text, &instruction.heredocs, &values)
            };
            let (was, is) = (before.get(*name), after.get(*name));
            // What one variable does may depend on another one that differs too.
            with(after, was) != with(after, is) || with(before, was) != with(before, is)
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
        let user = |recipe: &Recipe<'_>, place| {
            let values = recipe.dockerfile.variables(place, recipe.args);
            dockerfile::expand(&last_above(&recipe.dockerfile, place, "USER"), &values)
        };
        let shell = |recipe: &Recipe<'_>, place| last_above(&recipe.dockerfile, place, "SHELL");
        let values = self.now.dockerfile.variables(place, self.now.args);
        let is_run = instruction.keyword == "RUN";
        let makes = makes_folder(instruction, &values);
        let differing = |keyword: &str, before: String, after: String| {
            (before != after).then(|| Cause::Setting { keyword: keyword.into(), before, after })
        };
        let by_user = || differing("USER", user(self.before, old), user(self.now, place));
        let by_shell = || differing("SHELL", shell(self.before, old), shell(self.now, place));
        let of_user = if is_run || makes { by_user() } else { None };
        let of_shell = || if is_run && !instruction.is_list { by_shell() } else { None };
        let of_epoch = || if makes { self.epoch() } else { None };
        let folder = |recipe: &Recipe<'_>, place| last_above(&recipe.dockerfile, place, "WORKDIR");
        let by_folder = || differing("WORKDIR", folder(self.before, old), folder(self.now, place));
        let of_folder = || if instruction.is_linked() { by_folder() } else { None };
        of_user.or_else(of_shell).or_else(of_epoch).or_else(of_folder)
    }

    fn epoch(&self) -> Option<Cause> {
        let value = |recipe: &Recipe<'_>| {
            epoch(recipe.args, &recipe.dockerfile.globals(recipe.args)).cloned()
        };
        let (before, after) = (value(self.before), value(self.now));
        let line = || self.now.dockerfile.global.iter().find(|found| declares(found, EPOCH));
        let line = line().map(|found| found.first_line);
        (before != after)
            .then(|| Cause::Argument(Variable { name: EPOCH.into(), before, after, line }))
    }
}

/// What `stage` starts from in the end, past stages without steps.
fn base(recipe: &Recipe<'_>, stage: usize) -> Option<Base> {
    let mut current = stage;
    // Each stands before the one that starts from it, so this ends.
    while let Some(parent) = recipe.dockerfile.parent_stage(current) {
        if !recipe.of_stage(parent).is_empty() {
            return Some(Base::Stage(parent));
        }
        current = parent;
    }
    Some(Base::Image(written(recipe, current)?))
}

/// `stage` and the stages without steps that it starts from.
fn stepless(recipe: &Recipe<'_>, stage: usize) -> Vec<usize> {
    let parent = |stage: &usize| {
        let parent = recipe.dockerfile.parent_stage(*stage)?;
        recipe.of_stage(parent).is_empty().then_some(parent)
    };
    std::iter::successors(Some(stage), parent).collect()
}

/// Image or stage and platform of a `FROM`, with the variables filled in.
fn written(recipe: &Recipe<'_>, stage: usize) -> Option<String> {
    let stage = recipe.dockerfile.stages.get(stage)?;
    let globals = recipe.dockerfile.globals(recipe.args);
    let platform = stage.from.flag("platform").map(|value| format!("--platform={value} "));
    let text = format!("{}{}", platform.unwrap_or_default(), stage.base);
    Some(dockerfile::expand(&text, &globals))
}

/// An instruction as a cause shows it.
struct Text {
    keyword: String,
    /// The whole line and the bodies of heredocs.
    whole: String,
}

impl Text {
    fn of(instruction: &Instruction) -> Self {
        let Instruction { keyword, text, heredocs, .. } = instruction;
        let bodies: String = heredocs.iter().map(|found| format!("\n{}", found.body)).collect();
        Self { keyword: keyword.clone(), whole: format!("{keyword} {text}{bodies}") }
    }
}

fn instruction(change: InstructionChange, before: Option<&Text>, after: &Text) -> Option<Cause> {
    let before = before.map(|text| text.whole.clone());
    Some(Cause::Instruction { change, before, after: after.whole.clone() })
}

/// `cause` of a step that a cache holds, for the first one below it that none does.
fn carried(cause: Cause) -> Cause {
    let Cause::Instruction { change, before, after } = cause else { return cause };
    let is_gone = change == InstructionChange::RemovedAbove;
    let after = if is_gone { String::new() } else { after };
    Cause::Instruction { change: InstructionChange::ChangedAbove, before, after }
}

fn replaced(old: Option<&Text>, new: &Text, is_moved: bool) -> Option<Cause> {
    match old.filter(|old| old.keyword == new.keyword) {
        Some(old) => instruction(InstructionChange::Changed, Some(old), new),
        None if is_moved => instruction(InstructionChange::Moved, None, new),
        None => instruction(InstructionChange::Added, None, new),
    }
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
