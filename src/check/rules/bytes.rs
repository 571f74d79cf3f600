//! Bytes that crossed to or from the registry, held against the baseline's whole range.

use crate::journal::Direction;
use crate::measure::{Analysis, Cell};
use crate::units::Bytes;

use super::super::chance::{self, SURE};
use super::super::finding::{Finding, Rule, Verdict};
use super::super::matching::Pair;
use super::finding as found;

/// Bytes of both sides, and what to let pass.
pub struct Asked {
    pub before: Range,
    pub after: Range,
    /// A share of the baseline's.
    pub tolerance: f64,
    /// Less than this never matters.
    pub floor: Bytes,
    /// Whether rounds differ by themselves.
    pub by_chance: bool,
}

/// Over a cell's rounds.
#[derive(Clone, Copy)]
pub struct Range {
    least: u64,
    /// The one in the middle; of an even number of rounds the two.
    middle: (u64, u64),
    most: u64,
    rounds: usize,
}

pub fn range(analysis: &Analysis, cell: &Cell, direction: Direction) -> Range {
    let mut bytes: Vec<u64> = cell
        .samples
        .iter()
        .filter_map(|sample| analysis.trials.get(sample.trial))
        .map(|trial| trial.traffic.bytes(direction).0)
        .collect();
    bytes.sort_unstable();
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let (rounds, last) = (bytes.len(), bytes.len().saturating_sub(1));
    Range { least: at(0), middle: (at(last / 2), at(rounds / 2)), most: at(last), rounds }
}

impl Range {
    fn median(self) -> Bytes {
        Bytes(self.middle.0.midpoint(self.middle.1))
    }
}

/// More than half of the candidate's rounds must be out of the baseline's whole range, by more than
/// both tolerances; where chance decides, all of them, and in rounds enough. Half of them cannot tell.
pub fn finding(pair: &Pair<'_>, rule: Rule, asked: &Asked) -> Finding {
    let Asked { before, after, tolerance, floor, by_chance } = *asked;
    let beyond = |more: u64, less: u64| {
        more.saturating_sub(less) > floor.0 && more as f64 > less as f64 * (1.0 + tolerance)
    };
    let (was, is) = (before.median(), after.median());
    let mut evidence = format!("{is} {rule}, {was} in the baseline");
    let (low, high) = after.middle;
    let (more, less) = (beyond(low, before.most), beyond(before.least, high));
    let half = beyond(high, before.most) || beyond(before.least, low);
    let mut verdict = match (more, less) {
        (true, _) => Verdict::Regressed,
        (false, true) => Verdict::Improved,
        (false, false) if half => Verdict::CannotTell,
        (false, false) => Verdict::Pass,
    };
    let apart = if more { after.least > before.most } else { after.most < before.least };
    let sure = apart && chance::of_apart(before.rounds, after.rounds) <= SURE;
    if verdict == Verdict::CannotTell {
        let (least, most) = (Bytes(after.least), Bytes(after.most));
        evidence.push_str(&format!("; rounds disagree, {least} to {most}"));
    } else if by_chance && !sure && verdict != Verdict::Pass {
        verdict = Verdict::CannotTell;
        evidence.push_str(&format!("; {}", chance::what_can_tell()));
    } else if more {
        evidence.push_str(&format!(" (tolerance {} %)", tolerance * 100.0));
    }
    found(pair, rule, verdict, evidence)
}
