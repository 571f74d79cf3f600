//! What of this machine may change a run's numbers, for the journal's header.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::engine::{self, Control, EngineError, Engines};
use crate::journal::{BuilderRecord, Environment};
use crate::trial::Worker;
use crate::units::Bytes;

/// The machine and its engines, one of which is behind `control`, as they are now.
pub async fn environment(
    engines: &dyn Engines,
    control: &Control,
    worker: &Worker,
) -> Result<Environment, EngineError> {
    let (engine, storage_driver) = match control {
        Control::Docker(socket) => {
            let version = engine::version(socket).await?;
            (version.version, version.storage_driver)
        }
        Control::Unix(_) | Control::Tcp(_) => {
            (format!("buildkitd {}", worker.version).trim().to_owned(), worker.snapshotter.clone())
        }
    };
    Ok(Environment {
        cachefrom: env!("CARGO_PKG_VERSION").into(),
        engine,
        builder: engines.address(),
        builders: vec![],
        limits: vec![],
        registry: None,
        storage_driver,
        platform: worker.platform.clone(),
        network: if engines.terms().host_network { "host" } else { "default" }.into(),
        kernel: read_line("/proc/sys/kernel/osrelease"),
        cpu: cpu(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// One for several builders, of which that of each is in `found`: what they do not share is listed.
pub fn of_all<'a>(found: impl Iterator<Item = &'a Environment> + Clone) -> Environment {
    let distinct = |field: fn(&Environment) -> &str| {
        let mut words: Vec<&str> = vec![];
        for word in found.clone().map(field) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.join(", ")
    };
    let mut builders: Vec<BuilderRecord> = found
        .clone()
        .map(|one| BuilderRecord {
            address: one.builder.clone(),
            engine: one.engine.clone(),
            storage_driver: one.storage_driver.clone(),
        })
        .collect();
    if builders.len() < 2 {
        builders.clear();
    }
    Environment {
        engine: distinct(|one| &one.engine),
        builder: distinct(|one| &one.builder),
        storage_driver: distinct(|one| &one.storage_driver),
        platform: distinct(|one| &one.platform),
        builders,
        ..found.clone().next().cloned().unwrap_or_default()
    }
}

fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The most memory that this process ever held at once; none where the kernel does not say.
pub fn peak_memory() -> Option<Bytes> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Bytes(kibibytes.saturating_mul(1024)))
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(String::new, |(_, name)| name.to_owned())
}

/// SHA-256 of the file in lower-case hexadecimal; empty if it went away since it was read.
pub fn sha256_of(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
