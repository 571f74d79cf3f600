//! Progress: a bar with an ETA on a terminal, plain lines elsewhere, JSON lines when asked for.

use std::io::{IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use super::say;
use crate::check::output::printable;
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
    #[value(alias = "none")]
    Quiet,
}

impl Progress {
    /// What the variable says that buildx reads too; nothing where that is no way to show progress.
    pub fn of_environment() -> Option<Self> {
        Self::from_str(std::env::var("BUILDKIT_PROGRESS").ok()?.trim(), false).ok()
    }
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
            Event::Notice(text) => say(text),
            Event::Planned { trials } => {
                self.trials = *trials;
                say(&format!("{trials} trials"));
            }
            Event::Skipped(skipped) => say(&skip(skipped)),
            Event::TrialStarted(_) | Event::Status { .. } => {}
            Event::TrialEnded(record) => {
                self.done += 1;
                say(&format!("[{}/{}] {}", self.done, self.trials, sentence(record)));
            }
        }
    }

    fn tty(&mut self, event: &Event<'_>) {
        match event {
            Event::Notice(text) => say(text),
            Event::Planned { trials } => {
                let width = rustix::termios::tcgetwinsize(std::io::stderr());
                let width = width.map_or(80, |size| size.ws_col);
                let bar = ProgressBar::new(*trials as u64).with_style(style(width));
                bar.enable_steady_tick(std::time::Duration::from_millis(500));
                self.bar = Some(bar);
            }
            Event::Skipped(skipped) => say(&skip(skipped)),
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

/// A bar and what is known, in one line of a terminal that is `width` columns wide.
fn style(width: u16) -> ProgressStyle {
    // What stands beside the bar wants about this much.
    let bar = width.saturating_sub(45).min(30);
    let bar = if bar == 0 { String::new() } else { format!("{{bar:{bar}}} ") };
    // The last part is cut to what is left of the line.
    ProgressStyle::with_template(&format!("{bar}{{pos}}/{{len}}{{remaining}} {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("remaining", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            // Nothing is known before a trial has ended.
            if state.pos() > 0 {
                let seconds = std::time::Duration::from_secs(state.eta().as_secs());
                let _ = write!(text, " ETA {:#}", HumanDuration(seconds));
            }
        })
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
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

/// What came of a trial, in one line, and a line for each doubt about it. Builds and images may have
/// printed any of it, which steers no terminal.
fn sentence(record: &TrialRecord) -> String {
    let mut text = outcome(record);
    // At the first commit there is no cache yet that an import could find.
    if record.key.commit > 0 {
        for error in record.builds.iter().flat_map(|build| &build.import_errors) {
            text.push_str(&format!("\n    warning: nothing was imported from {error}"));
        }
    }
    printable(&text)
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
            let place = if step.is_empty() { String::new() } else { format!(" at {step}") };
            let code = exit_code.map_or(String::new(), |code| format!(" with exit code {code}"));
            let log: String = log.iter().map(|line| format!("\n    {}", last(line))).collect();
            format!("{what}: the build failed{place}{code}: {message}{log}")
        }
        Outcome::WrongImage { message } => format!("{what}: wrong image: {message}"),
        Outcome::Broken { message } => format!("{what}: broken: {message}"),
    }
}

/// What a terminal shows of a line that was printed over itself, as progress is.
fn last(line: &str) -> &str {
    let line = line.trim_end_matches('\r');
    line.rsplit_once('\r').map_or(line, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// Keeps what is written since the line was last cleared.
    #[derive(Clone, Debug)]
    struct Terminal(u16, Arc<Mutex<String>>);

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.0
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.1.lock().unwrap().push_str(text);
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            self.1.lock().unwrap().clear();
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of a terminal after so many of four trials.
    fn lines(width: u16, done: u64) -> Vec<String> {
        let terminal = Terminal(width, Arc::default());
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let bar = ProgressBar::with_draw_target(Some(4), target).with_style(style(width));
        bar.set_message("registry-max commit 12");
        bar.inc(done);
        bar.tick();
        let text = terminal.1.lock().unwrap().clone();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn the_bar_fits_the_terminal_and_promises_nothing_before_a_trial_has_ended() {
        for width in [20, 40, 60, 200] {
            for done in [0, 1] {
                let lines = lines(width, done);
                assert_eq!(lines.len(), 1, "{width}: {lines:?}");
                assert!(lines[0].chars().count() <= width.into(), "{width}: {lines:?}");
                assert_eq!(lines[0].contains("ETA"), done > 0, "{lines:?}");
                assert!(lines[0].contains(&format!("{done}/4")), "{lines:?}");
            }
        }
        assert!(lines(40, 0)[0].contains("registry-max commit 12"));
    }

    /// A trial whose build failed.
    fn failed(step: &str, message: &str, log: &[&str]) -> TrialRecord {
        let key =
            crate::journal::TrialKey { round: 0, strategy: "cold".into(), link: None, commit: 1 };
        let outcome = Outcome::BuildFailed {
            step: step.into(),
            exit_code: None,
            message: message.into(),
            log: log.iter().map(|line| (*line).to_owned()).collect(),
        };
        TrialRecord::new(key, outcome)
    }

    #[test]
    fn a_failure_that_no_step_is_to_blame_for_names_none() {
        let said = |step: &str| sentence(&failed(step, "no such file", &[]));
        assert_eq!(said(""), "round 1 cold commit 2: the build failed: no such file");
        assert_eq!(
            said("[1/2] RUN a"),
            "round 1 cold commit 2: the build failed at [1/2] RUN a: no such file"
        );
    }

    #[test]
    fn what_a_build_printed_steers_no_terminal() {
        let log = ["\x1b[2J\x1b]0;title\x07", " 10 %\r 50 %\r100 %\r", "\u{9b}2J"];
        let said = sentence(&failed("", "exit\x1b[2J", &log));
        let expected = "round 1 cold commit 2: the build failed: exit [2J\n     [2J ]0;title \n    \
                        100 %\n     2J";
        assert_eq!(said, expected);
    }
}
