//! Faults: what a registry is told to do wrong, and at which request.
//!
//! Only the words and what they mean; `registry` obeys them while a trial builds. Surprising: the
//! requests are counted anew in every trial, so that each of them meets the same faults.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest stall, in seconds: a request is never held up longer than this.
pub const LONGEST_STALL: u32 = 120;

/// The longest that one fault stalls requests in all, in seconds, were they to follow one another:
/// `seconds` by `times`. So no trial hangs longer than this for each of its faults.
pub const LONGEST_STALLS: u64 = 600;

/// At the `nth` request of a trial's builds that matches everything that is given, the registry
/// does something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    pub does: Wrong,
    /// Which of the matching requests, from 1.
    #[serde(default = "first")]
    pub nth: u32,
    /// How many matching requests in a row, from that one; of `stall`, at most 600 s of them.
    #[serde(default = "first")]
    pub times: u32,
    /// An HTTP method, such as `GET`; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// What the request is about; anything when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<About>,
    /// A repository as a pattern with `*`; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// How long `stall` waits and how long `too-many-requests` says to wait, in seconds, at most
    /// 120; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
}

fn first() -> u32 {
    1
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// Answers 429 with `Retry-After`.
    TooManyRequests,
    /// Answers 500.
    InternalError,
    /// Answers 503.
    Unavailable,
    /// Closes the connection in the middle of the body that crosses, or unanswered where none does.
    Close,
    /// Answers late.
    Stall,
    /// Half of the body is missing, though the lengths of headers and body agree.
    Truncate,
    /// One bit in the middle of the body is flipped.
    Corrupt,
}

/// What a request is about, as its path tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// A manifest or an index, a cache's too.
    Manifest,
    /// A blob that is read, or asked for.
    Blob,
    /// A blob that is pushed or mounted: any request of its upload.
    Upload,
    /// Anything else, such as a list of tags.
    Other,
}

impl Fault {
    /// Whether the fault is about such a request, whichever one it is.
    pub fn matches(&self, method: &str, about: About, repository: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.kind.is_none_or(|wanted| wanted == about)
            && self.repository.as_deref().is_none_or(|pattern| fits(pattern, repository))
    }

    /// Whether the `count`th matching request, from 1, meets the fault.
    pub fn fires_at(&self, count: u32) -> bool {
        count >= self.nth && count - self.nth < self.times
    }

    /// How long to wait; at most [`LONGEST_STALL`].
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(1).min(LONGEST_STALL).into())
    }
}

/// Whether `text` is `pattern`, in which `*` stands for any text, `/` included.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    // The last part ends the text; the ones before it are found as early as possible.
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("*", "", true),
            ("*/cache", "jq/r0/cache", true),
            ("*/cache", "jq/r0/cache/x", false),
            ("jq/*/max*", "jq/r0/max-own", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_fault_fires_at_its_requests_and_no_other() {
        let fault: Fault =
            toml::from_str("does = \"stall\"\nnth = 3\ntimes = 2\nmethod = \"get\"").unwrap();
        let fired: Vec<u32> = (0..8).filter(|count| fault.fires_at(*count)).collect();
        assert_eq!(fired, [3, 4]);
        assert!(fault.matches("GET", About::Blob, "a") && !fault.matches("PUT", About::Blob, "a"));
    }
}
