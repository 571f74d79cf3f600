//! A Dockerfile as plain data: stages and instructions with their lines, and which step is which.
//!
//! It accepts any text: what BuildKit would refuse becomes an instruction with an unknown
//! keyword, because journals hold Dockerfiles of failed builds too. Steps are found by stage and
//! position (`[builder 2/6]`), never by their text, since names hold variables' values.

mod lex;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

pub use variables::{declare, expand};

/// A whole Dockerfile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The `# syntax=` directive.
    pub syntax: Option<String>,
    /// `ARG`s above the first `FROM`.
    pub global: Vec<Instruction>,
    pub stages: Vec<Stage>,
}

/// From one `FROM` to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The `AS` name in lower case, as BuildKit shows it.
    pub name: Option<String>,
    /// The image or stage it starts from, as written.
    pub base: String,
    /// The place of the stage it starts from, if it is one.
    pub parent: Option<usize>,
    pub from: Instruction,
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// In upper case.
    pub keyword: String,
    /// What follows the keyword, continuations joined, heredocs' bodies left out.
    pub text: String,
    /// `--name` or `--name=value`, in order, without the dashes.
    pub flags: Vec<(String, String)>,
    /// The words after the flags, without quotes; those of a JSON list where it is one.
    pub words: Vec<String>,
    pub is_list: bool,
    /// In order.
    pub heredocs: Vec<Heredoc>,
    /// Lines of the file, from 1.
    pub first_line: usize,
    pub last_line: usize,
}

/// A text that stands below its instruction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Heredoc {
    pub body: String,
    /// Whether its name stands in quotes: then no variable is filled in.
    pub is_quoted: bool,
}

impl Instruction {
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, _)| flag == name).map(|(_, value)| value.as_str())
    }

    /// Stages or images that it takes files from, by `--from` or by mounts, as written.
    pub fn taken_from(&self) -> impl Iterator<Item = &str> {
        let mounted = self.mounts().filter_map(|mount| mount_option(mount, &["from"]));
        self.flag("from").into_iter().chain(mounted)
    }

    /// The values of its `--mount` flags.
    pub fn mounts(&self) -> impl Iterator<Item = &str> {
        let flags = self.flags.iter().filter(|(name, _)| name == "mount");
        flags.map(|(_, value)| value.as_str())
    }

    /// Whether BuildKit makes a numbered step of it.
    pub fn is_step(&self) -> bool {
        matches!(self.keyword.as_str(), "RUN" | "COPY" | "ADD" | "WORKDIR")
    }

    /// The paths that a `COPY` or `ADD` takes from the build context or from `--from`, as written.
    pub fn sources(&self) -> &[String] {
        match (self.keyword.as_str(), self.words.split_last()) {
            ("COPY" | "ADD", Some((_, sources))) => sources,
            _ => &[],
        }
    }

    /// Whether it is a `COPY --link` or `ADD --link`: made from nothing and laid onto what stands above
    /// it. With `--chmod` BuildKit makes it as any other (`dockerfile2llb/convert_copy.go`,
    /// `dispatchCopy`).
    pub fn is_linked(&self) -> bool {
        let is_copy = matches!(self.keyword.as_str(), "COPY" | "ADD");
        let asks = |value: &str| value.is_empty() || value.eq_ignore_ascii_case("true");
        is_copy
            && self.flag("link").is_some_and(asks)
            && self.flag("chmod").is_none_or(str::is_empty)
    }

    /// Whether both say the same, wherever they stand.
    pub fn same_as(&self, other: &Self) -> bool {
        (&self.keyword, &self.text, &self.heredocs)
            == (&other.keyword, &other.text, &other.heredocs)
    }
}

/// The value of the option of `mount` that has any of `names`.
pub fn mount_option<'a>(mount: &'a str, names: &[&str]) -> Option<&'a str> {
    let mut pairs = mount.split(',').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
}

/// An instruction's place: stage and place in it, both from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub stage: usize,
    pub instruction: usize,
}

/// Parses any text, for a build without build args.
pub fn parse(text: &str) -> Dockerfile {
    parse_with(text, &BTreeMap::new())
}

/// Parses any text, for a build with `args`: a `FROM` may take the name of a stage from them.
pub fn parse_with(text: &str, args: &BTreeMap<String, String>) -> Dockerfile {
    let (syntax, instructions) = lex::instructions(text);
    let mut dockerfile = Dockerfile { syntax, ..Dockerfile::default() };
    for instruction in instructions {
        if instruction.keyword == "FROM" {
            let named =
                instruction.words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
            let name = instruction.words.get(2).filter(|_| named);
            dockerfile.stages.push(Stage {
                name: name.map(|name| name.to_lowercase()),
                base: instruction.words.first().cloned().unwrap_or_default(),
                parent: None,
                from: instruction,
                instructions: vec![],
            });
        } else if let Some(stage) = dockerfile.stages.last_mut() {
            stage.instructions.push(instruction);
        } else {
            dockerfile.global.push(instruction);
        }
    }
    let globals = dockerfile.globals(args);
    for number in 0..dockerfile.stages.len() {
        let (earlier, own) = dockerfile.stages.split_at(number);
        let named = own.first().filter(|own| variables::all_set(&own.base, &globals));
        let base = named.map(|own| expand(&own.base, &globals).to_lowercase());
        let parent = base.and_then(|base| {
            earlier.iter().rposition(|stage| stage.name.as_deref() == Some(base.as_str()))
        });
        dockerfile.stages[number].parent = parent;
    }
    dockerfile
}

impl Dockerfile {
    pub fn at(&self, place: Place) -> Option<&Instruction> {
        self.stages.get(place.stage)?.instructions.get(place.instruction)
    }

    /// The name that BuildKit gives a stage: its own, or `stage-N` from 0.
    pub fn stage_name(&self, stage: usize) -> String {
        let own = self.stages.get(stage).and_then(|stage| stage.name.clone());
        own.unwrap_or_else(|| format!("stage-{stage}"))
    }

    /// The stage before `before` of that name or number.
    pub fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let wanted = name.to_lowercase();
        let earlier = self.stages.get(..before.min(self.stages.len()))?;
        let named = earlier.iter().rposition(|stage| stage.name.as_ref() == Some(&wanted));
        named.or_else(|| wanted.parse().ok().filter(|number| *number < earlier.len()))
    }

    /// The earlier stage that `stage` starts from.
    pub fn parent_stage(&self, stage: usize) -> Option<usize> {
        self.stages.get(stage)?.parent
    }

    /// Whether `stage` may start from an earlier one that BuildKit alone knows, by a variable without a
    /// value here, as in `base-${TARGETARCH}`.
    pub fn has_open_base(&self, stage: usize, args: &BTreeMap<String, String>) -> bool {
        let Some(own) = self.stages.get(stage) else { return false };
        let begin = own.base.split('$').next().unwrap_or_default().to_lowercase();
        let mut named = self.stages[..stage].iter().filter_map(|stage| stage.name.as_ref());
        !variables::all_set(&own.base, &self.globals(args))
            && named.any(|name| name.starts_with(&begin))
    }

    /// What `stage` starts from in the end, through the stages before it, with the values of `args` and
    /// of the global `ARG`s filled in.
    pub fn base_image(&self, stage: usize, args: &BTreeMap<String, String>) -> Option<String> {
        let chain = std::iter::successors(Some(stage), |stage| self.parent_stage(*stage));
        let base = &self.stages.get(chain.last()?)?.base;
        Some(expand(base, &self.globals(args)))
    }

    /// The image of the frontend that reads this file in BuildKit's stead: that of the build arg
    /// `BUILDKIT_SYNTAX`, else that of the `# syntax=` directive. What follows the image is for the
    /// frontend (buildkit `frontend/dockerfile/builder/build.go`, `Build`).
    pub fn frontend<'a>(&'a self, args: &'a BTreeMap<String, String>) -> Option<&'a str> {
        args.get("BUILDKIT_SYNTAX").or(self.syntax.as_ref())?.split_whitespace().next()
    }

    /// The images that stages start from or take files from, `scratch` and stages left out, with the
    /// values of `args` and of the global `ARG`s filled in.
    ///
    /// An image whose name needs a variable that has no value here is left out: BuildKit alone
    /// knows it, as it does `TARGETARCH`.
    pub fn images(&self, args: &BTreeMap<String, String>) -> BTreeSet<String> {
        let globals = self.globals(args);
        let mut earlier = BTreeSet::from(["scratch"]);
        let mut found = BTreeSet::new();
        for stage in &self.stages {
            let image = expand(&stage.base, &globals);
            let whole = !image.is_empty() && variables::all_set(&stage.base, &globals);
            if whole && !earlier.contains(image.to_lowercase().as_str()) {
                found.insert(image);
            }
            earlier.extend(stage.name.as_deref());
        }
        let instructions = self.stages.iter().flat_map(|stage| &stage.instructions);
        let taken = instructions.flat_map(Instruction::taken_from).filter(|name| {
            // BuildKit fills in no variable here, and takes every number for a stage's.
            let image = !name.is_empty() && !name.contains('$') && name.parse::<usize>().is_err();
            image && *name != "scratch" && self.stage_named(name, self.stages.len()).is_none()
        });
        found.extend(taken.map(str::to_owned));
        found
    }

    /// The names of all `ARG`s, of every stage and above the first.
    pub fn declared_args(&self) -> impl Iterator<Item = &str> {
        let stages = self.stages.iter().flat_map(|stage| &stage.instructions);
        let args = self.global.iter().chain(stages).filter(|one| one.keyword == "ARG");
        args.flat_map(|arg| &arg.words).map(|word| word.split('=').next().unwrap_or_default())
    }

    /// The values of the `ARG`s above the first `FROM`.
    pub fn globals(&self, args: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut values = BTreeMap::new();
        for instruction in &self.global {
            variables::declare(instruction, args, &BTreeMap::new(), &mut values);
        }
        values
    }

    /// The `ARG` and `ENV` values that the instruction at `place` sees.
    pub fn variables(
        &self,
        place: Place,
        args: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let globals = self.globals(args);
        // Each stage stands before the one that starts from it, so this ends.
        let mut chain = vec![(place.stage, place.instruction)];
        let mut stage = place.stage;
        while let Some(parent) = self.parent_stage(stage) {
            chain.push((parent, usize::MAX));
            stage = parent;
        }
        let mut values = BTreeMap::new();
        for (stage, end) in chain.into_iter().rev() {
            let instructions = self.stages.get(stage).map_or(&[][..], |s| &s.instructions);
            for instruction in instructions.iter().take(end) {
                variables::declare(instruction, args, &globals, &mut values);
            }
        }
        values
    }

    /// The instruction that a step's name stands for, such as `[builder 2/6] RUN make`.
    ///
    /// `None` where the name is of no step, of a `FROM`, or of an instruction that is not here,
    /// such as an `ONBUILD` trigger of a base image.
    pub fn find_step(&self, name: &str) -> Option<Place> {
        let (head, text) = name.strip_prefix('[')?.split_once("] ")?;
        let (before, position) = head.rsplit_once(' ').unwrap_or(("", head));
        let (number, total) = position.split_once('/')?;
        let (number, total): (usize, usize) = (number.parse().ok()?, total.parse().ok()?);
        // `[stage  2/10]` is padded; a platform may stand before the stage.
        let stage = match before.split_whitespace().next_back() {
            Some(wanted) if !wanted.contains('/') => {
                (0..self.stages.len()).rev().find(|stage| self.stage_name(*stage) == wanted)?
            }
            _ if self.stages.len() == 1 => 0,
            _ => return None,
        };
        let instructions = self.stages[stage].instructions.iter().enumerate();
        let steps: Vec<_> = instructions.filter(|(_, instruction)| instruction.is_step()).collect();
        // The total also counts a `FROM` of an image and the triggers (`ONBUILD`) of that image.
        let before = total.checked_sub(steps.len())?;
        let text = text.strip_prefix("LINK ").unwrap_or(text);
        let is = |(_, found): &&(usize, &Instruction)| {
            text.strip_prefix(found.keyword.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '<']))
        };
        let says = |(_, found): &&(usize, &Instruction)| {
            let words = [found.keyword.as_str()].into_iter().chain(found.text.split_whitespace());
            text.split_whitespace().eq(words)
        };
        let at = |index: Option<usize>| index.and_then(|index| steps.get(index));
        let found = at(number.checked_sub(1 + before)).filter(is);
        // Where another image was put in the `FROM`'s place by name, it is counted and has no number
        // (`dockerfile2llb/convert.go`, named contexts).
        let unnumbered = || at(number.checked_sub(1)).filter(|_| before == 1).filter(says);
        let (instruction, _) = match found {
            Some(found) if says(&found) => found,
            found => unnumbered().or(found)?,
        };
        Some(Place { stage, instruction: *instruction })
    }
}

#[cfg(test)]
mod tests;
