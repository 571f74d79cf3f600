//! A root filesystem as an OCI image of one layer: pure bytes in, bytes and digests out.
//!
//! The same tar gives the same digests on every machine: no clock, no compression header with a name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::EngineError;
use super::error::at;
use crate::units::Bytes;

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image that a registry can serve. Digests are `sha256:…`.
#[derive(Clone, Debug)]
pub struct OciImage {
    pub manifest: Vec<u8>,
    pub manifest_digest: String,
    pub config: (String, Vec<u8>),
    /// Digest, file and compressed size.
    pub layer: (String, PathBuf, Bytes),
}

/// Makes the image whose only layer is `rootfs_tar`; the layer is left in `out_dir`.
pub fn oci_image(rootfs_tar: &Path, out_dir: &Path) -> Result<OciImage, EngineError> {
    fs::create_dir_all(out_dir).map_err(at("create", out_dir))?;
    let unnamed = out_dir.join(format!(".layer-{}", std::process::id()));
    let (diff_id, layer_digest, size) =
        compress(rootfs_tar, &unnamed).map_err(at("compress", rootfs_tar))?;
    let layer = out_dir.join(format!("{}.tar.gz", layer_digest.replace(':', "-")));
    fs::rename(&unnamed, &layer).map_err(at("create", &layer))?;

    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["/bin/sh"],
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "cachefrom rootfs" }],
    })
    .to_string()
    .into_bytes();
    let config_digest = digest(&config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE, "digest": config_digest, "size": config.len(),
        },
        "layers": [{ "mediaType": LAYER_TYPE, "digest": layer_digest, "size": size.0 }],
    })
    .to_string()
    .into_bytes();
    Ok(OciImage {
        manifest_digest: digest(&manifest),
        manifest,
        config: (config_digest, config),
        layer: (layer_digest, layer, size),
    })
}

/// The digest of the tar, the digest of its compressed form, and the size of that.
fn compress(tar: &Path, into: &Path) -> io::Result<(String, String, Bytes)> {
    let mut tar = File::open(tar)?;
    let mut plain = Sha256::new();
    let output = Digesting {
        inner: BufWriter::new(File::create(into)?),
        digest: Sha256::new(),
        size: Bytes(0),
    };
    let mut encoder = GzBuilder::new().mtime(0).write(output, Compression::new(6));
    let mut buffer = vec![0; 1 << 18];
    loop {
        let length = tar.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        plain.update(&buffer[..length]);
        encoder.write_all(&buffer[..length])?;
    }
    let mut output = encoder.finish()?;
    output.flush()?;
    Ok((hexadecimal(plain), hexadecimal(output.digest), output.size))
}

struct Digesting<W> {
    inner: W,
    digest: Sha256,
    size: Bytes,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.digest.update(&buffer[..length]);
        self.size = self.size + Bytes(length as u64);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn digest(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

fn hexadecimal(digest: Sha256) -> String {
    let mut text = "sha256:".to_owned();
    for byte in digest.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// This machine's architecture in Go's words, which OCI uses.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_tar_gives_the_same_image() {
        let directory = tempfile::tempdir().unwrap();
        let tar = directory.path().join("rootfs.tar");
        fs::write(&tar, [0u8; 10240]).unwrap();
        let first = oci_image(&tar, &directory.path().join("a")).unwrap();
        let second = oci_image(&tar, &directory.path().join("b")).unwrap();
        assert_eq!(first.manifest_digest, second.manifest_digest);
        assert_eq!(first.layer.2.0, fs::metadata(&first.layer.1).unwrap().len());
        let layer = fs::read(&first.layer.1).unwrap();
        assert_eq!(first.layer.0, digest(&layer));
        let manifest: serde_json::Value = serde_json::from_slice(&first.manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], first.config.0);
        assert_eq!(
            digest(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
