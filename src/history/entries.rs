//! The entries of a tree as git stores it: `MODE NAME`, a zero byte, twenty bytes of id, again and
//! again, in git's order.
//!
//! Read in place: comparing two trees needs no list of either, and a large repository has many.

use std::cmp::Ordering;

use git2::{ObjectType, Odb, OdbObject, Oid};

use super::HistoryError;

/// What stands for a folder in a mode, a submodule, or anything else.
const KIND: u32 = 0o170000;
const FOLDER: u32 = 0o040000;
const SUBMODULE: u32 = 0o160000;
const ID: usize = 20;

/// One entry; nothing of it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'t> {
    /// As far as it decides what a build sees: permissions are those of the owner to execute.
    mode: u32,
    pub name: &'t [u8],
    id: &'t [u8],
}

impl Entry<'_> {
    pub fn is_folder(&self) -> bool {
        self.mode & KIND == FOLDER
    }

    pub fn is_submodule(&self) -> bool {
        self.mode & KIND == SUBMODULE
    }

    /// Whether what has this name is as it was.
    pub fn same(&self, other: &Self) -> bool {
        self.mode == other.mode && self.id == other.id
    }

    pub fn id(&self) -> Result<Oid, HistoryError> {
        Oid::from_bytes(self.id).map_err(HistoryError::git("read the id of an entry"))
    }

    /// git's order: folders stand as if their names ended in `/`, so that a file and a folder of one
    /// name are two entries.
    fn order(&self, other: &Self) -> Ordering {
        let common = self.name.len().min(other.name.len());
        let next = |entry: &Self| {
            let end = entry.is_folder().then_some(b'/');
            entry.name.get(common).copied().or(end)
        };
        self.name[..common].cmp(&other.name[..common]).then_with(|| next(self).cmp(&next(other)))
    }
}

/// The text of a tree.
pub fn tree<'o>(objects: &'o Odb<'_>, id: Oid) -> Result<OdbObject<'o>, HistoryError> {
    let failed = |source| HistoryError::Git { doing: format!("read the tree {id}"), source };
    let object = objects.read(id).map_err(failed)?;
    if object.kind() != ObjectType::Tree {
        return Err(failed(git2::Error::from_str("it is no tree")));
    }
    Ok(object)
}

/// The object at `path` below a tree, and whether it is a folder.
pub fn below(
    objects: &Odb<'_>,
    text: &[u8],
    path: &str,
) -> Result<Option<(Oid, bool)>, HistoryError> {
    let (name, rest) = path.split_once('/').map_or((path, None), |(a, b)| (a, Some(b)));
    let Some(entry) = named(text, name.as_bytes()) else { return Ok(None) };
    match rest {
        None => Ok(Some((entry.id()?, entry.is_folder()))),
        Some(rest) if entry.is_folder() => below(objects, tree(objects, entry.id()?)?.data(), rest),
        Some(_) => Ok(None),
    }
}

fn named<'t>(text: &'t [u8], name: &[u8]) -> Option<Entry<'t>> {
    // What is behind a name in git's order is greater, and no name that this one begins.
    let mut before =
        Entries(text).take_while(|entry| entry.name <= name || entry.name.starts_with(name));
    before.find(|entry| entry.name == name)
}

/// What stands at each name in two trees, in git's order; one of the two may be missing.
#[derive(Debug)]
pub struct Pairs<'t> {
    next: [Option<Entry<'t>>; 2],
    rest: [Entries<'t>; 2],
}

impl<'t> Pairs<'t> {
    pub fn of(before: &'t [u8], now: &'t [u8]) -> Self {
        let mut rest = [before, now].map(Entries);
        Self { next: rest.each_mut().map(Iterator::next), rest }
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = Result<[Option<Entry<'t>>; 2], git2::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let sides = self.next.iter().zip(&self.rest);
        if sides.into_iter().any(|(next, rest)| next.is_none() && !rest.0.is_empty()) {
            *self = Self::of(&[], &[]);
            return Some(Err(git2::Error::from_str("a tree holds what is no entry")));
        }
        let order = match &self.next {
            [None, None] => return None,
            [Some(_), None] => Ordering::Less,
            [None, Some(_)] => Ordering::Greater,
            [Some(old), Some(new)] => old.order(new),
        };
        let mut take =
            |side: usize| std::mem::replace(&mut self.next[side], self.rest[side].next());
        let old = if order.is_le() { take(0) } else { None };
        let new = if order.is_ge() { take(1) } else { None };
        Some(Ok([old, new]))
    }
}

/// The entries of one tree; ends before the first that is none.
#[derive(Clone, Copy, Debug)]
struct Entries<'t>(&'t [u8]);

impl<'t> Iterator for Entries<'t> {
    type Item = Entry<'t>;

    fn next(&mut self) -> Option<Entry<'t>> {
        let space = self.0.iter().position(|byte| *byte == b' ')?;
        let digit = |mode: u32, byte: &u8| match byte {
            b'0'..=b'7' => Some(mode.wrapping_mul(8) + u32::from(byte - b'0')),
            _ => None,
        };
        let mode = self.0[..space].iter().try_fold(0, digit)?;
        let rest = &self.0[space + 1..];
        let (name, rest) = rest.split_at(rest.iter().position(|byte| *byte == 0)?);
        let (id, rest) = rest[1..].split_at_checked(ID)?;
        self.0 = rest;
        Some(Entry { mode: mode & (KIND | 0o100), name, id })
    }
}

#[cfg(test)]
mod tests {
    use git2::Repository;

    use super::*;

    #[test]
    fn entries_are_what_git_says_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let blob = repository.blob(b"a").unwrap();
        let empty = repository.treebuilder(None).unwrap().write().unwrap();
        let mut builder = repository.treebuilder(None).unwrap();
        let written = [
            ("a", 0o040000),
            ("a-b", 0o100644),
            ("a.b", 0o100755),
            ("link", 0o120000),
            ("sub", 0o160000),
        ];
        for (name, mode) in written {
            let id = if mode == 0o040000 { empty } else { blob };
            builder.insert(name, id, mode).unwrap();
        }
        let tree = builder.write().unwrap();
        let odb = repository.odb().unwrap();
        let object = odb.read(tree).unwrap();
        let found: Vec<Entry<'_>> = Entries(object.data()).collect();
        let parsed = repository.find_tree(tree).unwrap();
        let names: Vec<&[u8]> = found.iter().map(|entry| entry.name).collect();
        let expected: Vec<Vec<u8>> = parsed.iter().map(|e| e.name_bytes().to_vec()).collect();
        assert_eq!(names, expected);
        let ids = parsed.iter().map(|entry| entry.id().as_bytes().to_vec());
        assert!(found.iter().map(|entry| entry.id.to_vec()).eq(ids));
        assert!(found.is_sorted_by(|a, b| a.order(b) == Ordering::Less));
        for entry in &found {
            assert_eq!(named(object.data(), entry.name), Some(*entry));
        }
        assert_eq!(named(object.data(), b"a-"), None);
        let kinds = found.iter().map(|entry| (entry.name, entry.is_folder(), entry.is_submodule()));
        let special = kinds.filter(|(_, folder, submodule)| *folder || *submodule);
        assert_eq!(special.collect::<Vec<_>>(), [(&b"a"[..], true, false), (b"sub", false, true)]);
        assert!(!found[1].same(&found[2]), "a file that became executable is another one");
    }

    #[test]
    fn what_is_no_tree_is_an_error() {
        for text in ["100644", "100644 a", "100644 a\0short", "x a\0aaaaaaaaaaaaaaaaaaaa", " "] {
            let mut pairs = Pairs::of(text.as_bytes(), b"");
            assert!(pairs.next().unwrap().is_err(), "{text:?}");
            assert!(pairs.next().is_none(), "{text:?}");
        }
        assert!(Pairs::of(b"", b"").next().is_none());
    }
}
