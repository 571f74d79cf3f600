//! `cachefrom check`, `compare`, `baseline` and `merge`: journals in, verdicts and journals out.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use super::gate::{Gate, GateError, Where};
use super::table::table;
use super::told::{Dockerfile, NotWritten, Told, write};
use super::{Exit, journal_path};
use crate::check::output::one_line;
use crate::check::{assertions, comparison, merged, pruned, text};
use crate::journal::{Outcome, Recorded, Scan};
use crate::measure::{Analysis, Warning};
use crate::run::sha256_of;
use crate::scenario::{self, Loaded};
use crate::units::Bytes;

#[derive(Debug, Parser)]
pub struct CheckArgs {
    /// The journal to check, or the folder that holds a journal.jsonl
    candidate: PathBuf,
    /// The journal, folder of one or saved baseline that it is held against
    #[arg(long, required_unless_present = "scenario")]
    baseline: Option<String>,
    /// The scenario that was run: its assertions are held, and its tolerances used
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// The Dockerfile that annotations point into [default: the scenario's, or Dockerfile]
    #[arg(long, value_name = "FILE")]
    dockerfile: Option<PathBuf>,
    #[command(flatten)]
    gate: Gate,
}

pub fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    let loaded = args.scenario.as_deref().map(scenario::load).transpose()?;
    let dockerfile = match (&args.dockerfile, &loaded) {
        (Some(path), _) => Dockerfile::named(path)?,
        (None, Some(loaded)) => Dockerfile::of(loaded),
        (None, None) => Dockerfile::at(Path::new("Dockerfile")),
    };
    let tolerances = args.gate.tolerances(loaded.as_ref().map(|loaded| &loaded.scenario.check))?;
    let candidate = journal_path(&args.candidate);
    let scenario = Scan::open(&candidate)?.header().scenario.clone();
    // Side by side, so that no core waits while the other sums a journal up.
    let (analysis, baseline) = std::thread::scope(|scope| {
        let read = scope.spawn(|| Analysis::read_for_check(&candidate));
        let baseline = args.gate.baseline(args.baseline.as_deref(), &scenario);
        (read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), baseline)
    });
    let (analysis, baseline) = (analysis?, baseline?);
    let (mut checked, refused) = baseline.check(&analysis, &tolerances);
    if let Some(loaded) = &loaded {
        checked.warnings.extend(scenario_of(&analysis, loaded)?);
        checked.findings.extend(assertions(&loaded.scenario, &analysis));
    }
    let told = Told {
        checked: &checked,
        analysis: &analysis,
        dockerfile: &dockerfile,
        stdout_taken: false,
        // Else what is refused is all that there is to say.
        aloud: refused.is_none() || !checked.findings.is_empty(),
    };
    let exit = told.tell(&args.gate)?;
    refused.map_or(Ok(exit), |error| Err(error.into()))
}

/// Refuses a journal of another scenario; a sentence where the file changed since it was run.
fn scenario_of(analysis: &Analysis, loaded: &Loaded) -> Result<Option<String>, GateError> {
    let (header, path) = (&analysis.header, &loaded.path);
    if header.scenario != loaded.scenario.name {
        let (journal, scenario) = (header.scenario.clone(), loaded.scenario.name.clone());
        return Err(GateError::OtherScenario { path: path.clone(), scenario, journal });
    }
    let changed = header.scenario_sha256 != sha256_of(path);
    Ok(changed.then(|| format!("{} is not as it was when this was run", path.display())))
}

#[derive(Debug, Parser)]
pub struct CompareArgs {
    /// Journals, folders of them or saved baselines; the others are held against the first
    #[arg(required = true, num_args = 2..)]
    runs: Vec<String>,
    #[command(flatten)]
    place: Where,
}

pub fn compare(args: &CompareArgs) -> anyhow::Result<Exit> {
    let mut runs = vec![];
    for name in &args.runs {
        let path = match (args.place.find(name), args.place.file(name)) {
            (Some(path), _) => path,
            (None, Ok(saved)) if !Path::new(name).exists() => {
                return Err(GateError::NotSaved { name: name.clone(), saved }.into());
            }
            // It can only be a path: what keeps it from being read is told.
            _ => journal_path(Path::new(name)),
        };
        let mut run = Analysis::read(&path)?;
        run.header.commits.iter_mut().for_each(|c| c.message = one_line(&c.message));
        runs.push((name.clone(), run));
    }
    super::show(&comparison(&runs))
}

#[derive(Debug, Parser)]
pub struct MergeArgs {
    /// The journals of one run's parts, or the folders that hold them
    #[arg(required = true)]
    journals: Vec<PathBuf>,
    /// The journal that is written; must not exist
    #[arg(long)]
    out: PathBuf,
    /// Join journals of different machines
    #[arg(long)]
    mixed: bool,
}

pub fn merge(args: &MergeArgs) -> anyhow::Result<Exit> {
    if args.out.exists() {
        let why = "it is there already\n  name another file with --out, or remove that one";
        let source = std::io::Error::new(std::io::ErrorKind::AlreadyExists, why);
        return Err(NotWritten { path: args.out.clone(), source }.into());
    }
    let mut parts = vec![];
    for path in &args.journals {
        let path = journal_path(path);
        let recorded = Recorded::read(&path)?;
        parts.push((path, recorded));
    }
    let (header, trials, end) = merged(&parts, args.mixed)?;
    write(&args.out, &text(&header, &trials, Some(&end))?)?;
    super::print(&format!("{} trials in {}\n", trials.len(), args.out.display()))
}

#[derive(Debug, Parser)]
pub struct BaselineArgs {
    #[command(subcommand)]
    command: BaselineCommand,
}

#[derive(Debug, Subcommand)]
enum BaselineCommand {
    /// Keep what a check needs of a journal
    Save {
        /// The name it is found by
        name: String,
        /// A journal, or the folder that holds a journal.jsonl
        journal: PathBuf,
        #[command(flatten)]
        place: Where,
    },
    /// List saved baselines
    List {
        #[command(flatten)]
        place: Where,
    },
    /// Print a saved baseline's table
    Show {
        name: String,
        #[command(flatten)]
        place: Where,
    },
}

pub fn baseline(args: &BaselineArgs) -> anyhow::Result<Exit> {
    match &args.command {
        BaselineCommand::Save { name, journal, place } => {
            save(&place.file(name)?, &journal_path(journal))
        }
        BaselineCommand::List { place } => list(place),
        BaselineCommand::Show { name, place } => {
            let saved = place.file(name)?;
            let path = place.find(name).ok_or(GateError::NotSaved { name: name.clone(), saved })?;
            super::show(&table(&Recorded::read(&path)?))
        }
    }
}

fn save(path: &Path, journal: &Path) -> anyhow::Result<Exit> {
    let recorded = Recorded::read(journal)?;
    if !recorded.trials.iter().any(|trial| trial.outcome == Outcome::Built) {
        return Err(GateError::Empty { path: journal.into() }.into());
    }
    let (header, trials) = pruned(&recorded);
    let bytes = text(&header, &trials, recorded.end.as_ref())?;
    write(path, &bytes)?;
    if recorded.cut {
        super::say(&format!("{}: {}", journal.display(), Warning::Cut));
    }
    let size = Bytes(bytes.len() as u64);
    super::print(&format!("{} trials, {size}, in {}\n", trials.len(), path.display()))
}

fn list(place: &Where) -> anyhow::Result<Exit> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&place.baseline_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match Recorded::read(&path) {
            Ok(recorded) => text.push_str(&format!(
                "{name}: {}, {} trials, {} rounds, {}\n",
                one_line(&recorded.header.scenario),
                recorded.trials.len(),
                recorded.header.rounds,
                one_line(&recorded.header.environment.started)
            )),
            Err(error) => text.push_str(&format!("{name}: {error}\n")),
        }
    }
    super::print(&text)
}
