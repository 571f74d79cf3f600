//! Which commits' caches a trial could read.
//!
//! Follows the strategy's plan over the sequence: who wrote each reference last, before the trial.
//! A kept engine holds what every earlier commit built on it.

use std::collections::HashMap;
use std::rc::Rc;

use crate::journal::{CommitRecord, Header, Outcome};
use crate::measure::TrialRow;
use crate::strategy::{
    BuildPlan, CacheEntry, CachePlan, EngineUse, Position, Standing, Strategy, plan,
};

/// So many commits a kept engine's cache is held against, the latest ones. It holds more, but a step
/// is seldom like one of long ago only.
const MOST_KEPT: usize = 64;

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
    pub sources: Vec<Source>,
    /// Caches that the same reference held before they were overwritten.
    pub overwritten: Vec<Source>,
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
}

/// The trials of one sequence in which commits were built, by commit.
type Built = HashMap<(usize, usize, u32), Vec<usize>>;

/// What every trial of a run could read.
pub struct Sources<'a> {
    header: &'a Header,
    built: Built,
    plans: HashMap<(usize, usize), CachePlan>,
    /// What was found before, by strategy, commit, build and the commits built until then.
    found: HashMap<(usize, usize, usize, Vec<usize>), Rc<Readable>>,
}

impl<'a> Sources<'a> {
    pub fn new(header: &'a Header, trials: &[TrialRow]) -> Self {
        let mut built = Built::new();
        // A wrong image was exported all the same.
        let wrote =
            |row: &&TrialRow| matches!(row.outcome, Outcome::Built | Outcome::WrongImage { .. });
        for row in trials.iter().filter(wrote) {
            built.entry((row.strategy, row.link, row.round)).or_default().push(row.commit);
        }
        built.values_mut().for_each(|commits| commits.sort_unstable());
        let mut plans = HashMap::new();
        let standings: Vec<Standing<'_>> =
            header.commits.iter().map(CommitRecord::standing).collect();
        for (number, strategy) in header.strategies.iter().enumerate() {
            for commit in 0..header.commits.len() {
                plans.insert(
                    (number, commit),
                    plan(strategy, &position(header, &standings, commit)),
                );
            }
        }
        Self { header, built, plans, found: HashMap::new() }
    }

    /// What the build of `row` at the place `build` could read.
    pub fn of(&mut self, row: &TrialRow, build: usize) -> Rc<Readable> {
        let key = (row.strategy, row.link, row.round);
        let sequence = self.built.get(&key).map_or(&[][..], Vec::as_slice);
        let before: Vec<usize> = sequence.iter().copied().filter(|&c| c < row.commit).collect();
        let key = (row.strategy, row.commit, build, before);
        if let Some(found) = self.found.get(&key) {
            return found.clone();
        }
        let found = Rc::new(self.readable(row, build, &key.3));
        self.found.insert(key, found.clone());
        found
    }

    /// The same, given the commits `before` it that were built.
    fn readable(&self, row: &TrialRow, build: usize, before: &[usize]) -> Readable {
        let strategy = self.header.strategies.get(row.strategy);
        let own = self.plans.get(&(row.strategy, row.commit));
        let (Some(strategy), Some(own)) = (strategy, own) else { return Readable::default() };
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
            let whole = |&commit: &usize| Source {
                commit,
                target: None,
                extent: Extent::All,
                reference: None,
            };
            found.sources.extend(before.iter().rev().take(MOST_KEPT).rev().map(whole));
        }
        let mut written: HashMap<String, Vec<Source>> = HashMap::new();
        for &commit in before {
            let builds = self.plans.get(&(row.strategy, commit)).map(|plan| &plan.builds);
            builds.into_iter().flatten().for_each(|build| write(build, commit, &mut written));
        }
        // Earlier builds of the trial may have overwritten what this one was to read.
        own.builds.iter().take(build).for_each(|b| write(b, row.commit, &mut written));
        let imports = own.builds.get(build).map(|build| &build.imports);
        for reference in imports.into_iter().flatten().filter_map(read_name) {
            match written.get(&reference).map(Vec::as_slice) {
                None | Some([]) => found.missing.push(reference),
                Some([lost @ .., last]) => {
                    found.sources.push(last.clone());
                    found.overwritten.extend(lost.iter().cloned());
                }
            }
        }
        found
    }

    pub fn strategy(&self, row: &TrialRow) -> Option<&'a Strategy> {
        self.header.strategies.get(row.strategy)
    }
}

/// Notes what a build of `commit` exports.
fn write(build: &BuildPlan, commit: usize, written: &mut HashMap<String, Vec<Source>>) {
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
            written.entry(name).or_default().push(source);
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

/// Where a commit stands, as the run saw it.
fn position(header: &Header, standings: &[Standing<'_>], index: usize) -> Position {
    let first = || header.commits.first().map_or("", |commit| commit.branch.as_str());
    let named = Some(header.default_branch.as_str()).filter(|name| !name.is_empty());
    Position {
        repo: "repo".to_owned(),
        targets: header.targets.clone(),
        ..Position::at(standings, index, named.unwrap_or_else(first))
    }
}
