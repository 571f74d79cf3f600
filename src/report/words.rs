//! Numbers as reports show them.

use crate::units::{Bytes, Nanos};

/// `1.23 s`.
pub fn seconds(seconds: f64) -> String {
    let text = Nanos((seconds.abs() * 1e9).round() as u64).to_string();
    if seconds < 0.0 { format!("-{text}") } else { text }
}

/// `12 %` of 0.12.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// `1.2 MB`.
pub fn bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// `1 commit`, `2 commits`.
pub fn counted(count: usize, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}
