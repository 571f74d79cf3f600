//! Trees of a real repository's commits, read when they are asked for.

use std::collections::BTreeSet;

use git2::{Commit, ObjectType, Oid, Repository, TreeWalkMode, TreeWalkResult};

use crate::ignore::clean;

use super::HistoryError;
use super::replay::find;
use super::tree::{File, FileChange, Mode, Stamp, Tree};

/// Times are those of the first commit, told apart by content, so that a file that comes back is the
/// same file.
const STAMP: Stamp = Stamp { commit: 0, edit: 0 };

/// How many submodules, and how many left out names, are told.
const NAMED: usize = 3;

/// Commits of a repository and the folder that is built.
pub(super) struct Stored {
    pub ids: Vec<Oid>,
    /// The folder of the repository that is the build context; all of it when empty.
    pub context: String,
}

impl Stored {
    /// Every file of the context of the commit at `index`.
    pub fn tree(&self, repository: &Repository, index: usize) -> Result<Tree, HistoryError> {
        let mut found = Tree::default();
        let Some(tree) = self.context(repository, index)? else { return Ok(found) };
        walk(&tree, |path, entry| {
            if let Some(mode) = mode(entry.filemode()) {
                found.files.insert(path, File { blob: entry.id(), mode, stamp: STAMP });
            }
        })?;
        Ok(found)
    }

    /// What differs from the commit before it in the sequence; everything for the first.
    pub fn changes(
        &self,
        repository: &Repository,
        index: usize,
    ) -> Result<Vec<FileChange>, HistoryError> {
        let before = index.checked_sub(1).map(|before| self.context(repository, before));
        let before = before.transpose()?.flatten();
        let now = self.context(repository, index)?;
        let diff = repository
            .diff_tree_to_tree(before.as_ref(), now.as_ref(), None)
            .map_err(HistoryError::git(format!("compare {}", self.ids[index])))?;
        let mut found: Vec<FileChange> = diff
            .deltas()
            .filter_map(|delta| {
                let (old, new) = (delta.old_file(), delta.new_file());
                let bits = |file: &git2::DiffFile<'_>| i32::try_from(u32::from(file.mode()));
                // A submodule is in no build context, before or after.
                let file = |file| bits(file).ok().and_then(mode);
                file(&old).or(file(&new))?;
                let path = new.path_bytes().or(old.path_bytes())?;
                // What is not UTF-8 is in none either.
                let path = str::from_utf8(path).ok()?.to_owned();
                let now = file(&new).map(|mode| (new.id().to_string(), mode.bits()));
                Some(FileChange { path, now })
            })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// What cannot be replayed as it is: names that are not UTF-8 (`unnamed`), submodules, files that
    /// are kept elsewhere.
    pub fn notices(
        &self,
        repository: &Repository,
        unnamed: &BTreeSet<String>,
    ) -> Result<Vec<String>, HistoryError> {
        let mut notices = vec![];
        if !unnamed.is_empty() {
            let named = some_of(unnamed);
            notices.push(format!(
                "what has a name that is not UTF-8 is left out of every build context, since neither the journal nor BuildKit's protocol can hold it: {named}"
            ));
        }
        let Some(last) = self.ids.len().checked_sub(1) else { return Ok(notices) };
        let Some(tree) = self.context(repository, last)? else { return Ok(notices) };
        let mut submodules = vec![];
        let mut attributes = vec![];
        walk(&tree, |path, entry| {
            if entry.kind() == Some(ObjectType::Commit) {
                submodules.push(path);
            } else if entry.name() == Ok(".gitattributes") {
                attributes.push(entry.id());
            }
        })?;
        if !submodules.is_empty() {
            let named = some_of(&submodules);
            let count = submodules.len();
            notices.push(format!(
                "{count} submodules are left out of every build context, since their commits are in other repositories: {named}"
            ));
        }
        let commit = repository.find_commit(self.ids[last]);
        let root = commit.ok().and_then(|commit| commit.tree().ok());
        attributes.extend(root.and_then(|tree| tree.get_name(".gitattributes").map(|e| e.id())));
        let lfs = attributes.iter().filter_map(|id| repository.find_blob(*id).ok());
        let lfs = lfs.filter(|blob| String::from_utf8_lossy(blob.content()).contains("filter=lfs"));
        if lfs.count() > 0 {
            notices.push(
                "files that Git LFS keeps are in every build context as their pointers, since only those are in the repository".to_owned(),
            );
        }
        Ok(notices)
    }

    /// The id of the folder that is built, as git has it.
    pub fn tree_id(&self, repository: &Repository, index: usize) -> Result<String, HistoryError> {
        let tree = self.context(repository, index)?;
        Ok(tree.map_or_else(String::new, |tree| tree.id().to_string()))
    }

    /// The content of the file at `path`, which may lead out of the context; none where there is no
    /// such file, or a symlink.
    pub fn file(
        &self,
        repository: &Repository,
        index: usize,
        path: &str,
    ) -> Result<Option<Vec<u8>>, HistoryError> {
        let Some(file) = self.entry(repository, index, path)? else { return Ok(None) };
        let failed = HistoryError::git(format!("read the content of {path}"));
        Ok(Some(repository.find_blob(file.blob).map_err(failed)?.content().to_vec()))
    }

    /// A Dockerfile outside the context and the ignore file of its own, by their names; none where
    /// `path` stays in the context.
    pub fn dockerfile(
        &self,
        repository: &Repository,
        index: usize,
        path: &str,
    ) -> Result<Option<Tree>, HistoryError> {
        if !leaves(path) {
            return Ok(None);
        }
        let mut found = Tree::default();
        for path in [path.to_owned(), own_ignore(path)] {
            if let Some(file) = self.entry(repository, index, &path)? {
                let name = path.rsplit('/').next().unwrap_or_default();
                found.files.insert(name.to_owned(), file);
            }
        }
        Ok(Some(found))
    }

    fn entry(
        &self,
        repository: &Repository,
        index: usize,
        path: &str,
    ) -> Result<Option<File>, HistoryError> {
        let Some(path) = in_repository(&self.context, path) else { return Ok(None) };
        let commit = find(repository, self.ids[index])?;
        let Some(tree) = context_of(repository, &commit, "")? else { return Ok(None) };
        let Some(entry) = at(repository, &tree, &path, &commit)? else { return Ok(None) };
        let mode = mode(entry.filemode()).filter(|mode| *mode != Mode::Symlink);
        Ok(mode.map(|mode| File { blob: entry.id(), mode, stamp: STAMP }))
    }

    pub(super) fn context<'r>(
        &self,
        repository: &'r Repository,
        index: usize,
    ) -> Result<Option<git2::Tree<'r>>, HistoryError> {
        context_of(repository, &find(repository, self.ids[index])?, &self.context)
    }
}

/// Whether a path that is relative to the context, and clean, leads out of it.
pub(super) fn leaves(path: &str) -> bool {
    path.starts_with("../")
}

/// Where in the repository a path is that is relative to the context; none outside of it.
pub(super) fn in_repository(context: &str, path: &str) -> Option<String> {
    let path = clean(&format!("{context}/{path}"));
    (!leaves(&path)).then_some(path)
}

/// The path of a Dockerfile's own ignore file, which the frontend prefers to the context's.
pub(super) fn own_ignore(dockerfile: &str) -> String {
    format!("{dockerfile}.dockerignore")
}

/// The folder `context` of a commit; none where it has no such folder.
pub(super) fn context_of<'r>(
    repository: &'r Repository,
    commit: &Commit<'_>,
    context: &str,
) -> Result<Option<git2::Tree<'r>>, HistoryError> {
    let failed = || HistoryError::git(format!("read the files of {}", commit.id()));
    let whole = repository.find_tree(commit.tree_id()).map_err(failed())?;
    if context.is_empty() {
        return Ok(Some(whole));
    }
    let Some(entry) = at(repository, &whole, context, commit)? else { return Ok(None) };
    match entry.kind() {
        Some(ObjectType::Tree) => repository.find_tree(entry.id()).map(Some).map_err(failed()),
        _ => Ok(None),
    }
}

/// The entry at `path` of the tree of `commit`; none where there is no such entry. Unlike libgit2's own
/// way it tells a folder that the repository lacks from one that the commit lacks.
fn at(
    repository: &Repository,
    tree: &git2::Tree<'_>,
    path: &str,
    commit: &Commit<'_>,
) -> Result<Option<git2::TreeEntry<'static>>, HistoryError> {
    let mut parts = path.split('/');
    let mut found = parts.next().and_then(|name| tree.get_name(name)).map(|entry| entry.to_owned());
    for name in parts {
        let Some(folder) = found.filter(|entry| entry.kind() == Some(ObjectType::Tree)) else {
            return Ok(None);
        };
        let doing = || format!("read the folder above {path:?} of the commit {}", commit.id());
        let tree = repository.find_tree(folder.id()).map_err(HistoryError::git(doing()))?;
        found = tree.get_name(name).map(|entry| entry.to_owned());
    }
    Ok(found)
}

fn mode(bits: i32) -> Option<Mode> {
    match bits {
        0o100755 => Some(Mode::Executable),
        0o120000 => Some(Mode::Symlink),
        // Old repositories hold 0o100664, which git reads as 0o100644.
        0o100644 | 0o100664 => Some(Mode::File),
        _ => None,
    }
}

/// Calls `found` with every entry of a tree that is no folder, and its path. Names that are not UTF-8 are
/// left out; all others are known to be those of files (`names`).
fn walk(
    tree: &git2::Tree<'_>,
    mut found: impl FnMut(String, &git2::TreeEntry<'_>),
) -> Result<(), HistoryError> {
    tree.walk(TreeWalkMode::PreOrder, |folder, entry| {
        let Ok(name) = entry.name() else { return TreeWalkResult::Skip };
        if entry.kind() != Some(ObjectType::Tree) {
            found(format!("{folder}{name}"), entry);
        }
        TreeWalkResult::Ok
    })
    .map_err(HistoryError::git("walk a tree"))
}

/// The first of `paths`, in one line.
fn some_of<'p>(paths: impl IntoIterator<Item = &'p String>) -> String {
    let mut paths = paths.into_iter().map(String::as_str);
    let named = paths.by_ref().take(NAMED).collect::<Vec<_>>().join(", ");
    if paths.next().is_some() { format!("{named} and others") } else { named }
}
