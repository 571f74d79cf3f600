//! An engine's life: find or fetch one, start it private and empty, prove that it is, and leave
//! nothing behind.
//!
//! Hands out a socket, not a BuildKit client; knows neither scenarios nor strategies. The user's own
//! Docker daemon is never touched: every engine here has its own data root, PID namespace and mounts.

pub mod apt;
pub mod error;
pub mod fetch;
pub mod find;
pub mod golden;
pub mod image;
pub mod images;
pub mod packages;
pub mod private;
pub mod probe;
pub mod process;
pub mod request;
pub mod sweep;

#[cfg(test)]
mod tests;

pub use error::EngineError;
pub use find::{Binaries, find};
pub use golden::clone_golden;
pub use image::{OciImage, oci_image};
pub use images::{RootfsTar, local_base};
pub use packages::packages;
pub use private::{EngineOptions, PrivateEngine};
pub use probe::{EngineVersion, prove_empty, version};
pub use sweep::{RunRoot, sweep};

/// Where one-line notices to the user go; the command line decides how they look.
pub type Notice<'a> = &'a (dyn Fn(&str) + Send + Sync);
