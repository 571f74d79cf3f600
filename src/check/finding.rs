//! What a check finds: one verdict a rule and place, each with its evidence.

use std::fmt;

use crate::measure::Place;

/// What a rule says of one place. Later weighs more: the greatest of a report is the whole's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Pass,
    /// The numbers do not decide; that is no failure.
    CannotTell,
    Improved,
    Regressed,
}

/// What was asked. The first six hold a run against a baseline, the others are a scenario's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    Built,
    Reuse,
    Flaky,
    Pulled,
    Pushed,
    Time,
    MustHit,
    MustMiss,
    MinReuse,
    MaxPulled,
    MaxPushed,
    MaxCacheSize,
    MaxRatioToCold,
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub rule: Rule,
    pub verdict: Verdict,
    pub place: Place,
    /// What of the place is meant: an assertion's text, or a step as `stage: instruction`.
    pub subject: Option<String>,
    /// The step in the run that was checked, as BuildKit names it.
    pub step: Option<String>,
    /// A sentence without a full stop.
    pub evidence: String,
}

/// Everything that was asked of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checked {
    pub scenario: String,
    pub findings: Vec<Finding>,
    /// What makes the answers weaker, a sentence each.
    pub warnings: Vec<String>,
}

impl Checked {
    /// A regression outweighs an improvement, which outweighs a doubt. Time that cannot be judged
    /// for want of rounds does not keep the deterministic rules from passing.
    pub fn verdict(&self) -> Verdict {
        let counts = |finding: &&Finding| {
            finding.rule != Rule::Time || finding.verdict != Verdict::CannotTell
        };
        self.findings.iter().filter(counts).map(|f| f.verdict).max().unwrap_or(Verdict::CannotTell)
    }

    pub fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.verdict == verdict)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::CannotTell => "cannot tell",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Built => "built",
            Self::Reuse => "reuse",
            Self::Flaky => "flaky",
            Self::Pulled => "pulled",
            Self::Pushed => "pushed",
            Self::Time => "time",
            Self::MustHit => "must-hit",
            Self::MustMiss => "must-miss",
            Self::MinReuse => "min-reuse",
            Self::MaxPulled => "max-pulled",
            Self::MaxPushed => "max-pushed",
            Self::MaxCacheSize => "max-cache-size",
            Self::MaxRatioToCold => "max-ratio-to-cold",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}: {}", self.verdict, self.place, self.rule, self.evidence)
    }
}
