//! Partial clones (`git clone --filter`): repositories that lack objects, which git fetches where it
//! meets them.
//!
//! Nothing is fetched here. What is missing is told before anything is built, with the command that
//! brings it.

use std::collections::HashSet;
use std::path::Path;

use git2::{Error, ErrorClass, ErrorCode, ObjectType, Oid, Repository};

use super::HistoryError;
use super::stored::{Stored, own_ignore};

/// The command that brings every object that `repository`, which lies at `path`, lacks; none where it
/// is no partial clone.
pub fn remedy(repository: &Repository, path: &Path) -> Option<String> {
    let config = repository.config().ok()?;
    let mut promisor = config.get_string("extensions.partialclone").ok();
    let entries = config.entries(Some("remote\\..*\\.promisor")).ok()?;
    let found = entries.for_each(|entry| {
        let name = entry.name().ok().and_then(|name| name.strip_prefix("remote."));
        let name = name.and_then(|name| name.strip_suffix(".promisor"));
        if let Some(name) = name.filter(|_| entry.value() == Ok("true")) {
            promisor = Some(name.to_owned());
        }
    });
    let name = promisor.filter(|_| found.is_ok())?;
    // A bare clone has none, and git would fetch what HEAD leads to alone.
    let refspecs = repository.find_remote(&name).and_then(|remote| remote.fetch_refspecs());
    let has_refspec = refspecs.is_ok_and(|refspecs| !refspecs.is_empty());
    let branches = if has_refspec { "" } else { " 'refs/heads/*:refs/heads/*'" };
    let (path, name) = (shell_word(&path.to_string_lossy()), shell_word(&name));
    Some(format!("git -C {path} fetch --refetch --no-filter {name}{branches}"))
}

/// `text` as one word of a shell's command, in quotes where it needs them.
fn shell_word(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "_-./:@%+=,".contains(char);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// Whether it says that an object is not in the repository.
pub fn is_missing(error: &Error) -> bool {
    error.code() == ErrorCode::NotFound && error.class() == ErrorClass::Odb
}

/// `error`, with the remedy where it is that of a partial clone.
pub fn told(error: HistoryError, path: &Path, remedy: Option<String>) -> HistoryError {
    match (error, remedy) {
        (HistoryError::Git { doing, source }, Some(remedy)) if is_missing(&source) => {
            HistoryError::Partial { doing, repository: path.to_owned(), remedy }
        }
        (error, _) => error,
    }
}

/// Whether the repository has all that is written out of the commits of `stored`: an error where it
/// has not.
pub fn complete(
    repository: &Repository,
    stored: &Stored,
    dockerfile: &str,
) -> Result<(), HistoryError> {
    let objects = repository.odb().map_err(HistoryError::git("read the objects"))?;
    let mut seen: HashSet<Oid> = HashSet::new();
    for (index, commit) in stored.ids.iter().enumerate() {
        // They may lie outside the context.
        for path in [dockerfile.to_owned(), own_ignore(dockerfile)] {
            stored.file(repository, index, &path)?;
        }
        let mut waiting = vec![];
        waiting.extend(stored.context(repository, index)?.map(|tree| (tree.id(), String::new())));
        while let Some((id, folder)) = waiting.pop() {
            let failed = |path: &str| format!("read {path:?} of the commit {commit}");
            let tree = repository.find_tree(id).map_err(HistoryError::git(failed(&folder)))?;
            for entry in tree.iter() {
                if !seen.insert(entry.id()) {
                    continue;
                }
                let path = format!("{folder}{}", String::from_utf8_lossy(entry.name_bytes()));
                match entry.kind() {
                    Some(ObjectType::Tree) => waiting.push((entry.id(), format!("{path}/"))),
                    Some(ObjectType::Blob) if !objects.exists(entry.id()) => {
                        let source =
                            Error::new(ErrorCode::NotFound, ErrorClass::Odb, "it is not there");
                        return Err(HistoryError::Git { doing: failed(&path), source });
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_each_word_of_the_remedy_as_one() {
        assert_eq!(shell_word("/srv/a-b_c.git"), "/srv/a-b_c.git");
        for text in ["", "my shop", "it's", "$(id)", "~/a", "a;b", "caf\u{e9}"] {
            let mut shell = std::process::Command::new("sh");
            let output = shell.args(["-c", &format!("printf %s, {}", shell_word(text))]).output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), format!("{text},"));
        }
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init(folder.path()).unwrap();
        let mut config = repository.config().unwrap();
        config.set_bool("remote.my own.promisor", true).unwrap();
        let remedy = remedy(&repository, Path::new("my shop")).unwrap();
        let expected =
            "git -C 'my shop' fetch --refetch --no-filter 'my own' 'refs/heads/*:refs/heads/*'";
        assert_eq!(remedy, expected);
    }
}
