//! `cachefrom explain`: why steps were rebuilt, from a journal.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use globset::{Glob, GlobMatcher};
use serde_json::json;

use super::{Exit, journal_path};
use crate::explain::{self, TrialMisses, advice, costs, explain};
use crate::measure::Analysis;
use crate::units::Nanos;

/// So many steps are listed where none matches.
const MOST_STEPS: usize = 20;

#[derive(Debug, Parser)]
pub struct Args {
    /// A journal, or the folder that holds a journal.jsonl
    journal: PathBuf,
    /// Only this commit: its number from 1, its message, or the start of its id
    #[arg(long)]
    commit: Option<String>,
    /// Only these strategies
    #[arg(long, value_delimiter = ',')]
    strategy: Vec<String>,
    /// Only steps whose name matches this pattern, such as `*COPY*`
    #[arg(long, value_name = "GLOB")]
    step: Option<String>,
    #[arg(long, value_enum, default_value = "text")]
    format: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// Every trial's misses, and what each cause cost
    Json,
}

/// What was asked for is not in the journal, or is no pattern.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("{journal} has no commit {asked:?}; it has:\n{known}")]
    NoSuchCommit { journal: String, asked: String, known: String },
    #[error("{journal} has no strategy {asked:?}; it has: {known}")]
    NoSuchStrategy { journal: String, asked: String, known: String },
    #[error("{journal} has no step that matches {asked:?}; it has:\n{known}")]
    NoSuchStep { journal: String, asked: String, known: String },
    #[error("cannot read the Dockerfile {}", path.display())]
    Dockerfile { path: PathBuf, source: std::io::Error },
    #[error("--step {pattern:?} is not a pattern: {source}")]
    Pattern { pattern: String, source: globset::Error },
}

/// Refuses a strategy that the journal does not have.
pub fn known_strategies(
    asked: &[String],
    journal: &Path,
    analysis: &Analysis,
) -> Result<(), ExplainError> {
    match asked.iter().find(|name| !analysis.strategies.contains(name)) {
        None => Ok(()),
        Some(asked) => Err(ExplainError::NoSuchStrategy {
            journal: journal.display().to_string(),
            asked: asked.clone(),
            known: analysis.strategies.join(", "),
        }),
    }
}

/// Refuses a pattern that no step of the journal matches.
fn known_step(
    asked: &str,
    step: &GlobMatcher,
    journal: &Path,
    analysis: &Analysis,
) -> Result<(), ExplainError> {
    let trials = analysis.trials.iter();
    let steps: BTreeSet<&str> =
        trials.flat_map(|trial| trial.steps.iter().map(|step| analysis.text(step.name))).collect();
    if steps.is_empty() || steps.iter().any(|name| step.is_match(name)) {
        return Ok(());
    }
    let mut known: Vec<String> =
        steps.iter().take(MOST_STEPS).map(|name| format!("  {}", explain::brief(name))).collect();
    if steps.len() > MOST_STEPS {
        known.push(format!("  and {} more", steps.len() - MOST_STEPS));
    }
    Err(ExplainError::NoSuchStep {
        journal: journal.display().to_string(),
        asked: asked.to_owned(),
        known: known.join("\n"),
    })
}

/// Prints the explanation.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let path = journal_path(&args.journal);
    let analysis = Analysis::read(&path)?;
    let wanted = Wanted::new(args, &path, &analysis)?;
    let trials: Vec<TrialMisses> =
        explain(&analysis).filter_map(|trial| wanted.of(trial)).collect();
    if analysis.header.commits.iter().all(|commit| commit.dockerfile.is_none()) {
        super::say(
            "note: this journal holds no Dockerfile, as those of older releases and saved baselines, so nothing can be explained",
        );
    } else if trials.is_empty() && args.step.is_some() {
        super::say("note: no step that was asked for was rebuilt");
    }
    match args.format {
        Form::Json => {
            let advice = advice(&trials, &analysis);
            let value = json!({
                "schema": 1, "trials": trials, "costs": costs(&trials, &analysis), "advice": advice,
            });
            super::print(&format!("{value:#}\n"))
        }
        Form::Text => super::show(&text(&trials, &analysis)),
    }
}

fn text(trials: &[TrialMisses], analysis: &Analysis) -> String {
    let header = &analysis.header;
    let mut text = explain::text(trials, header);
    let costs = costs(trials, analysis);
    let total: Nanos = costs.iter().map(|cost| cost.time).sum();
    if !costs.is_empty() {
        let mean = match analysis.rounds() {
            0 | 1 => String::new(),
            rounds => format!(", a mean of {rounds}"),
        };
        text.push_str(&format!(
            "\nwhat the causes cost in one round{mean}, {total} of steps in all:\n"
        ));
    }
    for cost in costs {
        let sentence = explain::of_cost(&cost, header);
        let link = cost.link.map(|link| format!(" over {link}")).unwrap_or_default();
        text.push_str(&format!(
            "  {:>8}  {}{link}, {}: {}\n",
            cost.time.to_string(),
            cost.strategy,
            explain::brief(&cost.step),
            sentence,
        ));
    }
    let advice = advice(trials, analysis);
    if !advice.is_empty() {
        text.push_str("\nadvice\n");
    }
    for piece in advice {
        text.push_str(&format!("  {}\n", piece.text));
    }
    text
}

/// Which misses were asked for.
struct Wanted {
    commit: Option<usize>,
    strategies: Vec<String>,
    step: Option<GlobMatcher>,
}

impl Wanted {
    fn new(args: &Args, path: &Path, analysis: &Analysis) -> Result<Self, ExplainError> {
        let journal = || path.display().to_string();
        let commits = &analysis.header.commits;
        let find = |asked: &str| {
            let number = asked.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let number = number.filter(|place| *place < commits.len());
            let message = || commits.iter().position(|commit| commit.message == asked);
            let id = || commits.iter().position(|c| asked.len() >= 4 && c.id.starts_with(asked));
            number.or_else(message).or_else(id)
        };
        let line = |(place, commit): (usize, &crate::journal::CommitRecord)| {
            format!("  {} {}", place + 1, commit.message)
        };
        let commit = match &args.commit {
            None => None,
            Some(asked) => Some(find(asked).ok_or_else(|| ExplainError::NoSuchCommit {
                journal: journal(),
                asked: asked.clone(),
                known: commits.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"),
            })?),
        };
        known_strategies(&args.strategy, path, analysis)?;
        let glob = |pattern: &String| {
            Glob::new(pattern)
                .map(|glob| glob.compile_matcher())
                .map_err(|source| ExplainError::Pattern { pattern: pattern.clone(), source })
        };
        let step = args.step.as_ref().map(glob).transpose()?;
        if let (Some(asked), Some(step)) = (&args.step, &step) {
            known_step(asked, step, path, analysis)?;
        }
        Ok(Self { commit, strategies: args.strategy.clone(), step })
    }

    /// The trial with the misses that were asked for; none where it was not asked for. A miss comes
    /// with the one where its chain begins.
    fn of(&self, mut trial: TrialMisses) -> Option<TrialMisses> {
        let strategy = self.strategies.is_empty() || self.strategies.contains(&trial.strategy);
        if !strategy || self.commit.is_some_and(|commit| commit != trial.commit) {
            return None;
        }
        let Some(step) = &self.step else { return Some(trial) };
        let named: Vec<bool> = trial.misses.iter().map(|miss| step.is_match(&miss.step)).collect();
        let kept: Vec<usize> = (0..trial.misses.len())
            .filter(|&place| {
                let heads = |other: usize| named[other] && trial.misses[other].first == place;
                named[place] || (0..named.len()).any(heads)
            })
            .collect();
        let place = |old: usize| kept.iter().position(|kept| *kept == old).unwrap_or(0);
        trial.misses = kept
            .iter()
            .map(|&old| {
                let miss = trial.misses[old].clone();
                explain::Miss { first: place(miss.first), ..miss }
            })
            .collect();
        (!trial.misses.is_empty()).then_some(trial)
    }
}
