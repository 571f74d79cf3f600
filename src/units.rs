//! Quantities as integers in one fixed unit each, which print themselves.
//!
//! Rounding happens only in `Display`; arithmetic is exact. Knows no other module.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A duration in nanoseconds, 0 ..= 2^64-1 (584 years).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The whole of `duration`; saturates after 584 years.
    pub fn of(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }

    /// This duration in seconds, rounded to the nearest representable `f64`.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// `self - other`, or zero where that would be negative.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Nanos {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self(0), |total, item| total + item)
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..1_000_000_000 => format!("{:.0} ms", self.0 as f64 / 1e6),
            1_000_000_000..60_000_000_000 => format!("{:.2} s", self.seconds()),
            _ => {
                let seconds = self.0 / 1_000_000_000;
                format!("{}m{:02}s", seconds / 60, seconds % 60)
            }
        };
        f.pad(&text)
    }
}

/// A count of bytes, printed in powers of 1000 (kB, MB, GB), as registries count.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl std::ops::Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self(0), |total, item| total + item)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..1_000 => format!("{} B", self.0),
            1_000..1_000_000 => format!("{:.1} kB", self.0 as f64 / 1e3),
            1_000_000..1_000_000_000 => format!("{:.1} MB", self.0 as f64 / 1e6),
            _ => format!("{:.2} GB", self.0 as f64 / 1e9),
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_print_in_the_unit_a_reader_expects() {
        assert_eq!(Nanos(1_500_000).to_string(), "2 ms");
        assert_eq!(Nanos(1_234_000_000).to_string(), "1.23 s");
        assert_eq!(Nanos(61_000_000_000).to_string(), "1m01s");
        assert_eq!(Bytes(999).to_string(), "999 B");
        assert_eq!(Bytes(30_500_000).to_string(), "30.5 MB");
    }
}
