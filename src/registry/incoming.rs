//! Content on its way into the store: hashed while it is written.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::disk::{reading, writing};
use super::{Digest, RegistryError};

/// Content is hashed, written and read in pieces of this size, which bounds the memory of one
/// transfer. A piece takes well under a millisecond, so it is done inline and not on a thread
/// of its own.
const PIECE: usize = 256 * 1024;

/// Content on its way in. Dropping it unpublished removes it.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    buffer: Vec<u8>,
    written: u64,
}

impl Incoming {
    /// Begins with an empty file at `path`.
    pub fn begin(path: PathBuf) -> Result<Self, RegistryError> {
        let file = File::create(&path).map_err(writing(&path))?;
        Ok(Self { path, file, hasher: Sha256::new(), buffer: Vec::new(), written: 0 })
    }

    /// Moves the file to `place`, if its content is `expected`; returns its size in bytes.
    pub fn end(mut self, expected: &Digest, place: &Path) -> Result<u64, RegistryError> {
        self.flush()?;
        let actual = Digest::finished(self.hasher.clone());
        if actual != *expected {
            return Err(RegistryError::DigestMismatch { expected: expected.clone(), actual });
        }
        // Two pushers of one digest both rename; either file is the right one.
        fs::rename(&self.path, place).map_err(writing(place))?;
        Ok(self.written)
    }

    /// Bytes received so far.
    pub fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RegistryError> {
        self.file.write_all(&self.buffer).map_err(writing(&self.path))?;
        self.hasher.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Takes all of the file at `path`.
    pub fn write_file(&mut self, path: &Path) -> Result<(), RegistryError> {
        let mut file = File::open(path).map_err(reading(path))?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece).map_err(reading(path))? {
                0 => return Ok(()),
                n => self.write(&piece[..n])?,
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Already renamed if it was published; otherwise the next start sweeps what stays.
        let _ = fs::remove_file(&self.path);
    }
}
