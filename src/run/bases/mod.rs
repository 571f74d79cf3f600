//! Base images and frontends: found in the Dockerfiles, served by the embedded registry, and pulled once into
//! what every engine of the run starts from.
//!
//! Each comes from the first source that has it (DESIGN §3): an earlier run's store, the registry
//! that its reference names, a source that the scenario declares, what this machine can make.
//! Surprising: only Docker Hub has mirrors, so images of other registries, and all images on engines
//! that know no mirror of ours, are put in the place of what `FROM` names by a build context, and in
//! that of what `# syntax=` names by a build arg.

#[cfg(test)]
mod guard;
mod layout;
mod reference;
mod store;
mod upstream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::dockerfile::{self, Dockerfile};
use crate::engine;
use crate::history::HistoryError;
use crate::journal::ImageSource;
use crate::registry::Registry;
use crate::scenario::format::{BaseImages, LocalImage};
use crate::trial::Frontend;

use super::{Event, RunError, Setup};
use reference::ImageReference;
pub use store::Store;
use upstream::{Upstream, UpstreamError};

/// What the builds of a run find.
#[derive(Debug, Default)]
pub struct Bases {
    pub images: Vec<ImageSource>,
    /// What a `FROM` names, and what to take instead.
    pub contexts: BTreeMap<String, String>,
    /// What `# syntax=` names, and what to take instead.
    pub frontends: BTreeMap<String, Frontend>,
    /// What was asked for and cannot be had.
    pub limits: Vec<String>,
}

/// Makes every base image of the first `commits` commits ready.
pub async fn ready(setup: &Setup<'_>, commits: usize) -> Result<Bases, RunError> {
    let mut bases = Bases::default();
    let terms = setup.engines.terms();
    let mut pulled = vec![];
    let named = named(setup, commits)?;
    if !terms.local {
        bases.limits.push(format!(
            "base images are whatever {} gets from their registries, since it cannot reach this machine's",
            setup.engines.address()
        ));
        setup.engines.warm(&[]).await?;
        return Ok(bases);
    }
    let upstream = Upstream::default();
    for written in named.images {
        let Served { reference, address, image } = serve(setup, &upstream, &written).await?;
        if terms.mirrored && reference.is_hub() {
            pulled.push(written);
        } else {
            bases.contexts.insert(reference.context_name(), address.clone());
            pulled.push(address);
        }
        bases.images.push(image);
    }
    for written in named.frontends {
        let Served { reference, address, image } = match serve(setup, &upstream, &written).await {
            Ok(served) => served,
            // What can be built without it is worth more than nothing, and is told.
            Err(RunError::BaseImage { reason, .. }) if declared(setup, &written).is_none() => {
                // Reports have one line for it, and its remedies are those of an error.
                let reason = reason.lines().next().unwrap_or_default();
                bases.limits.push(format!(
                    "builds use the engine's own frontend instead of {written}, which is not to be had: {reason}"
                ));
                bases.frontends.insert(written, Frontend::Own);
                continue;
            }
            Err(error) => return Err(error),
        };
        if terms.mirrored && reference.is_hub() {
            pulled.push(written);
        } else {
            bases.frontends.insert(written, Frontend::Image(address.clone()));
            pulled.push(address);
        }
        bases.images.push(image);
    }
    pulled.sort();
    pulled.dedup();
    let wanted = setup.loaded.scenario.base_images == BaseImages::Warm;
    if !wanted {
        pulled.clear();
    }
    if !setup.engines.warm(&pulled).await? {
        let address = setup.engines.address();
        bases.limits.push(format!(
            "base images are pulled while the clock runs, since {address} holds none beforehand"
        ));
    }
    Ok(bases)
}

impl Bases {
    /// What reads the Dockerfile of the commit at `index`.
    pub fn frontend(&self, setup: &Setup<'_>, index: usize) -> Result<Frontend, HistoryError> {
        if self.frontends.is_empty() {
            return Ok(Frontend::Named);
        }
        let named = dockerfile_of(setup, index)?;
        let args = &setup.history.commits()[index].args;
        let named = named.as_ref().and_then(|dockerfile| dockerfile.frontend(args));
        Ok(named.and_then(|named| self.frontends.get(named)).cloned().unwrap_or_default())
    }
}

/// What Dockerfiles name.
#[derive(Default)]
struct Named {
    images: BTreeSet<String>,
    frontends: BTreeSet<String>,
}

/// What the Dockerfiles of the first `commits` commits name.
fn named(setup: &Setup<'_>, commits: usize) -> Result<Named, HistoryError> {
    let mut found = Named::default();
    for index in 0..commits {
        // A commit without a Dockerfile is a build that fails, and its trial will say so.
        if let Some(dockerfile) = dockerfile_of(setup, index)? {
            let args = &setup.history.commits()[index].args;
            found.images.extend(dockerfile.images(args));
            found.frontends.extend(dockerfile.frontend(args).map(str::to_owned));
        }
    }
    Ok(found)
}

fn dockerfile_of(setup: &Setup<'_>, index: usize) -> Result<Option<Dockerfile>, HistoryError> {
    let path = &setup.loaded.scenario.build.dockerfile;
    let text = super::commit::dockerfile(setup.history, index, path)?;
    Ok(text.map(|text| dockerfile::parse(&text)))
}

/// An image that the run's registry has.
struct Served {
    reference: ImageReference,
    /// Its name there.
    address: String,
    image: ImageSource,
}

/// Finds what a Dockerfile calls `written`, and puts it into the run's registry.
async fn serve(setup: &Setup<'_>, upstream: &Upstream, written: &str) -> Result<Served, RunError> {
    let missing = |reason| RunError::BaseImage { reference: written.to_owned(), reason };
    let reference = ImageReference::parse(written).map_err(missing)?;
    let (folder, source) = find(setup, upstream, &reference, written).await?;
    let repository = reference.served_as().map_err(missing)?;
    let digest = layout::serve(setup.registry, &repository, &reference.wanted, &folder)
        .await
        .map_err(|error| missing(super::causes(&error)))?;
    (setup.on_event)(Event::Notice(&format!("base image {written}: {source}")));
    let address = reference.at(setup.registry.address()).map_err(missing)?;
    let image = ImageSource { reference: written.to_owned(), digest, source };
    Ok(Served { reference, address, image })
}

/// The source that the scenario declares for `written`.
fn declared<'a>(setup: &'a Setup<'_>, written: &str) -> Option<&'a LocalImage> {
    setup.loaded.scenario.images.iter().find(|image| image.reference == written)
}

/// The OCI layout of `reference` and where it came from.
async fn find(
    setup: &Setup<'_>,
    upstream: &Upstream,
    reference: &ImageReference,
    written: &str,
) -> Result<(PathBuf, String), RunError> {
    let store = Store::new(&setup.options.cache_dir);
    let kept = store.upstream(reference);
    if kept.exists() {
        let since = Store::since(&kept).map(|day| format!(" ({day})")).unwrap_or_default();
        let source = format!("{}, kept from an earlier run{since}", reference.host);
        return Ok((kept, source));
    }
    let scratch = store.scratch()?;
    let pulled = match layout::create(scratch.path()) {
        Ok(()) => upstream.pull(reference, scratch.path()).await,
        Err(source) => Err(UpstreamError::Write { path: scratch.path().into(), source }),
    };
    let error = match pulled {
        Ok(()) => {
            store.keep(scratch, &kept)?;
            return Ok((kept, reference.host.clone()));
        }
        Err(error) => error,
    };
    let declared = declared(setup, written);
    let folder = setup.loaded.path.parent().unwrap_or(Path::new("."));
    if let Some(path) = declared.and_then(|image| image.oci_layout.as_ref()) {
        return Ok((folder.join(path), format!("oci-layout {}", path.display())));
    }
    let (rootfs, source) = match declared.and_then(|image| image.rootfs.as_ref()) {
        Some(path) => (folder.join(path), format!("rootfs {}", path.display())),
        None => {
            let notice = |text: &str| (setup.on_event)(Event::Notice(text));
            let made = engine::local_base(written, &setup.options.cache_dir, &notice).await;
            let made =
                made.map_err(|error| format!("making it here failed: {}", super::causes(&error)));
            let made = made.and_then(|made| {
                made.ok_or_else(|| "it is not one that this machine can make".to_owned())
            });
            let made = made.map_err(|why| RunError::BaseImage {
                reference: written.to_owned(),
                reason: also(&super::causes(&error), &why),
            })?;
            (made.path, made.source)
        }
    };
    let compressed = tokio::task::spawn_blocking(move || store.of_rootfs(&rootfs)).await;
    let folder =
        compressed.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))?;
    Ok((folder, source))
}

/// `reason` and another one, before what `reason` says that can be done.
fn also(reason: &str, another: &str) -> String {
    match reason.split_once('\n') {
        Some((reason, remedy)) => format!("{reason}, and {another}\n{remedy}"),
        None => format!("{reason}, and {another}"),
    }
}

/// Serves any base image that an earlier run kept as `cachefrom/base` on Docker Hub's mirror, and
/// says which; none where there is none.
pub async fn serve_any(registry: &Registry, store: &Store) -> Option<String> {
    let folder = store.any()?;
    let (repository, tag) = ("cachefrom/base".parse().ok()?, "latest".parse().ok()?);
    layout::serve(registry, &repository, &tag, &folder).await.ok()?;
    Some(folder.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_done_stands_behind_all_that_went_wrong() {
        assert_eq!(also("a", "b"), "a, and b");
        assert_eq!(also("a\n  do c", "b"), "a, and b\n  do c");
    }
}
