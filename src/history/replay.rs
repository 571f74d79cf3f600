//! Which commits of a real repository are replayed, and in which order.
//!
//! Everything is read from the object database: no index, working tree, hook or configuration of
//! the user's is touched. Surprising: the sequence is that of the asked commits, so that a
//! commit's parent is its nearest ancestor among them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use git2::{Commit, Oid, Repository, Sort};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::libgit2::isolate;
use super::names;
use super::partial;
use super::relevant::relevant;
use super::stored::{Stored, in_repository};
use super::{History, HistoryError, ScriptedCommit, Source};

/// What to replay.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// The repository, bare or not, or any folder in it.
    pub repository: PathBuf,
    pub which: Which,
    /// Every commit and not only first parents.
    pub merges: bool,
    /// Leave out commits that change nothing that a build could see.
    pub only_relevant: bool,
    /// So many commits, spread over what was asked for.
    pub sample: Option<usize>,
    /// Decides which commits of equal merit a sample takes.
    pub seed: u64,
    /// The folder of the repository that is the build context; all of it when empty.
    pub context: String,
    /// The Dockerfile's path, clean and relative to the context, which it may lead out of.
    pub dockerfile: String,
    /// The branch that others leave and come back to; found out when absent.
    pub default_branch: Option<String>,
    /// Build args, the same at every commit.
    pub args: BTreeMap<String, String>,
}

/// Commits of a repository.
#[derive(Clone, Debug)]
pub enum Which {
    /// The last so many up to `HEAD`.
    Last(usize),
    /// `A..B`, as git writes it: what `B` has and `A` has not.
    Range(String),
    /// Revisions, oldest first.
    Listed(Vec<String>),
}

impl Default for Which {
    fn default() -> Self {
        Self::Last(10)
    }
}

impl History {
    /// The asked commits of a repository, and what to know about them, a sentence each.
    pub fn replay(replay: &Replay) -> Result<(History, Vec<String>), HistoryError> {
        let repository = open(&replay.repository)?;
        let remedy = partial::remedy(&repository, &replay.repository);
        let found = Self::sequence(repository, replay, remedy.is_some());
        found.map_err(|error| partial::told(error, &replay.repository, remedy))
    }

    fn sequence(
        repository: Repository,
        replay: &Replay,
        is_partial: bool,
    ) -> Result<(History, Vec<String>), HistoryError> {
        let dockerfile = in_repository(&replay.context, &replay.dockerfile).ok_or_else(|| {
            let (repository, dockerfile) = (replay.repository.clone(), replay.dockerfile.clone());
            HistoryError::OutsideRepository { repository, dockerfile }
        })?;
        let (ids, mut notices) = selected(&repository, replay)?;
        let default_branch = match &replay.default_branch {
            Some(named) => named.clone(),
            None => default_branch(&repository),
        };
        let branches = branches(&repository, &ids, &default_branch)?;
        let tagged = tagged(&repository);
        let places: HashMap<Oid, usize> = ids.iter().enumerate().map(|(n, id)| (*id, n)).collect();
        let mut commits: Vec<ScriptedCommit> = vec![];
        let oldest = oldest(&repository, &ids)?;
        for (index, id) in ids.iter().enumerate() {
            let commit = find(&repository, *id)?;
            let played = |parent| nearest(parent, &places, oldest).filter(|place| *place < index);
            let parent = match replay.merges {
                true => commit.parents().next().and_then(played),
                false => index.checked_sub(1),
            };
            let merged = match replay.merges {
                true => commit.parents().skip(1).filter_map(played).collect(),
                false => vec![],
            };
            commits.push(ScriptedCommit {
                index,
                id: id.to_string(),
                message: String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into(),
                branch: branches[index].clone(),
                parent,
                merged,
                args: replay.args.clone(),
                tagged: tagged.contains(id),
            });
        }
        let stored = Stored { ids, context: replay.context.clone() };
        if is_partial {
            partial::complete(&repository, &stored, &replay.dockerfile)?;
        }
        let unnamed = names::left_out(&repository, &stored)?;
        let mut has_dockerfile = false;
        for index in 0..stored.ids.len() {
            has_dockerfile = stored.file(&repository, index, &replay.dockerfile)?.is_some();
            if has_dockerfile {
                break;
            }
        }
        if !has_dockerfile {
            let repository = replay.repository.clone();
            return Err(HistoryError::NoDockerfile { repository, dockerfile });
        }
        notices.extend(stored.notices(&repository, &unnamed)?);
        let source = Source::Stored(stored);
        Ok((History { commits, source, default_branch, repository, _folder: None }, notices))
    }
}

fn open(path: &Path) -> Result<Repository, HistoryError> {
    isolate()?;
    Repository::discover(path)
        .map_err(HistoryError::git(format!("open the repository {}", path.display())))
}

pub(super) fn find(repository: &Repository, id: Oid) -> Result<Commit<'_>, HistoryError> {
    let failed = |source| HistoryError::Git { doing: format!("read the commit {id}"), source };
    repository.find_commit(id).map_err(failed)
}

/// The commits to replay, oldest first.
fn selected(
    repository: &Repository,
    replay: &Replay,
) -> Result<(Vec<Oid>, Vec<String>), HistoryError> {
    let mut notices = vec![];
    let mut ids = match &replay.which {
        Which::Listed(revisions) => {
            revisions.iter().map(|name| revision(repository, name)).collect::<Result<_, _>>()?
        }
        Which::Last(count) => walk(repository, replay, "HEAD", None, Some(*count))?,
        Which::Range(range) => {
            let no_range = || HistoryError::NoRange { range: range.clone() };
            let (from, to) = range.split_once("..").ok_or_else(no_range)?;
            if to.starts_with('.') {
                return Err(no_range());
            }
            // As git has it, an empty side is HEAD.
            let [from, to] = [from, to].map(|name| if name.is_empty() { "HEAD" } else { name });
            walk(repository, replay, to, Some(from), None)?
        }
    };
    if repository.is_shallow()
        && let Some(first) = ids.first()
        && find(repository, *first)?.parent_count() == 0
    {
        notices.push(format!(
            "the repository is shallow: it holds nothing before {}, so the sequence begins there (git fetch --unshallow brings the rest)",
            &first.to_string()[..7]
        ));
    }
    let all = ids.len();
    if replay.only_relevant {
        ids = relevant(repository, replay, &ids)?;
        notices.push(format!("{} of {all} commits touch the build context", ids.len()));
    }
    if let Some(count) = replay.sample {
        ids = sample(ids, count, replay.seed);
    }
    if ids.is_empty() {
        let asked = match &replay.which {
            Which::Range(range) => range.clone(),
            _ => "what was asked for".to_owned(),
        };
        let repository = replay.repository.clone();
        return Err(HistoryError::NoCommits { repository, asked });
    }
    Ok((ids, notices))
}

fn revision(repository: &Repository, name: &str) -> Result<Oid, HistoryError> {
    let failed = || HistoryError::git(format!("find the commit {name}"));
    let object = repository.revparse_single(name).map_err(failed())?;
    Ok(object.peel_to_commit().map_err(failed())?.id())
}

fn walk(
    repository: &Repository,
    replay: &Replay,
    to: &str,
    from: Option<&str>,
    last: Option<usize>,
) -> Result<Vec<Oid>, HistoryError> {
    let failed = || HistoryError::git(format!("walk the commits up to {to}"));
    let mut walk = repository.revwalk().map_err(failed())?;
    walk.push(revision(repository, to)?).map_err(failed())?;
    if let Some(from) = from {
        walk.hide(revision(repository, from)?).map_err(failed())?;
    }
    if replay.merges {
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(failed())?;
    } else {
        walk.simplify_first_parent().map_err(failed())?;
    }
    let newest = walk.take(last.unwrap_or(usize::MAX));
    let mut ids = newest.collect::<Result<Vec<Oid>, _>>().map_err(failed())?;
    ids.reverse();
    Ok(ids)
}

/// `count` of `ids`: the last one, and one of each equal part of the others.
fn sample(ids: Vec<Oid>, count: usize, seed: u64) -> Vec<Oid> {
    let Some((last, others)) = ids.split_last() else { return ids };
    if count >= ids.len() {
        return ids;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let parts = count.saturating_sub(1);
    let mut taken: Vec<Oid> = (0..parts)
        .map(|part| {
            let (from, to) = (part * others.len() / parts, (part + 1) * others.len() / parts);
            others[random.random_range(from..to.max(from + 1))]
        })
        .collect();
    taken.push(*last);
    taken
}

/// When the oldest of `ids` was made, in seconds since the epoch.
fn oldest(repository: &Repository, ids: &[Oid]) -> Result<i64, HistoryError> {
    let mut oldest = i64::MAX;
    for id in ids {
        oldest = oldest.min(find(repository, *id)?.time().seconds());
    }
    Ok(oldest)
}

/// The commit, or the nearest of its first-parent ancestors, that is replayed.
fn nearest(commit: Commit<'_>, places: &HashMap<Oid, usize>, oldest: i64) -> Option<usize> {
    let mut next = Some(commit);
    while let Some(commit) = next {
        // Clocks differ by less than a day, and a walk to the root would take long.
        if commit.time().seconds() < oldest.saturating_sub(86_400) {
            return None;
        }
        if let Some(place) = places.get(&commit.id()) {
            return Some(*place);
        }
        next = commit.parents().next();
    }
    None
}

/// The branch that each commit was made on, as far as history tells: the default branch for first
/// parents of its tip, `HEAD`'s for those of `HEAD`, for others what the merge that brought them
/// says.
fn branches(
    repository: &Repository,
    ids: &[Oid],
    default: &str,
) -> Result<Vec<String>, HistoryError> {
    let replayed: HashSet<Oid> = ids.iter().copied().collect();
    let oldest = oldest(repository, ids)?;
    let head = repository.head().ok();
    let own = head.as_ref().and_then(|head| head.shorthand().ok()).filter(|name| *name != "HEAD");
    let tips = [format!("refs/remotes/origin/{default}"), format!("refs/heads/{default}")];
    let tips = tips.iter().filter_map(|name| repository.find_reference(name).ok());
    let tips = tips.filter_map(|tip| tip.peel_to_commit().ok());
    // What is found later names nothing that has a name: the default branch goes first.
    let mut waiting: VecDeque<(Commit<'_>, String)> =
        tips.map(|tip| (tip, default.to_owned())).collect();
    let last = ids.last().map(|last| find(repository, *last)).transpose()?;
    waiting.extend(last.map(|last| (last, own.unwrap_or(default).to_owned())));
    let mut known: HashMap<Oid, String> = HashMap::new();
    while let Some((tip, name)) = waiting.pop_front() {
        let mut next = Some(tip);
        while let Some(commit) = next {
            if known.contains_key(&commit.id()) || commit.time().seconds() < oldest {
                break;
            }
            known.insert(commit.id(), name.clone());
            let merged = commit.parents().skip(1).filter(|side| replayed.contains(&side.id()));
            merged.for_each(|side| waiting.push_back((side, merged_branch(&commit))));
            next = commit.parents().next();
        }
    }
    let branch = |id: &Oid| known.get(id).cloned().unwrap_or_else(|| default.to_owned());
    Ok(ids.iter().map(branch).collect())
}

/// What `origin/HEAD` points at, else `main` or `master` where there is one, else the branch that is
/// checked out.
fn default_branch(repository: &Repository) -> String {
    let origin = repository.find_reference("refs/remotes/origin/HEAD").ok();
    let origin = origin.as_ref().and_then(|reference| reference.symbolic_target().ok().flatten());
    let origin = origin.and_then(|name| name.strip_prefix("refs/remotes/origin/"));
    let head = repository.head().ok();
    let head = head.as_ref().and_then(|head| head.shorthand().ok()).filter(|name| *name != "HEAD");
    let there = |name: &&str| repository.find_reference(&format!("refs/heads/{name}")).is_ok();
    let usual = ["main", "master"].into_iter().find(there);
    origin.or(usual).or(head).unwrap_or("main").to_owned()
}

/// The commits that tags name.
fn tagged(repository: &Repository) -> BTreeSet<Oid> {
    let mut found = BTreeSet::new();
    let references = repository.references_glob("refs/tags/*").into_iter().flatten().flatten();
    for reference in references {
        if let Ok(commit) = reference.peel_to_commit() {
            found.insert(commit.id());
        }
    }
    found
}

/// The branch that a merge says it merged: `Merge branch 'x'`, `Merge pull request #1 from y/x`.
fn merged_branch(merge: &Commit<'_>) -> String {
    let summary = String::from_utf8_lossy(merge.summary_bytes().unwrap_or_default()).into_owned();
    let quoted = summary.split('\'').nth(1).filter(|_| summary.starts_with("Merge "));
    let pulled = summary.split(" from ").nth(1).filter(|_| summary.starts_with("Merge pull "));
    let name = quoted.or(pulled).map(str::to_owned);
    name.unwrap_or_else(|| format!("merged-{}", &merge.id().to_string()[..7]))
}
