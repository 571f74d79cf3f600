//! GitHub's workflow commands: an annotation on the Dockerfile line of each regressed step.

use std::collections::BTreeMap;

use crate::check::finding::{Checked, Finding, Verdict};

use super::one_line;

/// One `::error` a step, its findings joined; findings without a step come last, without a line.
///
/// `file` is the Dockerfile's path in the repository; `line_of` finds a step of a commit in it.
pub fn annotations(
    checked: &Checked,
    file: &str,
    line_of: impl Fn(usize, &str) -> Option<usize>,
) -> String {
    let mut by_line: BTreeMap<(bool, Option<usize>, String), Vec<&Finding>> = BTreeMap::new();
    for finding in checked.of(Verdict::Regressed) {
        let line = finding.step.as_ref().and_then(|step| line_of(finding.place.commit, step));
        let subject = finding.step.clone().unwrap_or_else(|| finding.to_string());
        by_line.entry((line.is_none(), line, subject)).or_default().push(finding);
    }
    let mut found = String::new();
    for ((_, line, _), findings) in by_line {
        let sentences: Vec<String> = findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.place, finding.rule, finding.evidence))
            .map(|sentence| one_line(&sentence))
            .collect();
        let title = property("cachefrom: the cache regressed");
        let place = match (line, findings.iter().any(|finding| finding.step.is_some())) {
            (Some(line), _) => format!("file={},line={line},", property(file)),
            (None, true) => format!("file={},", property(file)),
            (None, false) => String::new(),
        };
        found.push_str(&format!("::error {place}title={title}::{}\n", data(&sentences.join("\n"))));
    }
    found
}

/// As the runner's toolkit escapes a command's data.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the runner's toolkit escapes a command's property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
