//! `cachefrom run`: plays scenarios and prints what each strategy cost and reused.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use clap::Parser;

use super::Exit;
use super::builder::Builder;
use super::dry_run::dry_run;
use super::gate::{Baseline, Gate, GateError};
use super::interrupt::Interrupts;
use super::progress::{Progress, Shown};
use super::report::{self, ExportsError};
use super::table::table;
use super::told::{Dockerfile, Told, first_of, in_actions};
use crate::check::output::{one_line, printable};
use crate::check::{Finding, Verdict, assertions};
use crate::journal::{Outcome, Recorded};
use crate::link::{LinkError, LinkProfile, parse_links};
use crate::measure::Analysis;
use crate::registry::relay::{Remote, RemoteAddress};
use crate::run::{Event, Folder, Options, Partition, next_in};
use crate::scenario::{self, Loaded};
use crate::secrets::{Place, Secrets};

#[derive(Debug, Parser)]
pub struct Args {
    /// Scenario files
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,
    /// Stop after this commit, counted from 1; earlier ones are played, since caches build on them
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    commit: Option<u32>,
    #[command(flatten)]
    play: Play,
}

/// How a sequence of commits is played, wherever it comes from.
#[derive(Debug, Parser)]
pub struct Play {
    /// How often each strategy plays the whole commit sequence
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Shuffles the strategies of each round
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these strategies; may be given several times
    #[arg(long, value_delimiter = ',')]
    strategy: Vec<String>,
    /// How far away the registry is: lan, ci, home, slow or latency=20ms,down=200Mbit,up=50Mbit;
    /// every strategy is played over each of several
    #[arg(long, value_name = "LINK,…")]
    link: Option<Links>,
    /// Push to and pull from this repository of a real registry, logged in as Docker's config.json
    /// says; bytes are counted and links shaped as ever
    // Text, since clap echoes a value that it cannot parse, and a password may be in it.
    #[arg(long, value_name = "HOST/REPO")]
    registry: Option<String>,
    /// Trust the certificates in this PEM file for --registry too
    #[arg(long, value_name = "FILE", requires = "registry")]
    registry_ca: Option<PathBuf>,
    /// Leave what the run pushed in --registry
    #[arg(long, requires = "registry")]
    keep_refs: bool,
    /// The folder of the results [default: results/SCENARIO/RUN]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Go on with the journal in --out, skipping what it holds
    #[arg(long, requires = "out")]
    resume: bool,
    /// Play only this part of the run: slice:M/N or hash:M/N; `merge` joins the journals
    #[arg(long, value_name = "PART")]
    partition: Option<Partition>,
    /// Hold the run against this journal, folder of one or saved baseline
    #[arg(long)]
    baseline: Option<String>,
    #[command(flatten)]
    gate: Gate,
    #[command(flatten)]
    builder: Builder,
    /// A secret for `RUN --mount=type=secret`, given as to docker build; its value is in no result
    #[arg(long, value_name = "id=NAME,src=FILE|env=VARIABLE")]
    secret: Vec<Place>,
    /// Let strategies that want a new engine prune one that was there before
    #[arg(long)]
    allow_prune: bool,
    /// Print what would be built, and build nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    exports: report::Exports,
    /// How progress is shown [default: what BUILDKIT_PROGRESS says, else auto]
    #[arg(long, value_enum)]
    progress: Option<Progress>,
}

/// Runs every scenario; the worst outcome decides the exit code.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let loaded: Vec<Loaded> =
        args.scenarios.iter().map(|path| scenario::load(path)).collect::<Result<_, _>>()?;
    let play = &args.play;
    let alone = play.baseline.as_ref().map(|_| "--baseline").or(play.gate.one_file());
    let alone = alone.or(play.out.as_ref().map(|_| "--out"));
    if let Some(flag) = alone.filter(|_| loaded.len() > 1) {
        return Err(GateError::OneScenario { flag }.into());
    }
    play.check_exports(loaded.len())?;
    let mut worst = Exit::Done;
    let interrupts = play.interrupts()?;
    for (left, loaded) in (0..loaded.len()).rev().zip(&loaded) {
        let last_commit = args.commit.map(|commit| commit as usize - 1);
        let options = Options { last_commit, ..play.options(loaded)? };
        let exit = match play.play(loaded, &options, interrupts.as_ref()) {
            // The others are played all the same.
            Err(error) if args.scenarios.len() > 1 => {
                super::say(&format!("error: {}: {error:#}", loaded.path.display()));
                super::exit::of(&error)
            }
            exit => exit?,
        };
        worst = worst.max(exit);
        let asked = interrupts.as_ref().is_some_and(Interrupts::asked);
        if exit == Exit::Interrupted || asked && left > 0 {
            return Ok(Exit::Interrupted);
        }
    }
    Ok(worst)
}

impl Play {
    /// What was asked for, of `loaded`'s own commits.
    pub fn options(&self, loaded: &Loaded) -> anyhow::Result<Options> {
        let out = match &self.out {
            Some(out) => out.clone(),
            None => next_in(&results_of(loaded)),
        };
        Ok(Options {
            rounds: self.rounds,
            seed: self.seed,
            replay: None,
            strategies: self.strategy.clone(),
            links: self.link.as_ref().map_or_else(Vec::new, |links| links.0.clone()),
            remote: self.remote()?,
            last_commit: None,
            partition: self.partition,
            out,
            resume: self.resume,
            builders: self.builder.addresses()?,
            tls: self.builder.tls()?,
            secrets: Secrets::read(&self.secret)?,
            allow_prune: self.allow_prune,
            status: self.progress() == Progress::Rawjson,
            cache_dir: crate::engine::cache_dir(),
            run_root: super::run_root(),
        })
    }

    /// As it was asked for, by the flag before the variable.
    fn progress(&self) -> Progress {
        self.progress.or_else(Progress::of_environment).unwrap_or(Progress::Auto)
    }

    /// Refuses exports that cannot all be written where so many runs are played.
    pub fn check_exports(&self, runs: usize) -> Result<(), ExportsError> {
        self.exports.check(runs)?;
        if self.progress() == Progress::Rawjson && self.exports.to_stdout() {
            return Err(ExportsError::Progress);
        }
        Ok(())
    }

    fn remote(&self) -> anyhow::Result<Option<Remote>> {
        let Some(text) = &self.registry else { return Ok(None) };
        let address = text.parse::<RemoteAddress>();
        let address = address.context("invalid value for '--registry <HOST/REPO>'")?;
        Ok(Some(Remote { address, ca: self.registry_ca.clone(), keep_refs: self.keep_refs }))
    }

    /// What ends the runs early; none where nothing will be built.
    pub fn interrupts(&self) -> io::Result<Option<Interrupts>> {
        (!self.dry_run).then(Interrupts::listen).transpose()
    }

    /// Plays the run until `interrupts`, or prints what it would be where there are none.
    pub fn play(
        &self,
        loaded: &Loaded,
        options: &Options,
        interrupts: Option<&Interrupts>,
    ) -> anyhow::Result<Exit> {
        let Some(interrupts) = interrupts else {
            dry_run(loaded, options)?;
            return Ok(Exit::Done);
        };
        if self.out.is_some() {
            return one(self, loaded, options, interrupts);
        }
        // The name may be another run's by now.
        let (out, _folder) = Folder::next_in(&results_of(loaded))?;
        one(self, loaded, &Options { out, ..options.clone() }, interrupts)
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// The value of `--link`.
#[derive(Clone, Debug)]
struct Links(Vec<LinkProfile>);

impl std::str::FromStr for Links {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        parse_links(text).map(Self)
    }
}

/// Where the folders of a scenario's runs are, unless one is named.
fn results_of(loaded: &Loaded) -> PathBuf {
    Path::new("results").join(&loaded.scenario.name)
}

fn one(
    args: &Play,
    loaded: &Loaded,
    options: &Options,
    interrupts: &Interrupts,
) -> anyhow::Result<Exit> {
    // Before anything is built: a run of an hour must not end in a missing file.
    let baseline = args.gate.baseline(args.baseline.as_deref(), &loaded.scenario.name)?;
    args.gate.tolerances(Some(&loaded.scenario.check))?;
    let shown = Mutex::new(Shown::new(args.progress()));
    let ended = interrupts.runtime.block_on(async {
        let on_event = |event: Event<'_>| {
            shown.lock().unwrap_or_else(PoisonError::into_inner).event(&event);
        };
        anyhow::Ok(crate::run::run(loaded, options, &on_event, interrupts.wait()).await?)
    })?;
    drop(shown);
    let empty = |recorded: &Recorded| recorded.trials.is_empty();
    let Some(recorded) = ended.recorded.filter(|recorded| !ended.interrupted || !empty(recorded))
    else {
        super::say("interrupted before a trial ended; there is nothing to report");
        return Ok(Exit::Interrupted);
    };
    if empty(&recorded) {
        // A part of a split run may have no sequence; the other parts hold what there is to judge.
        return judge(args, loaded, &recorded, &Baseline::NotAsked);
    }
    let path = crate::journal::path_in(&options.out);
    let summary = format!("\n{}\n{}\n", printable(&table(&recorded)), path.display());
    let mut failed: Vec<anyhow::Error> = vec![];
    match args.progress() {
        Progress::Rawjson => {}
        // Standard output is for what was asked for there.
        _ if args.exports.to_stdout() => super::say(&summary),
        _ => failed.extend(super::print(&summary).err()),
    }
    // What is asked for further on is done also where this cannot be written.
    failed.extend(report::after_run(&path, &args.exports).err());
    if ended.interrupted {
        let out = options.out.display();
        super::say(&format!("interrupted; the same command with --out {out} --resume goes on"));
        first_of(failed)?;
        return Ok(Exit::Interrupted);
    }
    let judged = judge(args, loaded, &recorded, &baseline);
    let gate = judged.unwrap_or_else(|error| {
        failed.push(error);
        Exit::Done
    });
    first_of(failed)?;
    let exit = exit_of(&recorded);
    Ok(if exit == Exit::Done { gate } else { exit })
}

/// The scenario's assertions, and the baseline where one was given.
fn judge(
    args: &Play,
    loaded: &Loaded,
    recorded: &Recorded,
    baseline: &Baseline,
) -> anyhow::Result<Exit> {
    let analysis = Analysis::of(recorded);
    let asserted = assertions(&loaded.scenario, &analysis);
    say_assertions(&asserted);
    let tolerances = args.gate.tolerances(Some(&loaded.scenario.check))?;
    let (mut checked, refused) = baseline.check(&analysis, &tolerances);
    checked.findings.extend(asserted);
    let dockerfile = Dockerfile::of(loaded);
    let told = Told {
        checked: &checked,
        analysis: &analysis,
        dockerfile: &dockerfile,
        // Standard output is for what was asked for there.
        stdout_taken: args.exports.to_stdout() || args.progress() == Progress::Rawjson,
        aloud: match checked.findings.is_empty() {
            true => baseline.asked() && refused.is_none(),
            false => baseline.asked() || args.gate.wanted() || in_actions(),
        },
    };
    let exit = told.tell(&args.gate)?;
    refused.map_or(Ok(exit), |error| Err(error.into()))
}

/// Those that do not hold or cannot be told, and how many hold.
fn say_assertions(asserted: &[Finding]) {
    for finding in asserted {
        let word = match finding.verdict {
            Verdict::Pass | Verdict::Improved => continue,
            Verdict::CannotTell => "cannot be told",
            Verdict::Regressed => "failed",
        };
        let Finding { place, rule, evidence, .. } = finding;
        super::say(&one_line(&format!("assertion {word}: {place}: {rule}: {evidence}")));
    }
    let held = asserted.iter().filter(|finding| finding.verdict == Verdict::Pass).count();
    if !asserted.is_empty() {
        super::say(&format!("{held} of {} assertions hold", asserted.len()));
    }
}

/// The worst outcome of any trial.
fn exit_of(recorded: &Recorded) -> Exit {
    let exit = |outcome: &Outcome| match outcome {
        Outcome::Built => Exit::Done,
        Outcome::WrongImage { .. } => Exit::Failed,
        Outcome::BuildFailed { .. } => Exit::BuildFailed,
        Outcome::Broken { .. } => Exit::NoEngine,
    };
    recorded.trials.iter().map(|trial| exit(&trial.outcome)).max().unwrap_or(Exit::Done)
}
