//! Base images made on this machine, for when no registry can be reached.
//!
//! Debian's from its own packages (mmdebstrap), busybox's from the static package. They are not the
//! images of the same name on Docker Hub, and whoever uses one must say so: see [`RootfsTar::source`].

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::apt::{self, From, Machine};
use super::error::at;
use super::fetch::{lock, scratch};
use super::find::on_path;
use super::{EngineError, Notice};

/// A root filesystem in one tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsTar {
    pub path: PathBuf,
    /// What it was made from, for the journal and every report.
    pub source: String,
}

/// What this machine can make itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Recipe {
    Debian { suite: String, slim: bool },
    Busybox,
}

/// The root filesystem of `reference`, made once into `cache_dir`; `None` where it cannot be made here.
pub async fn local_base(
    reference: &str,
    cache_dir: &Path,
    notice: Notice<'_>,
) -> Result<Option<RootfsTar>, EngineError> {
    let Some(recipe) = recipe(reference) else { return Ok(None) };
    let images = cache_dir.join("images");
    fs::create_dir_all(&images).map_err(at("create", &images))?;
    let name = recipe.name();
    let _lock = lock(&images.join(format!("{name}.lock"))).await?;
    let path = images.join(format!("{name}.tar"));
    let source_path = images.join(format!("{name}.source"));
    if let (true, Ok(source)) = (path.exists(), fs::read_to_string(&source_path)) {
        return Ok(Some(RootfsTar { path, source }));
    }
    notice(&format!("making the base image {reference} from Debian packages (once)"));
    let scratch = scratch(&images)?;
    let made = scratch.path().join("rootfs.tar");
    let source = match &recipe {
        Recipe::Debian { suite, slim } => debian(suite, *slim, scratch.path(), &made).await?,
        Recipe::Busybox => busybox(scratch.path(), &made).await?,
    };
    // The source first: a tar without one would be made again, one with a wrong source used.
    fs::write(&source_path, &source).map_err(at("write", &source_path))?;
    fs::rename(&made, &path).map_err(at("create", &path))?;
    Ok(Some(RootfsTar { path, source }))
}

impl Recipe {
    fn name(&self) -> String {
        match self {
            Self::Debian { suite, slim: false } => format!("debian-{suite}"),
            Self::Debian { suite, slim: true } => format!("debian-{suite}-slim"),
            Self::Busybox => "busybox".to_owned(),
        }
    }
}

/// Only references whose content does not depend on a version that we could not match.
fn recipe(reference: &str) -> Option<Recipe> {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let (image, tag) = short.split_once(':').unwrap_or((short, "latest"));
    match image {
        "busybox" if matches!(tag, "latest" | "stable") => Some(Recipe::Busybox),
        "debian" => {
            let (suite, slim) = match tag.strip_suffix("-slim") {
                Some(suite) => (suite, true),
                None => (tag, false),
            };
            let suite = match suite {
                "11" | "bullseye" => "bullseye",
                "12" | "bookworm" => "bookworm",
                "13" | "trixie" | "stable" | "latest" => "trixie",
                "14" | "forky" | "testing" => "forky",
                "sid" | "unstable" => "sid",
                _ => return None,
            };
            Some(Recipe::Debian { suite: suite.to_owned(), slim })
        }
        _ => None,
    }
}

async fn debian(
    suite: &str,
    slim: bool,
    scratch: &Path,
    made: &Path,
) -> Result<String, EngineError> {
    let machine = Machine::read()?;
    let main = machine.source(suite)?;
    let (program, path) = mmdebstrap(scratch).await?;
    let mut command = Command::new("perl");
    command.arg(&program).args(["--variant=minbase", "--format=tar", "--mode=root", "--quiet"]);
    command.env("PATH", path).env("TMPDIR", scratch);
    if let Some(keyring) = &main.signed_by {
        command.arg(format!("--keyring={}", keyring.display()));
    }
    // mmdebstrap leaves these options in the image too, where `apt-get` in a build needs them.
    for option in apt::needed_options().await {
        command.arg(format!("--aptopt={}", option.trim_end_matches(';')));
    }
    command.arg("--aptopt=Acquire::Languages \"none\"");
    // As in Docker Hub's images: a build's file system is thrown away if the machine stops.
    command.arg("--dpkgopt=force-unsafe-io");
    if slim {
        for unwanted in ["doc", "man", "locale", "info", "groff", "lintian"] {
            command.arg(format!("--dpkgopt=path-exclude=/usr/share/{unwanted}/*"));
        }
        command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    }
    command.arg(suite).arg(made).arg(main.line());
    // The machine's own release also has its updates and security fixes.
    for source in &machine.sources {
        let of_suite = source.suite.strip_prefix(suite).is_some_and(|rest| rest.starts_with('-'));
        if of_suite {
            command.arg(source.line());
        }
    }
    apt::run(&mut command).await?;
    Ok(format!("mmdebstrap --variant=minbase {suite}{}", if slim { ", slim" } else { "" }))
}

/// mmdebstrap and the PATH on which it finds its helper: this machine's, else an unpacked one.
async fn mmdebstrap(scratch: &Path) -> Result<(PathBuf, String), EngineError> {
    let path = std::env::var("PATH").unwrap_or_default();
    if let Some(program) = on_path("mmdebstrap") {
        return Ok((program, path));
    }
    let tools = scratch.join("tools");
    fs::create_dir_all(&tools).map_err(at("create", &tools))?;
    apt::unpack(&["mmdebstrap"], &From::Machine, scratch, &tools).await?;
    let bin = tools.join("usr/bin");
    Ok((bin.join("mmdebstrap"), format!("{}:{path}", bin.display())))
}

async fn busybox(scratch: &Path, made: &Path) -> Result<String, EngineError> {
    let root = scratch.join("busybox");
    fs::create_dir_all(&root).map_err(at("create", &root))?;
    let archives = apt::unpack(&["busybox-static"], &From::Machine, scratch, &root).await?;
    let program = ["bin/busybox", "usr/bin/busybox"]
        .into_iter()
        .map(|path| root.join(path))
        .find(|path| path.exists())
        .unwrap_or_else(|| root.join("bin/busybox"));
    let applets = apt::run(Command::new(&program).arg("--list")).await?;
    busybox_tar(&program, applets.lines(), made).map_err(at("write", made))?;
    let version = match archives.first() {
        Some(archive) => apt::version(archive).await?,
        None => String::new(),
    };
    Ok(format!("busybox-static {version}"))
}

fn busybox_tar<'a>(
    program: &Path,
    applets: impl Iterator<Item = &'a str>,
    made: &Path,
) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(File::create(made)?);
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header
    };
    let folders =
        [("bin/", 0o755), ("dev/", 0o755), ("etc/", 0o755), ("root/", 0o700), ("tmp/", 0o1777)];
    for (folder, mode) in folders {
        let mut header = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut header, folder, std::io::empty())?;
    }
    let files = [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ];
    for (file, text) in files {
        let mut header = header(tar::EntryType::Regular, 0o644, text.len());
        tar.append_data(&mut header, file, text.as_bytes())?;
    }
    let bytes = fs::read(program)?;
    let mut file = header(tar::EntryType::Regular, 0o755, bytes.len());
    tar.append_data(&mut file, "bin/busybox", &bytes[..])?;
    for applet in applets.filter(|&applet| applet != "busybox") {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_references_that_can_be_made_here_have_a_recipe() {
        let debian = |suite: &str, slim| Some(Recipe::Debian { suite: suite.to_owned(), slim });
        assert_eq!(recipe("debian:bookworm-slim"), debian("bookworm", true));
        assert_eq!(recipe("docker.io/library/debian:12"), debian("bookworm", false));
        assert_eq!(recipe("busybox"), Some(Recipe::Busybox));
        for other in ["busybox:1.36", "debian:bookworm@sha256:00", "alpine", "ghcr.io/x/debian:12"]
        {
            assert_eq!(recipe(other), None, "{other}");
        }
    }
}
