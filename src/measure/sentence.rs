//! A verdict in words, the same in every report.

use crate::units::{Bytes, Nanos};

use super::analysis::Analysis;
use super::statistics::{Call, Estimate, MATTERS};
use super::verdict::{BreakEven, Verdict};

impl Analysis {
    /// A strategy's name, with its link where there are several.
    pub fn label(&self, strategy: usize, link: usize) -> String {
        let name = self.strategies.get(strategy).map_or("", String::as_str);
        match (self.links.len(), self.links.get(link)) {
            (0 | 1, _) | (_, None) => name.to_owned(),
            (_, Some(None)) => format!("{name} over an unshaped link"),
            (_, Some(Some(link))) => format!("{name} over {link}"),
        }
    }

    /// Whether the strategy paid, and what for: one or two sentences without the last full stop.
    pub fn sentence(&self, verdict: &Verdict) -> String {
        let label = self.label(verdict.strategy, verdict.link);
        let Some(saving) = verdict.saving else {
            return format!(
                "{label}: no round in which it and cold built every commit on one machine, so nothing can be said"
            );
        };
        let mut text = format!("{label} {}", paid(verdict, saving));
        let costs = [
            ("import", verdict.costs.import),
            ("pull", verdict.costs.pull),
            ("push", verdict.costs.push),
            ("export", verdict.costs.export),
        ];
        let costs: Vec<String> = costs
            .iter()
            .filter(|(_, time)| time.0 > 0)
            .map(|(name, time)| format!("{name} {time}"))
            .collect();
        let avoided = verdict.avoided;
        if costs.is_empty() {
            text.push_str(&format!("; it moved nothing and avoided {avoided} of steps"));
        } else {
            text.push_str(&format!("; {} bought {avoided} of steps", costs.join(", ")));
        }
        if let BreakEven::At(rate) = verdict.break_even_hit_rate
            && let Some(measured) = verdict.hit_rate
        {
            text.push_str(&format!(
                ". It pays from a hit rate of {:.0} % of step time on ({:.0} % here)",
                rate * 100.0,
                measured * 100.0
            ));
        }
        if let BreakEven::At(bandwidth) = verdict.break_even_bandwidth {
            text.push_str(&format!(". It needs a link of more than {bandwidth}/s"));
        }
        if verdict.storage > Bytes(0) {
            text.push_str(&format!(
                ". After {} {} the registry holds {}",
                verdict.stored_commits,
                if verdict.stored_commits == 1 { "commit" } else { "commits" },
                verdict.storage
            ));
        }
        text
    }
}

fn paid(verdict: &Verdict, saving: Estimate) -> String {
    let amount = format!("{} per commit{}", seconds(saving.median.abs()), within(saving));
    let direction = if saving.median >= 0.0 { "saved" } else { "lost" };
    match verdict.call {
        Call::Faster | Call::Slower if verdict.ratio.is_some_and(|ratio| ratio.matters()) => {
            format!("{direction} {amount}")
        }
        Call::Faster | Call::Slower => {
            format!("{direction} {amount}, less than the {:.0} % that matter", MATTERS * 100.0)
        }
        Call::NoDifference => format!("{direction} {amount}, which may be chance"),
        Call::CannotTell => format!(
            "{direction} {amount}; {} {} cannot tell whether that is chance",
            verdict.rounds,
            if verdict.rounds == 1 { "round" } else { "rounds" }
        ),
    }
}

/// ` (95 %: 1.00 s to 2.00 s)`, of the saving's size where all of it has one sign.
fn within(saving: Estimate) -> String {
    let Some(range) = saving.interval else { return String::new() };
    let sign = if saving.median < 0.0 { -1.0 } else { 1.0 };
    let (a, b) = (sign * range.low, sign * range.high);
    format!(" (95 %: {} to {})", signed(a.min(b)), signed(a.max(b)))
}

fn signed(value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", seconds(value.abs()))
}

fn seconds(seconds: f64) -> String {
    Nanos((seconds * 1e9).round() as u64).to_string()
}
