//! Which cell of a candidate is held against which of its baseline.
//!
//! Strategies and links are matched by name, commits by id, and those that are left by message where
//! no other commit of either run has it: a changed tree gives every commit another id.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::journal::{Environment, Header};
use crate::measure::{Analysis, Cell, CellStep, Name, Place};

use super::step::counterparts;

/// One cell in both runs.
pub struct Pair<'a> {
    pub place: Place,
    pub before: &'a Cell,
    pub after: &'a Cell,
}

/// The cells of two runs.
#[derive(Default)]
pub struct Pairs<'a> {
    pub pairs: Vec<Pair<'a>>,
    /// Cells that only the baseline has.
    pub gone: Vec<Place>,
    /// Cells that only the candidate has.
    pub new: Vec<Place>,
    /// Cells of a commit that begins the sequence in one run only: there it has nothing to import.
    pub first_in_one: Vec<Place>,
}

/// For each commit of `after` its place in `before`.
pub fn commits(before: &Header, after: &Header) -> Vec<Option<usize>> {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, commit) in before.commits.iter().enumerate() {
        ids.entry(&commit.id).or_insert(place);
    }
    let mut found: Vec<Option<usize>> =
        after.commits.iter().map(|commit| ids.remove(commit.id.as_str())).collect();
    let taken: BTreeSet<usize> = found.iter().flatten().copied().collect();
    let (old, new) = (by_message(before), by_message(after));
    for (place, commit) in found.iter_mut().zip(&after.commits) {
        let message = commit.message.as_str();
        if place.is_none() && new.get(message).is_some_and(Option::is_some) {
            *place = old.get(message).copied().flatten().filter(|old| !taken.contains(old));
        }
    }
    found
}

/// The commit that has each message; none where several have it. A replayed history may hold
/// twenty commits that are called "wip", and no order tells which is which.
fn by_message(header: &Header) -> BTreeMap<&str, Option<usize>> {
    let mut found = BTreeMap::new();
    for (place, commit) in header.commits.iter().enumerate() {
        let of = found.entry(commit.message.as_str());
        of.and_modify(|known| *known = None).or_insert(Some(place));
    }
    found
}

/// Pairs all cells that both runs have.
pub fn pairs<'a>(before: &'a Analysis, after: &'a Analysis) -> Pairs<'a> {
    let commits = commits(&before.header, &after.header);
    let mut found = Pairs::default();
    let mut met = vec![];
    for cell in &after.cells {
        let place = place(after, cell);
        let strategy = before.strategies.iter().position(|name| *name == place.strategy);
        let link = before.links.iter().position(|name| *name == place.link);
        let commit = commits.get(cell.commit).copied().flatten();
        let other = match (link, strategy, commit) {
            (Some(link), Some(strategy), Some(commit)) => before.cell(link, strategy, commit),
            _ => None,
        };
        match other {
            Some(other) if begins(before, other.commit) != begins(after, cell.commit) => {
                met.push((other.link, other.strategy, other.commit));
                found.first_in_one.push(place);
            }
            Some(other) => {
                met.push((other.link, other.strategy, other.commit));
                found.pairs.push(Pair { place, before: other, after: cell });
            }
            None => found.new.push(place),
        }
    }
    let gone =
        before.cells.iter().filter(|cell| !met.contains(&(cell.link, cell.strategy, cell.commit)));
    found.gone = gone.map(|cell| self::place(before, cell)).collect();
    found
}

/// Whether the commit at `place` has no parent in the sequence.
fn begins(analysis: &Analysis, place: usize) -> bool {
    analysis.header.commits.get(place).is_none_or(|commit| commit.parent.is_none())
}

pub fn place(analysis: &Analysis, cell: &Cell) -> Place {
    Place {
        strategy: analysis.strategies[cell.strategy].clone(),
        link: analysis.links[cell.link].clone(),
        commit: cell.commit,
        message: analysis
            .header
            .commits
            .get(cell.commit)
            .map_or(String::new(), |commit| commit.message.clone()),
    }
}

/// One step in both runs; either may lack it.
#[derive(Clone, Copy)]
pub struct StepPair<'a> {
    pub before: Option<(&'a str, &'a CellStep)>,
    pub after: Option<(&'a str, &'a CellStep)>,
}

/// Which steps of two runs are the same, cell by cell.
pub struct Steps<'a> {
    before: &'a Analysis,
    after: &'a Analysis,
    /// Cells mostly have the same steps, and finding edited ones takes long.
    known: RefCell<HashMap<Asked, Rc<[Option<usize>]>>>,
}

/// The steps of a cell of either run.
type Asked = (Vec<Name>, Vec<Name>);

impl<'a> Steps<'a> {
    pub fn new(before: &'a Analysis, after: &'a Analysis) -> Self {
        Self { before, after, known: RefCell::default() }
    }

    /// The steps of a pair of cells, in the candidate's order and then those that it lost.
    pub fn of<'c>(&self, before: &'c Cell, after: &'c Cell) -> Vec<StepPair<'c>>
    where
        'a: 'c,
    {
        let names = |cell: &Cell| cell.steps.iter().map(|step| step.name).collect();
        let asked: Asked = (names(before), names(after));
        let texts = |run: &'a Analysis, names: &[Name]| -> Vec<&'a str> {
            names.iter().map(|name| run.text(*name)).collect()
        };
        let (left, right) = (texts(self.before, &asked.0), texts(self.after, &asked.1));
        let find = || counterparts(&left, &right).into();
        let found = self.known.borrow_mut().entry(asked).or_insert_with(find).clone();
        let old = |place: usize| Some((left[place], &before.steps[place]));
        let mut pairs: Vec<StepPair<'c>> = vec![];
        for ((name, step), other) in right.iter().zip(&after.steps).zip(found.iter()) {
            pairs.push(StepPair { before: other.and_then(old), after: Some((*name, step)) });
        }
        let lost = (0..left.len()).filter(|place| !found.contains(&Some(*place)));
        pairs.extend(lost.map(|place| StepPair { before: old(place), after: None }));
        pairs
    }
}

/// What differs between the machines of two runs, a sentence each.
pub fn differences(before: &Environment, after: &Environment) -> Vec<String> {
    let (here, there) = (registry(before), registry(after));
    let (builder, other_builder) = (placeless(&before.builder), placeless(&after.builder));
    let fields = [
        ("cachefrom", &before.cachefrom, &after.cachefrom),
        ("engine", &before.engine, &after.engine),
        ("builder", &builder, &other_builder),
        ("registry", &here, &there),
        ("storage driver", &before.storage_driver, &after.storage_driver),
        ("kernel", &before.kernel, &after.kernel),
        ("CPU", &before.cpu, &after.cpu),
    ];
    let mut found: Vec<String> = fields
        .iter()
        .filter(|(_, before, after)| before != after)
        .map(|(what, before, after)| format!("{what} was {before:?} and is {after:?}"))
        .collect();
    // Older journals do not say what these were.
    let told = [
        ("platform", &before.platform, &after.platform),
        ("network mode", &before.network, &after.network),
    ];
    let told = told.iter().filter(|(_, was, is)| !was.is_empty() && !is.is_empty() && was != is);
    found.extend(told.map(|(what, was, is)| format!("{what} was {was:?} and is {is:?}")));
    if before.cores != after.cores {
        found.push(format!("there were {} cores and are {}", before.cores, after.cores));
    }
    found
}

/// Builders' addresses without the path at which a private engine's program lies: its version says
/// what it is.
pub fn placeless(builders: &str) -> String {
    const PRIVATE: &str = "dockerd://";
    let builders = builders.split(", ");
    let placeless = builders.map(|one| if one.starts_with(PRIVATE) { PRIVATE } else { one });
    placeless.collect::<Vec<_>>().join(", ")
}

fn registry(environment: &Environment) -> String {
    let repository = environment.registry.as_ref().map(|registry| registry.repository.clone());
    repository.unwrap_or_else(|| "embedded".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::CommitRecord;
    use crate::journal::header;

    fn run(commits: &[(&str, &str)]) -> Header {
        let commit = |(place, (id, message)): (usize, &(&str, &str))| CommitRecord {
            id: (*id).into(),
            message: (*message).into(),
            parent: place.checked_sub(1),
            ..Default::default()
        };
        Header { commits: commits.iter().enumerate().map(commit).collect(), ..header() }
    }

    #[test]
    fn commits_are_found_by_id_and_by_messages_that_only_they_have() {
        let before = run(&[("1", "first"), ("2", "edit"), ("3", "wip")]);
        let rebased = run(&[("1", "first"), ("4", "edit"), ("5", "new"), ("6", "wip")]);
        assert_eq!(commits(&before, &rebased), [Some(0), Some(1), None, Some(2)]);
        // A replay whose window moved on by two.
        let wip =
            |ids: &[&'static str]| run(&ids.iter().map(|id| (*id, "wip")).collect::<Vec<_>>());
        let (before, after) = (wip(&["1", "2", "3", "4"]), wip(&["3", "4", "5", "6"]));
        assert_eq!(commits(&before, &after), [Some(2), Some(3), None, None]);
    }
}
