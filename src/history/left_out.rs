//! What of a folder on disk is no part of its commits: git's own, the top folder's `target`, what
//! cachefrom wrote, and what git ignores.
//!
//! Decides from paths, git's index and its ignore rules; reads no file's content but for the
//! caller's question whether a folder holds results. Surprising: what git ignores and tracks
//! nevertheless is taken, as git does.

use std::path::{Path, PathBuf};

use git2::{Index, Repository};

/// Where baselines are kept, wherever a check was run.
const OWN_FOLDER: &str = ".cachefrom";

/// Cargo's output, which may be gigabytes.
const BUILD_FOLDER: &str = "target";

/// What cachefrom writes, which may lie in a source tree.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// The results of the run that is about to begin.
    pub results: Option<&'a Path>,
    /// Whether a folder holds the results of some run.
    pub is_results: fn(&Path) -> bool,
}

impl Written<'_> {
    /// Nothing, since nothing was run there.
    pub const NOTHING: Self = Self { results: None, is_results: |_| false };
}

/// See the module.
pub(super) struct LeftOut<'a> {
    root: &'a Path,
    results: Option<PathBuf>,
    is_results: fn(&Path) -> bool,
    git: Option<WorkTree>,
    /// Paths that would be left out and are asked for by name.
    wanted: Vec<String>,
    /// Whether the build folder may be taken, as a repository's commits may hold one.
    pub build_folder: bool,
}

struct WorkTree {
    repository: Repository,
    index: Index,
    /// The folder in question, relative to the work tree.
    below: PathBuf,
}

impl<'a> LeftOut<'a> {
    /// Of the folder `root`, which is canonical; `include` are the paths and patterns that are
    /// asked for by name.
    pub fn of(root: &'a Path, include: &[String], written: Written<'_>) -> Self {
        let results = written.results.and_then(|results| results.canonicalize().ok());
        let is_results = written.is_results;
        let (git, wanted, build_folder) = (WorkTree::around(root), vec![], false);
        let mut left_out = Self { root, results, is_results, git, wanted, build_folder };
        let named = include.iter().map(|pattern| literal(pattern));
        left_out.wanted = named
            .filter(|path| !path.is_empty())
            .filter(|path| {
                let by_rule = left_out.git.as_ref().is_some_and(|git| git.has_rule(path));
                by_rule || left_out.has(path, root.join(path).is_dir())
            })
            .collect();
        left_out
    }

    /// Whether the results of the run are to go right into the folder, among its files.
    pub fn holds_results(&self) -> bool {
        self.results.as_deref() == Some(self.root)
    }

    /// Whether a name in the top folder is the build folder's, which is taken by no name.
    pub fn is_build_folder(&self, name: &str) -> bool {
        name == BUILD_FOLDER && !self.build_folder && !self.root.join(name).is_file()
    }

    /// Whether `path`, which is relative to the folder and uses `/`, is left out with all below it.
    pub fn has(&self, path: &str, is_folder: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(".git") || self.is_build_folder(path) {
            return true;
        }
        let on_disk = self.root.join(path);
        if is_folder && self.results.as_ref() == Some(&on_disk) {
            return true;
        }
        let is_below = |path: &str, folder: &str| Path::new(path).starts_with(folder);
        let is_wanted =
            |wanted: &String| is_below(path, wanted) || (is_folder && is_below(wanted, path));
        if self.wanted.iter().any(is_wanted) {
            return false;
        }
        let was_written = || {
            on_disk.file_name().is_some_and(|name| name == OWN_FOLDER)
                || (self.is_results)(&on_disk)
        };
        let ignored = || self.git.as_ref().is_some_and(|git| git.ignores(path, is_folder));
        (is_folder && was_written()) || ignored()
    }
}

impl WorkTree {
    /// The work tree that `folder` is in, if git knows one.
    fn around(folder: &Path) -> Option<Self> {
        let repository = Repository::discover(folder).ok()?;
        let work_tree = repository.workdir()?.canonicalize().ok()?;
        let below = folder.strip_prefix(work_tree).ok()?.to_owned();
        let index = repository.index().ok()?;
        Some(Self { repository, index, below })
    }

    fn ignores(&self, path: &str, is_folder: bool) -> bool {
        let path = self.below.join(path);
        let tracked = || {
            let inside = format!("{}/", path.display());
            self.index.get_path(&path, 0).is_some()
                || (is_folder && self.index.find_prefix(inside).is_ok())
        };
        self.repository.is_path_ignored(&path).unwrap_or(false) && !tracked()
    }

    /// Whether a rule would have `path` ignored, if git did not track it.
    fn has_rule(&self, path: &str) -> bool {
        self.repository.is_path_ignored(self.below.join(path)).unwrap_or(false)
    }
}

/// The folders and the file that a pattern names before its first wildcard.
fn literal(pattern: &str) -> String {
    let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".");
    let plain: Vec<&str> = parts.take_while(|part| !part.contains(['*', '?', '[', '{'])).collect();
    plain.join("/")
}
