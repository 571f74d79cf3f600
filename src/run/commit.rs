//! A commit as the journal keeps it: with the texts and file changes that decide on cache hits.
//!
//! Texts are cut at no length: a Dockerfile is small, and half of one would explain nothing.

use crate::history::{History, HistoryError, ScriptedCommit};
use crate::journal::{CommitRecord, FileChange};

/// The text of the Dockerfile at `path` of the commit at `index`; none where it has none.
///
/// One that is called `Dockerfile` may be called `dockerfile` too, as BuildKit has it
/// (`frontend/dockerui/config.go`, `ReadEntrypoint`).
pub(super) fn dockerfile(
    history: &History,
    index: usize,
    path: &str,
) -> Result<Option<String>, HistoryError> {
    let mut content = history.file(index, path)?;
    if content.is_none()
        && let Some(folder) = path.strip_suffix("Dockerfile")
        && (folder.is_empty() || folder.ends_with('/'))
    {
        content = history.file(index, &format!("{folder}dockerfile"))?;
    }
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

/// `dockerfile` is the path of the scenario's Dockerfile in the tree.
pub(super) fn record(
    history: &History,
    commit: &ScriptedCommit,
    dockerfile: &str,
) -> Result<CommitRecord, HistoryError> {
    let text = |path: &str| -> Result<Option<String>, HistoryError> {
        let content = history.file(commit.index, path)?;
        Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
    };
    // The frontend prefers a Dockerfile's own ignore file to the context's.
    let dockerignore = match text(&format!("{dockerfile}.dockerignore"))? {
        Some(own) => Some(own),
        None => text(".dockerignore")?,
    };
    let changes = history.changes(commit.index)?.into_iter().map(|change| {
        let target = history.link_target(&change)?;
        let (object, mode) = change.now.unzip();
        Ok(FileChange { path: change.path, object, mode: mode.unwrap_or_default(), target })
    });
    Ok(CommitRecord {
        id: commit.id.clone(),
        message: commit.message.clone(),
        branch: commit.branch.clone(),
        parent: commit.parent,
        merged: commit.merged.clone(),
        tagged: commit.tagged,
        args: commit.args.clone(),
        dockerfile: self::dockerfile(history, commit.index, dockerfile)?,
        dockerignore,
        changes: changes.collect::<Result<_, HistoryError>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Written;

    #[test]
    fn a_dockerfile_in_lower_case_is_found_as_buildkit_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir_all(source.join("docker")).unwrap();
        let text = "FROM busybox\n";
        std::fs::write(source.join("docker/dockerfile"), text).unwrap();
        let scenario = folder.path().join("a.toml");
        let toml = "schema = 1\nname = 'a'\nsource = 'source'\n[build]\n\
                    dockerfile = 'docker/Dockerfile'\n[[commit]]\nmessage = 'first'\n";
        std::fs::write(&scenario, toml).unwrap();
        let loaded = crate::scenario::load(&scenario).unwrap();
        std::os::unix::fs::symlink("docker", source.join("link")).unwrap();
        let history = History::script(&loaded, Written::NOTHING, folder.path()).unwrap();
        let commit = &history.commits()[0];
        let recorded = record(&history, commit, "docker/Dockerfile").unwrap();
        assert_eq!(recorded.dockerfile.as_deref(), Some(text));
        let targets: Vec<Option<&str>> =
            recorded.changes.iter().map(|change| change.target.as_deref()).collect();
        assert_eq!(targets, [None, Some("docker")]);
        for other in ["docker/ADockerfile", "Dockerfile", "docker/Other"] {
            assert_eq!(dockerfile(&history, 0, other).unwrap(), None, "{other}");
        }
    }
}
