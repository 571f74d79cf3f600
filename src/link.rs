//! Link profiles: how far away the registry is, in round trips and bandwidth.
//!
//! Only the words and numbers; `registry` makes connections obey them. A profile without a limit
//! delays nothing.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Nanos;

/// A link between an engine and the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinkProfile {
    pub name: String,
    /// Added to every request before it is answered; nanoseconds.
    #[serde(default)]
    #[schemars(with = "u64")]
    pub latency: Nanos,
    /// Bits a second from the registry to the engine, shared by all its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<u64>,
    /// Bits a second from the engine to the registry, shared by all its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<u64>,
}

/// Profiles by name, fastest first, each with where its numbers come from.
pub const NAMED: [(&str, &str, &str); 4] = [
    (
        "lan",
        "latency=1ms,down=10Gbit,up=10Gbit",
        "a registry in the same data centre: 10 Gbit/s Ethernet",
    ),
    (
        "ci",
        "latency=5ms,down=1Gbit,up=1Gbit",
        "a hosted runner: 125 MB/s, as Depot publishes for GitHub's cache; the latency is our guess",
    ),
    ("home", "latency=20ms,down=200Mbit,up=50Mbit", "a laptop on a broadband line; our guess"),
    (
        "slow",
        "latency=20ms,down=160Mbit,up=160Mbit",
        "a weak runner far from its registry: 20 MB/s; our guess",
    ),
];

/// Why a text is not a link profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error(
        "{text:?} is neither a named link (lan, ci, home, slow) nor a list like latency=20ms,down=200Mbit,up=50Mbit"
    )]
    Unknown { text: String },
    #[error("{key:?} is not a property of a link: latency, down or up")]
    Key { key: String },
    #[error("{value:?} is not a {what}")]
    Value { value: String, what: &'static str },
    #[error("the link {name:?} is there twice")]
    Twice { name: String },
}

impl FromStr for LinkProfile {
    type Err = LinkError;

    /// A name of [`NAMED`], or `latency=20ms,down=200Mbit,up=50Mbit` with at least one of them.
    fn from_str(text: &str) -> Result<Self, LinkError> {
        if let Some((name, numbers, _)) = NAMED.iter().find(|(name, ..)| *name == text) {
            return Ok(Self { name: (*name).into(), ..properties(numbers)? });
        }
        if !text.contains('=') {
            return Err(LinkError::Unknown { text: text.into() });
        }
        properties(text)
    }
}

/// Several links in one text: named ones and property lists, separated by commas.
///
/// A property belongs to the list before it, unless that list has the same property already.
pub fn parse_links(text: &str) -> Result<Vec<LinkProfile>, LinkError> {
    let mut parts: Vec<String> = vec![];
    for word in text.split(',') {
        let key = word.split_once('=').map(|(key, _)| key);
        match (parts.last_mut(), key) {
            (Some(list), Some(key))
                if list.contains('=')
                    && !list.split(',').any(|w| w.starts_with(&format!("{key}="))) =>
            {
                list.push(',');
                list.push_str(word);
            }
            _ => parts.push(word.into()),
        }
    }
    let mut links: Vec<LinkProfile> = vec![];
    for part in parts {
        let link: LinkProfile = part.parse()?;
        if links.iter().any(|other| other.name == link.name) {
            return Err(LinkError::Twice { name: link.name });
        }
        links.push(link);
    }
    Ok(links)
}

impl fmt::Display for LinkProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "latency={}us", self.latency.0 / 1_000)?;
        for (key, rate) in [("down", self.down), ("up", self.up)] {
            if let Some(rate) = rate {
                write!(f, ",{key}={rate}bit")?;
            }
        }
        Ok(())
    }
}

impl LinkProfile {
    /// What it does, as people read it: `20 ms latency, 200 Mbit/s down, 50 Mbit/s up`.
    pub fn words(&self) -> String {
        let latency = format!("{} ms latency", self.latency.0 as f64 / 1e6);
        let latency = (self.latency.0 > 0).then_some(latency);
        let rates = [(self.down, "down"), (self.up, "up")];
        let rates = rates.into_iter().filter_map(|(bits, way)| {
            let bits = bits? as f64;
            let (factor, unit) = match bits {
                1e9.. => (1e9, "Gbit/s"),
                1e6.. => (1e6, "Mbit/s"),
                _ => (1e3, "kbit/s"),
            };
            Some(format!("{} {unit} {way}", bits / factor))
        });
        let words: Vec<String> = latency.into_iter().chain(rates).collect();
        if words.is_empty() { "no limit".into() } else { words.join(", ") }
    }
}

fn properties(text: &str) -> Result<LinkProfile, LinkError> {
    let mut profile = LinkProfile { name: text.into(), latency: Nanos(0), down: None, up: None };
    for property in text.split(',') {
        let Some((key, value)) = property.split_once('=') else {
            return Err(LinkError::Unknown { text: property.into() });
        };
        match key {
            "latency" => profile.latency = duration(value)?,
            "down" => profile.down = Some(rate(value)?),
            "up" => profile.up = Some(rate(value)?),
            _ => return Err(LinkError::Key { key: key.into() }),
        }
    }
    Ok(profile)
}

fn duration(value: &str) -> Result<Nanos, LinkError> {
    let wrong =
        || LinkError::Value { value: value.into(), what: "latency such as 20ms, at most 60s" };
    let nanos = scaled(value, &[("us", 1e3), ("ms", 1e6), ("s", 1e9)]).ok_or_else(wrong)?;
    if nanos > 60e9 { Err(wrong()) } else { Ok(Nanos(nanos as u64)) }
}

fn rate(value: &str) -> Result<u64, LinkError> {
    let wrong =
        || LinkError::Value { value: value.into(), what: "rate such as 200Mbit, at least 8kbit" };
    let bits = scaled(value, &[("Gbit", 1e9), ("Mbit", 1e6), ("kbit", 1e3), ("bit", 1.0)]);
    let bits = bits.ok_or_else(wrong)?;
    if (8e3..=1e12).contains(&bits) { Ok(bits as u64) } else { Err(wrong()) }
}

fn scaled(value: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, factor) =
        units.iter().find_map(|(unit, factor)| Some((value.strip_suffix(unit)?, factor)))?;
    let number: f64 = number.parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_properties_are_read() {
        let ci: LinkProfile = "ci".parse().unwrap();
        assert_eq!((ci.name.as_str(), ci.down), ("ci", Some(1_000_000_000)));
        let own: LinkProfile = "latency=20ms,up=50Mbit".parse().unwrap();
        assert_eq!((own.latency, own.down, own.up), (Nanos(20_000_000), None, Some(50_000_000)));
        for (name, ..) in NAMED {
            name.parse::<LinkProfile>().unwrap();
        }
    }

    #[test]
    fn what_a_link_does_is_told_in_words() {
        let words = |text: &str| text.parse::<LinkProfile>().unwrap().words();
        assert_eq!(words("home"), "20 ms latency, 200 Mbit/s down, 50 Mbit/s up");
        assert_eq!(words("latency=500us,up=1.5Gbit"), "0.5 ms latency, 1.5 Gbit/s up");
        assert_eq!(words("down=64kbit"), "64 kbit/s down");
        assert_eq!(words("latency=0ms"), "no limit");
    }

    #[test]
    fn a_list_of_links_is_split_where_a_link_begins() {
        let links = parse_links("ci,latency=1ms,down=1Mbit,latency=2ms,slow").unwrap();
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["ci", "latency=1ms,down=1Mbit", "latency=2ms", "slow"]);
    }

    #[test]
    fn a_link_is_played_once() {
        for text in ["ci,slow,ci", "latency=1ms,latency=1ms"] {
            let twice = matches!(parse_links(text), Err(LinkError::Twice { .. }));
            assert!(twice, "{text}");
        }
    }

    #[test]
    fn the_documentation_tells_the_numbers_and_where_they_come_from() {
        let page = include_str!("../docs/registry.md");
        for (name, numbers, origin) in NAMED {
            let rate = |key: &str| {
                let property = numbers.split(',').find_map(|part| part.strip_prefix(key));
                let (number, unit) = property.unwrap().split_at(property.unwrap().len() - 4);
                format!("{number} {unit}/s")
            };
            let latency = numbers.split(',').next().unwrap().strip_prefix("latency=").unwrap();
            let latency = latency.replace("ms", " ms");
            let row = format!(
                "| `{name}` | {latency} | {} | {} | {origin} |",
                rate("down="),
                rate("up=")
            );
            assert!(page.contains(&row), "{row}");
        }
    }

    #[test]
    fn what_is_no_link_is_named() {
        for text in ["fast", "down=fast", "down=1bit", "latency=61s", "mtu=9000", "", "down=-1Mbit"]
        {
            let error = text.parse::<LinkProfile>().unwrap_err().to_string();
            assert!(!error.is_empty(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_shown_is_read_back(text in ".{0,40}", latency in 0..60_000u64, rate in 8_000..1_000_000_000u64) {
            let _ = parse_links(&text);
            let link = LinkProfile { name: String::new(), latency: Nanos(latency * 1_000), down: Some(rate), up: None };
            let read: LinkProfile = link.to_string().parse().unwrap();
            prop_assert_eq!((read.latency, read.down, read.up), (link.latency, link.down, link.up));
        }
    }
}
