//! A check on a terminal: everything that changed or is open, then the verdict.

use crate::check::finding::{Checked, Verdict};

/// Passed rules are only counted.
pub fn plain(checked: &Checked) -> String {
    let mut text = String::new();
    for verdict in [Verdict::Regressed, Verdict::Improved, Verdict::CannotTell] {
        for finding in checked.of(verdict) {
            text.push_str(&format!("{finding}\n"));
        }
    }
    for warning in &checked.warnings {
        text.push_str(&format!("note: {warning}\n"));
    }
    let passed = checked.of(Verdict::Pass).count();
    let all = checked.findings.len();
    text.push_str(&format!(
        "{}: {} ({passed} of {all} rules passed)\n",
        checked.scenario,
        checked.verdict()
    ));
    text
}
