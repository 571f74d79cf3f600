//! The folder of a run's results: made for it alone where its name was not given, and gone again
//! where nothing came to be in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::RunError;

/// Folders that were made; those that are still empty are removed when it is dropped.
#[derive(Debug, Default)]
pub struct Folder {
    /// Outermost first.
    made: Vec<PathBuf>,
}

impl Folder {
    /// `path`, with the folders above it.
    pub fn at(path: &Path) -> Result<Self, RunError> {
        let mut folder = Self::default();
        folder.make_all(path)?;
        Ok(folder)
    }

    /// `parent/run-1`, or the first number that nobody has, however many look at the same time.
    pub fn next_in(parent: &Path) -> Result<(PathBuf, Self), RunError> {
        let mut folder = Self::default();
        let mut number = 1;
        loop {
            // Again, since another run that ends may have removed it.
            folder.make_all(parent)?;
            let path = numbered(parent, number);
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    folder.made.push(path.clone());
                    return Ok((path, folder));
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(RunError::Folder { path, source }),
            }
        }
    }

    fn make_all(&mut self, path: &Path) -> Result<(), RunError> {
        let missing = path.ancestors().take_while(|above| {
            !above.as_os_str().is_empty() && std::fs::symlink_metadata(above).is_err()
        });
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        std::fs::create_dir_all(path)
            .map_err(|source| RunError::Folder { path: path.into(), source })?;
        self.made.extend(missing.into_iter().rev());
        Ok(())
    }
}

/// The folder that [`Folder::next_in`] would make.
pub fn next_in(parent: &Path) -> PathBuf {
    (1..).map(|number| numbered(parent, number)).find(|path| !path.exists()).unwrap_or_default()
}

fn numbered(parent: &Path, number: u32) -> PathBuf {
    parent.join(format!("run-{number}"))
}

impl Drop for Folder {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // It fails where there is something in it, which is as it should be.
            let _ = std::fs::remove_dir(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_begin_together_get_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().join("results/shop");
        let begin = || {
            let begun = (0..8).map(|_| Folder::next_in(&parent));
            begun.collect::<Result<Vec<_>, _>>().unwrap()
        };
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut paths: Vec<PathBuf> = all.iter().map(|(path, _)| path.clone()).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 32);
        assert_eq!(next_in(&parent), parent.join("run-33"));
        std::fs::write(parent.join("run-2/journal.jsonl"), "").unwrap();
        all.clear();
        let left: Vec<_> =
            std::fs::read_dir(&parent).unwrap().flatten().map(|e| e.path()).collect();
        assert_eq!(left, [parent.join("run-2")], "what nothing came to be in is gone");
    }

    #[test]
    fn only_what_it_made_and_is_empty_goes() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("mine")).unwrap();
        drop(Folder::at(&folder.path().join("mine/a/b")).unwrap());
        assert!(folder.path().join("mine").is_dir() && !folder.path().join("mine/a").exists());
        drop(Folder::at(&folder.path().join("mine")).unwrap());
        assert!(folder.path().join("mine").is_dir());
    }
}
