//! The build context at each commit, and what of it an instruction takes.
//!
//! Kept as each path's changes over the sequence, since a context of 20,000 files changes little
//! from one commit to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{self, Instruction};
use crate::ignore::{Patterns, clean};
use crate::journal::CommitRecord;

use super::cause::{ChangedFile, FileKind};
use super::compare::steps;
use super::depends::bound_from_context;

/// A file's git object and mode; `None` where it is not there.
type State<'a> = Option<(&'a str, u32)>;

/// Every file of the build context over the commit sequence.
pub struct Files<'a> {
    /// By path: what it became at which commits.
    versions: BTreeMap<&'a str, Vec<(usize, State<'a>)>>,
    /// By commit: the paths that changed.
    changed: Vec<Vec<&'a str>>,
    ignored: Vec<Option<Patterns>>,
    ignore_texts: Vec<Option<&'a str>>,
}

impl<'a> Files<'a> {
    pub fn new(commits: &'a [CommitRecord]) -> Self {
        let mut versions: BTreeMap<&str, Vec<(usize, State<'a>)>> = BTreeMap::new();
        for (place, commit) in commits.iter().enumerate() {
            for change in &commit.changes {
                let state = change.object.as_deref().map(|object| (object, change.mode));
                versions.entry(&change.path).or_default().push((place, state));
            }
        }
        let paths = |commit: &'a CommitRecord| commit.changes.iter().map(|c| c.path.as_str());
        Self {
            versions,
            changed: commits.iter().map(|commit| paths(commit).collect()).collect(),
            ignored: commits
                .iter()
                .map(|c| c.dockerignore.as_deref().and_then(Patterns::of_ignore_file))
                .collect(),
            ignore_texts: commits.iter().map(|commit| commit.dockerignore.as_deref()).collect(),
        }
    }

    /// Files that match `wanted` and differ between the commits `before` and `now`, by path.
    pub fn changed(&self, before: usize, now: usize, wanted: &Wanted) -> Vec<ChangedFile> {
        let (first, last) = (before.min(now), before.max(now));
        let candidates: BTreeSet<&str> =
            if self.ignore_texts.get(before) == self.ignore_texts.get(now) {
                let between = self.changed.get(first + 1..=last).unwrap_or_default();
                between.iter().flatten().copied().collect()
            } else {
                // What the ignore file lets in has changed, so any file may have come or gone.
                self.versions.keys().copied().collect()
            };
        let mut found = vec![];
        for path in candidates.into_iter().filter(|path| wanted.takes(path)) {
            let change = match (self.at(before, path), self.at(now, path)) {
                (None, None) => continue,
                (None, Some(_)) => FileKind::Added,
                (Some(_), None) => FileKind::Deleted,
                (Some(old), Some(new)) if old == new => continue,
                (Some(old), Some(new)) if old.0 == new.0 => FileKind::Mode,
                (Some(_), Some(_)) => FileKind::Content,
            };
            let commit = self.last_change(path, now);
            found.push(ChangedFile { path: path.to_owned(), change, commit });
        }
        found
    }

    /// What the build context holds at `commit` under `path`.
    fn at(&self, commit: usize, path: &str) -> State<'a> {
        let ignored = self.ignored.get(commit).and_then(Option::as_ref);
        if ignored.is_some_and(|patterns| patterns.matches_below(path)) {
            return None;
        }
        let versions = self.versions.get(path)?;
        versions.iter().rev().find(|(place, _)| *place <= commit)?.1
    }

    fn last_change(&self, path: &str, now: usize) -> usize {
        let versions = self.versions.get(path).map_or(&[][..], Vec::as_slice);
        versions.iter().rev().find(|(place, _)| *place <= now).map_or(now, |(place, _)| *place)
    }
}

/// What a build may take from its context: what the ignore file lets in and an instruction names.
pub struct Takable {
    ignored: Option<Patterns>,
    wanted: Vec<Wanted>,
}

impl Takable {
    /// What any stage of `commit`'s Dockerfile takes.
    pub fn of(commit: &CommitRecord) -> Self {
        let text = commit.dockerfile.as_deref().unwrap_or_default();
        let dockerfile = dockerfile::parse_with(text, &commit.args);
        let stages = 0..dockerfile.stages.len();
        let wanted =
            stages.flat_map(|stage| steps(&dockerfile, stage)).filter_map(|(place, found)| {
                Wanted::of(found, &dockerfile.variables(place, &commit.args))
            });
        Self {
            ignored: commit.dockerignore.as_deref().and_then(Patterns::of_ignore_file),
            wanted: wanted.collect(),
        }
    }

    /// Whether a build may take the file at `path`.
    pub fn takes(&self, path: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.takes(path))
            && !self.ignored.as_ref().is_some_and(|patterns| patterns.matches_below(path))
    }

    /// Whether a build may take anything below the folder at `path`.
    pub fn takes_below(&self, path: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.takes_below(path))
            && !self.ignored.as_ref().is_some_and(|patterns| {
                patterns.matches_below(path) && !patterns.may_except_below(path)
            })
    }
}

/// What an instruction takes from the build context.
#[derive(Debug, Default)]
pub struct Wanted {
    everything: bool,
    sources: Option<Patterns>,
    /// The folders above `sources`, which are patterns where those are.
    folders: Option<Patterns>,
    excluded: Option<Patterns>,
}

impl Wanted {
    /// What `instruction` takes, with the values of `variables`; none where that is nothing.
    pub fn of(instruction: &Instruction, variables: &BTreeMap<String, String>) -> Option<Self> {
        let fill = |text: &String| dockerfile::expand(text, variables);
        let copied = instruction.flag("from").is_none();
        let mut sources: Vec<String> =
            instruction.sources().iter().filter(|_| copied).map(fill).collect();
        sources.extend(bound_from_context(instruction).iter().map(fill));
        if sources.is_empty() {
            return None;
        }
        let excluded: Vec<&str> = instruction
            .flags
            .iter()
            .filter(|(name, _)| name == "exclude")
            .map(|(_, value)| value.as_str())
            .collect();
        Some(Self::new(&sources, &excluded))
    }

    /// The paths `sources`, as a `COPY` writes them, without what `--exclude` names.
    pub fn new(sources: &[String], excluded: &[&str]) -> Self {
        let sources: Vec<String> = sources.iter().map(|source| clean(source)).collect();
        Self {
            everything: sources.iter().any(|source| source == "." || source == ".."),
            folders: Patterns::new(
                &sources
                    .iter()
                    .flat_map(|source| source.match_indices('/').map(|(end, _)| &source[..end]))
                    .collect::<Vec<_>>(),
            )
            .ok(),
            sources: Patterns::new(&sources).ok(),
            excluded: Patterns::new(excluded).ok().filter(|patterns| !patterns.is_empty()),
        }
    }

    pub fn takes(&self, path: &str) -> bool {
        let wanted = self.everything
            || self.sources.as_ref().is_some_and(|sources| sources.matches_below(path));
        wanted && !self.excluded.as_ref().is_some_and(|patterns| patterns.matches_below(path))
    }

    /// Whether it may take anything below the folder at `path`.
    fn takes_below(&self, path: &str) -> bool {
        self.everything
            || self.sources.as_ref().is_some_and(|sources| sources.matches_below(path))
            || self.folders.as_ref().is_some_and(|folders| folders.matches(path, None).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::FileChange;

    fn commit(changes: &[(&str, Option<&str>, u32)], ignore: Option<&str>) -> CommitRecord {
        let change = |&(path, object, mode): &(&str, Option<&str>, u32)| FileChange {
            path: path.into(),
            object: object.map(str::to_owned),
            mode,
        };
        CommitRecord {
            id: String::new(),
            message: String::new(),
            branch: "main".into(),
            parent: None,
            merged: vec![],
            tagged: false,
            args: BTreeMap::new(),
            dockerfile: None,
            dockerignore: ignore.map(str::to_owned),
            changes: changes.iter().map(change).collect(),
        }
    }

    fn names(found: &[ChangedFile]) -> Vec<(&str, FileKind, usize)> {
        found.iter().map(|file| (file.path.as_str(), file.change, file.commit)).collect()
    }

    #[test]
    fn only_files_that_an_instruction_takes_and_that_differ_are_named() {
        let commits = [
            commit(&[("src/a", Some("1"), 0o100644), ("doc/b", Some("1"), 0o100644)], None),
            commit(&[("src/a", Some("2"), 0o100644), ("doc/b", Some("2"), 0o100644)], None),
            commit(&[("src/a", Some("1"), 0o100644), ("src/c", Some("1"), 0o100644)], None),
            commit(&[("src/c", Some("1"), 0o100755), ("src/a", None, 0)], None),
        ];
        let files = Files::new(&commits);
        let src = Wanted::new(&["./src/".to_owned()], &[]);
        assert_eq!(names(&files.changed(0, 1, &src)), [("src/a", FileKind::Content, 1)]);
        // There and back again.
        assert_eq!(names(&files.changed(0, 2, &src)), [("src/c", FileKind::Added, 2)]);
        assert_eq!(
            names(&files.changed(2, 3, &src)),
            [("src/a", FileKind::Deleted, 3), ("src/c", FileKind::Mode, 3)]
        );
        let all = Wanted::new(&[".".to_owned()], &["src"]);
        assert_eq!(names(&files.changed(0, 3, &all)), [("doc/b", FileKind::Content, 1)]);
        let some = Wanted::new(&["*/b".to_owned()], &[]);
        assert_eq!(names(&files.changed(0, 1, &some)), [("doc/b", FileKind::Content, 1)]);
    }

    #[test]
    fn a_changed_ignore_file_adds_and_takes_files() {
        let commits = [
            commit(&[("a.log", Some("1"), 0o100644), ("b", Some("1"), 0o100644)], Some("*.log\n")),
            commit(&[], Some("# none\n")),
            commit(&[("a.log", Some("2"), 0o100644)], Some("*.log\n")),
        ];
        let files = Files::new(&commits);
        let all = Wanted::new(&[".".to_owned()], &[]);
        assert_eq!(names(&files.changed(0, 1, &all)), [("a.log", FileKind::Added, 0)]);
        assert_eq!(names(&files.changed(0, 2, &all)), []);
    }

    #[test]
    fn a_build_takes_what_its_instructions_name_and_the_ignore_file_lets_in() {
        let takable = |dockerfile: &str, ignore: &str| {
            let mut commit = commit(&[], Some(ignore));
            commit.dockerfile = Some(dockerfile.to_owned());
            Takable::of(&commit)
        };
        let some =
            takable("FROM a\nARG D=data\nCOPY $D/x *.lock /d/\nFROM b\nCOPY --from=0 doc /\n", "");
        assert!(some.takes("data/x/y") && some.takes("one.lock"));
        assert!(!some.takes("data/z") && !some.takes("doc/a") && !some.takes("target/one.lock"));
        assert!(some.takes_below("data") && some.takes_below("data/x"));
        assert!(!some.takes_below("data/z") && !some.takes_below("doc"));
        let deep = takable("FROM a\nCOPY crates/*/Cargo.toml **/*.c /d/\n", "");
        assert!(deep.takes_below("crates") && deep.takes_below("crates/one"));
        assert!(deep.takes("crates/one/Cargo.toml") && deep.takes("x/y/z.c"));
        let none = takable("FROM a\nCOPY crates/*/Cargo.toml /d/\n", "");
        assert!(none.takes_below("crates/one") && !none.takes_below("crates/one/src"));
        let bound = takable("FROM a\nRUN --mount=type=bind,source=src,target=/s make -C /s\n", "");
        assert!(bound.takes("src/a") && !bound.takes("doc/a") && !bound.takes_below("target"));
        let all = takable("FROM a\nCOPY . /w\n", "target\nlogs\n!logs/kept\n");
        assert!(all.takes("a") && all.takes("logs/kept") && !all.takes("logs/a"));
        assert!(all.takes_below("logs") && !all.takes_below("target"));
        assert!(!takable("FROM a\nRUN make\n", "").takes("a"));
    }
}
