//! What a layer holds, file by file, without the times of its files.
//!
//! Mirrors what BuildKit compares when a step copies from a stage: names, kinds, modes, owners,
//! extended attributes and contents, never times (buildkit `cache/contenthash/filehash.go`). So two
//! layers of other digests may hold the same.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::registry;

/// Layers that unpack to more bytes than this are not listed.
const UNPACKED_LIMIT: u64 = 256 << 20;
/// So many differing paths are named.
pub const SHOWN: usize = 20;

/// The SHA-256 of everything about a file but its times.
type FileHash = [u8; 32];

/// The files of one layer.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// `sha256:…` over all names and hashes.
    pub content: String,
    files: BTreeMap<String, FileHash>,
}

impl Listing {
    /// Lists `packed`, a tar file that `media_type` says is plain or packed with gzip; none for
    /// other compressions, and for a layer that is too large.
    pub fn of(packed: &[u8], media_type: &str) -> io::Result<Option<Self>> {
        let tar: Box<dyn Read + '_> = match media_type {
            kind if kind.ends_with(".tar") => Box::new(packed),
            kind if kind.ends_with("gzip") => Box::new(GzDecoder::new(packed)),
            _ => return Ok(None),
        };
        let mut archive = tar::Archive::new(tar.take(UNPACKED_LIMIT));
        let mut files = BTreeMap::new();
        let mut left = UNPACKED_LIMIT;
        for entry in archive.entries()? {
            let mut entry = entry?;
            // Whatever would be cut is not listed at all.
            let Some(rest) = left.checked_sub(entry.size().saturating_add(1024)) else {
                return Ok(None);
            };
            left = rest;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
            files.insert(path, hash(&mut entry)?);
        }
        let mut all = Sha256::new();
        for (path, hash) in &files {
            all.update((path.len() as u64).to_le_bytes());
            all.update(path);
            all.update(hash);
        }
        Ok(Some(Self { content: registry::Digest::finished(all).to_string(), files }))
    }

    /// The paths that are not the same in `other`, [`SHOWN`] at most, and how many there are.
    pub fn differing(&self, other: &Self) -> (Vec<String>, usize) {
        let ours = self.files.iter().filter(|(path, hash)| other.files.get(*path) != Some(hash));
        let theirs = other.files.keys().filter(|path| !self.files.contains_key(*path));
        let mut paths: Vec<&String> = ours.map(|(path, _)| path).chain(theirs).collect();
        paths.sort_unstable();
        let count = paths.len();
        (paths.into_iter().take(SHOWN).map(|path| deleted(path)).collect(), count)
    }
}

/// A path as the image has it: what a layer deletes is named with a prefix (OCI image-spec 1.1,
/// "Whiteouts").
fn deleted(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name.strip_prefix(".wh.") {
        Some(name) if folder.is_empty() => name.to_owned(),
        Some(name) => format!("{folder}/{name}"),
        None => path.to_owned(),
    }
}

fn hash(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<FileHash> {
    let mut hash = Sha256::new();
    let header = entry.header();
    let kind = header.entry_type();
    let is_device = kind.is_block_special() || kind.is_character_special();
    // Other files may leave these fields empty.
    let device = match is_device {
        true => (header.device_major()?, header.device_minor()?),
        false => (None, None),
    };
    let numbers = [
        u64::from(kind.as_byte()),
        u64::from(header.mode()?),
        header.uid()?,
        header.gid()?,
        u64::from(device.0.unwrap_or(0)),
        u64::from(device.1.unwrap_or(0)),
        entry.size(),
    ];
    numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
    if let Some(target) = entry.link_name_bytes() {
        hash.update(&*target);
    }
    hash.update([0]);
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if extension.key_bytes().starts_with(b"SCHILY.xattr.") {
            hash.update(extension.key_bytes());
            hash.update([0]);
            hash.update(extension.value_bytes());
            hash.update([0]);
        }
    }
    let mut buffer = [0; 16 << 10];
    loop {
        match entry.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            length => hash.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A layer of files, each with its content, mode and time.
    fn layer(files: &[(&str, &str, u32, u64)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content, mode, time) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(*mode);
            header.set_mtime(*time);
            header.set_uid(0);
            header.set_gid(0);
            builder.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn listing(files: &[(&str, &str, u32, u64)]) -> Listing {
        let media_type = "application/vnd.oci.image.layer.v1.tar";
        Listing::of(&layer(files), media_type).unwrap().unwrap()
    }

    #[test]
    fn times_are_no_difference_and_content_mode_and_presence_are() {
        let one = listing(&[("a", "x", 0o644, 1), ("b/c", "y", 0o644, 1), ("d", "", 0o644, 1)]);
        let later = listing(&[("a", "x", 0o644, 2), ("b/c", "y", 0o644, 3), ("d", "", 0o644, 9)]);
        assert_eq!(one, later);
        assert_eq!(one.differing(&later), (vec![], 0));
        let other = listing(&[("a", "z", 0o644, 1), ("b/c", "y", 0o755, 1), ("b/.wh.e", "", 0, 1)]);
        assert_ne!(one.content, other.content);
        let expected = ["a", "b/e", "b/c", "d"].map(str::to_owned).to_vec();
        assert_eq!(one.differing(&other), (expected.clone(), 4));
        assert_eq!(other.differing(&one), (expected, 4));
    }

    #[test]
    fn a_gzip_layer_is_listed_and_what_is_none_is_an_error_or_left_out() {
        let plain = layer(&[("a", "x", 0o644, 1)]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let kind = |end: &str| format!("application/vnd.oci.image.layer.v1.{end}");
        let packed = Listing::of(&gzip, &kind("tar+gzip")).unwrap().unwrap();
        assert_eq!(packed, listing(&[("a", "x", 0o644, 9)]));
        assert!(Listing::of(&gzip[..gzip.len() / 2], &kind("tar+gzip")).is_err());
        assert!(Listing::of(&gzip, &kind("tar+zstd")).unwrap().is_none());
    }
}
