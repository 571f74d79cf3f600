//! Writes one commit's files to disk as a build context.
//!
//! Modes are 0644 and 0755 whatever the umask, and times come from the history, not from the
//! clock: BuildKit sends a file again when its time differs, so both must be the same everywhere.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use git2::Repository;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::tree::{File, Mode, Tree};
use super::{FIRST_COMMIT, HistoryError, commit_time};

/// One commit's files, that any thread can write out.
pub struct Checkout {
    pub(super) repository: PathBuf,
    pub(super) tree: Tree,
}

impl Checkout {
    /// Writes them into `into`, which must be empty or not there yet.
    pub fn write(&self, into: &Path) -> Result<(), HistoryError> {
        // A repository that is open belongs to one thread.
        let opened = Repository::open(&self.repository);
        let path = self.repository.display();
        let repository = opened.map_err(HistoryError::git(format!("open {path}")))?;
        write(&repository, &self.tree, into)
    }
}

fn write(repository: &Repository, tree: &Tree, into: &Path) -> Result<(), HistoryError> {
    fs::create_dir_all(into).map_err(HistoryError::io("create", into))?;
    let mut entries = fs::read_dir(into).map_err(HistoryError::io("list", into))?;
    if entries.next().is_some() {
        return Err(HistoryError::NotEmpty { path: into.into() });
    }

    let mut folders = BTreeSet::from([into.to_path_buf()]);
    for (path, file) in &tree.files {
        for (slash, _) in path.match_indices('/') {
            let folder = into.join(&path[..slash]);
            if !folders.contains(&folder) {
                fs::create_dir(&folder).map_err(HistoryError::io("create", &folder))?;
                folders.insert(folder);
            }
        }
        write_file(repository, file, &into.join(path))?;
    }
    // Last, because each new file in a folder changes the folder's time.
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, Permissions::from_mode(0o755))
            .map_err(HistoryError::io("set the mode of", folder))?;
        set_time(folder, FIRST_COMMIT, 0)?;
    }
    Ok(())
}

fn write_file(repository: &Repository, file: &File, path: &Path) -> Result<(), HistoryError> {
    let blob = repository
        .find_blob(file.blob)
        .map_err(HistoryError::git(format!("read the content of {}", path.display())))?;
    let mode = match file.mode {
        Mode::File => Some(0o644),
        Mode::Executable => Some(0o755),
        Mode::Symlink => None,
    };
    if let Some(mode) = mode {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let mut output = options.open(path).map_err(HistoryError::io("create", path))?;
        output.write_all(blob.content()).map_err(HistoryError::io("write", path))?;
        output
            .set_permissions(Permissions::from_mode(mode))
            .map_err(HistoryError::io("set the mode of", path))?;
    } else {
        let target = std::ffi::OsStr::from_bytes(blob.content());
        std::os::unix::fs::symlink(target, path).map_err(HistoryError::io("create", path))?;
    }
    let (seconds, nanoseconds) = modified(file);
    set_time(path, seconds, nanoseconds)
}

/// A file's time: the minute of the commit that gave it its content, the second of the edit, and
/// nanoseconds from the content, so that two branches' versions differ as well.
fn modified(file: &File) -> (i64, i64) {
    let seconds = i64::try_from(file.stamp.edit % 60).unwrap_or_default();
    let bytes = file.blob.as_bytes();
    let nanoseconds = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % 1_000_000_000;
    (commit_time(file.stamp.commit) + seconds, nanoseconds.into())
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) -> Result<(), HistoryError> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| HistoryError::io("set the time of", path)(error.into()))
}
