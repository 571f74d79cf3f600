//! An assertion taken apart into what it asks.

use crate::check::finding::Rule;
use crate::scenario::format::{Assertion, Size};
use crate::units::Bytes;

/// One thing that is asked of a cell.
pub struct Question {
    pub rule: Rule,
    /// What a finding says is meant: a pattern of steps, or the limit.
    pub subject: String,
    pub wanted: Wanted,
}

/// What has to hold.
pub enum Wanted {
    /// Of the steps that the subject matches.
    Steps,
    /// At least this share of the steps that the patterns match, or of all, 0 to 1.
    Reuse(f64, Vec<String>),
    /// At most so much.
    Bytes(Bytes),
    /// At most this share of cold's time.
    Ratio(f64),
}

/// Everything that `assertion` asks.
pub fn questions(assertion: &Assertion) -> Vec<Question> {
    let mut asked = vec![];
    for (rule, patterns) in
        [(Rule::MustHit, &assertion.must_hit), (Rule::MustMiss, &assertion.must_miss)]
    {
        asked.extend(patterns.iter().map(|pattern| Question {
            rule,
            subject: pattern.clone(),
            wanted: Wanted::Steps,
        }));
    }
    asked.extend(assertion.min_reuse.map(|share| {
        let patterns = assertion.steps.clone();
        let subject = match patterns.as_slice() {
            [] => share.to_string(),
            some => format!("{share} of {}", some.join(", ")),
        };
        Question { rule: Rule::MinReuse, subject, wanted: Wanted::Reuse(share, patterns) }
    }));
    for (rule, most) in [
        (Rule::MaxPulled, &assertion.max_pulled),
        (Rule::MaxPushed, &assertion.max_pushed),
        (Rule::MaxCacheSize, &assertion.max_cache_size),
    ] {
        asked.extend(most.as_ref().map(Size::bytes).map(|most| Question {
            rule,
            subject: most.to_string(),
            wanted: Wanted::Bytes(most),
        }));
    }
    asked.extend(assertion.max_ratio_to_cold.map(|most| Question {
        rule: Rule::MaxRatioToCold,
        subject: most.to_string(),
        wanted: Wanted::Ratio(most),
    }));
    asked
}
