//! A commit as the journal keeps it: with the texts and file changes that decide on cache hits.
//!
//! Texts are cut at no length: a Dockerfile is small, and half of one would explain nothing.

use crate::history::{History, HistoryError, ScriptedCommit};
use crate::journal::{CommitRecord, FileChange};

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
        let (object, mode) = change.now.unzip();
        FileChange { path: change.path, object, mode: mode.unwrap_or_default() }
    });
    Ok(CommitRecord {
        id: commit.id.clone(),
        message: commit.message.clone(),
        branch: commit.branch.clone(),
        parent: commit.parent,
        merged: commit.merged.clone(),
        tagged: commit.tagged,
        args: commit.args.clone(),
        dockerfile: text(dockerfile)?,
        dockerignore,
        changes: changes.collect(),
    })
}
