//! A Dockerfile and its build args, which many commits share, and what of them goes into cache keys.
//!
//! Mirrors BuildKit's cache keys but for files: the instruction with its variables filled in, for
//! `RUN` also every variable it sees, proxies that are declared too, and all of that for what lies below (buildkit
//! `frontend/dockerfile/dockerfile2llb/convert.go`, `solver/llbsolver/ops`). Surprising: names of
//! stages are no part of them, so a stage may be renamed or moved and every step stays as it was; nor is
//! what stands above a linked copy part of that one's.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::dockerfile::{self, Dockerfile, Heredoc, Instruction, Place};

use super::depends::{rests_on, takes_from, tops};
use super::files::Taken;

/// Steps of equal keys are as each other was, files aside. Two that differ have the same key once in
/// 2^64.
pub type Key = u64;

/// What one or more commits build.
pub struct Recipe<'a> {
    /// Among those of one journal.
    pub number: usize,
    pub dockerfile: Dockerfile,
    pub args: &'a BTreeMap<String, String>,
    /// In the order of the Dockerfile.
    pub steps: Vec<Step>,
}

/// A step and what it is made from.
pub struct Step {
    pub place: Place,
    pub key: Key,
    /// Of what its instruction says, without the names of stages that it takes from.
    pub said: Key,
    /// The same with the variables and settings that it sees.
    pub own: Key,
    /// See [`Instruction::is_linked`].
    pub is_linked: bool,
    /// The stages that it takes files from.
    pub stages: Vec<usize>,
    /// What it sees of the steps above it, and of each stage that it takes from.
    pub from: Vec<Place>,
    /// What it takes from the build context.
    pub taken: Option<Taken>,
}

impl<'a> Recipe<'a> {
    pub fn new(number: usize, text: &str, args: &'a BTreeMap<String, String>) -> Self {
        let dockerfile = dockerfile::parse_with(text, args);
        let globals = dockerfile.globals(args);
        let epoch = epoch(args, &globals);
        let mut ends: Vec<Above> = vec![];
        let mut found = vec![];
        for (number, stage) in dockerfile.stages.iter().enumerate() {
            let platform = stage.from.flag("platform").map(|p| dockerfile::expand(p, &globals));
            let image = || (&platform, dockerfile::expand(&stage.base, &globals));
            let mut above = match stage.parent.and_then(|parent| ends.get(parent)) {
                Some(parent) => parent.clone(),
                None => Above { key: of(image()), folder: image().1, ..Above::default() },
            };
            for (index, instruction) in stage.instructions.iter().enumerate() {
                let place = Place { stage: number, instruction: index };
                if instruction.is_step() {
                    let stages = takes_from(&dockerfile, place);
                    let text = unnamed(&dockerfile, place, instruction);
                    let said = of((&instruction.keyword, &text, &instruction.heredocs));
                    let own = of((&platform, above.own(instruction, &text, epoch)));
                    let taken: Vec<Key> =
                        stages.iter().filter_map(|stage| Some(ends.get(*stage)?.key)).collect();
                    above.key = of((above.key, own, &taken));
                    let is_linked = instruction.is_linked();
                    let tops = stages.iter().flat_map(|stage| tops(&dockerfile, *stage));
                    found.push(Step {
                        place,
                        key: if is_linked { of((own, taken)) } else { above.key },
                        said,
                        own,
                        is_linked,
                        from: rests_on(&dockerfile, place).into_iter().chain(tops).collect(),
                        stages,
                        taken: Taken::of(instruction, &above.values),
                    });
                }
                above.pass(instruction, args, &globals);
            }
            ends.push(above);
        }
        Self { number, dockerfile, args, steps: found }
    }

    pub fn step(&self, place: Place) -> Option<&Step> {
        let found = self.steps.binary_search_by_key(&place, |step| step.place);
        self.steps.get(found.ok()?)
    }

    /// The steps of a stage.
    pub fn of_stage(&self, stage: usize) -> &[Step] {
        let start = self.steps.partition_point(|step| step.place.stage < stage);
        let end = self.steps.partition_point(|step| step.place.stage <= stage);
        &self.steps[start..end]
    }
}

/// What the lines down to one come to.
#[derive(Clone, Default)]
struct Above {
    /// That of the last step, or of the image.
    key: Key,
    values: BTreeMap<String, String>,
    user: String,
    shell: String,
    /// The working directory; one that the image alone knows begins with the image.
    folder: String,
}

impl Above {
    fn own(&self, instruction: &Instruction, text: &str, epoch: Option<&String>) -> Key {
        let Instruction { keyword, heredocs, is_list, .. } = instruction;
        if keyword == "RUN" {
            // A list is run without a shell.
            let shell = (!is_list).then_some(&self.shell);
            return of((keyword, text, heredocs, &self.values, &self.user, shell));
        }
        let filled = filled(text, heredocs, &self.values);
        if instruction.is_linked() {
            // Others have what `WORKDIR` said in the keys above them.
            return of((keyword, filled, self.into(instruction)));
        }
        let made = makes_folder(instruction, &self.values).then_some((&self.user, epoch));
        of((keyword, filled, made))
    }

    /// The folder that a relative path names to which `instruction` copies.
    fn into(&self, instruction: &Instruction) -> Option<&String> {
        let path = dockerfile::expand(instruction.words.last()?, &self.values);
        (!path.starts_with('/')).then_some(&self.folder)
    }

    fn pass(
        &mut self,
        instruction: &Instruction,
        args: &BTreeMap<String, String>,
        globals: &BTreeMap<String, String>,
    ) {
        match instruction.keyword.as_str() {
            "USER" => self.user = dockerfile::expand(&instruction.text, &self.values),
            "SHELL" => self.shell.clone_from(&instruction.text),
            "WORKDIR" => {
                let path = dockerfile::expand(&instruction.text, &self.values);
                self.folder = match path.starts_with('/') {
                    true => path,
                    false => format!("{}/{path}", self.folder),
                };
            }
            _ => dockerfile::declare(instruction, args, globals, &mut self.values),
        }
    }
}

/// `text` and the bodies of `heredocs` as a step that is no `RUN` sees them.
pub fn filled(text: &str, heredocs: &[Heredoc], values: &BTreeMap<String, String>) -> Vec<String> {
    let body = |found: &Heredoc| match found.is_quoted {
        true => found.body.clone(),
        false => dockerfile::expand(&found.body, values),
    };
    std::iter::once(dockerfile::expand(text, values)).chain(heredocs.iter().map(body)).collect()
}

/// Whether it is a `WORKDIR` that makes a folder, which then is the user's and of the time that
/// [`EPOCH`] says (`dispatchWorkdir`).
pub fn makes_folder(instruction: &Instruction, values: &BTreeMap<String, String>) -> bool {
    instruction.keyword == "WORKDIR" && dockerfile::expand(&instruction.text, values) != "/"
}

/// The build arg that says of what time files are.
pub const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The value of [`EPOCH`].
pub fn epoch<'a>(
    args: &'a BTreeMap<String, String>,
    globals: &'a BTreeMap<String, String>,
) -> Option<&'a String> {
    args.get(EPOCH).or_else(|| globals.get(EPOCH))
}

fn of(what: impl Hash) -> Key {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// What follows the keyword of the instruction at `place`, without the names of the stages that it
/// takes files from.
fn unnamed(dockerfile: &Dockerfile, place: Place, instruction: &Instruction) -> String {
    if instruction.taken_from().next().is_none() {
        return instruction.text.clone();
    }
    let mut rest = instruction.text.as_str();
    let mut text = String::new();
    let is_stage = |name: &str| dockerfile.stage_named(name, place.stage).is_some();
    let option = |text: &str| match text.strip_prefix("from=") {
        Some(name) if is_stage(name) => "from=".to_owned(),
        _ => text.to_owned(),
    };
    while let Some(after) = rest.strip_prefix("--") {
        let (flag, after) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
        let flag: String = match flag.strip_prefix("mount=") {
            Some(mount) => {
                let options: Vec<String> = mount.split(',').map(option).collect();
                format!("mount={}", options.join(","))
            }
            None => option(flag),
        };
        text.push_str(&format!("--{flag} "));
        rest = after.trim_start();
    }
    text + rest
}
