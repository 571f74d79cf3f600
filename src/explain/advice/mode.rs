//! Whether `mode=max` was worth its bytes.

use std::collections::BTreeSet;

use crate::journal::Direction;
use crate::measure::Analysis;
use crate::units::{Bytes, Nanos};

use super::{Advice, AdviceKind};

/// A share of bytes below this is no reason to change anything.
const WORTH_SHARE: f64 = 0.05;

/// `registry-max` beside `registry-min` in the same run.
pub fn smaller_mode(analysis: &Analysis) -> Option<Advice> {
    let place = |name: &str| analysis.strategies.iter().position(|strategy| strategy == name);
    let (min, max) = (place("registry-min")?, place("registry-max")?);
    let sums = |strategy: usize| {
        let rows = analysis.trials.iter().filter(|row| row.strategy == strategy && row.built());
        rows.fold((0, 0, Bytes(0)), |(trials, cached, pushed), row| {
            let bytes = row.traffic.bytes(Direction::Push);
            (trials + 1, cached + row.cached(), pushed + bytes)
        })
    };
    let ((trials, cached, pushed), (same, more, larger)) = (sums(min), sums(max));
    let extra = larger.0.saturating_sub(pushed.0);
    let needless = trials > 0 && trials == same && more <= cached;
    let much = extra as f64 > pushed.0 as f64 * WORTH_SHARE;
    let rounds = analysis.rounds().max(1) as u64;
    (needless && much).then(|| Advice {
        kind: AdviceKind::SmallerMode,
        text: format!(
            "mode=max pushed {} more than mode=min over the sequence and reused no step that mode=min did not: mode=min is enough here.",
            Bytes(extra / rounds)
        ),
        cost: Nanos(0),
        commits: BTreeSet::new(),
    })
}
