//! The files of a folder on disk as a commit of them would have them, without committing.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::{ObjectType, Oid};

use super::HistoryError;
use super::left_out::{LeftOut, Written};
use super::libgit2::isolate;
use super::tree::{FileChange, Mode};

/// Every file below `folder`, by path, with the object id that git would give it, but those of git
/// itself, what git ignores unless `include` names it, and what cachefrom wrote. Nothing is written.
pub fn working_tree(
    folder: &Path,
    include: &[String],
    written: Written<'_>,
) -> Result<Vec<FileChange>, HistoryError> {
    isolate()?;
    let folder = &folder.canonicalize().map_err(HistoryError::io("find", folder))?;
    let left_out = LeftOut::of(folder, include, written);
    let mut found = vec![];
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        let path = folder.join(&below);
        for entry in fs::read_dir(&path).map_err(HistoryError::io("list", &path))? {
            let entry = entry.map_err(HistoryError::io("list", &path))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == ".git" {
                continue;
            }
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type().map_err(HistoryError::io("look at", &entry.path()))?;
            if left_out.has(&relative, kind.is_dir()) {
                continue;
            }
            if kind.is_dir() {
                waiting.push(relative);
            } else if kind.is_file() || kind.is_symlink() {
                let now = Some(object(&entry.path(), kind.is_symlink())?);
                found.push(FileChange { path: relative, now });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A file's object id and git mode.
fn object(path: &Path, is_link: bool) -> Result<(String, u32), HistoryError> {
    let read = || HistoryError::io("read", path);
    let (content, mode) = if is_link {
        let target = fs::read_link(path).map_err(read())?;
        (target.as_os_str().as_bytes().to_vec(), Mode::Symlink)
    } else {
        let executable = fs::metadata(path).map_err(read())?.permissions().mode() & 0o100 != 0;
        let mode = if executable { Mode::Executable } else { Mode::File };
        (fs::read(path).map_err(read())?, mode)
    };
    let id = Oid::hash_object(ObjectType::Blob, &content)
        .map_err(HistoryError::git(format!("hash {}", path.display())))?;
    Ok((id.to_string(), mode.bits()))
}
