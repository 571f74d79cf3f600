//! Base images: found in the Dockerfiles, served by the embedded registry, and pulled once into a
//! golden data root that every engine of the run starts from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;

use crate::engine::{self, EngineOptions, PrivateEngine};
use crate::journal::{Environment, ImageSource};
use crate::registry::{Digest, Reference, RepositoryName};
use crate::scenario::format::BaseImages;

use super::{Event, RunError, Setup, environment, layout};

/// What the engines of a run find when they start.
pub struct Bases {
    pub images: Vec<ImageSource>,
    /// A data root that holds the base images and no build cache; absent when they are cold.
    pub golden: Option<PathBuf>,
    pub environment: Environment,
}

/// Makes every base image of the first `commits` commits ready.
pub async fn base_images(
    setup: &Setup<'_>,
    commits: usize,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Bases, RunError> {
    let mut images = vec![];
    for reference in references(setup, commits)? {
        on_event(Event::Notice(&format!("base image {reference}")));
        images.push(serve(setup, &reference).await?);
    }
    let options = EngineOptions {
        run_root: setup.scratch.to_path_buf(),
        mirror: Some(setup.registry.address()),
        golden: None,
    };
    let engine = PrivateEngine::start(setup.binaries, options).await?;
    let version = engine::version(engine.socket()).await?;
    let environment = environment::environment(&version);
    let warm = setup.loaded.scenario.base_images == BaseImages::Warm && !images.is_empty();
    if !warm {
        engine.stop().await?;
        return Ok(Bases { images, golden: None, environment });
    }
    for image in &images {
        pull(engine.socket(), &image.reference).await?;
    }
    let golden = setup.scratch.join("golden");
    engine.stop_gracefully(&golden).await?;
    Ok(Bases { images, golden: Some(golden), environment })
}

/// The images that the Dockerfiles of the first `commits` commits build on.
fn references(setup: &Setup<'_>, commits: usize) -> Result<BTreeSet<String>, RunError> {
    let mut found = BTreeSet::new();
    for index in 0..commits {
        let context = setup.scratch.join(format!("look-{index}"));
        super::create(&context)?;
        setup.history.checkout(index, &context)?;
        let path = context.join(&setup.loaded.scenario.build.dockerfile);
        // A commit without a Dockerfile is a build that fails, and its trial will say so.
        if let Ok(dockerfile) = std::fs::read_to_string(&path) {
            found.extend(from_images(&dockerfile));
        }
        // Left-overs go with the scratch folder.
        let _ = std::fs::remove_dir_all(&context);
    }
    Ok(found)
}

/// The images that a Dockerfile's `FROM` lines name, without its own stages, `scratch` and names
/// that hold a variable (BuildKit pulls those when it has expanded them).
pub fn from_images(dockerfile: &str) -> BTreeSet<String> {
    let mut stages: BTreeSet<String> = BTreeSet::from(["scratch".into()]);
    let mut images = BTreeSet::new();
    for line in dockerfile.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((instruction, rest)) = words.split_first() else { continue };
        if !instruction.eq_ignore_ascii_case("from") {
            continue;
        }
        let mut rest = rest.iter().filter(|word| !word.starts_with("--"));
        let Some(image) = rest.next() else { continue };
        if !stages.contains(&image.to_ascii_lowercase()) && !image.contains('$') {
            images.insert((*image).to_owned());
        }
        if let (Some(word), Some(name)) = (rest.next(), rest.next())
            && word.eq_ignore_ascii_case("as")
        {
            stages.insert(name.to_ascii_lowercase());
        }
    }
    images
}

/// Puts `reference` into the embedded registry, from the first source that has it.
async fn serve(setup: &Setup<'_>, reference: &str) -> Result<ImageSource, RunError> {
    let missing = |reason: String| RunError::BaseImage { reference: reference.into(), reason };
    let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
    let repo = if name.contains('/') { name.to_owned() } else { format!("library/{name}") };
    let repo = repo.parse::<RepositoryName>().map_err(|error| missing(error.to_string()))?;
    let tag = tag.parse::<Reference>().map_err(|error| missing(error.to_string()))?;
    let registry = setup.registry;
    let declared = setup.loaded.scenario.images.iter().find(|image| image.reference == reference);
    let folder = setup.loaded.path.parent().unwrap_or(Path::new("."));
    if let Some(path) = declared.and_then(|image| image.oci_layout.as_ref()) {
        let digest = layout::serve(registry, &repo, &tag, &folder.join(path))
            .await
            .map_err(|error| missing(error.to_string()))?;
        let source = format!("oci-layout {}", path.display());
        return Ok(ImageSource { reference: reference.into(), digest, source });
    }
    let (rootfs, source) = match declared.and_then(|image| image.rootfs.as_ref()) {
        Some(path) => (folder.join(path), format!("rootfs {}", path.display())),
        None => {
            let base =
                engine::local_base(reference, &setup.options.cache_dir, &super::notice).await?;
            let base = base.ok_or_else(|| missing("no local source makes it".into()))?;
            (base.path, base.source)
        }
    };
    let out = setup.scratch.join("images").join(reference.replace([':', '/'], "_"));
    super::create(&out)?;
    let image = tokio::task::spawn_blocking(move || engine::oci_image(&rootfs, &out))
        .await
        .map_err(|error| missing(error.to_string()))??;
    let layer = image.layer.0.parse::<Digest>().map_err(|error| missing(error.to_string()))?;
    registry.put_blob_bytes(&repo, &image.config.1)?;
    registry.put_blob_file(&repo, &layer, &image.layer.1).await?;
    registry.put_manifest(&repo, &tag, engine::image::MANIFEST_TYPE, &image.manifest)?;
    Ok(ImageSource { reference: reference.into(), digest: image.manifest_digest, source })
}

async fn pull(socket: &Path, reference: &str) -> Result<(), RunError> {
    let failed = |error: bollard::errors::Error| RunError::BaseImage {
        reference: reference.into(),
        reason: error.to_string(),
    };
    let text = socket.display().to_string();
    let docker = bollard::Docker::connect_with_unix(&text, 120, bollard::API_DEFAULT_VERSION)
        .map_err(failed)?;
    let options = CreateImageOptionsBuilder::default().from_image(reference).build();
    docker.create_image(Some(options), None, None).try_collect::<Vec<_>>().await.map_err(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_scratch_are_not_base_images() {
        let dockerfile = "ARG X=1\nFROM --platform=$BUILDPLATFORM debian:bookworm-slim AS Builder\n\
                          FROM builder AS test\nfrom scratch as out\nFROM img:$X\n";
        assert_eq!(from_images(dockerfile), BTreeSet::from(["debian:bookworm-slim".to_owned()]));
    }
}
