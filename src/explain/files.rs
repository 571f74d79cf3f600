//! The build context at each commit, and what of it an instruction takes.
//!
//! Kept as each path's changes over the sequence, since a context of 20,000 files changes little
//! from one commit to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::dockerfile::{self, Instruction};
use crate::ignore::{Patterns, clean, escaped, has_wildcard};
use crate::journal::CommitRecord;

use super::cause::{ChangedFile, FileKind};
use super::depends::{bound_from_context, steps};

/// A file's git object and mode; `None` where it is not there.
type State<'a> = Option<(&'a str, u32)>;

/// Every file of the build context over the commit sequence.
pub struct Files<'a> {
    /// By path: what it became at which commits.
    versions: BTreeMap<&'a str, Vec<(usize, State<'a>)>>,
    /// Which of the ignore files each commit has.
    ignored: Vec<usize>,
    ignore_files: Vec<Option<Patterns>>,
    /// Where every symlink leads, at any commit.
    links: BTreeMap<&'a str, BTreeSet<&'a str>>,
    takes: HashMap<Taken, Rc<Takes<'a>>>,
    let_in: HashMap<(usize, usize, Taken), Rc<Vec<&'a str>>>,
}

/// The files that one kind of instruction takes, at any commit.
struct Takes<'a> {
    paths: Vec<&'a str>,
    /// All their changes, by commit.
    changes: Vec<(usize, &'a str)>,
}

impl<'a> Files<'a> {
    pub fn new(commits: &'a [CommitRecord]) -> Self {
        let mut versions: BTreeMap<&str, Vec<(usize, State<'a>)>> = BTreeMap::new();
        let mut links: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (place, commit) in commits.iter().enumerate() {
            for change in &commit.changes {
                if let Some(target) = &change.target {
                    links.entry(&change.path).or_default().insert(target);
                }
                let state = change.object.as_deref().map(|object| (object, change.mode));
                versions.entry(&change.path).or_default().push((place, state));
            }
        }
        let mut known: HashMap<Option<&str>, usize> = HashMap::new();
        let (mut ignored, mut ignore_files) = (vec![], vec![]);
        for commit in commits {
            let text = commit.dockerignore.as_deref();
            ignored.push(*known.entry(text).or_insert_with(|| {
                ignore_files.push(text.and_then(Patterns::of_ignore_file));
                ignore_files.len() - 1
            }));
        }
        let (takes, let_in) = (HashMap::new(), HashMap::new());
        Self { versions, ignored, ignore_files, links, takes, let_in }
    }

    /// Whether any file that is taken differs between the commits `before` and `now`.
    pub fn differ(&mut self, before: usize, now: usize, taken: &Taken) -> bool {
        let takes = self.takes(taken);
        let let_in = self.let_in(before, now, taken);
        // The nearer a change is, the likelier nothing has undone it.
        let mut candidates = takes.between(before, now).iter().rev().map(|(_, path)| path);
        candidates.any(|path| self.change(before, now, path).is_some())
            || let_in.iter().any(|path| self.change(before, now, path).is_some())
    }

    /// Those files, by path.
    pub fn changed(&mut self, before: usize, now: usize, taken: &Taken) -> Vec<ChangedFile> {
        let takes = self.takes(taken);
        let mut candidates: BTreeSet<&str> =
            takes.between(before, now).iter().map(|(_, path)| *path).collect();
        candidates.extend(self.let_in(before, now, taken).iter());
        let found = candidates.into_iter().filter_map(|path| {
            let change = self.change(before, now, path)?;
            let commit = self.last_change(path, now);
            Some(ChangedFile { path: path.to_owned(), change, commit })
        });
        found.collect()
    }

    fn change(&self, before: usize, now: usize, path: &str) -> Option<FileKind> {
        let (was, is) = (self.version(before, path), self.version(now, path));
        // Patterns take their time, and most files are as they were.
        if was == is && self.ignored.get(before) == self.ignored.get(now) {
            return None;
        }
        let seen = |commit: usize, state: State<'a>| state.filter(|_| !self.ignores(commit, path));
        match (seen(before, was), seen(now, is)) {
            (None, None) => None,
            (None, Some(_)) => Some(FileKind::Added),
            (Some(_), None) => Some(FileKind::Deleted),
            (Some(old), Some(new)) if old == new => None,
            (Some(old), Some(new)) if old.0 == new.0 => Some(FileKind::Mode),
            (Some(_), Some(_)) => Some(FileKind::Content),
        }
    }

    /// What is at `path` at `commit`, ignored or not.
    fn version(&self, commit: usize, path: &str) -> State<'a> {
        let versions = self.versions.get(path)?;
        let end = versions.partition_point(|(place, _)| *place <= commit);
        versions[..end].last()?.1
    }

    fn ignores(&self, commit: usize, path: &str) -> bool {
        let file = self.ignored.get(commit).and_then(|number| self.ignore_files[*number].as_ref());
        file.is_some_and(|patterns| patterns.matches_below(path))
    }

    fn last_change(&self, path: &str, now: usize) -> usize {
        let versions = self.versions.get(path).map_or(&[][..], Vec::as_slice);
        let end = versions.partition_point(|(place, _)| *place <= now);
        versions[..end].last().map_or(now, |(place, _)| *place)
    }

    fn takes(&mut self, taken: &Taken) -> Rc<Takes<'a>> {
        if let Some(known) = self.takes.get(taken) {
            return known.clone();
        }
        let wanted = taken.wanted(&|pattern| self.links_at(pattern));
        let found = self.versions.iter().filter(|(path, _)| wanted.takes(path));
        let mut takes = Takes { paths: vec![], changes: vec![] };
        for (path, versions) in found {
            takes.paths.push(path);
            takes.changes.extend(versions.iter().map(|(commit, _)| (*commit, *path)));
        }
        takes.changes.sort_unstable();
        let takes = Rc::new(takes);
        self.takes.insert(taken.clone(), takes.clone());
        takes
    }

    /// The symlinks that `pattern` names, each with where it leads.
    fn links_at(&self, pattern: &str) -> Vec<(String, String)> {
        let whole = Patterns::new(&[pattern]).ok().filter(|_| has_wildcard(pattern));
        let is_meant = |path: &str| match &whole {
            Some(whole) => whole.matches(path, None).0,
            None => path == pattern,
        };
        let links = self.links.iter().filter(|(path, _)| is_meant(path));
        let one = |(path, targets): (&&str, &BTreeSet<&'a str>)| {
            let path = (*path).to_owned();
            targets.iter().map(|to| (path.clone(), (*to).to_owned())).collect::<Vec<_>>()
        };
        links.flat_map(one).collect()
    }

    /// The files that are taken and that one of two commits ignores and the other does not.
    fn let_in(&mut self, before: usize, now: usize, taken: &Taken) -> Rc<Vec<&'a str>> {
        let (was, is) = (self.ignored.get(before), self.ignored.get(now));
        let (Some(&was), Some(&is)) = (was, is) else { return Rc::default() };
        if was == is {
            return Rc::default();
        }
        let key = (was, is, taken.clone());
        if let Some(known) = self.let_in.get(&key) {
            return known.clone();
        }
        let takes = self.takes(taken);
        let differs = |path: &&str| self.ignores(before, path) != self.ignores(now, path);
        let found = Rc::new(takes.paths.iter().copied().filter(differs).collect::<Vec<_>>());
        self.let_in.insert(key, found.clone());
        found
    }
}

impl<'a> Takes<'a> {
    /// What changed after one commit up to another.
    fn between(&self, before: usize, now: usize) -> &[(usize, &'a str)] {
        let (first, last) = (before.min(now), before.max(now));
        let start = self.changes.partition_point(|(commit, _)| *commit <= first);
        let end = self.changes.partition_point(|(commit, _)| *commit <= last);
        &self.changes[start..end]
    }
}

/// What an instruction takes from the build context, as it says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    sources: Vec<String>,
    /// What bind mounts show.
    bound: Vec<String>,
    excluded: Vec<String>,
}

impl Taken {
    /// What `instruction` takes, with the values of `variables`; none where that is nothing.
    pub fn of(instruction: &Instruction, variables: &BTreeMap<String, String>) -> Option<Self> {
        let fill = |text: &String| dockerfile::expand(text, variables);
        let copied = instruction.flag("from").is_none();
        let sources: Vec<String> =
            instruction.sources().iter().filter(|_| copied).map(fill).collect();
        let bound: Vec<String> = bound_from_context(instruction).iter().map(fill).collect();
        if sources.is_empty() && bound.is_empty() {
            return None;
        }
        let excluded = instruction.flags.iter().filter(|(name, _)| name == "exclude");
        Some(Self { sources, bound, excluded: excluded.map(|(_, value)| value.clone()).collect() })
    }

    fn wanted(&self, links_at: LinksAt<'_>) -> Wanted {
        // A mount names one path, which may look like a pattern.
        let bound = self.bound.iter().map(|path| escaped(path));
        let sources: Vec<String> = self.sources.iter().cloned().chain(bound).collect();
        Wanted::new(&followed(&sources, links_at), &self.excluded)
    }
}

/// The symlinks that a pattern names, each with where it leads.
pub type LinksAt<'a> = &'a dyn Fn(&str) -> Vec<(String, String)>;

/// So many paths are followed to at most; links may lead in circles.
const MOST_FOLLOWED: usize = 256;

/// The patterns `sources`, what they lead to and the symlinks on the way. BuildKit follows the symlinks
/// that a source of a `COPY` or of a bind mount names or goes through, and none in a folder that it
/// takes (`dockerfile2llb/convert_copy.go`, `FollowSymlinks`; `solver/llbsolver/ops/exec.go`,
/// `toSelectors`; fsutil `followlinks.go`).
fn followed(sources: &[String], links_at: LinksAt<'_>) -> Vec<String> {
    let (mut found, mut links) = (BTreeSet::new(), BTreeSet::new());
    let mut waiting: Vec<String> = sources.iter().map(|source| clean(source)).collect();
    let written: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        if found.contains(&path) || (found.len() >= MOST_FOLLOWED && !written.contains(&path)) {
            continue;
        }
        for end in path.match_indices('/').map(|(at, _)| at).chain([path.len()]) {
            for (link, target) in links_at(&path[..end]) {
                let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
                // None leads out of the context: an absolute one begins at its root.
                let from = if target.starts_with('/') { "" } else { parent };
                let target = escaped(&format!("{from}/{target}"));
                let whole = clean(&format!("{target}{}", &path[end..]));
                let inside = whole.trim_start_matches("../");
                waiting.push(if inside == ".." { ".".to_owned() } else { inside.to_owned() });
                links.insert(escaped(&link));
            }
        }
        found.insert(path);
    }
    found.union(&links).cloned().collect()
}

/// What a build may take from its context: what the ignore file lets in and an instruction names.
pub struct Takable {
    ignored: Option<Patterns>,
    wanted: Vec<Wanted>,
}

impl Takable {
    /// What any stage of `commit`'s Dockerfile takes, where symlinks are as `links_at` says.
    pub fn of(commit: &CommitRecord, links_at: LinksAt<'_>) -> Self {
        let text = commit.dockerfile.as_deref().unwrap_or_default();
        let dockerfile = dockerfile::parse_with(text, &commit.args);
        let stages = 0..dockerfile.stages.len();
        let wanted =
            stages.flat_map(|stage| steps(&dockerfile, stage)).filter_map(|(place, found)| {
                let variables = dockerfile.variables(place, &commit.args);
                Some(Taken::of(found, &variables)?.wanted(links_at))
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
    /// The paths `sources`, as a `COPY` writes them, without what `--exclude` names.
    pub fn new(sources: &[String], excluded: &[String]) -> Self {
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
            target: None,
        };
        CommitRecord {
            dockerignore: ignore.map(str::to_owned),
            changes: changes.iter().map(change).collect(),
            ..Default::default()
        }
    }

    fn taken(source: &str, excluded: &[&str]) -> Taken {
        let excluded = excluded.iter().map(|text| (*text).to_owned()).collect();
        Taken { sources: vec![source.to_owned()], bound: vec![], excluded }
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
        let mut files = Files::new(&commits);
        let src = taken("./src/", &[]);
        assert_eq!(names(&files.changed(0, 1, &src)), [("src/a", FileKind::Content, 1)]);
        // There and back again.
        assert_eq!(names(&files.changed(0, 2, &src)), [("src/c", FileKind::Added, 2)]);
        assert_eq!(
            names(&files.changed(2, 3, &src)),
            [("src/a", FileKind::Deleted, 3), ("src/c", FileKind::Mode, 3)]
        );
        let all = taken(".", &["src"]);
        assert_eq!(names(&files.changed(0, 3, &all)), [("doc/b", FileKind::Content, 1)]);
        let some = taken("*/b", &[]);
        assert_eq!(names(&files.changed(0, 1, &some)), [("doc/b", FileKind::Content, 1)]);
    }

    #[test]
    fn symlinks_that_a_source_names_or_goes_through_are_followed_and_no_others() {
        let links = [
            ("[slug]", "real/[k]"),
            ("conf", "real/conf"),
            ("lib", "real"),
            ("lok", "/real/k"),
            ("d/in", "../real/in"),
            ("round", "round"),
            ("out", "../../real/o"),
        ];
        let mut first = commit(&[], None);
        let link = |&(path, target): &(&str, &str)| FileChange {
            path: path.into(),
            object: Some(target.into()),
            mode: 0o120000,
            target: Some(target.into()),
        };
        first.changes = links.iter().map(link).collect();
        let names = ["conf", "x", "k", "in", "k2", "o", "[k]"].map(|name| format!("real/{name}"));
        let edited = names.each_ref().map(|path| (path.as_str(), Some("1"), 0o100644));
        let commits = [first, commit(&edited, None)];
        let mut files = Files::new(&commits);
        let mut paths = |taken: &Taken| -> Vec<String> {
            files.changed(0, 1, taken).into_iter().map(|file| file.path).collect()
        };
        let bound = |source: &str| {
            let line = format!("FROM a\nRUN --mount=type=bind,source={source},target=/m make\n");
            let parsed = dockerfile::parse(&line);
            Taken::of(&parsed.stages[0].instructions[0], &BTreeMap::new()).unwrap()
        };
        // As real builds had it (Docker 28.5.2, 2026-11-28).
        assert_eq!(paths(&bound("conf")), ["real/conf"]);
        assert_eq!(paths(&bound("/lib/x")), ["real/x"]);
        assert_eq!(paths(&bound("lib/")).len(), names.len());
        // What a mount names is no pattern.
        assert_eq!(paths(&bound("[slug]")), ["real/[k]"]);
        assert_eq!(paths(&bound("l*k")), [""; 0]);
        assert_eq!(paths(&bound("real/[k]")), ["real/[k]"]);
        let mut changed = |source: &str| paths(&taken(source, &[]));
        assert_eq!(changed("conf"), ["real/conf"]);
        assert_eq!(changed("lib/x"), ["real/x"]);
        assert_eq!(changed("l*k"), ["real/k"]);
        assert_eq!(changed("d"), [""; 0]);
        assert_eq!(changed("./d/in"), ["real/in"]);
        assert_eq!(changed("out"), ["real/o"]);
        assert_eq!(changed("round"), [""; 0]);
        assert_eq!(changed("lib").len(), names.len());
    }

    #[test]
    fn a_changed_ignore_file_adds_and_takes_files() {
        let commits = [
            commit(&[("a.log", Some("1"), 0o100644), ("b", Some("1"), 0o100644)], Some("*.log\n")),
            commit(&[], Some("# none\n")),
            commit(&[("a.log", Some("2"), 0o100644)], Some("*.log\n")),
        ];
        let mut files = Files::new(&commits);
        let all = taken(".", &[]);
        assert_eq!(names(&files.changed(0, 1, &all)), [("a.log", FileKind::Added, 0)]);
        assert_eq!(names(&files.changed(0, 2, &all)), []);
        assert!(files.differ(0, 1, &all) && files.differ(1, 0, &all));
        assert!(!files.differ(0, 2, &all) && !files.differ(0, 1, &taken("b", &[])));
    }

    #[test]
    fn a_build_takes_what_its_instructions_name_and_the_ignore_file_lets_in() {
        let takable = |dockerfile: &str, ignore: &str| {
            let mut commit = commit(&[], Some(ignore));
            commit.dockerfile = Some(dockerfile.to_owned());
            Takable::of(&commit, &|_| vec![])
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
