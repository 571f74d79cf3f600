//! An engine's life: find or fetch one, start it private and empty, prove that it is, and leave
//! nothing behind.
//!
//! Hands out a socket, not a BuildKit client; knows neither scenarios nor strategies. The user's own
//! Docker daemon is never touched unless its address was given: by default every engine has its own
//! data root, PID namespace and mounts.

pub mod address;
pub mod apt;
mod bare;
mod bridge;
pub mod container;
mod daemon;
pub mod docker;
pub mod error;
pub mod fetch;
pub mod find;
pub mod golden;
pub mod guarded;
pub mod image;
pub mod images;
mod inside;
pub mod machine;
pub mod packages;
pub mod private;
mod private_source;
pub mod probe;
pub mod process;
pub mod request;
pub mod source;
pub mod sweep;
pub mod tls;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub mod wire;

pub use address::{AddressError, EngineAddress};
pub use error::EngineError;
pub use fetch::{cache_dir, scratch};
pub use find::{Binaries, find};
pub use image::{OciImage, oci_image};
pub use images::{RootfsTar, local_base};
pub use machine::Machine;
pub use packages::{machine_packages, packages};
pub use private::{EngineOptions, PrivateEngine};
pub use probe::{EngineVersion, prove_empty, version};
pub use source::{Control, Engine, Engines, Fresh, Place, Terms, fresh, open, permitted};
pub use sweep::{RunRoot, sweep};
pub use tls::TlsOptions;

/// Where one-line notices to the user go; the command line decides how they look.
pub type Notice<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Carries `work` out, at most for half a minute, where nothing can be awaited: in a drop.
fn detached(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let thread = std::thread::spawn(move || {
        let Ok(runtime) = runtime else { return };
        let patience = std::time::Duration::from_secs(30);
        let _ = runtime.block_on(async { tokio::time::timeout(patience, work).await });
    });
    let _ = thread.join();
}
