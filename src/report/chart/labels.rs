//! Names that stay apart where there is no room for all of them.

use crate::report::font;
use crate::report::scene::Style;

/// As much of each text as fits into `room`. Where that makes different texts alike, less of their
/// starts is shown, and what follows the place from which they differ.
pub fn apart(texts: &[&str], style: Style, room: f64) -> Vec<String> {
    let texts: Vec<String> =
        texts.iter().map(|text| text.chars().map(font::drawn).collect()).collect();
    let cut: Vec<String> = texts.iter().map(|text| style.fit(text, room)).collect();
    let alike = |one: usize, other: usize| cut[one] == cut[other] && texts[one] != texts[other];
    let label = |one: usize| {
        let text = &texts[one];
        let twins = (0..texts.len()).filter(|&other| alike(one, other));
        let Some(differs) = twins.map(|other| common(text, &texts[other])).max() else {
            return cut[one].clone();
        };
        // From the word's start, where that is near.
        let word = text[..differs].rfind(' ').map_or(0, |space| space + 1);
        let near = style.width(&text[word..differs]) <= room / 8.0;
        let from = if near { word } else { differs };
        let end = style.fit(&text[from..], room * 0.4);
        let start = format!("{}…", text[..from].trim_end());
        style.fit(&start, room - style.width(&end)) + &end
    };
    (0..texts.len()).map(label).collect()
}

/// How many bytes two texts have in common at their start.
fn common(one: &str, other: &str) -> usize {
    let same = one.char_indices().zip(other.chars()).take_while(|((_, a), b)| a == b);
    same.last().map_or(0, |((at, last), _)| at + last.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike_when_cut_is_shown_from_where_it_differs() {
        let install = "[builder 2/7] RUN apt-get update && apt-get install --yes jq";
        let (more, ascii) = (format!("{install} curl"), format!("{install} curl && jq --ascii é"));
        let texts = [install, "[builder 3/7] RUN sleep", &more, &ascii, install];
        let labels = apart(&texts, Style::LABEL, 220.0);
        assert_eq!(labels[1], texts[1]);
        assert_eq!(labels[4], labels[0]);
        let ends: Vec<&str> =
            [0, 2, 3].map(|place| labels[place].split_once('…').unwrap().1).into();
        assert_eq!(ends, ["jq", "curl", "curl && jq --…"]);
        for label in &labels {
            assert!(
                label.starts_with("[builder ") && Style::LABEL.width(label) <= 220.0,
                "{label}"
            );
        }
        for room in [0.0, 10.0, 40.0] {
            let labels = apart(&texts, Style::LABEL, room);
            assert!(labels.iter().all(|label| Style::LABEL.width(label) <= room), "{labels:?}");
        }
    }
}
