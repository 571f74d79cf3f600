//! Progress: a bar with an ETA on a terminal, plain lines elsewhere, JSON lines when asked for.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use crate::journal::{Outcome, Skipped, TrialRecord};
use crate::measure::reuse;
use crate::run::Event;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// `tty` on a terminal, `plain` elsewhere
    Auto,
    Plain,
    Tty,
    /// One JSON object a line on standard output
    Rawjson,
    Quiet,
}

/// Shows a run's events.
pub struct Shown {
    progress: Progress,
    bar: Option<ProgressBar>,
    done: usize,
    trials: usize,
}

impl Shown {
    pub fn new(progress: Progress) -> Self {
        let progress = match progress {
            Progress::Auto if std::io::stderr().is_terminal() => Progress::Tty,
            Progress::Auto => Progress::Plain,
            chosen => chosen,
        };
        Self { progress, bar: None, done: 0, trials: 0 }
    }

    pub fn event(&mut self, event: &Event<'_>) {
        match self.progress {
            Progress::Quiet => {}
            Progress::Rawjson => rawjson(event),
            Progress::Tty => self.tty(event),
            Progress::Auto | Progress::Plain => self.plain(event),
        }
    }

    fn plain(&mut self, event: &Event<'_>) {
        match event {
            Event::Notice(text) => line(text),
            Event::Planned { trials } => {
                self.trials = *trials;
                line(&format!("{trials} trials"));
            }
            Event::Skipped(skipped) => line(&skip(skipped)),
            Event::TrialStarted(_) | Event::Status { .. } => {}
            Event::TrialEnded(record) => {
                self.done += 1;
                line(&format!("[{}/{}] {}", self.done, self.trials, sentence(record)));
            }
        }
    }

    fn tty(&mut self, event: &Event<'_>) {
        match event {
            Event::Notice(text) => line(text),
            Event::Planned { trials } => {
                let style = ProgressStyle::with_template("{bar:30} {pos}/{len} ETA {eta} {msg}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(*trials as u64).with_style(style);
                bar.enable_steady_tick(std::time::Duration::from_millis(500));
                self.bar = Some(bar);
            }
            Event::Skipped(skipped) => line(&skip(skipped)),
            Event::Status { .. } => {}
            Event::TrialStarted(key) => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("{} commit {}", key.strategy, key.commit + 1));
                }
            }
            Event::TrialEnded(record) => {
                if let Some(bar) = &self.bar {
                    bar.println(sentence(record));
                    bar.inc(1);
                }
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(text: &str) {
    // A closed stderr must not stop a run.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn rawjson(event: &Event<'_>) {
    let value = match event {
        Event::Notice(text) => serde_json::json!({"reason": "notice", "text": text}),
        Event::Planned { trials } => serde_json::json!({"reason": "planned", "trials": trials}),
        Event::Skipped(skipped) => serde_json::json!({"reason": "skipped", "skipped": skipped}),
        Event::TrialStarted(key) => serde_json::json!({"reason": "trial-started", "trial": key}),
        Event::Status { key, target, update } => {
            let mut value = serde_json::json!({"reason": "status", "trial": key, "target": target});
            // buildx' own fields stand beside ours, where tools for it look for them.
            if let (Some(object), Ok(serde_json::Value::Object(fields))) =
                (value.as_object_mut(), serde_json::to_value(update))
            {
                object.extend(fields);
            }
            value
        }
        Event::TrialEnded(record) => serde_json::json!({"reason": "trial-ended", "trial": record}),
    };
    // A reader that went away must not stop a run: the journal has everything.
    let _ = writeln!(std::io::stdout(), "{value}");
}

fn skip(skipped: &Skipped) -> String {
    format!("{} is skipped, because {}", skipped.strategy, skipped.because)
}

/// What came of a trial, in one line, and a line for each doubt about it.
fn sentence(record: &TrialRecord) -> String {
    let mut text = outcome(record);
    // At the first commit there is no cache yet that an import could find.
    if record.key.commit > 0 {
        for error in record.builds.iter().flat_map(|build| &build.import_errors) {
            text.push_str(&format!("\n    warning: nothing was imported from {error}"));
        }
    }
    text
}

fn outcome(record: &TrialRecord) -> String {
    let key = &record.key;
    let what = format!("round {} {} commit {}", key.round + 1, key.strategy, key.commit + 1);
    match &record.outcome {
        Outcome::Built => {
            let reuse = reuse(record);
            format!("{what}: {}, reused {}/{} steps", record.wall(), reuse.cached, reuse.steps)
        }
        Outcome::BuildFailed { step, exit_code, message, log } => {
            let code = exit_code.map_or(String::new(), |code| format!(" with exit code {code}"));
            let log: String = log.iter().map(|line| format!("\n    {line}")).collect();
            format!("{what}: the build failed at {step}{code}: {message}{log}")
        }
        Outcome::WrongImage { message } => format!("{what}: wrong image: {message}"),
        Outcome::Broken { message } => format!("{what}: broken: {message}"),
    }
}
