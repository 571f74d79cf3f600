//! A check as other programs read it: each format a pure function to text.

mod annotations;
mod badge;
mod dashboards;
mod junit;
mod markdown;
mod names;
mod plain;

pub use annotations::annotations;
pub use badge::badge;
pub use dashboards::{bencher, benchmark_action};
pub use junit::junit;
pub use markdown::markdown;
pub use plain::plain;

/// The widest column of a table that is aligned by spaces; wider ones are ragged. No person reads
/// them, and `format!` takes no greater width.
pub const WIDEST: usize = u16::MAX as usize;

/// `text` without control characters: a journal may be anybody's, and what it calls things must
/// neither steer a terminal nor begin a line of its own.
pub fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// The same of each line.
pub fn printable(text: &str) -> String {
    text.replace(|character: char| character.is_control() && character != '\n', " ")
}
