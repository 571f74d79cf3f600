//! JUnit XML: one suite, one case a finding, in the form of Ant's schema.
//!
//! What cannot be told is skipped with the reason, not passed. Time is the run's, which a check does
//! not know: 0.

use crate::check::finding::{Checked, Verdict};

use super::names::cases;

/// `timestamp` is the run's start, RFC 3339; it is cut to the form that the schema takes.
pub fn junit(checked: &Checked, timestamp: &str) -> String {
    let count = |verdict| checked.of(verdict).count();
    let stamp =
        timestamp.get(..19).filter(|stamp| is_stamp(stamp)).unwrap_or("1970-01-01T00:00:00");
    let suite = escaped(&format!("cachefrom.{}", checked.scenario));
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{suite}\" package=\"cachefrom\" id=\"0\" timestamp=\"{stamp}\" hostname=\"localhost\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"0\">\n    <properties/>\n",
        checked.findings.len(),
        count(Verdict::Regressed),
        count(Verdict::CannotTell),
    );
    for (finding, (class, name)) in checked.findings.iter().zip(cases(checked)) {
        let (class, name) = (escaped(&class), escaped(&name));
        let open = format!("    <testcase classname=\"{class}\" name=\"{name}\" time=\"0\"");
        let evidence = escaped(&finding.evidence);
        text.push_str(&match finding.verdict {
            Verdict::Pass | Verdict::Improved => format!("{open}/>\n"),
            Verdict::CannotTell => format!(
                "{open}>\n      <skipped message=\"{evidence}\"/>\n    </testcase>\n"
            ),
            Verdict::Regressed => format!(
                "{open}>\n      <failure type=\"{}\" message=\"{evidence}\">{evidence}</failure>\n    </testcase>\n",
                finding.rule
            ),
        });
    }
    text.push_str("    <system-out/>\n    <system-err/>\n  </testsuite>\n</testsuites>\n");
    text
}

fn is_stamp(stamp: &str) -> bool {
    stamp.parse::<jiff::civil::DateTime>().is_ok() && stamp.as_bytes().get(10) == Some(&b'T')
}

/// Text as XML 1.0 takes it; characters that it has no form for become U+FFFD.
pub fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\t' | '\n' | '\r' => safe.push_str(&format!("&#{};", character as u32)),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}
