//! Doubts about a run's numbers, as values that every report shows.

use std::fmt;

/// One doubt. Strategies, commits and steps are by name, so that a report needs nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Warning {
    /// Not a single trial was built.
    NothingBuilt { trials: usize },
    /// Too few rounds for any interval to reach the level.
    FewRounds { rounds: usize, needed: usize },
    /// Trials of a cell that failed and are not in its numbers.
    Failed { place: Place, failed: usize, trials: usize },
    /// Values outside Tukey's fences; they are kept.
    Outliers { place: Place, outside: usize, far_out: usize, samples: usize },
    /// The same commit reused other steps in other rounds.
    Flaky { place: Place, steps: Vec<String> },
    /// Imports that failed; the build went on without them.
    FailedImports { place: Place, builds: usize },
    /// Every step was reused and still it took longer than cold.
    CachedButSlow { place: Place, ratio: f64 },
    /// Interval and Mann-Whitney test do not agree.
    SecondOpinion { place: Place, p: f64 },
    /// The first round stands apart from the others.
    FirstRound { ratio: f64 },
    /// Times rise or fall over the rounds.
    Drift { change: f64, p: f64 },
    /// Nothing to compare with.
    NoCold,
    /// A strategy that was asked for and could not be run.
    Skipped { strategy: String, because: String },
    /// Caches of a strategy whose bytes do not cross the run's registry.
    Uncounted { strategy: String, caches: Vec<String> },
    /// What was asked for and the engines could not do, so that the run went on without it.
    Limit { sentence: String },
    /// The same trial several times; the first counts.
    Repeated { trials: usize },
    /// Trials of a commit that the header does not name; they are left out.
    UnknownCommit { trials: usize },
    /// Trials that the header promises and the journal lacks.
    Missing { trials: usize },
    /// The journal is of a part of a run: of the part's own trials it lacks `missing`, none where it
    /// does not say how many these are, and `others` of the run's are beyond it.
    Part { part: String, missing: Option<usize>, others: usize },
    /// The last line was cut and is left out.
    Cut,
    /// The run was interrupted, or never ended.
    Unfinished,
    /// Rounds were played on several builders; `engines` are theirs, each named once.
    SeveralBuilders { builders: usize, engines: Vec<String> },
}

/// The cell that a warning is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub strategy: String,
    pub link: Option<String>,
    /// From 0.
    pub commit: usize,
    pub message: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at “{}”", self.strategy, self.message)?;
        match &self.link {
            Some(link) => write!(f, " over {link}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingBuilt { trials: 0 } => {
                f.write_str("the journal holds no trial, so there is nothing to measure")
            }
            Self::NothingBuilt { trials } => {
                write!(f, "none of {trials} trials was built, so there is nothing to measure")
            }
            Self::FewRounds { rounds, needed } => write!(
                f,
                "{rounds} {} cannot tell strategies apart at the 95 % level; {needed} can",
                if *rounds == 1 { "round" } else { "rounds" }
            ),
            Self::Failed { place, failed, trials } => {
                write!(f, "{place}: {failed} of {trials} trials failed and are not in the numbers")
            }
            Self::Outliers { place, outside, far_out, samples } => write!(
                f,
                "{place}: {} of {samples} times lie outside the others ({far_out} far out); they are kept",
                outside + far_out
            ),
            Self::Flaky { place, steps } => write!(
                f,
                "{place}: not the same steps were reused in every round: {}",
                steps.join(", ")
            ),
            Self::FailedImports { place, builds } => write!(
                f,
                "{place}: an import failed in {builds} {}, which went on without it",
                if *builds == 1 { "build" } else { "builds" }
            ),
            Self::CachedButSlow { place, ratio } => write!(
                f,
                "{place}: every step was reused and still it took {ratio:.1} × as long as cold"
            ),
            Self::SecondOpinion { place, p } => write!(
                f,
                "{place}: the interval and the Mann-Whitney test (p = {p:.3}) do not agree on whether it differs from cold"
            ),
            Self::FirstRound { ratio } => write!(
                f,
                "the first round took {ratio:.2} × as long as the others; something was warm afterwards that was cold before"
            ),
            Self::Drift { change, p } => write!(
                f,
                "times {} by {:.0} % over the rounds (p = {p:.3}); the machine changed while it measured",
                if *change < 0.0 { "fell" } else { "rose" },
                change.abs() * 100.0
            ),
            Self::NoCold => {
                f.write_str("no cold build to compare with, so no saving can be computed")
            }
            Self::Skipped { strategy, because } => {
                write!(f, "{strategy} was skipped, because {because}")
            }
            Self::Uncounted { strategy, caches } => write!(
                f,
                "{strategy}: bytes of its caches ({}) are not counted; its bytes are those that crossed the run's registry",
                caches.join("; ")
            ),
            Self::Limit { sentence } => f.write_str(sentence),
            Self::Repeated { trials } => {
                write!(f, "{trials} trials are in the journal more than once; the first counts")
            }
            Self::UnknownCommit { trials } => {
                write!(f, "{trials} trials are of commits that the header does not name; left out")
            }
            Self::Missing { trials } => {
                write!(f, "{trials} trials that the header announces are not in the journal")
            }
            Self::Part { part, missing, others } => {
                write!(f, "part {part} of a run: ")?;
                match (missing, others) {
                    (None, others) => write!(
                        f,
                        "{others} trials of the run are not in the journal; other parts may have them"
                    ),
                    (Some(0), others) => {
                        write!(f, "{others} trials of the run are left to the others")
                    }
                    (Some(missing), 0) => {
                        write!(f, "{missing} of its own trials are not in the journal")
                    }
                    (Some(missing), others) => write!(
                        f,
                        "{missing} of its own trials are not in the journal, and {others} are left to the others"
                    ),
                }
            }
            Self::Cut => f.write_str("the journal's last line was cut and is left out"),
            Self::SeveralBuilders { builders, engines } => {
                write!(
                    f,
                    "rounds were dealt to {builders} builders: times mix their speeds, ratios do not, since each round stayed on one"
                )?;
                match engines.as_slice() {
                    [] | [_] => Ok(()),
                    several => write!(f, "; and their engines differ: {}", several.join(", ")),
                }
            }
            Self::Unfinished => f.write_str("the run did not end; what it recorded is reported"),
        }
    }
}
