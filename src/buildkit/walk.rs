//! Lists a local directory the way BuildKit's receiver demands: filtered, in order, lazily.
//!
//! Reads directory entries, never file contents. The order is that of Go's `filepath.WalkDir`:
//! siblings by the bytes of their names, a directory right before what it holds (fsutil
//! `validator.go`), so `a/b` comes before `a-b` although it sorts after it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bollard_buildkit_proto::fsutil::types::Stat;

use crate::ignore::{Matched, PatternError, Patterns, clean};

/// Go's `os.FileMode` bits, which are not those of `st_mode`.
mod mode {
    pub const DIR: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const DEVICE: u32 = 1 << 26;
    pub const NAMED_PIPE: u32 = 1 << 25;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const CHAR_DEVICE: u32 = 1 << 21;
    pub const STICKY: u32 = 1 << 20;
    /// Any of these, and the entry has no contents to ask for.
    pub const TYPE: u32 = DIR | SYMLINK | DEVICE | NAMED_PIPE | CHAR_DEVICE | 1 << 24 | 1 << 19;
}

/// Whether the receiver may ask for this entry's contents.
pub fn has_contents(stat: &Stat) -> bool {
    stat.mode & mode::TYPE == 0
}

#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    #[error("reading {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the name of {path} is not UTF-8, which BuildKit's protocol cannot carry")]
    Name { path: PathBuf },
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("the receiver is gone")]
    Stopped,
}

/// What of a directory is wanted.
#[derive(Debug, Default)]
pub struct Filter {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

impl Filter {
    /// `follow` names paths to include together with what they link to.
    pub fn new(
        root: &Path,
        include: &[String],
        exclude: &[String],
        follow: &[String],
    ) -> Result<Self, PatternError> {
        let mut wanted = include.to_vec();
        let mut all = include.is_empty() && follow.is_empty();
        if !follow.is_empty() {
            let followed = follow_links(root, follow);
            all |= followed.contains(".");
            wanted.extend(followed);
        }
        let some = |patterns: Patterns| (!patterns.is_empty()).then_some(patterns);
        Ok(Self {
            include: if all { None } else { some(Patterns::new(&wanted)?) },
            exclude: some(Patterns::new(exclude)?),
        })
    }
}

/// The paths, the links on the way and what they lead to (fsutil `followlinks.go`).
fn follow_links(root: &Path, paths: &[String]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut queue: Vec<String> = paths.iter().map(|path| clean(path)).collect();
    while let Some(path) = queue.pop() {
        let mut current = String::new();
        let mut rest = path.as_str();
        while !rest.is_empty() {
            let (part, tail) = rest.split_once('/').unwrap_or((rest, ""));
            let parent = current.clone();
            current = if parent.is_empty() { part.into() } else { format!("{parent}/{part}") };
            rest = tail;
            let targets = link_targets(root, &parent, part);
            if !rest.is_empty() && targets.is_empty() {
                continue;
            }
            if found.insert(current.clone()) {
                queue.extend(targets.iter().map(|to| clean(&format!("{to}/{rest}"))));
            }
            break;
        }
    }
    found
}

/// Where `part` in `parent` links to, relative to the root; a wildcard may have many answers.
fn link_targets(root: &Path, parent: &str, part: &str) -> Vec<String> {
    let directory = root.join(parent);
    let target = |name: &str| {
        let link = std::fs::read_link(directory.join(name)).ok()?;
        let link = link.to_str()?;
        // Links cannot leave the root: an absolute one starts at it, and `..` stops at it.
        let joined = if link.starts_with('/') { link.into() } else { format!("{parent}/{link}") };
        let cleaned = clean(&joined);
        let inside = cleaned.trim_start_matches("../");
        Some(if inside == ".." { ".".to_owned() } else { inside.to_owned() })
    };
    if !part.contains(['*', '?', '[', '\\']) {
        return target(part).into_iter().collect();
    }
    let (Ok(pattern), Ok(entries)) = (Patterns::new(&[part]), std::fs::read_dir(&directory)) else {
        return Vec::new();
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| pattern.matches(name, None).0).filter_map(|name| target(&name)).collect()
}

/// Calls `emit` for each wanted entry below `root`, which is itself not sent.
pub fn walk(
    root: &Path,
    filter: &Filter,
    emit: &mut dyn FnMut(PathBuf, Stat) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let mut walk = Walk { filter, emit, ancestors: Vec::new() };
    walk.directory(root, "", None, None)
}

/// How many files, folders and links of the context at `root` would be looked at for sending,
/// were all wanted that the ignore file's lines `ignored` leave. Sends nothing.
pub fn context_entries(root: &Path, ignored: &[String]) -> Result<usize, WalkError> {
    let filter = Filter::new(root, &[], ignored, &[]).map_err(WalkError::Pattern)?;
    let mut entries = 0;
    walk(root, &filter, &mut |_, _| {
        entries += 1;
        Ok(())
    })?;
    Ok(entries)
}

struct Walk<'a> {
    filter: &'a Filter,
    emit: &'a mut dyn FnMut(PathBuf, Stat) -> Result<(), WalkError>,
    /// Directories on the way here that match nothing themselves, sent once something below does.
    ancestors: Vec<Option<(PathBuf, Stat)>>,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        directory: &Path,
        prefix: &str,
        included: Option<&Matched>,
        excluded: Option<&Matched>,
    ) -> Result<(), WalkError> {
        let read = |source| WalkError::Read { path: directory.to_owned(), source };
        let entries = std::fs::read_dir(directory).map_err(read)?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(read)?.file_name());
        }
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        for name in names {
            let full = directory.join(&name);
            let Some(name) = name.to_str() else { return Err(WalkError::Name { path: full }) };
            let path = if prefix.is_empty() { name.into() } else { format!("{prefix}/{name}") };
            self.entry(full, path, included, excluded)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        full: PathBuf,
        path: String,
        included: Option<&Matched>,
        excluded: Option<&Matched>,
    ) -> Result<(), WalkError> {
        let mut wanted = true;
        let mut descend = true;
        let mut include_below = None;
        if let Some(include) = &self.filter.include {
            let (matched, carried) = include.matches(&path, included);
            if !matched {
                wanted = false;
                descend &= include.may_include_below(&path);
            }
            include_below = Some(carried);
        }
        let mut exclude_below = None;
        if let Some(exclude) = &self.filter.exclude {
            let (matched, carried) = exclude.matches(&path, excluded);
            if matched {
                wanted = false;
                descend &= exclude.may_except_below(&path);
            }
            exclude_below = Some(carried);
        }
        if !wanted && !descend {
            return Ok(());
        }
        let metadata = match std::fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            // Removed since it was listed: it is simply not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(WalkError::Read { path: full, source }),
        };
        let is_directory = metadata.is_dir();
        if !wanted && !is_directory {
            return Ok(());
        }
        let stat = stat(&full, path.clone(), &metadata)
            .map_err(|source| WalkError::Read { path: full.clone(), source })?;
        let held = if wanted {
            for ancestor in &mut self.ancestors {
                if let Some((full, stat)) = ancestor.take() {
                    (self.emit)(full, stat)?;
                }
            }
            (self.emit)(full.clone(), stat)?;
            None
        } else {
            Some((full.clone(), stat))
        };
        if is_directory && descend {
            self.ancestors.push(held);
            self.directory(&full, &path, include_below.as_ref(), exclude_below.as_ref())?;
            self.ancestors.pop();
        }
        Ok(())
    }
}

/// One entry as Go's fsutil describes it, owned by root as its client does.
fn stat(full: &Path, path: String, metadata: &Metadata) -> std::io::Result<Stat> {
    let kind = metadata.file_type();
    let bits = metadata.mode();
    let mut go = bits & 0o777;
    for (bit, meaning) in [(0o4000, mode::SETUID), (0o2000, mode::SETGID), (0o1000, mode::STICKY)] {
        if bits & bit != 0 {
            go |= meaning;
        }
    }
    let (mut linkname, mut major, mut minor) = (String::new(), 0, 0);
    if kind.is_dir() {
        go |= mode::DIR;
    } else if kind.is_symlink() {
        go |= mode::SYMLINK;
        linkname = std::fs::read_link(full)?.to_string_lossy().into_owned();
    } else if kind.is_fifo() {
        go |= mode::NAMED_PIPE;
    } else if kind.is_block_device() || kind.is_char_device() {
        go |= mode::DEVICE;
        if kind.is_char_device() {
            go |= mode::CHAR_DEVICE;
        }
        major = i64::from(rustix::fs::major(metadata.rdev()));
        minor = i64::from(rustix::fs::minor(metadata.rdev()));
    }
    Ok(Stat {
        path,
        mode: go,
        uid: 0,
        gid: 0,
        size: if kind.is_dir() { 0 } else { metadata.len() as i64 },
        mod_time: metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec(),
        linkname,
        devmajor: major,
        devminor: minor,
        xattrs: extended_attributes(full),
    })
}

/// All extended attributes; those that cannot be read count as absent, as in Go's client.
fn extended_attributes(path: &Path) -> std::collections::HashMap<String, Vec<u8>> {
    let mut found = std::collections::HashMap::new();
    let mut names = [0_u8; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else { return found };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let (Ok(text), Ok(length)) =
            (std::str::from_utf8(name), rustix::fs::lgetxattr(path, name, &mut value))
        else {
            continue;
        };
        value.truncate(length);
        found.insert(text.to_owned(), value);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for path in paths {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        root
    }

    fn listed(root: &Path, include: &[&str], exclude: &[&str], follow: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let filter = Filter::new(root, &own(include), &own(exclude), &own(follow)).unwrap();
        let mut paths = Vec::new();
        walk(root, &filter, &mut |_, stat| {
            paths.push(stat.path);
            Ok(())
        })
        .unwrap();
        paths
    }

    #[test]
    fn a_directory_comes_right_before_what_it_holds() {
        let root = tree(&["a/b", "a-b", "a.c", "B"]);
        assert_eq!(listed(root.path(), &[], &[], &[]), ["B", "a", "a/b", "a-b", "a.c"]);
    }

    #[test]
    fn parents_of_an_exception_are_sent_without_their_other_children() {
        let root = tree(&["docs/a.md", "docs/b.md", "src/main.rs", "node_modules/x/y"]);
        let paths = listed(root.path(), &[], &["*", "!docs/a.md"], &[]);
        assert_eq!(paths, ["docs", "docs/a.md"]);
        let paths = listed(root.path(), &[], &["node_modules", "**/*.md"], &[]);
        assert_eq!(paths, ["docs", "src", "src/main.rs"]);
    }

    #[test]
    fn followed_paths_bring_along_what_they_link_to() {
        let root = tree(&["real/file", "other/file"]);
        std::os::unix::fs::symlink("real", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/other/file", root.path().join("absolute")).unwrap();
        let paths = listed(root.path(), &[], &[], &["link/file", "abs*"]);
        assert_eq!(paths, ["absolute", "link", "other", "other/file", "real", "real/file"]);
    }

    #[test]
    fn following_the_root_means_everything() {
        let root = tree(&["a", "b/c"]);
        assert_eq!(listed(root.path(), &[], &[], &["/"]), ["a", "b", "b/c"]);
    }

    #[test]
    fn modes_are_gos_and_owners_are_root() {
        use std::os::unix::fs::PermissionsExt;
        let root = tree(&["dir/tool"]);
        let tool = root.path().join("dir/tool");
        std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let mut modes = Vec::new();
        walk(root.path(), &Filter::default(), &mut |_, stat| {
            modes.push((stat.mode & !0o777, stat.uid, stat.gid, has_contents(&stat)));
            Ok(())
        })
        .unwrap();
        assert_eq!(modes, [(mode::DIR, 0, 0, false), (mode::SETUID, 0, 0, true)]);
    }
}
