//! The embedded font, and how wide its text is.
//!
//! PNG text is drawn from it, so a machine without fonts draws the same picture. SVG text names it
//! first and falls back to fonts that are hardly wider, which is why [`width`] adds some slack.

use std::sync::LazyLock;

use plotters::style::{FontFamily, FontStyle, register_font};

/// The family's name, in plotters' table of fonts and in SVG.
pub const FAMILY: &str = "Inter";

/// What SVG and HTML ask for, best first.
pub const FALLBACKS: &str =
    "Inter, 'Helvetica Neue', Arial, 'Liberation Sans', 'Noto Sans', 'DejaVu Sans', sans-serif";

/// The regular cut for pages that embed it.
pub const REGULAR_WEB: &[u8] = include_bytes!("fonts/Inter-Regular.woff2");
/// The semi-bold cut for pages that embed it.
pub const SEMI_BOLD_WEB: &[u8] = include_bytes!("fonts/Inter-SemiBold.woff2");

const REGULAR: &[u8] = include_bytes!("fonts/Inter-Regular.otf");
const SEMI_BOLD: &[u8] = include_bytes!("fonts/Inter-SemiBold.otf");

/// plotters' font size is the line's height, which is this much of the em that CSS calls size.
pub const LINE_HEIGHT: f64 = 1.24;

/// Fallback fonts are wider by about this much.
const SLACK: f64 = 1.04;

/// Characters whose widths are kept; all others count as one em, as wide scripts are.
const KEPT: [std::ops::Range<u32>; 2] = [0x20..0x500, 0x2000..0x2300];

struct Widths {
    regular: Vec<f64>,
    bold: Vec<f64>,
}

static WIDTHS: LazyLock<Widths> = LazyLock::new(|| {
    register();
    Widths { regular: table(FontStyle::Normal), bold: table(FontStyle::Bold) }
});

/// Puts both cuts into plotters' table, under their own name and as what `sans-serif` means, which
/// is how criterion's charts in the same process ask. Doing it again changes nothing.
pub fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for family in [FAMILY, FontFamily::SansSerif.as_str()] {
            // The bytes are part of the program and a test draws with them, so they are a font.
            let _ = register_font(family, FontStyle::Normal, REGULAR);
            let _ = register_font(family, FontStyle::Bold, SEMI_BOLD);
        }
    });
}

/// Widths of the kept characters in ems.
fn table(style: FontStyle) -> Vec<f64> {
    const SIZE: f64 = 1000.0;
    let font = plotters::style::FontDesc::new(FontFamily::Name(FAMILY), SIZE, style);
    KEPT.into_iter()
        .flatten()
        .map(|code| {
            let text = char::from_u32(code).map(String::from).unwrap_or_default();
            let width = font.box_size(&text).map_or(SIZE, |(width, _)| f64::from(width));
            width / SIZE * LINE_HEIGHT
        })
        .collect()
}

/// The width of `text` at `size` pixels an em, a little more than it will be drawn.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let widths = if bold { &WIDTHS.bold } else { &WIDTHS.regular };
    let ems: f64 = text
        .chars()
        .map(|character| {
            let mut start = 0;
            for range in KEPT {
                if range.contains(&(character as u32)) {
                    return widths[start + (character as u32 - range.start) as usize];
                }
                start += range.len();
            }
            1.0
        })
        .sum();
    ems * size * SLACK
}

/// What is drawn of a character: a space for what has no shape or what XML 1.0 has no way to write
/// (its production 2, `Char`).
pub fn drawn(character: char) -> char {
    let has_none = character.is_control() || matches!(character, '\u{FFFE}' | '\u{FFFF}');
    if has_none { ' ' } else { character }
}

/// `text`, or as much of its start as fits into `room` with an ellipsis; empty if not even that.
pub fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    let line: String = text.chars().map(drawn).collect();
    if width(&line, size, bold) <= room {
        return line;
    }
    let mut left = room - width("…", size, bold);
    if left < 0.0 {
        return String::new();
    }
    let mut kept = String::new();
    for character in line.chars() {
        left -= width(character.encode_utf8(&mut [0; 4]), size, bold);
        if left < 0.0 {
            break;
        }
        kept.push(character);
    }
    format!("{}…", kept.trim_end())
}

/// `text` in lines of at most `room`, broken at spaces; a word that is wider is cut.
pub fn wrap(text: &str, size: f64, bold: bool, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), longer) {
            (Some(line), Some(longer)) if width(&longer, size, bold) <= room => *line = longer,
            _ => lines.push(fit(word, size, bold, room)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_wide_as_its_letters_and_is_cut_where_room_ends() {
        assert!(width("mmm", 10.0, false) > width("iii", 10.0, false) * 2.0);
        assert!(width("registry-max", 12.0, true) > width("registry-max", 12.0, false));
        let cut = fit("a strategy whose name goes on and on", 12.0, false, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0, false) <= 100.0, "{cut}");
        assert_eq!(fit("short", 12.0, false, 100.0), "short");
        assert_eq!(fit("short", 12.0, false, 1.0), "");
        assert_eq!(fit("two\nlines", 12.0, false, 100.0), "two lines");
    }

    /// criterion panics while it draws where that family is missing.
    #[test]
    fn sans_serif_is_known_too() {
        register();
        let font = plotters::style::FontDesc::new(FontFamily::SansSerif, 20.0, FontStyle::Normal);
        assert!(font.box_size("a title").is_ok());
    }

    #[test]
    fn long_sentences_wrap_at_spaces() {
        let lines = wrap("one two three four five six seven", 12.0, false, 80.0);
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| width(line, 12.0, false) <= 80.0), "{lines:?}");
        assert_eq!(lines.join(" "), "one two three four five six seven");
    }
}
