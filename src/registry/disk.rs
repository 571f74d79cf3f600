//! Files and folders of the store, with errors that name them.

use std::fs;
use std::io;
use std::path::Path;

use super::RegistryError;

pub fn names_in(directory: &Path) -> Result<Vec<String>, RegistryError> {
    let Some(entries) = found(fs::read_dir(directory)).map_err(reading(directory))? else {
        return Ok(Vec::new());
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| entry.map(name)).collect::<io::Result<_>>().map_err(reading(directory))
}

pub fn read_text(path: &Path) -> Result<Option<String>, RegistryError> {
    found(fs::read_to_string(path)).map_err(reading(path))
}

pub fn write_small(path: &Path, bytes: &[u8]) -> Result<(), RegistryError> {
    if let Some(parent) = path.parent() {
        make_directory(parent)?;
    }
    fs::write(path, bytes).map_err(writing(path))
}

pub fn make_directory(path: &Path) -> Result<(), RegistryError> {
    fs::create_dir_all(path).map_err(writing(path))
}

/// Whether there was such a file.
pub fn remove(path: &Path) -> Result<bool, RegistryError> {
    found(fs::remove_file(path)).map(|removed| removed.is_some()).map_err(writing(path))
}

pub fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn reading(path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    move |source| RegistryError::Read { path: path.to_owned(), source }
}

pub fn writing(path: &Path) -> impl FnOnce(io::Error) -> RegistryError {
    move |source| RegistryError::Write { path: path.to_owned(), source }
}
