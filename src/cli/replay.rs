//! `cachefrom replay`: plays commits of a real repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::Exit;
use super::run::Play;
use crate::history::{Replay, Which};
use crate::ignore::clean;
use crate::run::Options;
use crate::scenario::{Loaded, Scenario};

#[derive(Debug, Parser)]
pub struct Args {
    /// The repository, bare or not, or a folder in it; only its objects are read
    #[arg(long, default_value = ".")]
    repo: PathBuf,
    /// The folder of the repository that is the build context [default: all of it]
    #[arg(long, value_name = "FOLDER", default_value = "")]
    context: String,
    /// The Dockerfile, relative to the build context, which it may lead out of
    #[arg(long, short = 'f', default_value = "Dockerfile")]
    dockerfile: String,
    /// Build these stages, in this order [default: the last one]
    #[arg(long, value_delimiter = ',')]
    target: Vec<String>,
    /// A build arg, the same at every commit
    #[arg(long, value_name = "NAME=VALUE", value_parser = build_arg)]
    build_arg: Vec<(String, String)>,
    /// The commits that B has and A has not
    #[arg(long, value_name = "A..B", conflicts_with_all = ["last", "commits"])]
    range: Option<String>,
    /// The last so many commits up to HEAD [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    last: Option<u32>,
    /// The revisions in FILE, one a line, oldest first; each is built as the child of the one before
    #[arg(long, value_name = "FILE", conflicts_with = "last")]
    commits: Option<PathBuf>,
    /// Only first parents, as a branch saw its history; the default
    #[arg(long, conflicts_with = "merges")]
    first_parent: bool,
    /// The commits of merged branches too, in the order of their dates
    #[arg(long)]
    merges: bool,
    /// The branch that others leave and come back to [default: what origin/HEAD or HEAD names]
    #[arg(long, value_name = "NAME")]
    default_branch: Option<String>,
    /// Leave out commits that change nothing in the build context
    #[arg(long)]
    only_relevant: bool,
    /// So many of these commits, spread over all; the seed decides which
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    #[command(flatten)]
    play: Play,
}

pub fn build_arg(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a build arg is NAME=VALUE".to_owned()),
    }
}

/// The file of `--commits` cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the commits in {}", path.display())]
pub struct CommitsError {
    path: PathBuf,
    source: std::io::Error,
}

/// Plays the commits that were asked for.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    args.play.check_exports(1)?;
    let loaded = loaded(args);
    let replay = Replay {
        repository: args.repo.clone(),
        which: which(args)?,
        merges: args.merges,
        only_relevant: args.only_relevant,
        sample: args.sample.map(|count| count as usize),
        seed: args.play.seed(),
        context: Some(clean(&args.context)).filter(|path| path != ".").unwrap_or_default(),
        dockerfile: clean(&args.dockerfile),
        default_branch: args.default_branch.clone(),
        args: args.build_arg.iter().cloned().collect(),
    };
    let options = Options { replay: Some(replay), ..args.play.options(&loaded)? };
    args.play.play(&loaded, &options, args.play.interrupts()?.as_ref())
}

fn which(args: &Args) -> Result<Which, CommitsError> {
    if let Some(range) = &args.range {
        return Ok(Which::Range(range.clone()));
    }
    let Some(path) = &args.commits else {
        return Ok(args.last.map_or_else(Which::default, |last| Which::Last(last as usize)));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|source| CommitsError { path: path.clone(), source })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(Which::Listed(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()))
}

/// A scenario without commits of its own, named after the repository.
fn loaded(args: &Args) -> Loaded {
    let whole = std::fs::canonicalize(&args.repo).unwrap_or_else(|_| args.repo.clone());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    let name = name.trim_end_matches(".git");
    let scenario = Scenario {
        title: format!("commits of {}", if name.is_empty() { "a repository" } else { name }),
        name: slug(name),
        ..Scenario::of_build(crate::scenario::format::Build {
            dockerfile: clean(&args.dockerfile),
            targets: args.target.clone(),
            args: args.build_arg.iter().cloned().collect::<BTreeMap<_, _>>(),
        })
    };
    let source = whole.join(args.context.trim_matches('/'));
    Loaded { scenario, path: Path::new(&args.repo).to_owned(), source }
}

/// What a scenario may be called, from any name.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let slug = parts.collect::<Vec<_>>().join("-");
    if slug.is_empty() { "replay".to_owned() } else { slug }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_name_becomes_a_scenarios() {
        assert_eq!(slug("My_Repo (2)"), "my-repo-2");
        assert_eq!(slug("…"), "replay");
    }

    #[test]
    fn a_build_arg_needs_a_name() {
        assert_eq!(build_arg("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(build_arg("=x").is_err() && build_arg("A").is_err());
    }
}
