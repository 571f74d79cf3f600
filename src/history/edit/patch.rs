//! Applies a unified diff of one or more files, plain or as git writes it.
//!
//! Every line of context must match; a hunk may be found at another line. Paths carry git's `a/`
//! and `b/`, or nothing.

use diffy::patch_set::{FileMode, FileOperation, ParseOptions, PatchSet};

use super::{Change, EditError};
use crate::history::source::normal;
use crate::history::tree::{File, Mode};

impl Change<'_> {
    pub(super) fn patch(&mut self, text: &str) -> Result<(), EditError> {
        let git = text.starts_with("diff --git ") || text.contains("\ndiff --git ");
        let options = if git { ParseOptions::gitdiff() } else { ParseOptions::unidiff() };
        let mut empty = true;
        for patch in PatchSet::parse(text, options) {
            let patch =
                patch.map_err(|error| EditError::PatchSyntax { reason: error.to_string() })?;
            empty = false;
            let (from, to, keep) = match patch.operation() {
                FileOperation::Create(to) => (None, Some(to), false),
                FileOperation::Delete(from) => (Some(from), None, false),
                FileOperation::Modify { original, modified } => {
                    (Some(original), Some(modified), false)
                }
                FileOperation::Rename { from, to } => (Some(from), Some(to), false),
                FileOperation::Copy { from, to } => (Some(from), Some(to), true),
            };
            // git writes the paths of its rename and copy headers without `a/` and `b/`.
            let moves = matches!(
                patch.operation(),
                FileOperation::Rename { .. } | FileOperation::Copy { .. }
            );
            let from = from.map(|path| stripped(path, "a/", moves)).transpose()?;
            let to = to.map(|path| stripped(path, "b/", moves)).transpose()?;
            let old = match &from {
                Some(path) => {
                    let file = self.tree.files.get(path).copied();
                    Some(file.ok_or_else(|| EditError::Missing { path: path.clone() })?)
                }
                None => None,
            };
            if let Some(to) = &to
                && from.as_ref() != Some(to)
                && !self.tree.below(to).is_empty()
            {
                return Err(EditError::Exists { path: to.clone() });
            }
            let path = to.clone().or(from.clone()).unwrap_or_default();
            let conflict = |reason: String| EditError::PatchConflict { path: path.clone(), reason };
            let Some(diff) = patch.patch().as_text() else {
                return Err(conflict("binary patches are not supported".into()));
            };
            let content = old.map(|old| self.content(old.blob)).transpose()?.unwrap_or_default();
            let content = String::from_utf8(content)
                .map_err(|_| EditError::NotText { path: path.clone() })?;
            let content =
                diffy::apply(&content, diff).map_err(|error| conflict(error.to_string()))?;

            if let (Some(from), false) = (&from, keep)
                && to.as_ref() != Some(from)
            {
                self.tree.files.remove(from);
            }
            let Some(to) = to else {
                if !content.is_empty() {
                    return Err(conflict("it deletes the file, but not all of it".into()));
                }
                continue;
            };
            let mode = match patch.new_mode() {
                Some(FileMode::Regular) => Mode::File,
                Some(FileMode::Executable) => Mode::Executable,
                Some(FileMode::Symlink) => Mode::Symlink,
                Some(FileMode::Gitlink) => return Err(conflict("it makes a submodule".into())),
                None => old.map_or(Mode::File, |old| old.mode),
            };
            let blob = self.repository.blob(content.as_bytes()).map_err(EditError::Git)?;
            let unchanged = old.filter(|old| old.blob == blob && from.as_ref() == Some(&to));
            let stamp = unchanged.map_or(self.stamp, |old| old.stamp);
            self.tree.put(to, File { blob, mode, stamp })?;
        }
        if empty {
            return Err(EditError::PatchSyntax { reason: "there is no diff in it".into() });
        }
        Ok(())
    }
}

fn stripped(path: &str, prefix: &str, as_it_is: bool) -> Result<String, EditError> {
    normal(if as_it_is { path } else { path.strip_prefix(prefix).unwrap_or(path) })
}
