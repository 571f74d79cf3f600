//! Reads the source tree that the first commit starts from.
//!
//! Takes what `include` names, or everything, but what is [`LeftOut`]. Symlinks are taken as links;
//! those that the build context may hold must stay inside the tree.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use git2::Repository;

use super::left_out::{LeftOut, Written};
use super::tree::{File, Mode, Stamp, Tree, escape};
use super::{EditError, HistoryError};
use crate::ignore::Patterns;
use crate::scenario::Loaded;

const STAMP: Stamp = Stamp { commit: 0, edit: 0 };

pub(super) fn read(
    repository: &Repository,
    loaded: &Loaded,
    written: Written<'_>,
) -> Result<Tree, HistoryError> {
    let include = &loaded.scenario.include;
    let left_out = &LeftOut::of(&loaded.source, include, written);
    let mut reader = Reader { repository, root: &loaded.source, left_out, tree: Tree::default() };
    if include.is_empty() {
        if left_out.holds_results() {
            return Err(HistoryError::ResultsInSource { path: loaded.source.clone() });
        }
        reader.take("", &|_| true)?;
    }
    for pattern in include {
        let failed = |problem: String| HistoryError::Include { include: pattern.clone(), problem };
        let literal = normal(pattern).map_err(|error| failed(format!("but {error}")))?;
        if std::fs::symlink_metadata(loaded.source.join(&literal)).is_ok() {
            if left_out.is_build_folder(literal.split('/').next().unwrap_or_default()) {
                return Err(failed("but the build folder is never taken".into()));
            }
            reader.refuse_links_on_the_way(&literal)?;
            reader.take(&literal, &|_| true)?;
            if reader.tree.below(&literal).is_empty() {
                return Err(failed("which has no files in it".into()));
            }
            continue;
        }
        let glob = globset::GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .map_err(|error| failed(format!("but {error}")))?
            .compile_matcher();
        // A pattern that matches a folder takes what is in it.
        let wanted = |path: &str| {
            let ends = path.match_indices('/').map(|(slash, _)| slash);
            ends.chain([path.len()]).any(|end| glob.is_match(&path[..end]))
        };
        let mut all = Reader { tree: Tree::default(), ..reader };
        all.take("", &wanted)?;
        if all.tree.files.is_empty() {
            let problem = "but nothing in the source tree that git does not ignore is called that";
            return Err(failed(problem.into()));
        }
        reader.tree.files.append(&mut all.tree.files);
    }
    let tree = reader.tree;
    let dockerfile = normal(&loaded.scenario.build.dockerfile).unwrap_or_default();
    let never_sent = never_sent(repository, &tree, &dockerfile);
    let leads_to_dockerfile = |link: &str| Path::new(&dockerfile).starts_with(link);
    let enters = |link: &str| {
        let kept_out = never_sent.as_ref().is_some_and(|never| never.matches_below(link));
        !kept_out || leads_to_dockerfile(link)
    };
    for (link, _) in tree.symlinks().filter(|(link, _)| enters(link)) {
        let target = escape(repository, &tree, link)
            .map_err(HistoryError::git(format!("follow the symlink `{link}`")))?;
        if let Some(target) = target {
            let problem = format!(
                "is a symlink to `{target}`, which leaves the tree\n  \
                 name it in .dockerignore or .gitignore, or what to take instead in `include`"
            );
            return Err(HistoryError::Source { path: loaded.source.join(link), problem });
        }
    }
    Ok(tree)
}

/// A path without `.` and doubled slashes; an error if it leaves the tree or is git's own.
pub(super) fn normal(path: &str) -> Result<String, EditError> {
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    let bad = |part: &&str| *part == ".." || part.eq_ignore_ascii_case(".git");
    if path.starts_with('/') || path.contains('\0') || parts.iter().any(bad) || parts.is_empty() {
        return Err(EditError::LeavesTree { path: path.into() });
    }
    Ok(parts.join("/"))
}

/// What the ignore file of the Dockerfile, or else that of the context, keeps out of every build.
fn never_sent(repository: &Repository, tree: &Tree, dockerfile: &str) -> Option<Patterns> {
    let own = format!("{dockerfile}.dockerignore");
    let file = tree.files.get(&own).or_else(|| tree.files.get(".dockerignore"))?;
    let blob = repository.find_blob(file.blob).ok().filter(|_| file.mode != Mode::Symlink)?;
    Patterns::of_ignore_file(&String::from_utf8_lossy(blob.content()))
}

struct Reader<'a> {
    repository: &'a Repository,
    root: &'a Path,
    left_out: &'a LeftOut<'a>,
    tree: Tree,
}

impl Reader<'_> {
    fn refuse_links_on_the_way(&self, path: &str) -> Result<(), HistoryError> {
        for (slash, _) in path.match_indices('/') {
            let parent = self.root.join(&path[..slash]);
            if parent.is_symlink() {
                let problem = "is a symlink that `include` goes through".into();
                return Err(HistoryError::Source { path: parent, problem });
            }
        }
        Ok(())
    }

    fn take(&mut self, path: &str, wanted: &dyn Fn(&str) -> bool) -> Result<(), HistoryError> {
        let on_disk = self.root.join(path);
        let metadata = std::fs::symlink_metadata(&on_disk)
            .map_err(HistoryError::io("read the source", &on_disk))?;
        if !path.is_empty() && self.left_out.has(path, metadata.is_dir()) {
            return Ok(());
        }
        if metadata.is_dir() {
            // The repository itself, when temporary files are kept inside the source tree.
            if self.repository.path() == on_disk {
                return Ok(());
            }
            let entries = std::fs::read_dir(&on_disk)
                .map_err(HistoryError::io("list the source folder", &on_disk))?;
            for entry in entries {
                let entry = entry.map_err(HistoryError::io("list the source folder", &on_disk))?;
                let Ok(name) = entry.file_name().into_string() else {
                    let problem = "its name is not UTF-8".into();
                    return Err(HistoryError::Source { path: entry.path(), problem });
                };
                let inside = if path.is_empty() { name } else { format!("{path}/{name}") };
                self.take(&inside, wanted)?;
            }
            return Ok(());
        }
        if !wanted(path) {
            return Ok(());
        }
        let (mode, content) = if metadata.is_symlink() {
            let target = std::fs::read_link(&on_disk)
                .map_err(HistoryError::io("read the symlink", &on_disk))?;
            (Mode::Symlink, target.as_os_str().as_bytes().to_vec())
        } else if metadata.is_file() {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let content = std::fs::read(&on_disk)
                .map_err(HistoryError::io("read the source file", &on_disk))?;
            (if executable { Mode::Executable } else { Mode::File }, content)
        } else {
            let problem = "is neither a file, a folder nor a symlink".into();
            return Err(HistoryError::Source { path: on_disk, problem });
        };
        let blob = self
            .repository
            .blob(&content)
            .map_err(HistoryError::git(format!("store {}", on_disk.display())))?;
        self.tree.files.insert(path.into(), File { blob, mode, stamp: STAMP });
        Ok(())
    }
}
