//! The files of a folder on disk as a commit of them would have them, without committing.
//!
//! A folder may hold a hundred thousand files that are of no interest: what is not asked for is
//! neither listed nor read.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::{ObjectType, Oid};

use crate::ignore::{Patterns, has_wildcard, unescaped};

use super::HistoryError;
use super::left_out::{LeftOut, Written};
use super::libgit2::isolate;
use super::tree::{FileChange, Mode};

/// What is asked of a folder.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Whether the file, or for a folder anything below it, is asked for.
    pub takes: &'a dyn Fn(&str, PathKind) -> bool,
    /// Whether it matters what a file holds, and not only that it is there.
    pub reads: &'a dyn Fn(&str) -> bool,
    /// Whether the top folder's `target` is asked for, which no scenario's commit has.
    pub build_folder: bool,
    /// Is told how many files were looked at, after each.
    pub on_file: &'a dyn Fn(usize),
    /// Is told each path that is left out since its name is not UTF-8, with what is not ASCII escaped.
    pub on_unnamed: &'a dyn Fn(&str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathKind {
    File,
    Folder,
}

impl Asked<'_> {
    /// Everything, and what it holds.
    pub const ALL: Self = Self {
        takes: &|_, _| true,
        reads: &|_| true,
        build_folder: false,
        on_file: &|_| {},
        on_unnamed: &|_| {},
    };
}

/// Every file below `folder` that is `asked` for, by path, with the object id that git would give it,
/// but what is left out of a scenario's source too, and what has a name that is not UTF-8. The id of a
/// file that need not be read is empty. Nothing is written.
pub fn working_tree(
    folder: &Path,
    include: &[String],
    written: Written<'_>,
    asked: Asked<'_>,
) -> Result<Vec<FileChange>, HistoryError> {
    isolate()?;
    let folder = &folder.canonicalize().map_err(HistoryError::io("find", folder))?;
    let mut left_out = LeftOut::of(folder, include, written);
    left_out.build_folder = asked.build_folder;
    let mut found = vec![];
    let mut files = 0;
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        let path = folder.join(&below);
        for entry in fs::read_dir(&path).map_err(HistoryError::io("list", &path))? {
            let entry = entry.map_err(HistoryError::io("list", &path))?;
            let name = entry.file_name();
            let is_text = name.to_str().is_some();
            let name = name.to_string_lossy().into_owned();
            let relative = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type().map_err(HistoryError::io("look at", &entry.path()))?;
            let path_kind = if kind.is_dir() { PathKind::Folder } else { PathKind::File };
            // The cheaper question first: git's rules take a look at each folder above.
            if !(asked.takes)(&relative, path_kind) || left_out.has(&relative, kind.is_dir()) {
                continue;
            }
            if !is_text {
                (asked.on_unnamed)(&entry.path().as_os_str().as_bytes().escape_ascii().to_string());
                continue;
            }
            if kind.is_dir() {
                waiting.push(relative);
            } else if kind.is_file() || kind.is_symlink() {
                let now = match (asked.reads)(&relative) {
                    true => object(&entry.path(), kind.is_symlink())?,
                    false => (String::new(), Mode::File.bits()),
                };
                found.push(FileChange { path: relative, now: Some(now) });
                files += 1;
                (asked.on_file)(files);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The symlinks below `folder` that `pattern` names, each with where it leads. Only the last part of a
/// pattern may hold wildcards.
pub fn links_at(folder: &Path, pattern: &str) -> Vec<(String, String)> {
    let (parent, last) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let parent = unescaped(parent);
    let place = folder.join(&parent);
    let link = |name: String| {
        let target = fs::read_link(place.join(&name)).ok()?.into_os_string().into_string().ok()?;
        Some((if parent.is_empty() { name } else { format!("{parent}/{name}") }, target))
    };
    if !has_wildcard(last) {
        return link(last.to_owned()).into_iter().collect();
    }
    let Ok(patterns) = Patterns::new(&[last]) else { return vec![] };
    let entries = fs::read_dir(&place).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| patterns.matches(name, None).0).filter_map(link).collect()
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
