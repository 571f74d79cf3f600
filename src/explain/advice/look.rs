//! What one chain of misses gives reason to advise about.

use std::collections::HashMap;

use crate::dockerfile::{self, Dockerfile, Instruction};
use crate::journal::Header;
use crate::trace::bracketed;
use crate::units::Nanos;

use super::super::cause::{Cause, Variable};
use super::super::words::brief;
use super::super::{Miss, TrialMisses};
use super::AdviceKind;

/// Something that a chain of misses cost.
pub struct Seen {
    pub kind: AdviceKind,
    /// What the advice is about, as its sentence begins.
    pub subject: String,
    pub time: Nanos,
    /// Whether the change did not concern the step.
    pub needless: bool,
}

/// Looks at the misses of one journal, and remembers what it parsed.
pub struct Looks<'a> {
    header: &'a Header,
    dockerfiles: HashMap<usize, Dockerfile>,
    /// Whether any file that was changed up to the commit is named in the text of the step.
    named: HashMap<(String, usize), bool>,
}

impl<'a> Looks<'a> {
    pub fn new(header: &'a Header) -> Self {
        Self { header, dockerfiles: HashMap::new(), named: HashMap::new() }
    }

    /// What the misses of `trial` cost that could be had for less.
    pub fn at(&mut self, trial: &TrialMisses) -> Vec<Seen> {
        let mut seen = vec![];
        for (place, first) in trial.misses.iter().enumerate() {
            unstable(&trial.misses[place..], &mut seen);
            if first.first != place {
                continue;
            }
            match &first.cause {
                Cause::Argument(variable) => seen.extend(argument(first, variable)),
                Cause::Files { files, count } if *count == files.len() => {
                    let chain: Vec<&Miss> =
                        trial.misses.iter().filter(|miss| miss.first == place).collect();
                    let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
                    self.files(trial.commit, first, &chain, &paths, &mut seen);
                }
                _ => {}
            }
        }
        seen
    }

    /// A `COPY` of one folder, which `files` alone invalidated.
    fn files(
        &mut self,
        commit: usize,
        first: &Miss,
        chain: &[&Miss],
        files: &[&str],
        seen: &mut Vec<Seen>,
    ) {
        let Some(copy) = self.instruction(commit, first) else { return };
        let [source] = copy.sources() else { return };
        let all = matches!(source.as_str(), "." | "./");
        for miss in chain.iter().filter(|miss| bare(&miss.step).starts_with("RUN ")) {
            if self.names_any(commit, bare(&miss.step)) {
                let (above, below) = (brief(bare(&first.step)), brief(bare(&miss.step)));
                seen.push(Seen {
                    kind: AdviceKind::MoveCopy,
                    subject: format!("`{above}` above `{below}`"),
                    time: miss.time,
                    needless: !files.iter().any(|file| names(&miss.step, file)),
                });
            }
        }
        if let ([file], true) = (files, all) {
            seen.push(Seen {
                kind: AdviceKind::Ignore,
                subject: format!("`{file}` alone made a COPY miss and"),
                time: chain.iter().map(|miss| miss.time).sum(),
                needless: !chain.iter().any(|miss| names(&miss.step, file)),
            });
        }
    }

    fn names_any(&mut self, commit: usize, step: &str) -> bool {
        let key = (step.to_owned(), commit);
        if let Some(known) = self.named.get(&key) {
            return *known;
        }
        let until = (commit + 1).min(self.header.commits.len());
        let changes = self.header.commits[..until].iter().flat_map(|commit| &commit.changes);
        let found = changes.into_iter().any(|change| names(step, &change.path));
        self.named.insert(key, found);
        found
    }

    fn instruction(&mut self, commit: usize, miss: &Miss) -> Option<Instruction> {
        let text = self.header.commits.get(commit)?.dockerfile.as_deref()?;
        let dockerfile = self.dockerfiles.entry(commit).or_insert_with(|| dockerfile::parse(text));
        dockerfile.at(dockerfile.find_step(&miss.step)?).cloned()
    }
}

/// An `ARG` above a step that does not use it.
fn argument(first: &Miss, variable: &Variable) -> Option<Seen> {
    let Variable { name, line, before, after } = variable;
    // One that came or went is an edit of the Dockerfile and will not happen again.
    let (Some(_), Some(after)) = (before, after) else { return None };
    // Names of steps hold variables' values instead of their names.
    let value_stands_in = !after.is_empty() && bare(&first.step).contains(&**after);
    if first.step.contains(&**name) || value_stands_in {
        return None;
    }
    let line = line.map(|line| format!(" (line {line})")).unwrap_or_default();
    Some(Seen {
        kind: AdviceKind::MoveArgument,
        subject: format!("ARG {name}{line} above `{}`", brief(bare(&first.step))),
        time: first.time,
        needless: true,
    })
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
        time: first.time + below.map(|miss| miss.time).sum(),
        needless: true,
    });
}

/// Whether the text of `step` holds the name of the file at `path`.
fn names(step: &str, path: &str) -> bool {
    bare(step).contains(path.rsplit('/').next().unwrap_or(path))
}

/// A step's name without stage and position.
fn bare(step: &str) -> &str {
    bracketed(step).map_or(step, |(_, text)| text)
}
