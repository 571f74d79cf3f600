//! Runs that died without cleaning up, and what they left.
//!
//! A run's directory holds a lock that lives as long as the run's process; a directory whose lock is
//! free is a dead run's. The kernel has already ended its engines (see `process`); what is left are
//! files, empty cgroups and, at worst, a process that the pid file names. A run that was interrupted
//! may still be starting or stopping an engine on another thread: its directory waits for that.
//! Directories are their owner's alone: what is found in them is removed and killed as root, and
//! contexts in them are copies of private files.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::EngineError;
use super::error::at;
use super::process::{signal, unmount_below};

/// Holds the host pid of an engine's first process, in the engine's directory.
pub(crate) const PID_FILE: &str = "pid";
/// That of the directory of all runs holds its [`identity`].
const LOCK_FILE: &str = "lock";
const RUN_PREFIX: &str = "run-";

/// How long a run's directory waits for an engine: as long as one may take to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many engines there are in each run's directory.
static ENGINES: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());
static ENGINE_ENDED: Condvar = Condvar::new();

/// Counts as an engine in a run's directory for as long as it lives.
#[derive(Debug)]
pub(crate) struct Presence(PathBuf);

impl Presence {
    /// Of an engine whose directory is made in `run_root`.
    pub(crate) fn in_run(run_root: &Path) -> Self {
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        *engines.entry(run_root.to_owned()).or_default() += 1;
        Self(run_root.to_owned())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = engines.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                engines.remove(&self.0);
            }
        }
        ENGINE_ENDED.notify_all();
    }
}

/// The directory of a run that lives; dropping it waits for its engines and removes it.
#[derive(Debug)]
pub struct RunRoot {
    path: PathBuf,
    _lock: File,
}

impl RunRoot {
    /// A new run's directory below `root`.
    pub fn create(root: &Path) -> Result<Self, EngineError> {
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(at("create", parent))?;
        }
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(at("create", root)(error));
            }
            _ => {}
        }
        let root = &own_directory(root)?;
        let lock = lock_root(root)?;
        name(&lock).map_err(at("write", &root.join(LOCK_FILE)))?;
        let moment = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = root.join(format!(
            "{RUN_PREFIX}{:x}-{:x}",
            std::process::id(),
            moment.as_nanos() as u32
        ));
        DirBuilder::new().mode(0o700).create(&path).map_err(at("create", &path))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = open_lock(&lock_path, true).map_err(at("create", &lock_path))?;
        lock.lock().map_err(at("lock", &lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, absolute and without symlinks.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunRoot {
    fn drop(&mut self) {
        let engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        let there = |engines: &mut BTreeMap<PathBuf, usize>| engines.contains_key(&self.path);
        // However that ends, the sweep of a directory that is still in use only fails.
        drop(ENGINE_ENDED.wait_timeout_while(engines, PATIENCE, there));
        // A drop has nobody to tell; the next sweep tries again.
        let _ = remove_run(&self.path);
    }
}

/// Gives the directory of all runs, which `lock` is of, a name that no other has, if it has none.
fn name(mut lock: &File) -> std::io::Result<()> {
    if lock.metadata()?.len() == 0 {
        lock.write_all(format!("{:032x}\n", rand::random::<u128>()).as_bytes())?;
    }
    Ok(())
}

/// The name of the directory of all runs that `run_root` is in: two that see each other's runs have
/// the same, and no others. Empty outside of one.
pub fn identity(run_root: &Path) -> String {
    let read = |folder: &Path| fs::read_to_string(folder.join(LOCK_FILE)).ok();
    let named = |text: &String| !text.is_empty();
    // A run with several builders has a folder for each of them.
    run_root.ancestors().take(3).filter_map(read).find(named).unwrap_or_default().trim().to_owned()
}

/// Removes what dead runs left below `root`; says which.
pub fn sweep(root: &Path) -> Result<Vec<PathBuf>, EngineError> {
    if fs::symlink_metadata(root).is_err() {
        return Ok(Vec::new());
    }
    let root = own_directory(root)?;
    let _no_run_begins_meanwhile = lock_root(&root)?;
    let mut swept = Vec::new();
    for path in directories(&root, RUN_PREFIX)? {
        let lock_path = path.join(LOCK_FILE);
        // A run without its lock file died between making the two.
        let dead = match open_lock(&lock_path, false) {
            Ok(lock) => match lock.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) => return Err(at("lock", &lock_path)(error)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            // One that cannot be looked at, as where no more files may be open, may live.
            Err(_) => false,
        };
        if dead {
            remove_run(&path)?;
            swept.push(path);
        }
    }
    Ok(swept)
}

/// Removes an engine's directory, and the processes, mounts and cgroups that belong to it.
pub(crate) fn remove_engine_directory(directory: &Path) -> Result<(), EngineError> {
    end_process_of(directory);
    remove_cgroups(&cgroup_of(directory));
    unmount_below(directory);
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(at("remove", directory)(error))
        }
        _ => Ok(()),
    }
}

/// The cgroup that an engine's steps run below, in every hierarchy.
pub(crate) fn cgroup_of(engine: &Path) -> String {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned()
    };
    format!("cachefrom-{}-{}", name(engine.parent()), name(Some(engine)))
}

fn remove_run(run: &Path) -> Result<(), EngineError> {
    for engine in directories(run, "e")? {
        remove_engine_directory(&engine)?;
    }
    unmount_below(run);
    fs::remove_dir_all(run).map_err(at("remove", run))
}

/// Kills the process that the pid file names, if it is this engine's: its command line names the
/// engine's configuration. Whatever else has that pid by now is none of ours.
fn end_process_of(directory: &Path) {
    let Ok(text) = fs::read_to_string(directory.join(PID_FILE)) else { return };
    let Ok(pid) = text.trim().parse::<i32>() else { return };
    let config = directory.join("daemon.json");
    let is_ours = || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            line.split(|&byte| byte == 0).any(|word| word == config.as_os_str().as_encoded_bytes())
        })
    };
    for _ in 0..500 {
        if !is_ours() {
            return;
        }
        signal(pid, libc::SIGKILL);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let mut candidates = vec![root.join(name)];
    if let Ok(hierarchies) = fs::read_dir(root) {
        candidates.extend(hierarchies.flatten().map(|entry| entry.path().join(name)));
    }
    // The kernel lets go of a cgroup a moment after its last process was killed.
    for _ in 0..100 {
        candidates.retain(|path| path.is_dir());
        if candidates.is_empty() {
            return;
        }
        for candidate in &candidates {
            remove_cgroup(candidate);
        }
        if candidates.iter().any(|path| path.is_dir()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Only the directories of a cgroup can be removed, not its files, and only innermost first.
fn remove_cgroup(path: &Path) {
    if let Ok(entries) = fs::read_dir(path) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_cgroup(&entry.path());
            }
        }
    }
    let _ = fs::remove_dir(path);
}

/// The canonical path of a directory that is this user's and that nobody else may enter.
fn own_directory(root: &Path) -> Result<PathBuf, EngineError> {
    // Not of what a symlink leads to: whoever made the link could change that at any moment.
    let found = fs::symlink_metadata(root).map_err(at("look at", root))?;
    let user = rustix::process::geteuid().as_raw();
    let problem = match (found.is_dir(), found.uid()) {
        _ if found.is_symlink() => "is a symlink".to_owned(),
        (false, _) => "is no folder".to_owned(),
        (true, owner) if owner != user => format!("belongs to user {owner}, not to user {user}"),
        (true, _) => {
            if found.mode() & 0o077 != 0 {
                let alone = fs::Permissions::from_mode(0o700);
                fs::set_permissions(root, alone).map_err(at("close to others", root))?;
            }
            return root.canonicalize().map_err(at("resolve", root));
        }
    };
    Err(EngineError::RunRoot { path: root.to_owned(), problem })
}

/// A lock file, never what a symlink in its place leads to; its content is left alone.
fn open_lock(path: &Path, create: bool) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn lock_root(root: &Path) -> Result<File, EngineError> {
    let path = root.join(LOCK_FILE);
    let lock = open_lock(&path, true).map_err(at("create", &path))?;
    lock.lock().map_err(at("lock", &path))?;
    Ok(lock)
}

fn directories(parent: &Path, prefix: &str) -> Result<Vec<PathBuf>, EngineError> {
    let entries = fs::read_dir(parent).map_err(at("list", parent))?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
        .map(|entry| entry.path())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn nobody_else_may_look_into_a_runs_folder() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("a/cachefrom");
        let run = RunRoot::create(&root).unwrap();
        assert_eq!((mode(&root), mode(run.path())), (0o700, 0o700));
        drop(run);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        sweep(&root).unwrap();
        assert_eq!(mode(&root), 0o700, "one of an earlier version is closed");
    }

    #[test]
    fn a_folder_that_is_a_symlink_or_another_users_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let (real, link) = (parent.path().join("real"), parent.path().join("link"));
        fs::create_dir(&real).unwrap();
        symlink(&real, &link).unwrap();
        let refused = |root: &Path| {
            let error = RunRoot::create(root).unwrap_err().to_string();
            assert_eq!(sweep(root).unwrap_err().to_string(), error);
            assert!(error.contains("TMPDIR"), "{error}");
            error
        };
        assert!(refused(&link).contains("link: it is a symlink"));
        assert_eq!(fs::read_dir(&real).unwrap().count(), 0);
        // Only root may give a folder away.
        if chown(&real, Some(65534), None).is_ok() {
            assert!(refused(&real).contains("real: it belongs to user 65534, not to user 0"));
        }
    }

    #[test]
    fn runs_that_see_each_other_know_it_by_one_name() {
        let parent = tempfile::tempdir().unwrap();
        let (one, other) = (parent.path().join("a"), parent.path().join("b"));
        let runs = [&one, &one, &other].map(|root| RunRoot::create(root).unwrap());
        let names = [0, 1, 2].map(|run: usize| identity(runs[run].path()));
        assert_eq!((names[0].len(), &names[0]), (32, &names[1]));
        assert_ne!(names[0], names[2]);
        assert_eq!(identity(&runs[0].path().join("b1")), names[0]);
        assert_eq!(identity(parent.path()), "");
    }

    #[test]
    fn a_run_whose_lock_cannot_be_looked_at_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("root");
        let run = RunRoot::create(&root).unwrap();
        let [living, dead] = ["run-1", "run-2"].map(|name| root.join(name));
        fs::create_dir(&living).unwrap();
        fs::create_dir(&dead).unwrap();
        // Following it is refused, as opening a file is where too many are open.
        symlink("/nowhere", living.join(LOCK_FILE)).unwrap();
        assert_eq!(sweep(&root).unwrap(), [dead]);
        assert!(living.exists() && run.path().exists());
    }

    #[test]
    fn a_lock_that_is_a_symlink_leaves_what_it_leads_to_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let precious = root.path().join("precious");
        fs::write(&precious, "content").unwrap();
        symlink(&precious, root.path().join(LOCK_FILE)).unwrap();
        assert!(RunRoot::create(root.path()).is_err() && sweep(root.path()).is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "content");
    }
}
