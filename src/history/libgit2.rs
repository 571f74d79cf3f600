//! How libgit2 works in this process: what it reads of the user's, and what it keeps and checks.

use std::sync::OnceLock;

use git2::{ObjectType, opts};

use super::HistoryError;

/// Keeps the user's git configuration out of this process, and libgit2 small and quick. Repositories
/// of other users are opened too: nothing that they could have configured is run.
pub fn isolate() -> Result<(), HistoryError> {
    static ISOLATED: OnceLock<Result<(), String>> = OnceLock::new();
    let isolated = ISOLATED.get_or_init(|| set().map_err(|error| error.to_string()));
    let Err(message) = isolated else { return Ok(()) };
    let source = git2::Error::from_str(message);
    Err(HistoryError::Git { doing: "keep out the user's git configuration".into(), source })
}

fn set() -> Result<(), git2::Error> {
    use git2::ConfigLevel::{Global, ProgramData, System, XDG};
    for level in [System, Global, XDG, ProgramData] {
        // SAFETY: the search paths are global to the process and unsynchronised. They are set once,
        // here, before this crate's first repository is opened.
        unsafe { opts::set_search_path(level, "") }?;
    }
    // SAFETY: as above.
    unsafe { opts::set_verify_owner_validation(false) }?;
    // Some versions of git write it into partial clones; what those lack is told (`partial`).
    // SAFETY: as above.
    unsafe { opts::set_extensions(&["partialclone"]) }?;
    // Each tree is read once or twice, and a large repository has gigabytes of them.
    // SAFETY: as above.
    unsafe { opts::set_cache_object_limit(ObjectType::Tree, 0) }?;
    // git itself does not hash what it reads; zlib's checksums guard it.
    opts::strict_hash_verification(false);
    Ok(())
}
