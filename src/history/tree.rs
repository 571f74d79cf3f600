//! A commit's files while it is being scripted: path, content, mode, and when it last changed.
//!
//! Contents are blobs of the repository, so that copies of a tree are cheap. Invariants: paths are
//! relative, normal and use `/`; no path is both a file and a folder.

use std::collections::BTreeMap;

use git2::{Index, IndexEntry, IndexTime, Oid, Repository};

use super::HistoryError;
use super::edit::EditError;

/// git's file modes; it keeps no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    File,
    Executable,
    Symlink,
}

impl Mode {
    pub fn bits(self) -> u32 {
        match self {
            Self::File => 0o100644,
            Self::Executable => 0o100755,
            Self::Symlink => super::LINK,
        }
    }
}

/// The edit that last gave a file its content: decides its mtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub commit: usize,
    /// From 1; 0 for the source tree itself.
    pub edit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub blob: Oid,
    pub mode: Mode,
    pub stamp: Stamp,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub files: BTreeMap<String, File>,
}

impl Tree {
    /// Everything at or below a path.
    pub fn below(&self, path: &str) -> Vec<(String, File)> {
        let folder = format!("{path}/");
        let inside = |file: &str| file == path || file.starts_with(&folder);
        self.files.iter().filter(|(f, _)| inside(f)).map(|(p, f)| (p.clone(), *f)).collect()
    }

    /// Adds or replaces a file where a file may be.
    pub fn put(&mut self, path: String, file: File) -> Result<(), EditError> {
        for (slash, _) in path.match_indices('/') {
            match self.files.get(&path[..slash]) {
                Some(File { mode: Mode::Symlink, .. }) => {
                    let link = path[..slash].to_owned();
                    return Err(EditError::ThroughSymlink { path, link });
                }
                Some(_) => {
                    let parent = path[..slash].to_owned();
                    return Err(EditError::ParentIsFile { path, parent });
                }
                None => {}
            }
        }
        let folder = format!("{path}/");
        if self.files.range(folder.clone()..).next().is_some_and(|(p, _)| p.starts_with(&folder)) {
            return Err(EditError::IsFolder { path });
        }
        self.files.insert(path, file);
        Ok(())
    }

    pub fn symlinks(&self) -> impl Iterator<Item = (&str, Oid)> {
        let links = self.files.iter().filter(|(_, file)| file.mode == Mode::Symlink);
        links.map(|(path, file)| (path.as_str(), file.blob))
    }

    /// Writes git's tree objects.
    pub fn write(&self, repository: &Repository) -> Result<Oid, HistoryError> {
        let failed = || HistoryError::git("write a tree");
        let mut index = Index::new().map_err(failed())?;
        for (path, file) in &self.files {
            let mode = file.mode.bits();
            let zero = IndexTime::new(0, 0);
            let entry = IndexEntry {
                ctime: zero,
                mtime: zero,
                dev: 0,
                ino: 0,
                mode,
                uid: 0,
                gid: 0,
                file_size: 0,
                id: file.blob,
                flags: 0,
                flags_extended: 0,
                path: path.clone().into_bytes(),
            };
            index.add(&entry).map_err(HistoryError::git(format!("add `{path}` to a tree")))?;
        }
        index.write_tree_to(repository).map_err(failed())
    }
}

/// One file that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Relative to the tree, with `/`.
    pub path: String,
    /// The git object's id and file mode, such as 0o100644; absent where the file was deleted.
    pub now: Option<(String, u32)>,
}

/// What differs in content or mode, by path.
pub(super) fn changes(before: &Tree, after: &Tree) -> Vec<FileChange> {
    let content = |file: &File| (file.blob, file.mode);
    let mut found: Vec<FileChange> = after
        .files
        .iter()
        .filter(|(path, file)| before.files.get(*path).map(content) != Some(content(file)))
        .map(|(path, file)| FileChange {
            path: path.clone(),
            now: Some((file.blob.to_string(), file.mode.bits())),
        })
        .collect();
    let gone = before.files.keys().filter(|path| !after.files.contains_key(*path));
    found.extend(gone.map(|path| FileChange { path: path.clone(), now: None }));
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Where a symlink leads that would leave the tree; `None` for one that stays.
///
/// Follows links on the way as the kernel would, because `link/..` is not the folder of `link`.
pub(super) fn escape(
    repository: &Repository,
    tree: &Tree,
    link: &str,
) -> Result<Option<String>, git2::Error> {
    let mut left: Vec<String> = link.split('/').rev().map(String::from).collect();
    let mut at: Vec<String> = Vec::new();
    let mut target_of_link = String::new();
    // The kernel gives up at 40 as well: such a link leads nowhere, so it does not leave.
    let mut followed = 0;
    while let Some(part) = left.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                if at.pop().is_none() {
                    return Ok(Some(target_of_link));
                }
                continue;
            }
            _ => at.push(part),
        }
        let Some(file) = tree.files.get(&at.join("/")) else { continue };
        if file.mode != Mode::Symlink {
            continue;
        }
        let blob = repository.find_blob(file.blob)?;
        let target = String::from_utf8_lossy(blob.content()).into_owned();
        if target_of_link.is_empty() {
            target_of_link.clone_from(&target);
        }
        followed += 1;
        if target.starts_with('/') {
            return Ok(Some(target_of_link));
        }
        if followed > 40 {
            return Ok(None);
        }
        at.pop();
        left.extend(target.split('/').rev().map(String::from));
    }
    Ok(None)
}
