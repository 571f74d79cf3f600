//! Names by which others follow a result from run to run: no two results of a run share one.
//!
//! A commit is known by its message, since its number moves when one is added before it. Only where
//! messages repeat, as in real histories, does the number stand beside it.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::finding::{Checked, Finding};
use crate::check::step::StepName;
use crate::measure::Place;

/// The messages that several commits have.
pub struct Repeated<'a>(BTreeSet<&'a str>);

impl<'a> Repeated<'a> {
    /// Among commits by their place and message.
    pub fn among(commits: impl Iterator<Item = (usize, &'a str)>) -> Self {
        let mut places: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        commits.for_each(|(place, message)| {
            places.entry(message).or_default().insert(place);
        });
        Self(places.into_iter().filter(|(_, p)| p.len() > 1).map(|(message, _)| message).collect())
    }

    /// The message, and ` #3` for the third commit where others have it too.
    pub fn commit(&self, place: &Place) -> String {
        match self.0.contains(place.message.as_str()) {
            true => format!("{} #{}", place.message, place.commit + 1),
            false => place.message.clone(),
        }
    }
}

/// The class and the name of each finding's test case, in the order of the findings.
pub fn cases(checked: &Checked) -> Vec<(String, String)> {
    let places = checked.findings.iter().map(|finding| &finding.place);
    let repeated = Repeated::among(places.map(|place| (place.commit, place.message.as_str())));
    let named = |finding: &Finding| {
        let place = &finding.place;
        let subject = finding.subject.as_ref().map_or(String::new(), |s| format!(" {s}"));
        let link = place.link.as_ref().map_or(String::new(), |link| format!(" over {link}"));
        let name = format!("{}{subject} at {}{link}", finding.rule, repeated.commit(place));
        (format!("{}.{}", checked.scenario, place.strategy), name)
    };
    let mut cases: Vec<(String, String)> = checked.findings.iter().map(named).collect();
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    cases.iter().for_each(|case| *seen.entry(case.clone()).or_default() += 1);
    for (case, finding) in cases.iter_mut().zip(&checked.findings) {
        let step = finding.step.as_deref().and_then(StepName::parse);
        if let Some(step) = step.filter(|_| seen[case] > 1) {
            case.1.push_str(&format!(" [{}/{}]", step.position, step.total));
        }
    }
    // The same assertion twice.
    let mut taken: BTreeMap<(String, String), usize> = BTreeMap::new();
    for case in &mut cases {
        let number = taken.entry(case.clone()).or_default();
        *number += 1;
        if *number > 1 {
            case.1.push_str(&format!(" ({number})"));
        }
    }
    cases
}
