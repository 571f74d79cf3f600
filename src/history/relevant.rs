//! Which commits of a repository touch what a build can see.
//!
//! Only trees are compared, and only where their ids differ. A long range is split among threads,
//! each with a handle of its own on the repository, since libgit2's cannot be shared.

use git2::{Commit, Odb, OdbObject, Oid, Repository};

use crate::ignore::Patterns;

use super::HistoryError;
use super::compared::{Compared, bytes};
use super::entries::{below, tree};
use super::partial::is_missing;
use super::replay::{Replay, find};
use super::stored::{in_repository, leaves, own_ignore};

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
                        kept(&Repository::open(path).map_err(failed)?, replay, ids)
                    })
                })
                .collect();
            let mut kept = vec![kept(repository, replay, first)];
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

/// The same by one thread, without the first of all.
fn kept(repository: &Repository, replay: &Replay, ids: &[Oid]) -> Result<Vec<Oid>, HistoryError> {
    let failed = HistoryError::git(format!("read the objects of {}", repository.path().display()));
    Seeing::new(repository, &repository.odb().map_err(failed)?, replay).kept(ids)
}

/// What a build sees of a repository.
struct Seeing<'r> {
    repository: &'r Repository,
    objects: &'r Odb<'r>,
    replay: &'r Replay,
    own_ignore: String,
    /// Where in the repository the Dockerfile and its own ignore file are, if not in the context.
    outside: Option<[String; 2]>,
    /// The last ignore file and what it says: patterns cost more to read than commits to compare.
    ignore: (Option<Oid>, Option<Patterns>),
}

impl<'r> Seeing<'r> {
    fn new(repository: &'r Repository, objects: &'r Odb<'r>, replay: &'r Replay) -> Self {
        let own_ignore = own_ignore(&replay.dockerfile);
        let outside = leaves(&replay.dockerfile).then(|| {
            let place = |path: &str| in_repository(&replay.context, path).unwrap_or_default();
            [place(&replay.dockerfile), place(&own_ignore)]
        });
        Self { repository, objects, replay, own_ignore, outside, ignore: Default::default() }
    }

    fn kept(&mut self, ids: &[Oid]) -> Result<Vec<Oid>, HistoryError> {
        let mut kept = vec![];
        // A commit's parent is mostly the one before it, whose folder was just read.
        let mut last: Option<(Oid, Visible)> = None;
        let mut read: Option<(Oid, OdbObject<'r>)> = None;
        for id in ids {
            let commit = find(self.repository, *id)?;
            let now = self.visible(&commit)?;
            let before = match (commit.parent_id(0).ok(), last.replace((*id, now))) {
                (None, _) => {
                    kept.push(*id);
                    continue;
                }
                (Some(parent), Some((known, visible))) if known == parent => visible,
                (Some(parent), _) => self.visible(&find(self.repository, parent)?)?,
            };
            if before == now {
                continue;
            }
            if before.outside != now.outside {
                kept.push(*id);
                continue;
            }
            let old = match (before.context, read.take()) {
                (Some(before), Some((known, tree))) if known == before => Some(tree),
                (before, _) => before.map(|id| tree(self.objects, id)).transpose()?,
            };
            let new = now.context.map(|id| tree(self.objects, id)).transpose()?;
            if self.differ(bytes(&old), bytes(&new), now.outside[1])? {
                kept.push(*id);
            }
            read = now.context.zip(new);
        }
        Ok(kept)
    }

    fn visible(&self, commit: &Commit<'r>) -> Result<Visible, HistoryError> {
        let context = &self.replay.context;
        if context.is_empty() {
            return Ok(Visible { context: Some(commit.tree_id()), outside: [None; 2] });
        }
        let root = tree(self.objects, commit.tree_id())?;
        let found = below(self.objects, root.data(), context)?;
        let context = found.filter(|(_, is_folder)| *is_folder).map(|(id, _)| id);
        let mut outside = [None; 2];
        for (id, path) in outside.iter_mut().zip(self.outside.iter().flatten()) {
            *id = below(self.objects, root.data(), path)?.map(|(id, _)| id);
        }
        Ok(Visible { context, outside })
    }

    /// Whether a build could tell the two folders apart; `ignore` is an ignore file outside of them.
    fn differ(
        &mut self,
        before: &[u8],
        now: &[u8],
        ignore: Option<Oid>,
    ) -> Result<bool, HistoryError> {
        let inside =
            |path: &str| below(self.objects, now, path).map(|found| found.map(|(id, _)| id));
        let ignore = match ignore {
            Some(own) => Some(own),
            None => match inside(&self.own_ignore)? {
                Some(own) => Some(own),
                None => inside(".dockerignore")?,
            },
        };
        if ignore != self.ignore.0 {
            let blob = match ignore.map(|id| self.repository.find_blob(id)) {
                Some(Err(error)) if is_missing(&error) => {
                    return Err(HistoryError::git("read an ignore file")(error));
                }
                // What is no file is no ignore file.
                found => found.and_then(Result::ok),
            };
            let text = blob.map(|blob| String::from_utf8_lossy(blob.content()).into_owned());
            self.ignore = (ignore, Patterns::of_ignore_file(&text.unwrap_or_default()));
        }
        let compared = Compared {
            objects: self.objects,
            patterns: self.ignore.1.as_ref(),
            deciding: [&*self.replay.dockerfile, &*self.own_ignore, ".dockerignore"],
        };
        compared.any(before, now, "")
    }
}

/// What a build may see of one commit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Visible {
    /// The folder that is built; none where the commit has no such folder.
    context: Option<Oid>,
    /// A Dockerfile outside of it, and that one's own ignore file.
    outside: [Option<Oid>; 2],
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

    #[test]
    fn a_dockerfile_outside_the_context_counts_and_its_neighbours_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let ids = scripted(
            &repository,
            &[
                &[("docker/Dockerfile", Some("FROM a\n")), ("api/src/a.txt", Some("a"))],
                &[("docker/other", Some("a"))],
                &[("docker/Dockerfile", Some("FROM b\n"))],
                &[("docker/Dockerfile.dockerignore", Some("docs\n"))],
                &[("api/docs/a.txt", Some("a"))],
                &[("api/.dockerignore", Some("src\n"))],
                &[("api/src/a.txt", Some("b"))],
                &[("web/a.txt", Some("a"))],
                &[("docker/Dockerfile.dockerignore", None)],
                &[("api/src/a.txt", Some("c"))],
                &[("docker/Dockerfile", None)],
                &[("api/src/a.txt", None), ("api/docs/a.txt", None), ("api/.dockerignore", None)],
            ],
        );
        let replay = Replay {
            context: "api".into(),
            dockerfile: "../docker/Dockerfile".into(),
            only_relevant: true,
            ..Replay::default()
        };
        let expected: Vec<Oid> = [0, 2, 3, 5, 6, 8, 10, 11].map(|place: usize| ids[place]).into();
        for threads in [1, 3] {
            assert_eq!(relevant_by(threads, &repository, &replay, &ids).unwrap(), expected);
        }
    }
}
