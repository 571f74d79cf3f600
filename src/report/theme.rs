//! Colours by role, for light and dark paper.
//!
//! Hues are those of Okabe and Ito, "Color Universal Design" (2008, jfly.uni-koeln.de/color),
//! lightened or darkened where paper would swallow them. No two roles of a theme share a value:
//! pages replace the values by CSS variables.

/// What a mark's colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ink {
    Paper,
    Text,
    /// Second-rank text and reference lines.
    Muted,
    Grid,
    /// Samples behind an estimate.
    Faint,
    /// The n-th of what is compared; repeats after [`SERIES`].
    Series(usize),
    /// The n-th phase of a build.
    Phase(usize),
    Cached,
    Lazy,
    Rebuilt,
    Absent,
    Pulled,
    Pushed,
}

/// How many series have a colour of their own.
pub const SERIES: usize = 7;
/// How many phases have a colour of their own.
pub const PHASES: usize = 9;

/// Which paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    Light,
    Dark,
}

const LIGHT_SERIES: [u32; SERIES] =
    [0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7, 0x56B4E9, 0xE69F00, 0xB3A600];
const DARK_SERIES: [u32; SERIES] =
    [0x4FA3E0, 0xF07B2E, 0x2DBE95, 0xE08FC0, 0x8CD0F5, 0xF0B429, 0xF2EA84];

// In the order of a build: base, import, context, pull, steps, image, push, cache export, other.
const LIGHT_PHASES: [u32; PHASES] =
    [0x555B66, 0x57B4E8, 0xCB79A8, 0x0173B1, 0xE59F01, 0x019E74, 0xE8DC3C, 0xD45E01, 0xC3C8D0];
const DARK_PHASES: [u32; PHASES] =
    [0x9AA1AD, 0x7CC8F2, 0xDD8FBF, 0x3391D9, 0xEFB32A, 0x2CBD94, 0xF2E86B, 0xEF7B2D, 0x555C68];

impl Theme {
    /// The colour as 0xRRGGBB.
    pub fn color(self, ink: Ink) -> u32 {
        let (light, dark) = match ink {
            Ink::Paper => (0xFFFFFF, 0x0D1117),
            Ink::Text => (0x1C2128, 0xE6EAF0),
            Ink::Muted => (0x5B6470, 0x9AA4B1),
            Ink::Grid => (0xE3E6EA, 0x262D37),
            Ink::Faint => (0x9BA3AE, 0x6A7481),
            Ink::Series(n) => (LIGHT_SERIES[n % SERIES], DARK_SERIES[n % SERIES]),
            Ink::Phase(n) => (LIGHT_PHASES[n % PHASES], DARK_PHASES[n % PHASES]),
            Ink::Cached => (0x0071B3, 0x3A93D6),
            Ink::Lazy => (0xA6D8F5, 0x1F4E74),
            Ink::Rebuilt => (0xE69E02, 0xF0B22B),
            Ink::Absent => (0xEFF1F3, 0x1B222B),
            Ink::Pulled => (0x0172B3, 0x4EA2E1),
            Ink::Pushed => (0xD55D01, 0xF07A2F),
        };
        match self {
            Self::Light => light,
            Self::Dark => dark,
        }
    }

    /// Every role with the CSS variable that pages call it by.
    pub fn roles() -> Vec<(Ink, String)> {
        let named = [
            (Ink::Paper, "paper"),
            (Ink::Text, "text"),
            (Ink::Muted, "muted"),
            (Ink::Grid, "grid"),
            (Ink::Faint, "faint"),
            (Ink::Cached, "cached"),
            (Ink::Lazy, "lazy"),
            (Ink::Rebuilt, "rebuilt"),
            (Ink::Absent, "absent"),
            (Ink::Pulled, "pulled"),
            (Ink::Pushed, "pushed"),
        ];
        let named = named.into_iter().map(|(ink, name)| (ink, format!("--{name}")));
        let series = (0..SERIES).map(|n| (Ink::Series(n), format!("--series-{n}")));
        let phases = (0..PHASES).map(|n| (Ink::Phase(n), format!("--phase-{n}")));
        named.chain(series).chain(phases).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_roles_share_a_value() {
        for theme in [Theme::Light, Theme::Dark] {
            let roles = Theme::roles();
            let values: BTreeSet<u32> = roles.iter().map(|(ink, _)| theme.color(*ink)).collect();
            assert_eq!(values.len(), roles.len(), "{theme:?}");
        }
    }

    /// Relative luminance, WCAG 2.1.
    fn luminance(color: u32) -> f64 {
        let channel = |shift: u32| {
            let value = f64::from((color >> shift) & 0xFF) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
    }

    #[test]
    fn text_stands_out_from_its_paper_by_wcag_aa() {
        for theme in [Theme::Light, Theme::Dark] {
            let paper = luminance(theme.color(Ink::Paper));
            for ink in [Ink::Text, Ink::Muted] {
                let ink = luminance(theme.color(ink));
                let contrast = (paper.max(ink) + 0.05) / (paper.min(ink) + 0.05);
                assert!(contrast >= 4.5, "{theme:?} {contrast:.2}");
            }
        }
    }
}
