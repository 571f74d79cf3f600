//! What strategies came to as rows.

use crate::measure::statistics::Call;
use crate::measure::{self, Analysis, BreakEven};

use super::super::view::{Overall, Verdict};
use super::super::words::percent;
use super::estimate;

/// Time, reuse, bytes and storage.
pub fn overall(from: &measure::Overall) -> Overall {
    Overall {
        rounds: from.rounds,
        commits: from.commits,
        wall_seconds: from.wall.map(estimate),
        reused: from.reused,
        pulled_bytes: from.pulled.0,
        pushed_bytes: from.pushed.0,
        stored_bytes: from.stored.0,
    }
}

/// Whether it paid.
pub fn verdict(analysis: &Analysis, from: &measure::Verdict) -> Verdict {
    Verdict {
        sentence: analysis.sentence(from),
        saving_seconds: from.saving.map(estimate),
        times_faster: from.ratio.map(|paired| estimate(paired.ratio)),
        call: match from.call {
            Call::Faster => "faster",
            Call::Slower => "slower",
            Call::NoDifference => "no difference",
            Call::CannotTell => "cannot tell",
        }
        .into(),
        import_seconds: from.costs.import.seconds(),
        pull_seconds: from.costs.pull.seconds(),
        push_seconds: from.costs.push.seconds(),
        export_seconds: from.costs.export.seconds(),
        avoided_seconds: from.avoided.seconds(),
        hit_rate: from.hit_rate,
        break_even_hit_rate: match from.break_even_hit_rate {
            BreakEven::At(share) => percent(share),
            other => other.to_string(),
        },
        break_even_hit_share: value(from.break_even_hit_rate, |share| share),
        break_even_bandwidth: match from.break_even_bandwidth {
            BreakEven::At(bytes) => format!("{bytes}/s"),
            other => other.to_string(),
        },
        break_even_bytes_per_second: value(from.break_even_bandwidth, |bytes| bytes.0 as f64),
        storage_bytes: from.storage.0,
    }
}

fn value<T>(found: BreakEven<T>, of: impl Fn(T) -> f64) -> Option<f64> {
    match found {
        BreakEven::Always => Some(0.0),
        BreakEven::At(value) => Some(of(value)),
        BreakEven::Never | BreakEven::Unknown => None,
    }
}
