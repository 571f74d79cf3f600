//! Applies one edit of a scenario to a tree.
//!
//! An edit either does exactly what it says or is an error: one that changes nothing would leave a
//! measurement of nothing. `touch` and `set-arg` change no file, so their commit has its parent's
//! tree.

use std::collections::BTreeMap;

use git2::{Oid, Repository};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::source::normal;
use super::tree::{File, Mode, Stamp, Tree, escape};
use crate::scenario::format::{Edit, GenerateEdit, ReplaceEdit};

mod patch;

#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("the path `{path}` leaves the tree")]
    LeavesTree { path: String },
    #[error("the symlink `{link}` to `{target}` leaves the tree")]
    SymlinkLeavesTree { link: String, target: String },
    #[error("`{path}` goes through the symlink `{link}`")]
    ThroughSymlink { path: String, link: String },
    #[error("`{path}` cannot be inside `{parent}`, which is a file")]
    ParentIsFile { path: String, parent: String },
    #[error("`{path}` is a folder")]
    IsFolder { path: String },
    #[error("`{path}` is a symlink, not a file")]
    IsSymlink { path: String },
    #[error("there is no `{path}`")]
    Missing { path: String },
    #[error("`{path}` is already there")]
    Exists { path: String },
    #[error("it changes nothing")]
    ChangesNothing,
    #[error("the pattern is there {found} times, not {expected}")]
    Times { found: usize, expected: usize },
    #[error("`{path}` is not a UTF-8 text")]
    NotText { path: String },
    #[error("`{mode}` is no mode that git keeps")]
    Mode { mode: String },
    #[error("the patch cannot be read: {reason}")]
    PatchSyntax { reason: String },
    #[error("the patch does not apply to `{path}`: {reason}")]
    PatchConflict { path: String, reason: String },
    #[error("failed to store or read a file")]
    Git(#[source] git2::Error),
}

/// An edit's kind and what it is about, for messages.
pub(super) fn describe(edit: &Edit) -> (&'static str, &str) {
    match edit {
        Edit::Write(edit) => ("write", &edit.write),
        Edit::Append(edit) => ("append", &edit.append),
        Edit::Replace(edit) => ("replace", &edit.replace),
        Edit::Delete(edit) => ("delete", &edit.delete),
        Edit::Rename(edit) => ("rename", &edit.rename),
        Edit::Chmod(edit) => ("chmod", &edit.chmod),
        Edit::Touch(edit) => ("touch", &edit.touch),
        Edit::Copy(edit) => ("copy", &edit.copy),
        Edit::Patch(edit) => ("patch", edit.patch.lines().next().unwrap_or_default()),
        Edit::SetArg(edit) => ("set-arg", &edit.set_arg),
        Edit::Generate(edit) => ("generate", &edit.generate),
    }
}

/// What one edit may change.
pub(super) struct Change<'a> {
    pub repository: &'a Repository,
    pub tree: &'a mut Tree,
    pub args: &'a mut BTreeMap<String, String>,
    pub stamp: Stamp,
}

impl Change<'_> {
    pub fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        let before = self.tree.clone();
        match edit {
            Edit::Write(edit) => self.write(&edit.write, edit.content.as_bytes())?,
            Edit::Append(edit) => {
                let (path, file) = self.file(&edit.append)?;
                let mut content = self.content(file.blob)?;
                content.extend_from_slice(edit.content.as_bytes());
                self.write(&path, &content)?;
            }
            Edit::Replace(edit) => self.replace(edit)?,
            Edit::Delete(edit) => {
                for (path, _) in self.existing(&normal(&edit.delete)?)? {
                    self.tree.files.remove(&path);
                }
            }
            Edit::Rename(edit) => self.duplicate(&edit.rename, &edit.to, true)?,
            Edit::Copy(edit) => self.duplicate(&edit.copy, &edit.to, false)?,
            Edit::Chmod(edit) => {
                let (path, file) = self.file(&edit.chmod)?;
                let mode = match edit.mode.as_str() {
                    "755" | "0755" => Mode::Executable,
                    "644" | "0644" => Mode::File,
                    _ => return Err(EditError::Mode { mode: edit.mode.clone() }),
                };
                self.tree.files.insert(path, File { mode, ..file });
            }
            Edit::Touch(edit) => {
                for (path, file) in self.existing(&normal(&edit.touch)?)? {
                    self.tree.files.insert(path, File { stamp: self.stamp, ..file });
                }
            }
            Edit::Patch(edit) => self.patch(&edit.patch)?,
            Edit::SetArg(edit) => {
                let old = self.args.insert(edit.set_arg.clone(), edit.value.clone());
                if old.as_ref() == Some(&edit.value) {
                    return Err(EditError::ChangesNothing);
                }
                return Ok(());
            }
            Edit::Generate(edit) => self.generate(edit)?,
        }
        if self.tree.files == before.files {
            return Err(EditError::ChangesNothing);
        }
        for (link, _) in self.tree.symlinks() {
            let leads = |tree: &Tree| escape(self.repository, tree, link).map_err(EditError::Git);
            // One that left the source tree already is known never to be sent to a build.
            let known = before.files.contains_key(link) && leads(&before)?.is_some();
            if let Some(target) = leads(self.tree)?.filter(|_| !known) {
                return Err(EditError::SymlinkLeavesTree { link: link.into(), target });
            }
        }
        Ok(())
    }

    /// A file's new content; its mode stays, and its stamp too if the content is the same.
    fn write(&mut self, path: &str, content: &[u8]) -> Result<(), EditError> {
        let path = normal(path)?;
        let old = self.tree.files.get(&path).copied();
        if old.is_some_and(|old| old.mode == Mode::Symlink) {
            return Err(EditError::IsSymlink { path });
        }
        let blob = self.repository.blob(content).map_err(EditError::Git)?;
        match old {
            Some(old) if old.blob == blob => Ok(()),
            Some(old) => self.tree.put(path, File { blob, stamp: self.stamp, ..old }),
            None => self.tree.put(path, File { blob, mode: Mode::File, stamp: self.stamp }),
        }
    }

    fn replace(&mut self, edit: &ReplaceEdit) -> Result<(), EditError> {
        let (path, file) = self.file(&edit.replace)?;
        let Ok(content) = String::from_utf8(self.content(file.blob)?) else {
            return Err(EditError::NotText { path });
        };
        let found = content.matches(&edit.pattern).count();
        if found != edit.times {
            return Err(EditError::Times { found, expected: edit.times });
        }
        self.write(&path, content.replace(&edit.pattern, &edit.with).as_bytes())
    }

    /// Copies or moves a file or folder. The new files are new: they get this commit's time.
    fn duplicate(&mut self, from: &str, to: &str, remove: bool) -> Result<(), EditError> {
        let (from, to) = (normal(from)?, normal(to)?);
        let files = self.existing(&from)?;
        if from == to {
            return Err(EditError::ChangesNothing);
        }
        if !self.tree.below(&to).is_empty() {
            return Err(EditError::Exists { path: to });
        }
        if remove {
            for (path, _) in &files {
                self.tree.files.remove(path);
            }
        }
        for (path, file) in files {
            let moved = format!("{to}{}", &path[from.len()..]);
            self.tree.put(moved, File { stamp: self.stamp, ..file })?;
        }
        Ok(())
    }

    fn generate(&mut self, edit: &GenerateEdit) -> Result<(), EditError> {
        let folder = normal(&edit.generate)?;
        let mut content = vec![0; usize::try_from(edit.size).unwrap_or(usize::MAX)];
        for number in 0..edit.files {
            // A stream a file, so that more files leave the earlier ones as they are.
            let mut random = ChaCha8Rng::seed_from_u64(edit.seed);
            random.set_stream(u64::from(number));
            random.fill_bytes(&mut content);
            self.write(&format!("{folder}/{number:05}.bin"), &content)?;
        }
        Ok(())
    }

    fn content(&self, blob: Oid) -> Result<Vec<u8>, EditError> {
        let blob = self.repository.find_blob(blob).map_err(EditError::Git)?;
        Ok(blob.content().to_vec())
    }

    /// A regular file that is there.
    fn file(&self, path: &str) -> Result<(String, File), EditError> {
        let path = normal(path)?;
        match self.tree.files.get(&path).copied() {
            Some(File { mode: Mode::Symlink, .. }) => Err(EditError::IsSymlink { path }),
            Some(file) => Ok((path, file)),
            None if self.tree.below(&path).is_empty() => Err(EditError::Missing { path }),
            None => Err(EditError::IsFolder { path }),
        }
    }

    /// A file, or all files of a folder, at least one.
    fn existing(&self, path: &str) -> Result<Vec<(String, File)>, EditError> {
        let files = self.tree.below(path);
        if files.is_empty() {
            return Err(EditError::Missing { path: path.into() });
        }
        Ok(files)
    }
}
