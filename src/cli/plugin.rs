//! `docker cachefrom …`: the same binary, installed as `~/.docker/cli-plugins/docker-cachefrom`.
//!
//! Docker's CLI asks a plugin once for its metadata and then calls it with its own name as the first
//! word (docker/cli `cli-plugins/metadata`). Nothing else about a command changes.

use std::ffi::{OsStr, OsString};
use std::path::Path;

/// The argument by which Docker's CLI asks for [`metadata`].
pub const METADATA: &str = "docker-cli-plugin-metadata";

/// What Docker's CLI lists under `docker --help`.
pub fn metadata() -> String {
    let metadata = serde_json::json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "cachefrom",
        "Version": env!("CARGO_PKG_VERSION"),
        "ShortDescription": env!("CARGO_PKG_DESCRIPTION"),
    });
    format!("{metadata}\n")
}

/// The command line without the word that Docker's CLI puts before a plugin's own arguments.
pub fn own_arguments(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    let plugin = program == Some(OsStr::new("docker-cachefrom"));
    if plugin && arguments.get(1).is_some_and(|word| word == "cachefrom") {
        arguments.remove(1);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(words: &[&str]) -> Vec<OsString> {
        own_arguments(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn only_a_plugin_has_its_name_taken_off() {
        assert_eq!(
            own(&["/x/docker-cachefrom", "cachefrom", "run"]),
            own(&["/x/docker-cachefrom", "run"])
        );
        assert_eq!(own(&["cachefrom", "cachefrom"]).len(), 2);
        assert_eq!(own(&[]).len(), 0);
    }
}
