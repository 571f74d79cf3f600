//! A run without the trials that found no cache because another trial broke.
//!
//! Where an engine or a registry breaks, nothing is written, and the trial that was to read that
//! rebuilds what it would have held. That is no doing of the strategy's or the Dockerfile's, so such a
//! trial counts as little as the one that broke.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::explain::deprived;
use crate::journal::Outcome;
use crate::measure::{Analysis, TrialRow};

/// `run` itself where nothing broke in it that another trial was to read.
pub fn intact(run: &Analysis) -> Cow<'_, Analysis> {
    let deprived = deprived(&run.header, &run.trials);
    if deprived.is_empty() {
        return Cow::Borrowed(run);
    }
    let reason = |broken: &TrialRow| {
        let commit = run.header.commits.get(broken.commit);
        let named = commit.map_or(String::new(), |commit| format!(" of “{}”", commit.message));
        let why = match &broken.outcome {
            Outcome::Broken { message } => format!(": {message}"),
            _ => String::new(),
        };
        format!("the cache{named} was not written{why}")
    };
    let reasons: BTreeMap<usize, String> = deprived
        .into_iter()
        .filter_map(|(place, broken)| Some((place, reason(run.trials.get(broken)?))))
        .collect();
    Cow::Owned(run.without(&reasons))
}
