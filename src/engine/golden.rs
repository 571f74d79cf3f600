//! Golden data roots: an engine's data with pulled bases and nothing else, cloned in a blink.
//!
//! A layer's unpacked files are one symbolic link to the golden ones, which overlayfs follows: its
//! lower layers are only read, and who removes one removes the link. Blobs are hard-linked; the bolt
//! databases are written in place, and so are copied. A test holds the golden root's checksums
//! against what engines do to a clone. So the golden root must outlive its clones.

use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use super::EngineError;
use super::error::at;

/// Makes a stopped engine's data root a golden one: moves it where it can, else clones it.
pub(super) fn keep(data_root: &Path, golden: &Path) -> Result<(), EngineError> {
    if let Some(parent) = golden.parent() {
        fs::create_dir_all(parent).map_err(at("create", parent))?;
    }
    match fs::rename(data_root, golden) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            clone_directory(data_root, golden)
        }
        result => result.map_err(at("create", golden)),
    }
}

/// Clones the data root `from` to `into`, which may exist if it is empty.
pub(super) fn clone_directory(from: &Path, into: &Path) -> Result<(), EngineError> {
    if !into.is_dir() {
        fs::create_dir(into).map_err(at("create", into))?;
    }
    for entry in fs::read_dir(from).map_err(at("list", from))? {
        let entry = entry.map_err(at("list", from))?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        // What the listing itself says: most entries are links, and need not be looked at.
        let kind = entry.file_type().map_err(at("look at", &source))?;
        // Two engines with one id would be one to whoever compares them.
        if entry.file_name() == "engine-id" || kind.is_socket() || kind.is_fifo() {
            continue;
        }
        if kind.is_dir() && is_layer(&source) {
            let whole = source.canonicalize().map_err(at("resolve", &source))?;
            symlink(whole, &target).map_err(at("link", &target))?;
        } else if kind.is_dir() {
            clone_directory(&source, &target)?;
        } else if source.extension().is_some_and(|extension| extension == "db")
            || fs::hard_link(&source, &target).is_err()
        {
            let metadata = entry.metadata().map_err(at("look at", &source))?;
            copy(&source, &target, &metadata).map_err(at("copy", &source))?;
        }
    }
    let metadata = fs::metadata(from).map_err(at("look at", from))?;
    copy_attributes(from, into, &metadata).map_err(at("set the attributes of", into))
}

/// Whether `directory` holds the unpacked files of one layer of containerd's overlay snapshotter:
/// `…/io.containerd.snapshotter.v1.overlayfs/snapshots/<n>/fs`
/// (containerd, `plugins/snapshots/overlay`, `upperPath`).
fn is_layer(directory: &Path) -> bool {
    let mut names = directory.iter().rev();
    names.next().is_some_and(|name| name == "fs")
        && names.next().is_some()
        && names.next().is_some_and(|name| name == "snapshots")
        && names.next().is_some_and(|name| name == "io.containerd.snapshotter.v1.overlayfs")
}

fn copy(source: &Path, target: &Path, metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(source)?, target)?;
    } else if kind.is_file() {
        fs::copy(source, target)?;
    } else {
        // A whiteout or another device.
        let path = CString::new(target.as_os_str().as_bytes())?;
        // SAFETY: `path` is a NUL-terminated string that outlives the call.
        if unsafe { libc::mknod(path.as_ptr(), metadata.mode(), metadata.rdev()) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    copy_attributes(source, target, metadata)
}

/// Owner first: changing it clears the set-id bits and capabilities.
fn copy_attributes(source: &Path, target: &Path, metadata: &Metadata) -> io::Result<()> {
    lchown(target, Some(metadata.uid()), Some(metadata.gid()))?;
    copy_xattrs(source, target)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(target, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    if metadata.is_dir() || metadata.is_file() {
        let times = fs::FileTimes::new()
            .set_accessed(metadata.accessed()?)
            .set_modified(metadata.modified()?);
        fs::File::open(target)?.set_times(times)?;
    }
    Ok(())
}

fn copy_xattrs(source: &Path, target: &Path) -> io::Result<()> {
    let mut names = [0u8; 4096];
    let length = match rustix::fs::llistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 65536];
        let length = rustix::fs::lgetxattr(source, name, &mut value[..])?;
        rustix::fs::lsetxattr(target, name, &value[..length], rustix::fs::XattrFlags::empty())?;
    }
    Ok(())
}
