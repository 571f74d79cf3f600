//! A check on a terminal: everything that changed or is open, then the verdict.

use crate::check::finding::{Checked, Verdict};

use super::one_line;

/// Passed rules are only counted.
pub fn plain(checked: &Checked) -> String {
    let mut text = String::new();
    for verdict in [Verdict::Regressed, Verdict::Improved, Verdict::CannotTell] {
        for finding in checked.of(verdict) {
            text.push_str(&one_line(&finding.to_string()));
            text.push('\n');
        }
    }
    for warning in &checked.warnings {
        text.push_str(&format!("note: {}\n", one_line(warning)));
    }
    let passed = checked.of(Verdict::Pass).count();
    let all = checked.findings.len();
    text.push_str(&format!(
        "{}: {} ({passed} of {all} rules passed)\n",
        one_line(&checked.scenario),
        checked.verdict()
    ));
    text
}
