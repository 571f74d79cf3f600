//! What the trees of a repository call their entries.
//!
//! A name that no file here can have is refused before anything is built, and one that is not UTF-8
//! is left out. Each tree is read once, however many commits have it.

use std::collections::{BTreeSet, HashSet};

use git2::{Oid, Repository};

use super::HistoryError;
use super::entries::{Pairs, tree};
use super::stored::Stored;

/// The paths that are left out of the build contexts of `stored`, since they are not UTF-8, with what
/// is not ASCII escaped; an error where an entry cannot be written into a checkout.
pub fn left_out(
    repository: &Repository,
    stored: &Stored,
) -> Result<BTreeSet<String>, HistoryError> {
    let objects = repository.odb().map_err(HistoryError::git("read the objects"))?;
    let mut left_out = BTreeSet::new();
    let mut seen: HashSet<Oid> = HashSet::new();
    for (index, commit) in stored.ids.iter().enumerate() {
        let context = stored.context(repository, index)?;
        let mut waiting: Vec<(Oid, Vec<u8>)> =
            context.iter().map(|tree| (tree.id(), vec![])).collect();
        while let Some((id, folder)) = waiting.pop() {
            if !seen.insert(id) {
                continue;
            }
            let text = tree(&objects, id)?;
            let mut names = HashSet::new();
            for entries in Pairs::of(&[], text.data()) {
                let failed = HistoryError::git(format!("read the tree {id}"));
                let [_, Some(entry)] = entries.map_err(failed)? else { continue };
                let path = || [&folder, entry.name].concat();
                let twice = || (!names.insert(entry.name)).then_some("is there twice");
                if let Some(problem) = wrong(entry.name).or_else(twice) {
                    let (commit, entry) = (commit.to_string(), path().escape_ascii().to_string());
                    return Err(HistoryError::NoFile { commit, entry, problem });
                }
                if str::from_utf8(entry.name).is_err() {
                    left_out.insert(path().escape_ascii().to_string());
                } else if entry.is_folder() {
                    waiting.push((entry.id()?, [&path()[..], b"/"].concat()));
                }
            }
        }
    }
    Ok(left_out)
}

/// What is wrong with the name of an entry as that of a file or folder; git refuses the same
/// (`read-cache.c`, `verify_path`). Nobody makes such a tree but by hand, and written out it would be
/// somewhere else.
fn wrong(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("has an empty name in its path"),
        b"." | b".." => Some("has a name in its path that leads elsewhere"),
        name if name.eq_ignore_ascii_case(b".git") => {
            Some("has the name of git's own folder in its path")
        }
        name if name.contains(&b'/') => Some("has a slash in its name"),
        _ => None,
    }
}
