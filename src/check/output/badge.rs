//! A badge with the verdict, as one small SVG without any font or file of its own.

use crate::check::finding::{Checked, Verdict};

use super::junit::escaped;

/// The width of a character in pixels, a little generous: the viewer's font is not known.
const CHARACTER: usize = 7;

pub fn badge(checked: &Checked) -> String {
    let verdict = checked.verdict();
    let colour = match verdict {
        Verdict::Pass => "#2e7d32",
        Verdict::Improved => "#1565c0",
        Verdict::CannotTell => "#616161",
        Verdict::Regressed => "#b71c1c",
    };
    let (left, right) = (format!("cache: {}", checked.scenario), verdict.to_string());
    let width = |text: &str| text.chars().count() * CHARACTER + 12;
    let (first, second) = (width(&left), width(&right));
    let (all, middle) = (first + second, first + second / 2);
    let (left, right) = (escaped(&left), escaped(&right));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"20\" role=\"img\" aria-label=\"{left}: {right}\">\
         <title>{left}: {right}</title>\
         <rect width=\"{all}\" height=\"20\" rx=\"3\" fill=\"#424242\"/>\
         <rect x=\"{first}\" width=\"{second}\" height=\"20\" rx=\"3\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,sans-serif\" font-size=\"11\" text-anchor=\"middle\">\
         <text x=\"{}\" y=\"14\">{left}</text><text x=\"{middle}\" y=\"14\">{right}</text></g></svg>\n",
        first / 2,
    )
}
