//! Whether a build could tell two folders apart.
//!
//! Only what differs is looked into: equal ids are equal folders.

use git2::{Odb, OdbObject};

use crate::ignore::Patterns;

use super::HistoryError;
use super::entries::{Entry, Pairs, tree};

/// Two folders that are being compared.
pub struct Compared<'a> {
    pub objects: &'a Odb<'a>,
    pub patterns: Option<&'a Patterns>,
    /// Paths that count whatever is ignored.
    pub deciding: [&'a str; 3],
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
    pub fn any(&self, before: &[u8], now: &[u8], prefix: &str) -> Result<bool, HistoryError> {
        for pair in Pairs::of(before, now) {
            let failed = |source| HistoryError::Git {
                doing: format!("compare the folder {prefix:?}"),
                source,
            };
            if self.differ(pair.map_err(failed)?, prefix)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same of an entry then and now, of which one may not be there.
    fn differ(&self, pair: [Option<Entry<'_>>; 2], prefix: &str) -> Result<bool, HistoryError> {
        // A submodule is in no build context.
        let [old, new] = pair.map(|entry| entry.filter(|entry| !entry.is_submodule()));
        let entry = match (old, new) {
            (Some(old), Some(new)) if old.same(&new) => return Ok(false),
            (Some(entry), _) | (None, Some(entry)) => entry,
            (None, None) => return Ok(false),
        };
        // Nor is what is not UTF-8.
        let Ok(name) = str::from_utf8(entry.name) else { return Ok(false) };
        let path = format!("{prefix}{name}");
        if !entry.is_folder() {
            return Ok(self.sees(&path));
        }
        if !self.may_see_in(&path) {
            return Ok(false);
        }
        let folder = |entry: Option<Entry<'_>>| {
            entry.map(|entry| tree(self.objects, entry.id()?)).transpose()
        };
        let [old, new] = [folder(old)?, folder(new)?];
        self.any(bytes(&old), bytes(&new), &format!("{path}/"))
    }
}

/// What a tree holds; nothing where there is none.
pub fn bytes<'t>(tree: &'t Option<OdbObject<'_>>) -> &'t [u8] {
    tree.as_ref().map_or(&[], |tree| tree.data())
}
