//! `cachefrom predict`: which steps the next build of a folder would reuse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::json;

use super::explain::{ExplainError, Form};
use super::replay::build_arg;
use super::{Exit, journal_path};
use crate::explain::{Prediction, Takable, bases, brief, predict, sentence};
use crate::history::{Asked, PathKind, Written, links_at, working_tree};
use crate::ignore::clean;
use crate::journal::{CommitRecord, FileChange, Header, holds_journal};
use crate::measure::Analysis;
use crate::run::undeclared_args;

#[derive(Debug, Parser)]
pub struct Args {
    /// A journal, or the folder that holds a journal.jsonl; the build would follow its last commit
    journal: PathBuf,
    /// The build context as it is on disk now
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The Dockerfile, relative to the build context, which it may lead out of
    #[arg(long, short = 'f', default_value = "Dockerfile")]
    dockerfile: String,
    /// Only these files and folders of the context, as a scenario's `include`
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    include: Vec<String>,
    /// A build arg that is not as it was at the journal's last commit
    #[arg(long, value_name = "NAME=VALUE", value_parser = build_arg)]
    build_arg: Vec<(String, String)>,
    /// Only these strategies
    #[arg(long, value_delimiter = ',')]
    strategy: Vec<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

/// Prints the prediction.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = journal_path(&args.journal);
    let analysis = Analysis::read(&path)?;
    super::explain::known_strategies(&args.strategy, &path, &analysis)?;
    let tree = tree(args, &analysis.header)?;
    let given = args.build_arg.iter().map(|(name, _)| name.as_str());
    for told in undeclared_args(tree.dockerfile.as_deref().unwrap_or_default(), given) {
        super::say(&format!("warning: {told}"));
    }
    for basis in bases(&analysis) {
        let asked = args.strategy.is_empty() || args.strategy.contains(&basis.strategy);
        let all = analysis.header.commits.len();
        if asked && basis.built < all {
            let (strategy, round) = (&basis.strategy, basis.round.saturating_add(1));
            super::say(&format!(
                "note: {strategy}: no round built more than {} of {all} commits; the caches are those of round {round}",
                basis.built
            ));
        }
    }
    // Causes name the tree as the commit that it is taken for.
    let mut header = analysis.header.clone();
    header.commits.push(tree.clone());
    let mut found = predict(&analysis, tree);
    found.retain(|one| args.strategy.is_empty() || args.strategy.contains(&one.strategy));
    match args.format {
        Form::Json => {
            let value = json!({ "schema": 1, "steps": found });
            super::print(&format!("{value:#}\n"))
        }
        Form::Text => super::show(&text(&found, &header)),
    }
}

/// The folder as one more commit after those of `header`.
fn tree(args: &Args, header: &Header) -> anyhow::Result<CommitRecord> {
    let dockerfile = clean(&args.dockerfile);
    let file = args.dir.join(&dockerfile);
    let text = std::fs::read_to_string(&file)
        .map_err(|source| ExplainError::Dockerfile { path: file, source })?;
    let own = std::fs::read_to_string(args.dir.join(format!("{dockerfile}.dockerignore")));
    let ignore = own.or_else(|_| std::fs::read_to_string(args.dir.join(".dockerignore"))).ok();
    let last = header.commits.last();
    let mut build_args = last.map(|commit| commit.args.clone()).unwrap_or_default();
    build_args.extend(args.build_arg.iter().cloned());
    let tree = CommitRecord {
        id: "working-tree".into(),
        message: "the working tree".into(),
        branch: last.map_or_else(String::new, |commit| commit.branch.clone()),
        args: build_args,
        dockerfile: Some(text),
        dockerignore: ignore,
        ..Default::default()
    };
    let takable = Takable::of(&tree, &|pattern| links_at(&args.dir, pattern));
    let changes = changes(args, header, &takable)?;
    Ok(CommitRecord { changes, ..tree })
}

/// So many files are listed without a word.
const MANY: usize = 100_000;

/// What of the folder differs from the last commit of `header`, of what a build may take. Only files
/// that the journal knows are read: one that it does not know is new, whatever it holds.
fn changes(args: &Args, header: &Header, takable: &Takable) -> anyhow::Result<Vec<FileChange>> {
    let mut before: BTreeMap<&str, (&str, u32)> = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for change in header.commits.iter().flat_map(|commit| &commit.changes) {
        known.insert(&change.path);
        match &change.object {
            Some(object) => before.insert(&change.path, (object, change.mode)),
            None => before.remove(change.path.as_str()),
        };
    }
    let included: Vec<String> = args.include.iter().map(|path| clean(path)).collect();
    let below = |path: &str, folder: &str| Path::new(path).starts_with(folder);
    let takes = |path: &str, kind: PathKind| {
        let is_included =
            |one: &String| below(path, one) || (kind == PathKind::Folder && below(one, path));
        let taken = match kind {
            PathKind::File => takable.takes(path),
            PathKind::Folder => takable.takes_below(path),
        };
        taken && (included.is_empty() || included.iter().any(is_included))
    };
    let on_file = |files: usize| {
        if files.is_multiple_of(MANY) {
            super::say(&format!(
                "note: {files} files so far that a COPY takes and no .dockerignore leaves out"
            ));
        }
    };
    let reads = |path: &str| known.contains(path);
    // Of a repository's commits some may hold it.
    let build_folder = known.range("target/"..).next().is_some_and(|at| at.starts_with("target/"));
    let on_unnamed = |path: &str| {
        super::say(&format!("note: {path} is left out, since its name is not UTF-8"));
    };
    let asked = Asked {
        takes: &takes,
        reads: &reads,
        build_folder,
        on_file: &on_file,
        on_unnamed: &on_unnamed,
    };
    let written = Written { results: None, is_results: holds_journal };
    let mut found = vec![];
    let mut there = BTreeSet::new();
    for file in working_tree(&args.dir, &included, written, asked)? {
        let Some((object, mode)) = file.now else { continue };
        there.insert(file.path.clone());
        let target = std::fs::read_link(args.dir.join(&file.path)).ok();
        let target = target.and_then(|target| target.into_os_string().into_string().ok());
        // Older journals do not say where links lead, and one that is as it was is no change.
        if target.is_some() || before.get(&*file.path) != Some(&(object.as_str(), mode)) {
            found.push(FileChange { path: file.path, object: Some(object), mode, target });
        }
    }
    // Of what no COPY takes it is not known whether it is there, and it does not matter.
    let gone = before.keys().filter(|path| !there.contains(**path) && takable.takes(path));
    found.extend(gone.map(|path| FileChange {
        path: (*path).into(),
        object: None,
        mode: 0,
        target: None,
    }));
    Ok(found)
}

fn text(found: &[Prediction], header: &Header) -> String {
    let mut text = String::new();
    let mut strategies: Vec<&str> = vec![];
    for prediction in found {
        if !strategies.contains(&prediction.strategy.as_str()) {
            strategies.push(&prediction.strategy);
        }
    }
    for strategy in strategies {
        let own: Vec<&Prediction> = found.iter().filter(|one| one.strategy == strategy).collect();
        let reused = own.iter().filter(|one| one.reused).count();
        text.push_str(&format!("{strategy}: {reused} of {} steps would be reused\n", own.len()));
        for step in own {
            let what = match (step.reused, step.certain) {
                (true, true) => "reused ",
                (true, false) => "reused if the frontend makes the same step of it",
                (false, true) => "rebuilt",
                (false, false) => "rebuilt unless its stage comes out the same",
            };
            let why = step.cause.as_ref().map(|cause| format!(": {}", sentence(cause, header)));
            text.push_str(&format!(
                "  {what}  line {}: {}: {}{}\n",
                step.line,
                step.stage,
                brief(&step.instruction),
                why.unwrap_or_default()
            ));
        }
    }
    text
}
