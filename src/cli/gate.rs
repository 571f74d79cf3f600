//! What `run` and `check` share: the baseline, the tolerances, and what is asked to be written.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::journal_path;
use crate::check::{CheckError, Checked, Tolerances};
use crate::measure::Analysis;
use crate::scenario;
use crate::scenario::format::{CheckTable, Size};

/// A baseline that was asked for and is not there, or a name that cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("there is no baseline {name:?}: neither a journal at that path nor {saved}\n  save one with `cachefrom baseline save`, or pass --baseline-lenient", saved = saved.display())]
    Missing { name: String, saved: PathBuf },
    #[error("there is no {name:?}: neither a journal or a folder of one at that path, nor the baseline {saved}\n  `cachefrom baseline list` shows which are saved", saved = saved.display())]
    NotSaved { name: String, saved: PathBuf },
    #[error(
        "{name:?} cannot be a baseline's name\n  use letters, digits, dots, hyphens and underscores"
    )]
    Name { name: String },
    #[error("{path} is scenario {scenario:?}, the journal is of {journal:?}\n  name the scenario that was run", path = path.display())]
    OtherScenario { path: PathBuf, scenario: String, journal: String },
    #[error("{flag} goes with one scenario, not several\n  run the scenarios one by one")]
    OneScenario { flag: &'static str },
    #[error("cannot read the Dockerfile {path}: {source}\n  name the one that annotations point into", path = path.display())]
    Dockerfile { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no trial that was built; it cannot be a baseline", path = path.display())]
    Empty { path: PathBuf },
}

#[derive(Clone, Debug, Args)]
pub struct Where {
    /// Where saved baselines are kept
    #[arg(long, default_value = ".cachefrom/baselines", value_name = "DIR")]
    pub baseline_dir: PathBuf,
}

impl Where {
    /// The file of the saved baseline `name`.
    pub fn file(&self, name: &str) -> Result<PathBuf, GateError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
            return Err(GateError::Name { name: name.to_owned() });
        }
        Ok(self.baseline_dir.join(format!("{name}.jsonl")))
    }

    /// The path of a journal or of its folder, or a saved baseline's name; `None` where there is
    /// neither. What looks like a name is one, whatever lies in this folder.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = Some(journal_path(Path::new(name))).filter(|path| path.is_file());
        let saved = self.file(name).ok().filter(|saved| saved.is_file());
        if name.contains('/') || name.ends_with(".jsonl") { path.or(saved) } else { saved.or(path) }
    }
}

#[derive(Clone, Debug, Args)]
pub struct Gate {
    #[command(flatten)]
    place: Where,
    /// Go on without the baseline where it is missing
    #[arg(long)]
    baseline_lenient: bool,
    /// A TOML file with tolerances, bare or under `[check]`
    #[arg(long, value_name = "FILE")]
    tolerances: Option<PathBuf>,
    /// Share of the baseline's pulled bytes that may be added [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pulled_tolerance: Option<f64>,
    /// Share of the baseline's pushed bytes that may be added [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pushed_tolerance: Option<f64>,
    /// A change of bytes smaller than this never matters, such as 10MB or 64KiB [default: 64KiB]
    #[arg(long, value_name = "SIZE")]
    bytes_tolerance: Option<Size>,
    /// Change of the share of cold's time that is too small to matter [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    noise_threshold: Option<f64>,
    /// The chance of a time verdict where nothing changed [default: 0.01]
    #[arg(long, value_name = "CHANCE")]
    significance_level: Option<f64>,
    /// Write the verdict as Markdown; $GITHUB_STEP_SUMMARY is added to where it is set, and never replaced
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// Write JUnit XML, one case a rule or assertion
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the run's numbers as Bencher Metric Format
    #[arg(long, value_name = "FILE")]
    pub bencher: Option<PathBuf>,
    /// Write the run's numbers for github-action-benchmark's customSmallerIsBetter
    #[arg(long, value_name = "FILE")]
    pub benchmark_action: Option<PathBuf>,
    /// Write the verdict as an SVG badge
    #[arg(long, value_name = "FILE")]
    pub badge: Option<PathBuf>,
    /// Print GitHub annotations; auto does so in GitHub Actions
    #[arg(long, value_enum, default_value_t = Annotate::Auto)]
    pub annotations: Annotate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Annotate {
    Auto,
    Always,
    Never,
}

/// What a run is held against.
pub enum Baseline {
    NotAsked,
    /// It is not there, which is allowed; a sentence that says so.
    Missing(String),
    Read(Box<Analysis>),
}

impl Baseline {
    /// What `candidate` is against it. Where the two cannot be compared nothing was found, and the
    /// reason stands beside it.
    pub fn check(
        &self,
        candidate: &Analysis,
        tolerances: &Tolerances,
    ) -> (Checked, Option<CheckError>) {
        let refused = match self {
            Self::Read(baseline) => match crate::check::check(baseline, candidate, tolerances) {
                Ok(checked) => return (checked, None),
                Err(error) => Some(error),
            },
            Self::NotAsked | Self::Missing(_) => None,
        };
        let mut alone = crate::check::alone(candidate);
        if let Self::Missing(sentence) = self {
            alone.warnings.insert(0, sentence.clone());
        }
        (alone, refused)
    }

    pub fn asked(&self) -> bool {
        !matches!(self, Self::NotAsked)
    }
}

impl Gate {
    /// The baseline `name`, read whole: that it is damaged, or of another scenario than `scenario`,
    /// must not be found out after hours of builds.
    pub fn baseline(&self, name: Option<&str>, scenario: &str) -> anyhow::Result<Baseline> {
        let Some(name) = name else { return Ok(Baseline::NotAsked) };
        let Some(path) = self.place.find(name) else {
            if self.baseline_lenient {
                let missing = format!("there is no baseline {name:?}; nothing is held against it");
                super::say(&format!("note: {missing}"));
                return Ok(Baseline::Missing(missing));
            }
            let saved = self.place.baseline_dir.join(format!("{name}.jsonl"));
            return Err(GateError::Missing { name: name.to_owned(), saved }.into());
        };
        let read = Analysis::read_for_check(&path)?;
        if read.header.scenario != scenario {
            let (baseline, candidate) = (read.header.scenario, scenario.to_owned());
            return Err(CheckError::OtherScenario { baseline, candidate }.into());
        }
        Ok(Baseline::Read(Box::new(read)))
    }

    /// Flags before the file, the file before `scenario`, that before the defaults.
    pub fn tolerances(&self, scenario: Option<&CheckTable>) -> anyhow::Result<Tolerances> {
        let mut tolerances = Tolerances::default();
        if let Some(table) = scenario {
            tolerances = tolerances.with(table)?;
        }
        if let Some(path) = &self.tolerances {
            tolerances = tolerances.with(&scenario::tolerances(path)?)?;
        }
        let flags = CheckTable {
            pulled: self.pulled_tolerance,
            pushed: self.pushed_tolerance,
            bytes: self.bytes_tolerance.clone(),
            time: self.noise_threshold,
            significance: self.significance_level,
        };
        Ok(tolerances.with(&flags)?)
    }

    /// The first flag that names one file, which several scenarios cannot share.
    pub fn one_file(&self) -> Option<&'static str> {
        [
            (&self.summary, "--summary"),
            (&self.junit, "--junit"),
            (&self.bencher, "--bencher"),
            (&self.benchmark_action, "--benchmark-action"),
            (&self.badge, "--badge"),
        ]
        .into_iter()
        .find_map(|(path, flag)| path.as_ref().map(|_| flag))
    }

    /// Whether the verdict was asked for in any form.
    pub fn wanted(&self) -> bool {
        self.one_file().is_some() || self.annotations == Annotate::Always
    }
}
