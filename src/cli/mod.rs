//! The command line: clap types, one short function a command, exit codes.
//!
//! Nothing here knows gRPC, git objects or a formula. Only this module prints.

mod builder;
mod check;
mod dry_run;
mod exit;
mod explain;
mod gate;
mod interrupt;
mod plugin;
mod predict;
mod progress;
mod replay;
mod report;
mod run;
mod table;
mod told;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use exit::Exit;

use interrupt::Interrupts;
use told::NotWritten;

use crate::check::output::printable;

/// Measure how well container-build caches work.
#[derive(Debug, Parser)]
#[command(name = "cachefrom", version, about, after_help = exit::TABLE)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a scenario's commits under its cache strategies and record what each cost and reused
    Run(Box<run::Args>),
    /// Build commits of a real repository under cache strategies, without touching it
    Replay(Box<replay::Args>),
    /// Hold a run against a baseline: exit 3 where the cache got worse
    Check(Box<check::CheckArgs>),
    /// Show runs side by side
    Compare(check::CompareArgs),
    /// Keep, list and show baselines
    Baseline(check::BaselineArgs),
    /// Join the journals of a run that was split with --partition
    Merge(check::MergeArgs),
    /// Write what a journal says as HTML, Markdown, CSV, JSON and charts
    Report(report::Args),
    /// Say why steps were rebuilt, and what each cause cost
    Explain(explain::Args),
    /// Say which steps the next build of a folder would reuse, without building it
    Predict(predict::Args),
    /// Show which engine would be used, and why
    Doctor(Box<builder::Builder>),
    /// Print the JSON Schema of a format
    Schema {
        #[arg(value_enum, default_value = "scenario")]
        of: Described,
    },
    /// Print a completion script for a shell
    Completions { shell: clap_complete::Shell },
}

/// A format that has a schema.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Described {
    /// Scenario files
    Scenario,
    /// report.json
    Report,
}

/// Parses the command line and runs its command.
pub fn main() -> ExitCode {
    let arguments = plugin::own_arguments(std::env::args_os().collect());
    if arguments.get(1).is_some_and(|word| word == plugin::METADATA) {
        return print(&plugin::metadata()).unwrap_or_else(|error| exit::of(&error)).into();
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return code.into();
        }
    };
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => check::check(&args),
        Command::Compare(args) => check::compare(&args),
        Command::Baseline(args) => check::baseline(&args),
        Command::Merge(args) => check::merge(&args),
        Command::Doctor(builder) => doctor(&builder),
        Command::Report(args) => report::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Schema { of: Described::Scenario } => {
            print(&format!("{:#}\n", crate::scenario::schema()))
        }
        Command::Schema { of: Described::Report } => {
            print(&format!("{:#}\n", crate::report::schema()))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cachefrom", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            say(&format!("error: {error:#}"));
            exit::of(&error).into()
        }
    }
}

/// Lines for a person, on standard error. What a journal calls things is in them.
fn say(text: &str) {
    // A closed stderr must not change how a command ends.
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// Text for a person, on standard output; as [`say`].
fn show(text: &str) -> anyhow::Result<Exit> {
    print(&printable(text))
}

fn print(text: &str) -> anyhow::Result<Exit> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Exit::Done),
        // `cachefrom schema | head` has what it wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(source) => Err(NotWritten { path: "standard output".into(), source }.into()),
    }
}

fn doctor(builder: &builder::Builder) -> anyhow::Result<Exit> {
    let tls = builder.tls()?;
    let addresses = builder.addresses()?;
    let interrupts = Interrupts::listen()?;
    let (cache_dir, run_root) = (crate::engine::cache_dir(), run_root());
    let look =
        async |address| crate::run::doctor(address, tls.clone(), &cache_dir, &run_root, &say).await;
    let all = async {
        let mut texts = vec![];
        for address in addresses.iter().map(Some).chain(addresses.is_empty().then_some(None)) {
            texts.push(look(address).await?);
        }
        anyhow::Ok(texts)
    };
    let texts = interrupts.runtime.block_on(async {
        // What is looked at is dropped, and with it every engine.
        tokio::select! {
            texts = all => texts.map(Some),
            () = interrupts.wait() => Ok(None),
        }
    })?;
    texts.map_or(Ok(Exit::Interrupted), |texts| print(&texts.join("\n")))
}

/// The journal that `named` is, or holds.
fn journal_path(named: &Path) -> PathBuf {
    if named.is_dir() { crate::journal::path_in(named) } else { named.to_owned() }
}

/// Where engines live while they run: `cachefrom` in the temporary directory, which others than
/// root, who share that directory, tell apart by their user ids.
fn run_root() -> PathBuf {
    let user = rustix::process::geteuid();
    let name = match user.is_root() {
        true => "cachefrom".to_owned(),
        false => format!("cachefrom-{}", user.as_raw()),
    };
    std::env::temp_dir().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
