//! What a scenario asks of its runs: assertions, and how much may change against a baseline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// What must hold at a commit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Assertion {
    /// Globs on strategies; all that can hit at all when empty.
    #[serde(default)]
    pub strategies: Vec<String>,
    /// Steps that must come from a cache, as `stage: instruction` or an instruction of any stage; `*`
    /// stands for any text, every other character for itself.
    #[serde(default)]
    pub must_hit: Vec<String>,
    /// Steps that must be built anew.
    #[serde(default)]
    pub must_miss: Vec<String>,
    /// The steps that `min-reuse` looks at; all when empty.
    #[serde(default)]
    pub steps: Vec<String>,
    /// The least share of steps that every round reuses, 0 to 1.
    #[serde(default)]
    pub min_reuse: Option<f64>,
    /// The most that is pulled from the registry, in the median of rounds.
    #[serde(default)]
    pub max_pulled: Option<Size>,
    /// The most that is pushed to the registry, in the median of rounds.
    #[serde(default)]
    pub max_pushed: Option<Size>,
    /// The most that this commit and those before it leave in the registry.
    #[serde(default)]
    pub max_cache_size: Option<Size>,
    /// The most time as a share of the same round's cold, in the median of rounds.
    #[serde(default)]
    pub max_ratio_to_cold: Option<f64>,
}

/// Bytes, as a number or as text such as `10 MB` (powers of 1000) or `10 MiB` (of 1024).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Size {
    Bytes(u64),
    Text(String),
}

/// What is a size, for who wrote something else.
pub const SIZES: &str = "a number of bytes, or one with a unit: B, kB, MB, GB, KiB, MiB, GiB";

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no size\n  {SIZES}")]
pub struct SizeError;

impl std::str::FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        Self::parse(text).map(|bytes| Self::Bytes(bytes.0)).ok_or(SizeError)
    }
}

impl Size {
    /// `None` where the text is no size.
    pub fn parse(text: &str) -> Option<Bytes> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: f64 = match unit.trim() {
            "" | "B" => 1.0,
            "kB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        };
        let bytes = number.parse::<f64>().ok()? * factor;
        (bytes.is_finite() && bytes < 2f64.powi(63)).then_some(Bytes(bytes as u64))
    }

    /// Text that is no size counts as 0; a scenario's own check names it first.
    pub fn bytes(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => Bytes(*bytes),
            Self::Text(text) => Self::parse(text).unwrap_or_default(),
        }
    }
}

/// `[check]`: how much may change against a baseline. Shares: 0.1 is 10 %.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckTable {
    /// Share of pulled bytes that may be added.
    #[serde(default)]
    pub pulled: Option<f64>,
    /// Share of pushed bytes that may be added.
    #[serde(default)]
    pub pushed: Option<f64>,
    /// A change of bytes that never matters.
    #[serde(default)]
    pub bytes: Option<Size>,
    /// Change of the share of cold's time that is too small to matter.
    #[serde(default)]
    pub time: Option<f64>,
    /// The chance of a time verdict where nothing changed, over the whole check.
    #[serde(default)]
    pub significance: Option<f64>,
}
