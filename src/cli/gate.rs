//! What `run` and `check` share: the baseline, the tolerances, and where verdicts are written.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Exit;
use crate::check::output::{annotations, badge, bencher, benchmark_action, junit, markdown, plain};
use crate::check::{Checked, Tolerances, Verdict};
use crate::measure::Analysis;
use crate::scenario::format::CheckTable;

/// A baseline that was asked for and is not there, or a name that cannot be one.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error("there is no baseline {name:?}: neither a file of that path nor {saved}\n  save one with `cachefrom baseline save`, or pass --baseline-lenient", saved = saved.display())]
    Missing { name: String, saved: PathBuf },
    #[error(
        "{name:?} cannot be a baseline's name\n  use letters, digits, dots, hyphens and underscores"
    )]
    Name { name: String },
    #[error("the tolerances in {path} cannot be read: {reason}", path = path.display())]
    Tolerances { path: PathBuf, reason: String },
    #[error("{flag} goes with one scenario, not several\n  run the scenarios one by one")]
    OneScenario { flag: &'static str },
    #[error("{path} holds no trial that was built; it cannot be a baseline", path = path.display())]
    Empty { path: PathBuf },
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}", path = path.display())]
pub struct NotWritten {
    pub path: PathBuf,
    pub source: std::io::Error,
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

    /// A journal's path, or a saved baseline's by its name; `None` where there is neither.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let path = Path::new(name);
        if path.is_file() {
            return Some(path.to_owned());
        }
        self.file(name).ok().filter(|saved| saved.is_file())
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
    /// Change of the share of cold's time that is too small to matter [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    noise_threshold: Option<f64>,
    /// The chance of a time verdict where nothing changed [default: 0.01]
    #[arg(long, value_name = "CHANCE")]
    significance_level: Option<f64>,
    /// Write the verdict as Markdown; $GITHUB_STEP_SUMMARY is added to where it is set
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Write JUnit XML, one case a rule or assertion
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write the run's numbers as Bencher Metric Format
    #[arg(long, value_name = "FILE")]
    bencher: Option<PathBuf>,
    /// Write the run's numbers for github-action-benchmark's customSmallerIsBetter
    #[arg(long, value_name = "FILE")]
    benchmark_action: Option<PathBuf>,
    /// Write the verdict as an SVG badge
    #[arg(long, value_name = "FILE")]
    badge: Option<PathBuf>,
    /// Print GitHub annotations; auto does so in GitHub Actions
    #[arg(long, value_enum, default_value_t = Annotate::Auto)]
    annotations: Annotate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Annotate {
    Auto,
    Always,
    Never,
}

/// The Dockerfile that annotations point into.
pub struct Dockerfile {
    /// Relative to the repository.
    pub path: String,
    /// Its text now, for journals that hold none.
    pub text: Option<String>,
}

impl Gate {
    /// The baseline's file; `None` where it is missing and that is allowed.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, GateError> {
        match self.place.find(name) {
            Some(path) => Ok(Some(path)),
            None if self.baseline_lenient => {
                super::say(&format!(
                    "note: there is no baseline {name:?}; nothing is held against it"
                ));
                Ok(None)
            }
            None => Err(GateError::Missing {
                name: name.to_owned(),
                saved: self.place.baseline_dir.join(format!("{name}.jsonl")),
            }),
        }
    }

    /// Flags before the file, the file before `scenario`, that before the defaults.
    pub fn tolerances(&self, scenario: Option<&CheckTable>) -> anyhow::Result<Tolerances> {
        let mut tolerances = Tolerances::default();
        if let Some(table) = scenario {
            tolerances = tolerances.with(table)?;
        }
        if let Some(path) = &self.tolerances {
            tolerances = tolerances.with(&tolerances_in(path)?)?;
        }
        let flags = CheckTable {
            pulled: self.pulled_tolerance,
            pushed: self.pushed_tolerance,
            bytes: None,
            time: self.noise_threshold,
            significance: self.significance_level,
        };
        Ok(tolerances.with(&flags)?)
    }

    /// Prints the verdict (on standard error where standard output is taken), writes every file that
    /// was asked for, and tells the exit code.
    pub fn tell(
        &self,
        checked: &Checked,
        analysis: &Analysis,
        dockerfile: &Dockerfile,
        stdout_taken: bool,
    ) -> anyhow::Result<Exit> {
        let show = |text: &str| {
            if stdout_taken {
                super::say(text.trim_end());
                return Ok(());
            }
            super::print(text).map(drop)
        };
        show(&plain(checked))?;
        let in_actions = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        let annotate = match self.annotations {
            Annotate::Auto => in_actions,
            Annotate::Always => true,
            Annotate::Never => false,
        };
        if annotate {
            let commits = &analysis.header.commits;
            let text = |commit: usize| {
                let recorded = commits.get(commit).and_then(|commit| commit.dockerfile.as_deref());
                recorded.or(dockerfile.text.as_deref())
            };
            show(&annotations(checked, &dockerfile.path, text))?;
        }
        let markdown = markdown(checked);
        if let Some(path) = &self.summary {
            write(path, markdown.as_bytes())?;
        }
        if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())
        {
            append(Path::new(&path), &markdown)?;
        }
        if let Some(path) = &self.junit {
            let started = &analysis.header.environment.started;
            write(path, junit(checked, started).as_bytes())?;
        }
        if let Some(path) = &self.bencher {
            write(path, format!("{:#}\n", bencher(analysis)).as_bytes())?;
        }
        if let Some(path) = &self.benchmark_action {
            write(path, format!("{:#}\n", benchmark_action(analysis)).as_bytes())?;
        }
        if let Some(path) = &self.badge {
            write(path, badge(checked).as_bytes())?;
        }
        let regressed = checked.of(Verdict::Regressed).next().is_some();
        Ok(if regressed { Exit::Failed } else { Exit::Done })
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

    /// Whether anything but the exit code was asked for.
    pub fn wanted(&self) -> bool {
        self.one_file().is_some() || self.annotations == Annotate::Always
    }
}

fn tolerances_in(path: &Path) -> Result<CheckTable, GateError> {
    let error = |reason: String| GateError::Tolerances { path: path.into(), reason };
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    let mut table: toml::Table = toml::from_str(&text).map_err(|e| error(e.to_string()))?;
    let table = match table.remove("check") {
        Some(toml::Value::Table(check)) => check,
        Some(_) => return Err(error("`check` is no table".into())),
        None => table,
    };
    let table: CheckTable =
        toml::Value::Table(table).try_into().map_err(|e: toml::de::Error| error(e.to_string()))?;
    if let Some(crate::scenario::format::Size::Text(size)) = &table.bytes
        && crate::scenario::format::Size::parse(size).is_none()
    {
        return Err(error(format!("`{size}` is no size")));
    }
    Ok(table)
}

/// The whole of a file, or what was there before.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), NotWritten> {
    let error = |source| NotWritten { path: path.into(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(error)?;
    // A pipe or `/dev/stdout` cannot be replaced.
    if path.exists() && !path.is_file() {
        return std::fs::write(path, bytes).map_err(error);
    }
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.persist(path).map(drop).map_err(|failed| error(failed.error))
}

fn append(path: &Path, text: &str) -> Result<(), NotWritten> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| NotWritten { path: path.into(), source })
}
