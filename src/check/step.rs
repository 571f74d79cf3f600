//! The parts of a step's name, and which step of one run is which of another.
//!
//! A step is known by its stage and instruction, never by its position: moving one instruction
//! renumbers all others. An instruction whose text changed is matched to the likeliest one of its
//! kind that would else have no counterpart.

use std::collections::BTreeMap;

use similar::TextDiff;

/// `[builder 2/6] RUN true`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepName<'a> {
    /// In lower case, as BuildKit compares it; empty where the file has a single, unnamed stage.
    pub stage: String,
    /// From 1.
    pub position: usize,
    /// How many positions the stage has.
    pub total: usize,
    pub text: &'a str,
}

impl<'a> StepName<'a> {
    /// `None` for a vertex that is no step.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (head, text) = name.strip_prefix('[')?.split_once("] ")?;
        let mut words: Vec<&str> = head.split_whitespace().collect();
        let (position, total) = words.pop()?.split_once('/')?;
        // A platform, `linux/amd64`, comes before the stage and is none.
        let stage = words.pop().filter(|word| !word.contains('/')).unwrap_or_default();
        Some(Self {
            stage: stage.to_lowercase(),
            position: position.parse().ok()?,
            total: total.parse().ok()?,
            text,
        })
    }

    /// `RUN` of `RUN true`, in upper case.
    pub fn keyword(&self) -> String {
        self.text.split_whitespace().next().unwrap_or_default().to_uppercase()
    }

    /// `builder: RUN true`, which globs are matched against.
    pub fn label(&self) -> String {
        format!("{}: {}", self.stage, self.text)
    }
}

/// Two instructions of one kind that are less alike than this are not the same one, edited.
/// The value is 2 × common characters ÷ all characters, 0 to 1.
const ALIKE: f32 = 0.6;

/// For each name of `after` the place of its counterpart in `before`.
pub fn counterparts(before: &[&str], after: &[&str]) -> Vec<Option<usize>> {
    let (left, right) = (numbered(before), numbered(after));
    let mut places: BTreeMap<&(String, String, usize), usize> = BTreeMap::new();
    for (key, place) in &left {
        places.insert(key, *place);
    }
    let mut found = vec![None; after.len()];
    let mut taken = vec![false; before.len()];
    for (key, place) in &right {
        if let Some(&other) = places.get(key) {
            found[*place] = Some(other);
            taken[other] = true;
        }
    }
    let open: Vec<usize> = (0..after.len()).filter(|&place| found[place].is_none()).collect();
    for place in open {
        let Some(name) = StepName::parse(after[place]) else { continue };
        let alike = (0..before.len()).filter(|&other| !taken[other]).filter_map(|other| {
            let old = StepName::parse(before[other])?;
            let same_kind = old.stage == name.stage && old.keyword() == name.keyword();
            let ratio = TextDiff::from_chars(old.text, name.text).ratio();
            (same_kind && ratio >= ALIKE).then_some((other, ratio))
        });
        // The first of equals, so that the answer never depends on anything else.
        let best = alike.reduce(|best, next| if next.1 > best.1 { next } else { best });
        if let Some((other, _)) = best {
            found[place] = Some(other);
            taken[other] = true;
        }
    }
    found
}

/// Each step with its stage, text, and how many of the same stand above it; and its place.
fn numbered(names: &[&str]) -> Vec<((String, String, usize), usize)> {
    let mut parsed: Vec<(StepName<'_>, usize)> = names
        .iter()
        .enumerate()
        .filter_map(|(place, name)| Some((StepName::parse(name)?, place)))
        .collect();
    parsed.sort_by_key(|(name, place)| (name.position, *place));
    let mut seen: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut keys = vec![];
    for (name, place) in parsed {
        let count = seen.entry((name.stage.clone(), name.text.to_owned())).or_default();
        keys.push(((name.stage, name.text.to_owned(), *count), place));
        *count += 1;
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_with_and_without_stage_and_platform() {
        let name = StepName::parse("[linux/amd64 BUILDER 2/6] RUN true").unwrap();
        assert_eq!((name.stage.as_str(), name.position, name.total), ("builder", 2, 6));
        assert_eq!(name.label(), "builder: RUN true");
        assert_eq!(StepName::parse("[linux/amd64 2/6] RUN true").unwrap().stage, "");
        assert_eq!(StepName::parse("[ 2/10] RUN true").unwrap().position, 2);
        assert_eq!(StepName::parse("exporting to image"), None);
    }

    #[test]
    fn a_moved_instruction_keeps_its_counterpart_and_an_edited_one_finds_it() {
        let before = ["[2/4] COPY lock .", "[3/4] RUN install --all", "[4/4] COPY . ."];
        let after = ["[2/4] COPY . .", "[3/4] COPY lock .", "[4/4] RUN install --all -q"];
        assert_eq!(counterparts(&before, &after), [Some(2), Some(0), Some(1)]);
    }

    #[test]
    fn equal_instructions_are_told_apart_by_their_order_and_strangers_stay_alone() {
        let before = ["[2/3] RUN true", "[3/3] RUN true"];
        let after = ["[4/4] RUN true", "[2/4] RUN true", "[3/4] ADD something /else"];
        assert_eq!(counterparts(&before, &after), [Some(1), Some(0), None]);
        assert_eq!(counterparts(&["[a 2/2] RUN true"], &["[b 2/2] RUN true"]), [None]);
    }
}
