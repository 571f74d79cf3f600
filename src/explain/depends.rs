//! What a step is made from: the step above it, other stages, the build context.

use std::collections::BTreeSet;

use crate::dockerfile::{Dockerfile, Instruction, Place, mount_option};

/// The steps of a stage, with their places.
pub fn steps(dockerfile: &Dockerfile, stage: usize) -> Vec<(Place, &Instruction)> {
    let instructions = dockerfile.stages.get(stage).map_or(&[][..], |stage| &stage.instructions);
    let numbered = instructions.iter().enumerate().filter(|(_, found)| found.is_step());
    numbered.map(|(instruction, found)| (Place { stage, instruction }, found)).collect()
}

/// The step right above `place`: in its stage, or the last one of the stage it starts from.
pub fn above(dockerfile: &Dockerfile, place: Place) -> Option<Place> {
    let own = steps(dockerfile, place.stage);
    let before = own.iter().rev().find(|(other, _)| *other < place);
    before.map(|(place, _)| *place).or_else(|| last_below(dockerfile, place.stage))
}

/// The last step of the stages that `stage` starts from.
fn last_below(dockerfile: &Dockerfile, stage: usize) -> Option<Place> {
    let mut stage = dockerfile.parent_stage(stage);
    while let Some(current) = stage {
        if let Some((place, _)) = steps(dockerfile, current).last() {
            return Some(*place);
        }
        stage = dockerfile.parent_stage(current);
    }
    None
}

/// The steps above `place` that it sees, nearest first: the one right above it, and where that is a
/// linked copy also the one that this is laid onto, and so on. A linked copy itself sees none.
pub fn rests_on(dockerfile: &Dockerfile, place: Place) -> Vec<Place> {
    match dockerfile.at(place) {
        Some(found) if !found.is_linked() => seen_from(dockerfile, place),
        _ => vec![],
    }
}

/// What who takes files from `stage`, or starts from it, sees of it: see [`rests_on`].
pub fn tops(dockerfile: &Dockerfile, stage: usize) -> Vec<Place> {
    seen_from(dockerfile, Place { stage, instruction: usize::MAX })
}

fn seen_from(dockerfile: &Dockerfile, end: Place) -> Vec<Place> {
    let mut found = vec![];
    let mut next = Some(end.stage);
    while let Some(stage) = next {
        let steps = steps(dockerfile, stage).into_iter().rev();
        for (place, instruction) in steps.filter(|(place, _)| *place < end || stage != end.stage) {
            found.push(place);
            if !instruction.is_linked() {
                return found;
            }
        }
        next = dockerfile.parent_stage(stage);
    }
    found
}

/// Every step that the one at `place` is made from, itself left out: all that it sees, and all of the
/// stages that it or these take files from.
pub fn made_from(dockerfile: &Dockerfile, place: Place) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    let mut waiting = vec![place];
    while let Some(place) = waiting.pop() {
        let taken = takes_from(dockerfile, place).into_iter();
        let tops = taken.flat_map(|stage| tops(dockerfile, stage));
        let below: Vec<Place> = rests_on(dockerfile, place).into_iter().chain(tops).collect();
        waiting.extend(below.into_iter().filter(|place| found.insert(*place)));
    }
    found
}

/// The last step of `stage`, or of those that it starts from.
pub fn top(dockerfile: &Dockerfile, stage: usize) -> Option<Place> {
    let own = steps(dockerfile, stage).last().map(|(place, _)| *place);
    own.or_else(|| last_below(dockerfile, stage))
}

/// The step at `place` and all above it, lowest first.
pub fn chain(dockerfile: &Dockerfile, place: Place) -> Vec<Place> {
    // Each lies in the same stage or in an earlier one, so this ends.
    let mut chain: Vec<Place> =
        std::iter::successors(Some(place), |place| above(dockerfile, *place)).collect();
    chain.reverse();
    chain
}

/// The stages that the instruction at `place` takes files from, by `--from` or by mounts.
pub fn takes_from(dockerfile: &Dockerfile, place: Place) -> Vec<usize> {
    let taken = dockerfile.at(place).into_iter().flat_map(Instruction::taken_from);
    taken.filter_map(|name| dockerfile.stage_named(name, place.stage)).collect()
}

/// The paths of the build context that bind mounts show to an instruction.
pub fn bound_from_context(instruction: &Instruction) -> Vec<String> {
    let bound = instruction
        .mounts()
        .filter(|mount| matches!(mount_option(mount, &["type"]), None | Some("bind")));
    let own = bound.filter(|mount| mount_option(mount, &["from"]).is_none());
    own.map(|mount| mount_option(mount, &["source", "src"]).unwrap_or(".").to_owned()).collect()
}

/// The targets of an instruction's cache mounts.
pub fn cache_mounts(instruction: &Instruction) -> Vec<String> {
    let caches =
        instruction.mounts().filter(|mount| mount_option(mount, &["type"]) == Some("cache"));
    let target = |mount| mount_option(mount, &["target", "dst", "destination"]);
    caches.filter_map(target).map(str::to_owned).collect()
}
