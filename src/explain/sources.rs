//! Which commits' caches a trial could read.
//!
//! Follows the strategy's plan over the sequence: who wrote each reference last, before the trial.
//! A kept engine holds what every earlier commit built on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::journal::{Header, Outcome, REPOSITORY};
use crate::measure::TrialRow;
use crate::strategy::{BuildPlan, CacheEntry, CachePlan, EngineUse, Strategy, plan};

/// So many commits a step is held against for what a kept engine holds, and for what was overwritten
/// under one reference: the latest ones. There are more, but a step is seldom like one of long ago
/// only.
const MOST_COMPARED: usize = 64;

/// What one cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The commit that wrote it, by its place in the sequence.
    pub commit: usize,
    /// What it was built for; the last stage when absent.
    pub target: Option<String>,
    pub extent: Extent,
    /// As in the strategy's plan; none for a kept engine.
    pub reference: Option<String>,
}

/// How much of a build a cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Every step.
    All,
    /// Steps whose layers are in the image; why: `min` or `inline`.
    Image(String),
}

/// What one build of a trial could read.
#[derive(Clone, Debug, Default)]
pub struct Readable {
    pub sources: Vec<Rc<Source>>,
    /// Caches that the same references held before they were overwritten, the latest of each.
    pub overwritten: Vec<Rc<Source>>,
    /// References that were to be read and that nothing had been written to.
    pub missing: Vec<String>,
    /// Whether the strategy reads caches at all, at any commit.
    pub reads: bool,
    /// Whether any earlier trial of the sequence was built.
    pub any_before: bool,
}

impl Readable {
    /// How many caches those are; a kept engine has one, whatever it was built from.
    pub fn caches(&self) -> usize {
        let named = self.sources.iter().filter(|source| source.reference.is_some()).count();
        named.max(usize::from(!self.sources.is_empty()))
    }

    /// Of `messages` about imports that failed the first of those about `sources`; none where one of
    /// these may have been imported.
    pub fn failure<'m>(
        &self,
        sources: &[&Source],
        messages: &BTreeSet<&'m str>,
    ) -> Option<&'m str> {
        let read = self.sources.iter().filter(|source| source.reference.is_some()).count();
        // Messages name a cache in a folder or of a CI service by what no plan knows.
        let all_failed = messages.len() >= read + self.missing.len();
        let of = |source: &&Source| {
            let reference = source.reference.as_deref()?;
            let own = messages.iter().find(|message| names(message, reference));
            own.or(messages.first().filter(|_| all_failed)).copied()
        };
        let found: Vec<&str> = sources.iter().map(of).collect::<Option<_>>()?;
        found.first().or(messages.first()).copied()
    }
}

/// Whether `message`, of an engine, is about the cache that plans call `reference`.
fn names(message: &str, reference: &str) -> bool {
    let own = reference.strip_prefix(REPOSITORY).filter(|rest| rest.starts_with([':', '/']));
    let name = own.unwrap_or(reference);
    let goes_on = |rest: &str| {
        rest.starts_with(|next: char| next.is_ascii_alphanumeric() || "._-".contains(next))
    };
    message.match_indices(name).any(|(at, _)| !goes_on(&message[at + name.len()..]))
}

/// What every trial of a run could read.
pub struct Sources<'a> {
    header: &'a Header,
    /// By strategy, link and round.
    written: HashMap<(usize, usize, u32), Rc<Written>>,
    plans: HashMap<(usize, usize), CachePlan>,
}

/// What the built commits of one sequence wrote.
#[derive(Default)]
struct Written {
    /// In their order.
    commits: Vec<usize>,
    /// By reference, in the order in which it was written.
    caches: HashMap<String, Vec<Rc<Source>>>,
}

impl<'a> Sources<'a> {
    pub fn new(header: &'a Header, trials: &[TrialRow]) -> Self {
        Self::written_by(header, trials.iter().filter(|row| wrote(row)))
    }

    /// As if the trials `rows` had written caches and no others.
    fn written_by<'t>(header: &'a Header, rows: impl Iterator<Item = &'t TrialRow>) -> Self {
        let mut built: HashMap<(usize, usize, u32), Vec<usize>> = HashMap::new();
        for row in rows {
            built.entry((row.strategy, row.link, row.round)).or_default().push(row.commit);
        }
        let mut plans = HashMap::new();
        for (commit, position) in header.positions().enumerate() {
            for (number, strategy) in header.strategies.iter().enumerate() {
                plans.insert((number, commit), plan(strategy, &position));
            }
        }
        // Most rounds built the same commits.
        let mut known: HashMap<(usize, Vec<usize>), Rc<Written>> = HashMap::new();
        let written = built.into_iter().map(|(key, mut commits)| {
            commits.sort_unstable();
            let (strategy, ..) = key;
            let written = known.entry((strategy, commits)).or_insert_with_key(|(_, commits)| {
                let mut caches = HashMap::new();
                for &commit in commits {
                    let builds = plans.get(&(strategy, commit)).map(|plan| &plan.builds);
                    builds.into_iter().flatten().for_each(|b| write(b, commit, &mut caches));
                }
                Rc::new(Written { commits: commits.clone(), caches })
            });
            (key, written.clone())
        });
        let written = written.collect();
        Self { header, written, plans }
    }

    /// What the build of `row` at the place `build` could read.
    pub fn of(&self, row: &TrialRow, build: usize) -> Readable {
        let strategy = self.header.strategies.get(row.strategy);
        let own = self.plans.get(&(row.strategy, row.commit));
        let (Some(strategy), Some(own)) = (strategy, own) else { return Readable::default() };
        let none = Written::default();
        let written = self.written.get(&(row.strategy, row.link, row.round));
        let written = written.map_or(&none, Rc::as_ref);
        let end = written.commits.partition_point(|commit| *commit < row.commit);
        let before = &written.commits[..end];
        let kept = strategy.engine == EngineUse::Kept;
        let mut found = Readable {
            reads: !strategy.no_cache && (kept || !strategy.imports.is_empty()),
            any_before: !before.is_empty(),
            ..Readable::default()
        };
        if !found.reads {
            return found;
        }
        if kept {
            let whole = |&commit: &usize| {
                let extent = Extent::All;
                Rc::new(Source { commit, target: None, extent, reference: None })
            };
            found.sources.extend(before[end.saturating_sub(MOST_COMPARED)..].iter().map(whole));
        }
        // Earlier builds of the trial may have overwritten what this one was to read.
        let mut now: HashMap<String, Vec<Rc<Source>>> = HashMap::new();
        own.builds.iter().take(build).for_each(|b| write(b, row.commit, &mut now));
        let imports = own.builds.get(build).map(|build| &build.imports);
        for reference in imports.into_iter().flatten().filter_map(read_name) {
            let earlier = written.caches.get(&reference).map_or(&[][..], Vec::as_slice);
            let end = earlier.partition_point(|source| source.commit < row.commit);
            let now = now.get(&reference).map_or(&[][..], Vec::as_slice);
            let mut latest = now.iter().rev().chain(earlier[..end].iter().rev());
            match latest.next() {
                None => found.missing.push(reference),
                Some(last) => {
                    found.sources.push(last.clone());
                    let mut lost: Vec<_> = latest.take(MOST_COMPARED).cloned().collect();
                    lost.reverse();
                    found.overwritten.extend(lost);
                }
            }
        }
        found
    }

    pub fn strategy(&self, row: &TrialRow) -> Option<&'a Strategy> {
        self.header.strategies.get(row.strategy)
    }
}

/// A wrong image was exported all the same.
fn wrote(row: &TrialRow) -> bool {
    matches!(row.outcome, Outcome::Built | Outcome::WrongImage { .. })
}

/// The built trials that were to read what a trial that broke was to write, each with that one; both
/// by their places.
pub fn deprived(header: &Header, trials: &[TrialRow]) -> BTreeMap<usize, usize> {
    let key = |row: &TrialRow, commit: usize| (row.strategy, row.link, row.round, commit);
    let broke = |row: &TrialRow| matches!(row.outcome, Outcome::Broken { .. });
    let broken = trials.iter().enumerate().filter(|(_, row)| broke(row));
    let broken: HashMap<_, usize> =
        broken.map(|(place, row)| (key(row, row.commit), place)).collect();
    if broken.is_empty() {
        return BTreeMap::new();
    }
    let intended = trials.iter().filter(|row| wrote(row) || broke(row));
    let intended = Sources::written_by(header, intended);
    let lacking = |row: &TrialRow| {
        let plan = intended.plans.get(&(row.strategy, row.commit));
        let builds = 0..plan.map_or(0, |plan| plan.builds.len());
        let mut sources = builds.flat_map(|build| intended.of(row, build).sources);
        sources.find_map(|source| broken.get(&key(row, source.commit)).copied())
    };
    let built = trials.iter().enumerate().filter(|(_, row)| row.built());
    built.filter_map(|(place, row)| Some((place, lacking(row)?))).collect()
}

/// Notes what a build of `commit` exports.
fn write(build: &BuildPlan, commit: usize, written: &mut HashMap<String, Vec<Rc<Source>>>) {
    for export in &build.exports {
        let mode = export.attrs.get("mode").map_or("min", String::as_str);
        let (name, extent) = match export.kind.as_str() {
            "inline" => (build.push.clone(), Extent::Image("inline".to_owned())),
            _ if mode == "max" => (write_name(export), Extent::All),
            _ => (write_name(export), Extent::Image("min".to_owned())),
        };
        if let Some(name) = name {
            let target = build.target.clone();
            let source = Source { commit, target, extent, reference: Some(name.clone()) };
            written.entry(name).or_default().push(Rc::new(source));
        }
    }
}

/// What a cache is called by whoever imports it; the same as [`write_name`] of its export.
fn read_name(entry: &CacheEntry) -> Option<String> {
    let attrs = &entry.attrs;
    let scope = || attrs.get("scope").or(attrs.get("name")).cloned().unwrap_or_default();
    match entry.kind.as_str() {
        "registry" => attrs.get("ref").cloned(),
        "local" => attrs.get("src").map(|folder| format!("local:{folder}")),
        kind => Some(format!("{kind}:{}", scope())),
    }
}

fn write_name(entry: &CacheEntry) -> Option<String> {
    match entry.kind.as_str() {
        "local" => entry.attrs.get("dest").map(|folder| format!("local:{folder}")),
        _ => read_name(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_a_cache_by_all_of_its_tag() {
        let message = "127.0.0.1:1/x/r0:a-1.2: failed to import 127.0.0.1:1/x/r0:a-1.2: not found";
        assert!(names(message, "repo:a-1.2"));
        for other in ["repo:a-1", "repo:a", "repo:-1.2", "repo/a-1.2", "local:a-1.2"] {
            assert!(!names(message, other), "{other}");
        }
        assert!(names("example.org/cache:main: denied", "example.org/cache:main"));
    }
}
