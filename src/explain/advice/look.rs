//! What one chain of misses gives reason to advise about, and what speaks against it.

use std::collections::HashMap;

use crate::dockerfile::{self, Dockerfile, Instruction, Place};
use crate::journal::{CommitRecord, Header};
use crate::units::Nanos;

use super::super::cause::{Cause, Output, Variable};
use super::super::depends::bound_from_context;
use super::super::files::Wanted;
use super::super::words::brief;
use super::super::{Miss, TrialMisses};
use super::AdviceKind;
use super::text::{StepText, bare, refers_to};

/// Something that a chain of misses cost.
pub struct Seen {
    pub kind: AdviceKind,
    /// What the advice is about, as its sentence begins.
    pub subject: String,
    /// The step that it is about beside its subject: the one that could stand above a `COPY`, or the
    /// first one below an `ARG` that seems to use it.
    pub step: Option<Step>,
    pub time: Nanos,
    /// Whether this speaks against the advice, whatever else is seen.
    pub is_refuted: bool,
}

/// A step of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// From 1.
    pub line: usize,
    /// What the Dockerfile says, heredocs and all.
    pub written: String,
    /// In one short line.
    pub shown: String,
}

/// Looks at the misses of one journal, and remembers what it parsed.
pub struct Looks<'a> {
    header: &'a Header,
    dockerfiles: HashMap<usize, Dockerfile>,
    /// Whether the step reads any file that was changed up to the commit, by all appearances.
    reads: HashMap<(String, usize), bool>,
}

impl<'a> Looks<'a> {
    pub fn new(header: &'a Header) -> Self {
        Self { header, dockerfiles: HashMap::new(), reads: HashMap::new() }
    }

    /// What the misses of `trial` cost that could be had for less.
    pub fn at(&mut self, trial: &TrialMisses) -> Vec<Seen> {
        let mut seen = vec![];
        for (place, first) in trial.misses.iter().enumerate() {
            unstable(&trial.misses[place..], &mut seen);
            if first.first != place {
                continue;
            }
            let below: Vec<&Miss> = trial.below(place).collect();
            let chain = Chain { commit: trial.commit, first, below: &below };
            match &first.cause {
                Cause::Argument(variable) => seen.extend(self.argument(&chain, variable)),
                Cause::Files { files, count } if *count == files.len() => {
                    let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
                    self.copied(&chain, &paths, &mut seen);
                }
                _ => {}
            }
        }
        seen
    }

    /// An `ARG` above a step that does not use it, going by its text and by what it came out as.
    fn argument(&mut self, chain: &Chain<'_>, variable: &Variable) -> Option<Seen> {
        let Variable { name, line, before, after } = variable;
        // One that came or went is an edit of the Dockerfile and will not happen again.
        let (Some(_), Some(after)) = (before, after) else { return None };
        let place = self.place(chain.commit, chain.first);
        // BuildKit itself reads what the folder of a `WORKDIR` depends on.
        if bare(&chain.first.step).starts_with("WORKDIR")
            || self.text(chain.commit, chain.first).names_variable(name, after)
            || place.is_some_and(|place| self.is_passed_on(chain.commit, place, name))
        {
            return None;
        }
        let mut below = chain.below.iter().filter(|miss| {
            let other = self.place(chain.commit, miss);
            other.zip(place).is_some_and(|(other, place)| other.stage == place.stage)
                && (is_different(miss) || self.text(chain.commit, miss).names_variable(name, after))
        });
        let user = below.next().copied();
        let step = user.map(|miss| self.step(chain.commit, miss));
        let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
        Some(Seen {
            kind: AdviceKind::MoveArgument,
            subject: format!("ARG {name}{line} above `{}`", brief(bare(&chain.first.step))),
            step,
            time: chain.first.time,
            is_refuted: is_different(chain.first),
        })
    }

    /// Whether an `ENV` or `ARG` above the instruction at `place` takes its value from `name`, so that
    /// it depends on that without naming it.
    fn is_passed_on(&mut self, commit: usize, place: Place, name: &str) -> bool {
        let Some(dockerfile) = self.dockerfile(commit) else { return false };
        let stages = std::iter::successors(Some(place.stage), |s| dockerfile.parent_stage(*s));
        let mut above = stages.flat_map(|stage| {
            let end = if stage == place.stage { place.instruction } else { usize::MAX };
            let own = dockerfile.stages.get(stage).map_or(&[][..], |s| &s.instructions);
            own.iter().take(end)
        });
        above.any(|found| {
            matches!(found.keyword.as_str(), "ENV" | "ARG") && refers_to(&found.text, name)
        })
    }

    /// A `COPY` of one folder, which `files` alone invalidated.
    fn copied(&mut self, chain: &Chain<'_>, files: &[&str], seen: &mut Vec<Seen>) {
        let Chain { commit, first, below } = *chain;
        let Some(place) = self.place(commit, first) else { return };
        let Some(copy) = self.instruction(commit, place).cloned() else { return };
        let ([source], Some(destination)) = (copy.sources(), copy.words.last()) else { return };
        let runs = below.iter().filter(|miss| bare(&miss.step).starts_with("RUN "));
        for miss in runs {
            let text = self.text(commit, miss);
            let stage = self.place(commit, miss).map(|other| other.stage);
            let concerned = files.iter().any(|file| text.may_read(file, destination));
            if stage != Some(place.stage) || concerned || !self.reads_any(commit, &text) {
                continue;
            }
            seen.push(Seen {
                kind: AdviceKind::MoveCopy,
                subject: format!("`{}`", brief(bare(&first.step))),
                step: Some(self.step(commit, miss)),
                time: miss.time,
                is_refuted: is_different(miss),
            });
        }
        if let ([file], "." | "./") = (files, source.as_str()) {
            seen.push(Seen {
                kind: AdviceKind::Ignore,
                subject: format!("`{file}` alone made a COPY miss and"),
                step: None,
                time: first.time + below.iter().map(|miss| miss.time).sum(),
                is_refuted: self.is_needed(commit, file)
                    || below.iter().any(|miss| self.shows_need(commit, miss, file, destination)),
            });
        }
    }

    /// Whether a rebuilt step below a `COPY` to `destination` reads `file`, going by its text and by
    /// what it came out as.
    fn shows_need(&mut self, commit: usize, miss: &Miss, file: &str, destination: &str) -> bool {
        let place = self.place(commit, miss);
        let instruction = place.and_then(|place| self.instruction(commit, place));
        // Another that copies it from the context comes out different for holding it.
        let copies = instruction.is_some_and(|found| {
            found.flag("from").is_none() && matches!(found.keyword.as_str(), "COPY" | "ADD")
        });
        !copies && (is_different(miss) || self.text(commit, miss).may_read(file, destination))
    }

    /// Whether any instruction of the Dockerfile takes `file` from the context by another name than
    /// that of all of it.
    fn is_needed(&mut self, commit: usize, file: &str) -> bool {
        let Some(dockerfile) = self.dockerfile(commit) else { return false };
        let all = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        let mut sources = all.flat_map(|found| {
            let copied = found.sources().iter().filter(|_| found.flag("from").is_none()).cloned();
            copied.chain(bound_from_context(found))
        });
        sources.any(|source| {
            let all_of_it = matches!(source.as_str(), "." | "./" | "/");
            !all_of_it && Wanted::new(&[source], &[]).takes(file)
        })
    }

    /// Whether the step of `text` reads a file that is known from the commits up to `commit`.
    fn reads_any(&mut self, commit: usize, text: &StepText) -> bool {
        let key = (text.written().to_owned(), commit);
        if let Some(known) = self.reads.get(&key) {
            return *known;
        }
        let until = (commit + 1).min(self.header.commits.len());
        let changes = self.header.commits[..until].iter().flat_map(|commit| &commit.changes);
        let found = changes.into_iter().any(|change| text.reads(&change.path));
        self.reads.insert(key, found);
        found
    }

    fn step(&mut self, commit: usize, miss: &Miss) -> Step {
        Step {
            line: miss.line.unwrap_or(usize::MAX),
            written: self.text(commit, miss).written().to_owned(),
            shown: brief(bare(&miss.step)),
        }
    }

    fn text(&mut self, commit: usize, miss: &Miss) -> StepText {
        let place = self.place(commit, miss);
        let instruction = place.and_then(|place| self.instruction(commit, place));
        StepText::of(&miss.step, instruction)
    }

    fn place(&mut self, commit: usize, miss: &Miss) -> Option<Place> {
        self.dockerfile(commit)?.find_step(&miss.step)
    }

    fn instruction(&mut self, commit: usize, place: Place) -> Option<&Instruction> {
        self.dockerfile(commit)?.at(place)
    }

    fn dockerfile(&mut self, commit: usize) -> Option<&Dockerfile> {
        let CommitRecord { dockerfile, args, .. } = self.header.commits.get(commit)?;
        let text = dockerfile.as_deref()?;
        let parsed = || dockerfile::parse_with(text, args);
        Some(self.dockerfiles.entry(commit).or_insert_with(parsed))
    }
}

/// A miss, and those that it made below it, in one commit.
struct Chain<'a> {
    commit: usize,
    first: &'a Miss,
    below: &'a [&'a Miss],
}

fn is_different(miss: &Miss) -> bool {
    matches!(miss.output, Some(Output::Different(_)))
}

/// A step that takes files from a stage where one `RUN` makes them anew each time, and those right
/// below it.
fn unstable(misses: &[Miss], seen: &mut Vec<Seen>) {
    let Some((first, below)) = misses.split_first() else { return };
    let Cause::Stage { unstable: Some(step), .. } = &first.cause else { return };
    let below = below.iter().take_while(|miss| matches!(miss.cause, Cause::Above { .. }));
    seen.push(Seen {
        kind: AdviceKind::MakeStable,
        subject: format!("`{}` makes files anew whenever it runs, which", brief(step)),
        step: None,
        time: first.time + below.map(|miss| miss.time).sum(),
        is_refuted: false,
    });
}
