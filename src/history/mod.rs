//! The commit sequence: scripted ones with fixed authors and dates, or those of a real repository,
//! checked out on demand.
//!
//! The same scenario and source give the same commit ids and file times on every machine. Nothing
//! of the user's is read or changed but the source tree: no git configuration, hook or template.
//! The surprising thing: git stores no times, so each commit's are kept here beside the repository.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use git2::{Oid, Repository, Signature};

use crate::scenario::{self, Loaded};
use crate::strategy::Standing;

mod checkout;
mod compared;
mod edit;
mod entries;
mod left_out;
mod libgit2;
mod names;
mod partial;
mod relevant;
mod replay;
mod source;
mod stored;
mod tree;
mod working;

pub use checkout::Checkout;
pub use edit::EditError;
pub use left_out::Written;
pub use replay::{Replay, Which};
pub use tree::FileChange;
pub use working::{Asked, PathKind, links_at, working_tree};

use edit::Change;
use libgit2::isolate;
use stored::Stored;
use tree::{Stamp, Tree};

/// 2024-01-01T00:00:00Z in seconds; commit *n* is made *n* minutes later.
const FIRST_COMMIT: i64 = 1_704_067_200;

/// git's mode of a symlink.
const LINK: u32 = 0o120000;

/// A sequence of commits: a scenario's, in a repository that is removed when this is dropped, or
/// some of a repository of the user's.
pub struct History {
    commits: Vec<ScriptedCommit>,
    source: Source,
    default_branch: String,
    // Before the folder: it must be closed when that goes.
    repository: Repository,
    _folder: Option<tempfile::TempDir>,
}

/// Where the commits' files are.
enum Source {
    Scripted(Vec<Tree>),
    Stored(Stored),
}

/// One commit of the sequence, as it was made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptedCommit {
    /// Its place in the sequence, from 0.
    pub index: usize,
    /// The object id, in hexadecimal.
    pub id: String,
    pub message: String,
    pub branch: String,
    /// The index of its parent; a scenario's first commit alone has none.
    pub parent: Option<usize>,
    /// The indices of what it merges, of its other parents or the nearest of their ancestors.
    pub merged: Vec<usize>,
    /// The build args in effect there.
    pub args: BTreeMap<String, String>,
    /// Whether a release tag names it.
    pub tagged: bool,
}

impl ScriptedCommit {
    /// What caches depend on.
    pub fn standing(&self) -> Standing<'_> {
        let Self { id, branch, parent, merged, tagged, .. } = self;
        Standing { id, branch, parent: *parent, merged, tagged: *tagged }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("failed to create a temporary repository in {}", folder.display())]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("failed to {doing}")]
    Git { doing: String, source: git2::Error },
    #[error("failed to {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} is in the source tree but {problem}", path.display())]
    Source { path: PathBuf, problem: String },
    #[error("the results are to go into the source tree {} itself\n  name a folder in it or elsewhere with --out, or what to take in `include`", path.display())]
    ResultsInSource { path: PathBuf },
    #[error("`include` takes `{include}`, {problem}")]
    Include { include: String, problem: String },
    #[error("{position}commit `{commit}`, edit {number} (`{kind}` of `{path}`)")]
    Edit {
        /// `file:line:column: `, or nothing when the scenario file is no longer there.
        position: String,
        commit: String,
        /// From 1.
        number: usize,
        kind: &'static str,
        path: String,
        source: Box<EditError>,
    },
    #[error("commit `{commit}` starts from `{from}`, which is no earlier branch or message")]
    UnknownFrom { commit: String, from: String },
    #[error("there is no commit {}: the history has {count}", index + 1)]
    NoCommit { index: usize, count: usize },
    #[error("failed to {doing}: {} is a partial clone and lacks it\n  bring all that is missing with: {remedy}", repository.display())]
    Partial { doing: String, repository: PathBuf, remedy: String },
    #[error("there are no commits to replay in {}: {asked}", repository.display())]
    NoCommits { repository: PathBuf, asked: String },
    #[error("{range:?} is no range of commits\n  write A..B: the commits that B has and A has not")]
    NoRange { range: String },
    #[error("none of the commits to replay in {} has {dockerfile}\n  name the Dockerfile with --dockerfile, relative to --context", repository.display())]
    NoDockerfile { repository: PathBuf, dockerfile: String },
    #[error("the Dockerfile {dockerfile} is outside of the repository {}\n  it is read from each commit: name one that the commits have, relative to --context", repository.display())]
    OutsideRepository { repository: PathBuf, dockerfile: String },
    #[error(
        "the entry `{entry}` of the commit {commit} cannot be a file here: it {problem}\n  leave that commit out (--range, --commits), or build a folder that has no such entry (--context)"
    )]
    NoFile {
        commit: String,
        /// Its path in the build context, with what is not ASCII escaped.
        entry: String,
        problem: &'static str,
    },
    #[error("{} is not an empty folder", path.display())]
    NotEmpty { path: PathBuf },
}

impl HistoryError {
    fn git(doing: impl Into<String>) -> impl FnOnce(git2::Error) -> HistoryError {
        let doing = doing.into();
        move |source| HistoryError::Git { doing, source }
    }

    fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> HistoryError {
        let path = path.to_owned();
        move |source| HistoryError::Io { doing, path, source }
    }
}

impl History {
    /// Makes every commit of the scenario in a new repository inside `parent_dir`. What `written`
    /// tells apart in the source is left out.
    pub fn script(
        loaded: &Loaded,
        written: Written<'_>,
        parent_dir: &Path,
    ) -> Result<History, HistoryError> {
        let folder = tempfile::Builder::new()
            .prefix("history-")
            .tempdir_in(parent_dir)
            .map_err(|source| HistoryError::Folder { folder: parent_dir.into(), source })?;
        let repository = new_repository(folder.path())?;
        let source = Source::Scripted(vec![]);
        let default_branch = "main".to_owned();
        let mut history = History {
            commits: Vec::new(),
            source,
            default_branch,
            repository,
            _folder: Some(folder),
        };

        let source = source::read(&history.repository, loaded, written)?;
        let mut trees: Vec<Tree> = vec![];
        // What `from` and a branch's next commit start from, by branch name.
        let mut tips: HashMap<String, usize> = HashMap::new();
        for (index, written) in loaded.scenario.commits.iter().enumerate() {
            let branch = match (&written.branch, index.checked_sub(1)) {
                (Some(branch), _) => branch.clone(),
                (None, Some(previous)) => history.commits[previous].branch.clone(),
                (None, None) => "main".into(),
            };
            let parent = history.parent_of(written, &branch, &tips)?;
            let (mut tree, mut args) = match parent {
                Some(parent) => (trees[parent].clone(), history.commits[parent].args.clone()),
                None => (source.clone(), loaded.scenario.build.args.clone()),
            };
            for (number, edit) in written.edits.iter().enumerate() {
                let mut change = Change {
                    repository: &history.repository,
                    tree: &mut tree,
                    args: &mut args,
                    stamp: Stamp { commit: index, edit: number + 1 },
                };
                change.apply(edit).map_err(|source| {
                    let (kind, path) = edit::describe(edit);
                    let position = scenario::edit_position(&loaded.path, index, number)
                        .map(|(l, c)| format!("{}:{l}:{c}: ", loaded.path.display()))
                        .unwrap_or_default();
                    HistoryError::Edit {
                        position,
                        commit: written.message.clone(),
                        number: number + 1,
                        kind,
                        path: path.to_owned(),
                        source: Box::new(source),
                    }
                })?;
            }
            let id = history.commit(index, &written.message, &branch, parent, &tree)?;
            let message = written.message.clone();
            tips.insert(branch.clone(), index);
            trees.push(tree);
            history.commits.push(ScriptedCommit {
                index,
                id: id.to_string(),
                message,
                branch,
                parent,
                merged: vec![],
                args,
                tagged: written.tag.is_some(),
            });
        }
        history.source = Source::Scripted(trees);
        if let Some(first) = history.commits.first() {
            history.default_branch.clone_from(&first.branch);
        }
        Ok(history)
    }

    pub fn commits(&self) -> &[ScriptedCommit] {
        &self.commits
    }

    /// A scenario's first branch; of a repository the one that `HEAD` names, or `origin/HEAD`.
    pub fn default_branch(&self) -> &str {
        &self.default_branch
    }

    /// Writes one commit's files into `into`, which must be empty or not there yet.
    pub fn checkout(&self, index: usize, into: &Path) -> Result<(), HistoryError> {
        self.take(index)?.write(into)
    }

    /// One commit's files, for another thread to write out while this lives.
    pub fn take(&self, index: usize) -> Result<Checkout, HistoryError> {
        self.require(index)?;
        let tree = self.tree(index)?.into_owned();
        Ok(Checkout { repository: self.repository.path().to_owned(), tree })
    }

    /// The Dockerfile of a commit and its own ignore file, each by its name alone, where `path`
    /// leads out of the build context and they are in no checkout of it.
    pub fn take_dockerfile(
        &self,
        index: usize,
        path: &str,
    ) -> Result<Option<Checkout>, HistoryError> {
        self.require(index)?;
        let Source::Stored(stored) = &self.source else { return Ok(None) };
        let tree = stored.dockerfile(&self.repository, index, path)?;
        Ok(tree.map(|tree| Checkout { repository: self.repository.path().to_owned(), tree }))
    }

    /// The content of a commit's file at `path`, which is relative to the tree and uses `/`; in a
    /// repository it may lead out of the build context. None where there is no such file, or a
    /// symlink.
    pub fn file(&self, index: usize, path: &str) -> Result<Option<Vec<u8>>, HistoryError> {
        self.require(index)?;
        let trees = match &self.source {
            Source::Scripted(trees) => trees,
            Source::Stored(stored) => return stored.file(&self.repository, index, path),
        };
        let found = source::normal(path).ok().and_then(|path| trees[index].files.get(&path));
        let Some(file) = found.filter(|file| file.mode != tree::Mode::Symlink) else {
            return Ok(None);
        };
        let blob = self.repository.find_blob(file.blob);
        let blob = blob.map_err(HistoryError::git(format!("read the content of {path}")))?;
        Ok(Some(blob.content().to_vec()))
    }

    /// The paths of a commit's files.
    pub fn paths(&self, index: usize) -> Result<Vec<String>, HistoryError> {
        self.require(index)?;
        Ok(self.tree(index)?.files.keys().cloned().collect())
    }

    /// The files of a commit that differ from the commit before it in the sequence, by path;
    /// every file of the first. Times count for nothing, as they do for BuildKit's cache.
    pub fn changes(&self, index: usize) -> Result<Vec<FileChange>, HistoryError> {
        self.require(index)?;
        let trees = match &self.source {
            Source::Scripted(trees) => trees,
            Source::Stored(stored) => return stored.changes(&self.repository, index),
        };
        let nothing = Tree::default();
        let before = index.checked_sub(1).map_or(&nothing, |before| &trees[before]);
        Ok(tree::changes(before, &trees[index]))
    }

    /// Where the file leads that a change made, if it is a symlink.
    pub fn link_target(&self, change: &FileChange) -> Result<Option<String>, HistoryError> {
        let Some((object, _)) = change.now.as_ref().filter(|(_, mode)| *mode == LINK) else {
            return Ok(None);
        };
        let failed = || HistoryError::git(format!("read where {} leads", change.path));
        let id = Oid::from_str(object).map_err(failed())?;
        let blob = self.repository.find_blob(id).map_err(failed())?;
        Ok(Some(String::from_utf8_lossy(blob.content()).into_owned()))
    }

    /// The nearest commit that both descend from.
    pub fn merge_base(&self, a: usize, b: usize) -> Result<Option<usize>, HistoryError> {
        let parse = |index: usize| {
            let id = &self.require(index)?.id;
            Oid::from_str(id).map_err(HistoryError::git(format!("read the commit id {id}")))
        };
        match self.repository.merge_base(parse(a)?, parse(b)?) {
            Ok(base) => {
                let base = base.to_string();
                Ok(self.commits.iter().position(|commit| commit.id == base))
            }
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(source) => {
                let doing = format!("find the merge base of commits {a} and {b}");
                Err(HistoryError::Git { doing, source })
            }
        }
    }

    /// The id of the git tree of a commit: equal exactly when files and modes are.
    pub fn tree_id(&self, index: usize) -> Result<String, HistoryError> {
        self.require(index)?;
        match &self.source {
            Source::Scripted(trees) => Ok(trees[index].write(&self.repository)?.to_string()),
            Source::Stored(stored) => stored.tree_id(&self.repository, index),
        }
    }

    /// Every file of a commit.
    fn tree(&self, index: usize) -> Result<Cow<'_, Tree>, HistoryError> {
        match &self.source {
            Source::Scripted(trees) => Ok(Cow::Borrowed(&trees[index])),
            Source::Stored(stored) => Ok(Cow::Owned(stored.tree(&self.repository, index)?)),
        }
    }

    fn require(&self, index: usize) -> Result<&ScriptedCommit, HistoryError> {
        let count = self.commits.len();
        self.commits.get(index).ok_or(HistoryError::NoCommit { index, count })
    }

    fn parent_of(
        &self,
        written: &scenario::format::Commit,
        branch: &str,
        tips: &HashMap<String, usize>,
    ) -> Result<Option<usize>, HistoryError> {
        let Some(from) = &written.from else {
            return Ok(tips.get(branch).copied().or(self.commits.len().checked_sub(1)));
        };
        let by_message = || self.commits.iter().position(|commit| commit.message == *from);
        let found = tips.get(from).copied().or_else(by_message);
        found.map(Some).ok_or_else(|| HistoryError::UnknownFrom {
            commit: written.message.clone(),
            from: from.clone(),
        })
    }

    fn commit(
        &self,
        index: usize,
        message: &str,
        branch: &str,
        parent: Option<usize>,
        tree: &Tree,
    ) -> Result<Oid, HistoryError> {
        let repository = &self.repository;
        let failed = || HistoryError::git(format!("make the commit `{message}`"));
        let time = git2::Time::new(commit_time(index), 0);
        let author = Signature::new("cachefrom", "cachefrom@localhost", &time).map_err(failed())?;
        let tree = repository.find_tree(tree.write(repository)?).map_err(failed())?;
        let parent = parent
            .map(|parent| Oid::from_str(&self.commits[parent].id))
            .transpose()
            .and_then(|id| id.map(|id| repository.find_commit(id)).transpose())
            .map_err(failed())?;
        let parents: Vec<_> = parent.iter().collect();
        let id =
            repository.commit(None, &author, &author, message, &tree, &parents).map_err(failed())?;
        // The branches are for whoever looks into a kept repository; nothing here reads them.
        repository
            .reference(&format!("refs/heads/{branch}"), id, true, "scripted")
            .map_err(HistoryError::git(format!("move the branch `{branch}`")))?;
        Ok(id)
    }
}

/// Seconds since the epoch.
fn commit_time(index: usize) -> i64 {
    FIRST_COMMIT + 60 * i64::try_from(index).unwrap_or(i64::MAX / 120)
}

fn new_repository(folder: &Path) -> Result<Repository, HistoryError> {
    isolate()?;
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("main");
    Repository::init_opts(folder, &options)
        .map_err(HistoryError::git(format!("create a repository in {}", folder.display())))
}

#[cfg(test)]
mod tests;
