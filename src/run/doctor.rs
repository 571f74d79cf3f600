//! What `cachefrom doctor` says: the engines that would be used, proved by starting them.

use std::path::Path;
use std::time::Instant;

use crate::engine::{self, EngineAddress, Engines, Place, RunRoot, TlsOptions};
use crate::registry::Registry;
use crate::trial;
use crate::units::Nanos;

use super::bases::{Store, serve_any};
use super::{RunError, create, not_seen};

/// Which engines those of `builder` are, how long one takes to be ready, and what was swept.
pub async fn doctor(
    builder: Option<&EngineAddress>,
    tls: Option<TlsOptions>,
    cache_dir: &Path,
    run_root: &Path,
    notice: engine::Notice<'_>,
) -> Result<String, RunError> {
    engine::permitted(builder).await?;
    create(cache_dir)?;
    let swept = engine::sweep(run_root)?.len();
    let folder = RunRoot::create(run_root)?;
    let registry = Registry::start(folder.path().join("registry")).await?;
    let place = Place {
        cache_dir: cache_dir.into(),
        run_root: folder.path().into(),
        registry: Some(registry.address()),
        own_images: vec![format!("{}/", registry.address())],
        allow_prune: false,
        tls: tls.clone(),
    };
    let engines = engine::open(builder, place, notice).await?;
    let worker = trial::look(engines.look().await?)
        .await
        .map_err(|error| not_seen(&error, builder, tls.as_ref()))?;
    engines.warm(&[]).await?;
    let mut lines = vec![
        ("engine", engines.describe()),
        ("address", engines.address()),
        ("snapshots", worker.snapshotter),
    ];
    if !worker.version.is_empty() {
        lines.push(("buildkit", worker.version));
    }
    if let engine::Fresh::No(_) = engines.terms().fresh {
        lines.push(("fresh", "no: strategies that want a new engine will be skipped".to_owned()));
    }
    lines.extend(timed(&*engines, "empty").await?);
    if engines.terms().mirrored
        && engines.terms().docker_api
        && let Some(name) = serve_any(&registry, &Store::new(cache_dir)).await
    {
        engines.warm(&["cachefrom/base:latest".to_owned()]).await?;
        lines.extend(timed(&*engines, &format!("with {name}")).await?);
    }
    engines.close().await?;
    lines.push(("swept", format!("{swept} dead runs")));
    Ok(lines.into_iter().map(|(what, text)| format!("{what:<10}{text}\n")).collect())
}

/// How long an engine takes to be ready and to be gone; nothing for one that is there anyway.
async fn timed(
    engines: &dyn Engines,
    state: &str,
) -> Result<Vec<(&'static str, String)>, RunError> {
    let engine = engines.start().await?;
    let Some(ready) = engine.start_time() else { return Ok(vec![]) };
    let since = Instant::now();
    engine.stop().await?;
    // With its files.
    engines.close().await?;
    let gone = Nanos::of(since.elapsed());
    Ok(vec![("ready", format!("in {ready}, {state}; gone in {gone}"))])
}
