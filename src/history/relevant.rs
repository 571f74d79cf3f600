//! Which commits of a repository touch what a build can see.
//!
//! Only trees are compared, and only where their ids differ. A long range is split among threads,
//! each with a handle of its own on the repository, since libgit2's cannot be shared.

use std::cmp::Ordering;
use std::path::Path;

use git2::{Commit, Oid, Repository, Tree, TreeEntry};

use crate::ignore::Patterns;

use super::HistoryError;
use super::replay::{Replay, find};
use super::stored::context_of;

/// git's mode of a folder.
const FOLDER: i32 = 0o040000;

/// Below this many commits a second thread costs more than it saves.
const COMMITS_A_THREAD: usize = 1_000;

/// The first commit, and those that change the Dockerfile, an ignore file or what that lets in.
pub fn relevant(
    repository: &Repository,
    replay: &Replay,
    ids: &[Oid],
) -> Result<Vec<Oid>, HistoryError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    relevant_by(cores.min(ids.len() / COMMITS_A_THREAD), repository, replay, ids)
}

fn relevant_by(
    threads: usize,
    repository: &Repository,
    replay: &Replay,
    ids: &[Oid],
) -> Result<Vec<Oid>, HistoryError> {
    let threads = threads.max(1);
    let part = ids.len().div_ceil(threads).max(1);
    let (first, others) = ids.split_at(part.min(ids.len()));
    let path = repository.path();
    let kept =
        std::thread::scope(|scope| {
            let started: Vec<_> = others
                .chunks(part)
                .map(|ids| {
                    scope.spawn(move || {
                        let failed =
                            HistoryError::git(format!("open the repository {}", path.display()));
                        let repository = Repository::open(path).map_err(failed)?;
                        Seeing::new(&repository, replay).kept(ids)
                    })
                })
                .collect();
            let mut kept = vec![Seeing::new(repository, replay).kept(first)];
            kept.extend(started.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }));
            kept
        });
    let mut kept = kept.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    // The first of all shows what a build without any cache costs.
    if let Some(first) = ids.first().filter(|first| kept.first() != Some(first)) {
        kept.insert(0, *first);
    }
    Ok(kept)
}

/// What a build sees of a repository.
struct Seeing<'r> {
    repository: &'r Repository,
    replay: &'r Replay,
    own_ignore: String,
    /// The last ignore file and what it says: patterns cost more to read than commits to compare.
    ignore: (Option<Oid>, Option<Patterns>),
}

impl<'r> Seeing<'r> {
    fn new(repository: &'r Repository, replay: &'r Replay) -> Self {
        let own_ignore = format!("{}.dockerignore", replay.dockerfile);
        Self { repository, replay, own_ignore, ignore: Default::default() }
    }

    fn kept(&mut self, ids: &[Oid]) -> Result<Vec<Oid>, HistoryError> {
        let mut kept = vec![];
        // A commit's parent is mostly the one before it, whose folder was just read.
        let mut last: Option<(Oid, Option<Tree<'r>>)> = None;
        for id in ids {
            let commit = find(self.repository, *id)?;
            let now = self.context(&commit)?;
            let parent = commit.parent_ids().next();
            let before = match (parent, last.take()) {
                (None, _) => None,
                (Some(parent), Some((known, tree))) if known == parent => Some(tree),
                (Some(parent), _) => Some(self.context(&find(self.repository, parent)?)?),
            };
            let seen = match &before {
                Some(before) => self.differ(before.as_ref(), now.as_ref())?,
                None => true,
            };
            if seen {
                kept.push(*id);
            }
            last = Some((*id, now));
        }
        Ok(kept)
    }

    fn context(&self, commit: &Commit<'r>) -> Result<Option<Tree<'r>>, HistoryError> {
        context_of(self.repository, commit, &self.replay.context)
    }

    /// Whether a build could tell the two folders apart.
    fn differ(
        &mut self,
        before: Option<&Tree<'r>>,
        now: Option<&Tree<'r>>,
    ) -> Result<bool, HistoryError> {
        if before.map(Tree::id) == now.map(Tree::id) {
            return Ok(false);
        }
        let file = |path: &str| Some(now?.get_path(Path::new(path)).ok()?.id());
        let ignore = file(&self.own_ignore).or_else(|| file(".dockerignore"));
        if ignore != self.ignore.0 {
            let blob = ignore.and_then(|id| self.repository.find_blob(id).ok());
            let text = blob.map(|blob| String::from_utf8_lossy(blob.content()).into_owned());
            self.ignore = (ignore, Patterns::of_ignore_file(&text.unwrap_or_default()));
        }
        let compared = Compared {
            repository: self.repository,
            patterns: self.ignore.1.as_ref(),
            deciding: [&*self.replay.dockerfile, &*self.own_ignore, ".dockerignore"],
        };
        compared.any(before, now, "")
    }
}

/// Two folders that are being compared.
struct Compared<'a> {
    repository: &'a Repository,
    patterns: Option<&'a Patterns>,
    /// Paths that count whatever is ignored.
    deciding: [&'a str; 3],
}

impl Compared<'_> {
    /// Whether a build sees the file at `path`.
    fn sees(&self, path: &str) -> bool {
        self.deciding.contains(&path)
            || !self.patterns.is_some_and(|patterns| patterns.matches_below(path))
    }

    /// Whether a build may see a file in the folder at `path`.
    fn may_see_in(&self, path: &str) -> bool {
        let holds = |file: &&str| file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        let excepted = |patterns: &Patterns| patterns.may_except_below(path);
        self.sees(path) || self.patterns.is_some_and(excepted) || self.deciding.iter().any(holds)
    }

    /// Whether anything differs below `prefix` that a build sees.
    fn any(
        &self,
        before: Option<&Tree<'_>>,
        now: Option<&Tree<'_>>,
        prefix: &str,
    ) -> Result<bool, HistoryError> {
        let mut sides = [before, now].map(|tree| tree.into_iter().flat_map(Tree::iter).peekable());
        loop {
            let [old, new] = &mut sides;
            let order = match (old.peek(), new.peek()) {
                (None, None) => return Ok(false),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => in_git(old, new),
            };
            let pair = [
                if order.is_le() { old.next() } else { None },
                if order.is_ge() { new.next() } else { None },
            ];
            if self.entries(&pair, prefix)? {
                return Ok(true);
            }
        }
    }

    /// The same of an entry then and now, of which one may not be there.
    fn entries(
        &self,
        pair: &[Option<TreeEntry<'_>>; 2],
        prefix: &str,
    ) -> Result<bool, HistoryError> {
        let [old, new] =
            pair.each_ref().map(|entry| entry.as_ref().map(|e| (e.id(), e.filemode())));
        let Some(entry) = pair.iter().flatten().next().filter(|_| old != new) else {
            return Ok(false);
        };
        let path = format!("{prefix}{}", String::from_utf8_lossy(entry.name_bytes()));
        if entry.filemode() != FOLDER {
            return Ok(self.sees(&path));
        }
        if !self.may_see_in(&path) {
            return Ok(false);
        }
        let folder = |side: Option<(Oid, i32)>| {
            let found = side.map(|(id, _)| self.repository.find_tree(id)).transpose();
            found.map_err(HistoryError::git(format!("compare the folder {path:?}")))
        };
        let (old, new) = (folder(old)?, folder(new)?);
        self.any(old.as_ref(), new.as_ref(), &format!("{path}/"))
    }
}

/// The order in which git keeps the entries of a tree: folders as if their names ended in `/`. So a
/// file and a folder of one name are two entries.
fn in_git(a: &TreeEntry<'_>, b: &TreeEntry<'_>) -> Ordering {
    let (left, right) = (a.name_bytes(), b.name_bytes());
    let common = left.len().min(right.len());
    let next = |entry: &TreeEntry<'_>, name: &[u8]| {
        let end = (entry.filemode() == FOLDER).then_some(b'/');
        name.get(common).copied().or(end)
    };
    left[..common].cmp(&right[..common]).then_with(|| next(a, left).cmp(&next(b, right)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Commits one after another, each of which sets or deletes files.
    fn scripted(repository: &Repository, changes: &[&[(&str, Option<&str>)]]) -> Vec<Oid> {
        let mut files: BTreeMap<&str, &str> = BTreeMap::new();
        let mut ids: Vec<Oid> = vec![];
        for change in changes {
            for (path, text) in *change {
                match text {
                    Some(text) => files.insert(path, text),
                    None => files.remove(path),
                };
            }
            let empty = repository.treebuilder(None).unwrap().write().unwrap();
            let empty = repository.find_tree(empty).unwrap();
            let mut update = git2::build::TreeUpdateBuilder::new();
            for (path, text) in &files {
                let blob = repository.blob(text.as_bytes()).unwrap();
                update.upsert(*path, blob, git2::FileMode::Blob);
            }
            let tree = update.create_updated(repository, &empty).unwrap();
            let tree = repository.find_tree(tree).unwrap();
            let time = git2::Time::new(1_700_000_000 + ids.len() as i64, 0);
            let author = git2::Signature::new("a", "a@localhost", &time).unwrap();
            let parent = ids.last().map(|id| repository.find_commit(*id).unwrap());
            let parents: Vec<_> = parent.iter().collect();
            ids.push(repository.commit(None, &author, &author, "", &tree, &parents).unwrap());
        }
        ids
    }

    #[test]
    fn commits_are_kept_for_what_a_build_sees_and_for_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let ignore = "docs\n!docs/keep\nbuild\n";
        let ids = scripted(
            &repository,
            &[
                &[(".dockerignore", Some(ignore)), ("build/Dockerfile", Some("FROM a\n"))],
                &[("docs/a.txt", Some("a"))],
                &[("docs/keep/a.txt", Some("a"))],
                &[("build/notes.txt", Some("a"))],
                &[("build/Dockerfile", Some("FROM b\n"))],
                &[("src", Some("a file"))],
                &[("src", None), ("src/a.txt", Some("in a folder"))],
                &[("src-more", Some("stands between a file and a folder"))],
                &[("src/a.txt", None)],
                &[],
                &[("docs/a.txt", None), ("docs/b/c.txt", Some("a"))],
                &[(".dockerignore", Some(""))],
                &[("docs/b/c.txt", Some("b"))],
            ],
        );
        let replay = Replay {
            dockerfile: "build/Dockerfile".into(),
            only_relevant: true,
            ..Replay::default()
        };
        let expected: Vec<Oid> =
            [0, 2, 4, 5, 6, 7, 8, 11, 12].map(|place: usize| ids[place]).into();
        for threads in [0, 1, 2, 3, 7, 50] {
            let kept = relevant_by(threads, &repository, &replay, &ids).unwrap();
            assert_eq!(kept, expected, "{threads} threads");
        }
        assert_eq!(relevant_by(2, &repository, &replay, &ids[1..2]).unwrap(), ids[1..2]);
        assert_eq!(relevant_by(2, &repository, &replay, &[]).unwrap(), []);
    }
}
