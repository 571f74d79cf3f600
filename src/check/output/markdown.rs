//! A check as Markdown, for a job's summary or a comment.

use crate::check::finding::{Checked, Verdict};

/// A heading with the verdict, a table of what changed or is open, and how much passed.
pub fn markdown(checked: &Checked) -> String {
    let mut text =
        format!("### cachefrom: {} {}\n\n", inline(&checked.scenario), checked.verdict());
    let mut rows = String::new();
    for verdict in [Verdict::Regressed, Verdict::Improved, Verdict::CannotTell] {
        for finding in checked.of(verdict) {
            rows.push_str(&format!(
                "| {verdict} | {} | {} | {} |\n",
                inline(&finding.place.to_string()),
                finding.rule,
                inline(&finding.evidence),
            ));
        }
    }
    if !rows.is_empty() {
        text.push_str("| verdict | where | rule | evidence |\n| --- | --- | --- | --- |\n");
        text.push_str(&rows);
        text.push('\n');
    }
    let passed = checked.of(Verdict::Pass).count();
    text.push_str(&format!("{passed} of {} rules passed.\n", checked.findings.len()));
    for warning in &checked.warnings {
        text.push_str(&format!("\n> {}\n", inline(warning)));
    }
    text
}

/// Text that Markdown shows as it is, within a table's cell.
fn inline(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            control if control.is_control() => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '~' => {
                safe.push('\\');
                safe.push(character);
            }
            other => safe.push(other),
        }
    }
    safe
}
