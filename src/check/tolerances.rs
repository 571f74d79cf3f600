//! How much may change before a check says so: from a file, a scenario's `[check]`, or flags.

use crate::scenario::format::CheckTable;
use crate::units::Bytes;

/// What a check lets pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerances {
    /// Share of the baseline's pulled bytes that may be added, at least 0.
    pub pulled: f64,
    /// The same of pushed bytes.
    pub pushed: f64,
    /// A change of bytes that is smaller than this never matters.
    pub bytes: Bytes,
    /// Change of the ratio to cold that is too small to matter, at least 0: 0.1 is 10 %.
    pub time: f64,
    /// The chance that a whole check calls a time regression or improvement where there is none, above
    /// 0 and below 1.
    pub significance: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { pulled: 0.1, pushed: 0.1, bytes: Bytes(1 << 16), time: 0.1, significance: 0.01 }
    }
}

/// A value that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the tolerance `{name}` is {value}\n  {remedy}")]
pub struct ToleranceError {
    name: &'static str,
    value: f64,
    remedy: &'static str,
}

impl Tolerances {
    /// `self`, with what `table` says in place of what it had.
    pub fn with(self, table: &CheckTable) -> Result<Self, ToleranceError> {
        let changed = Self {
            pulled: table.pulled.unwrap_or(self.pulled),
            pushed: table.pushed.unwrap_or(self.pushed),
            bytes: table.bytes.as_ref().map_or(self.bytes, |size| size.bytes()),
            time: table.time.unwrap_or(self.time),
            significance: table.significance.unwrap_or(self.significance),
        };
        let shares =
            [("pulled", changed.pulled), ("pushed", changed.pushed), ("time", changed.time)];
        for (name, value) in shares {
            if !(value.is_finite() && value >= 0.0) {
                let remedy = "give a share of 0 or more, such as 0.1 for 10 %";
                return Err(ToleranceError { name, value, remedy });
            }
        }
        let value = changed.significance;
        if !(value > 0.0 && value < 1.0) {
            let remedy = "give a chance between 0 and 1, such as 0.01 for 1 %";
            return Err(ToleranceError { name: "significance", value, remedy });
        }
        Ok(changed)
    }
}
