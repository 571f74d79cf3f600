//! The parts of a step's name, and which step of one run is which of another.
//!
//! A step is known by its stage and instruction, never by its position: moving one instruction
//! renumbers all others. An instruction whose text changed is matched to the likeliest one of its
//! kind that would else have no counterpart: of its stage first, then of any, since stages are
//! renamed and renumbered. A `COPY` or `ADD` is known by what it takes: two that have no source in
//! common are two, however alike they read.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use similar::{Algorithm, TextDiff, capture_diff_slices, diff_ratio};

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

    /// The text without the instruction's flags, such as `--mount=…`, which are added and taken away.
    fn bare(&self) -> String {
        let mut words = self.text.split_whitespace();
        let keyword = words.next().into_iter();
        let rest = words.skip_while(|word| word.starts_with("--"));
        keyword.chain(rest).collect::<Vec<_>>().join(" ")
    }

    /// What a `COPY` or `ADD` takes, each as [`plain`] writes it, and whether from another stage or
    /// image than the build context.
    fn sources(&self) -> Option<(bool, Vec<String>)> {
        let keyword = self.keyword();
        if keyword != "COPY" && keyword != "ADD" {
            return None;
        }
        let words = || self.text.split_whitespace().skip(1);
        let from = words().any(|word| word.starts_with("--from="));
        // A list, `["a", "b"]`, says the same.
        let bare = |word: &'a str| word.trim_matches(['[', ']', '"', ',']);
        let paths = words().skip_while(|word| word.starts_with("--")).map(bare);
        let mut paths: Vec<String> = paths.filter(|path| !path.is_empty()).map(plain).collect();
        // The last one is where they are put.
        paths.pop();
        paths.sort();
        Some((from, paths))
    }

    /// Whether both copy, and not the same files.
    pub fn copies_others(&self, other: &Self) -> bool {
        self.sources().zip(other.sources()).is_some_and(|(own, others)| own != others)
    }

    /// `builder: RUN true`, which globs are matched against.
    pub fn label(&self) -> String {
        format!("{}: {}", self.stage, self.text)
    }
}

/// Where the step called `name` stands: its stage and its position in that. Steps of a stage that are
/// sorted by it are in the order in which one needs another.
pub fn standing(name: &str) -> Option<(String, usize)> {
    StepName::parse(name).map(|name| (name.stage, name.position))
}

/// Two instructions of one kind that are less alike than this are not the same one, edited.
/// The value is 2 × what is common in both ÷ all of both, 0 to 1.
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
    let old = instructions(before, |place| !taken[place]);
    let new = instructions(after, |place| found[place].is_none());
    for (same_stage, least) in [(true, ALIKE), (false, 1.0), (false, ALIKE)] {
        let mut alike: Vec<((f32, f32), usize, usize)> = vec![];
        for (one, new) in new.iter().enumerate().filter(|(_, it)| found[it.place].is_none()) {
            let near =
                |it: &Instruction| !taken[it.place] && (!same_stage || it.stage == new.stage);
            let candidates = old.iter().enumerate().filter(|(_, it)| near(it));
            alike.extend(
                candidates.filter_map(|(other, old)| Some((old.likeness(new, least)?, one, other))),
            );
        }
        // The likeliest pair first, whichever of the two comes first.
        let likelier = |a: (f32, f32), b: (f32, f32)| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1));
        alike.sort_by(|a, b| likelier(a.0, b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        for (_, one, other) in alike {
            let (new, old) = (new[one].place, old[other].place);
            if found[new].is_none() && !taken[old] {
                found[new] = Some(old);
                taken[old] = true;
            }
        }
    }
    found
}

/// A step that has no counterpart yet.
struct Instruction {
    /// In the names that it is from.
    place: usize,
    stage: String,
    keyword: String,
    text: String,
    /// Of a `COPY` or `ADD`.
    sources: Option<(bool, Vec<String>)>,
    /// Those of `text`, sorted.
    characters: Vec<char>,
}

/// Of `names` those whose place is `wanted`, by where they stand, so that the order in which steps
/// ended decides nothing.
fn instructions(names: &[&str], wanted: impl Fn(usize) -> bool) -> Vec<Instruction> {
    let mut places: Vec<usize> = (0..names.len()).filter(|place| wanted(*place)).collect();
    places.sort_by_cached_key(|place| standing(names[*place]));
    let instruction = |place: usize| {
        let name = StepName::parse(names[place])?;
        let (keyword, text, sources) = (name.keyword(), name.bare(), name.sources());
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        Some(Instruction { place, stage: name.stage, keyword, text, sources, characters })
    };
    places.into_iter().filter_map(instruction).collect()
}

impl Instruction {
    /// How alike two instructions of one kind are, if at least `least` by words or by characters
    /// ([`ALIKE`]); greater is liker. Words come first: an option more changes no word, and another
    /// file's name changes few characters. Copies are alike if they have a source in common, and
    /// else not.
    fn likeness(&self, other: &Self, least: f32) -> Option<(f32, f32)> {
        if self.keyword != other.keyword {
            return None;
        }
        let shared = match (&self.sources, &other.sources) {
            (Some((from, paths)), Some((other_from, others))) => {
                if from != other_from || !share(paths, others) {
                    return None;
                }
                ALIKE
            }
            _ => 0.0,
        };
        if self.text == other.text {
            return Some((1.0, 1.0));
        }
        let left: Vec<&str> = self.text.split_whitespace().collect();
        let right: Vec<&str> = other.text.split_whitespace().collect();
        let words = diff_ratio(
            &capture_diff_slices(Algorithm::Myers, &left, &right),
            left.len(),
            right.len(),
        );
        let words = words.max(shared);
        // No more is common in the same order than in any, which is soon counted, while the order
        // takes the square of the length.
        let both = self.characters.len() + other.characters.len();
        let most = 2.0 * common(&self.characters, &other.characters) as f32 / both as f32;
        let characters = match most.max(words) >= least {
            true => TextDiff::from_chars(&*self.text, &*other.text).ratio(),
            false => return None,
        };
        (words.max(characters) >= least).then_some((words, characters))
    }
}

/// A source however it is spelt: `./src/`, `/src` and `src` are the same folder. Empty for the whole of
/// what is copied from.
fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// Whether a path of the one list is one of the other's, in such a folder or around it. Of a pattern
/// what comes before its first `*`, `?` or `[` counts.
fn share(paths: &[String], others: &[String]) -> bool {
    let covers = |path: &str, other: &str| match path.find(['*', '?', '[']) {
        Some(end) => other.starts_with(&path[..end]),
        None => {
            let rest = other.strip_prefix(path);
            rest.is_some_and(|rest| path.is_empty() || rest.is_empty() || rest.starts_with('/'))
        }
    };
    others.iter().any(|other| paths.iter().any(|path| covers(path, other) || covers(other, path)))
}

/// How many elements two sorted lists have in common.
fn common(one: &[char], other: &[char]) -> usize {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut count = 0;
    while let (Some(left), Some(right)) = (one.peek(), other.peek()) {
        match left.cmp(right) {
            Ordering::Less => drop(one.next()),
            Ordering::Greater => drop(other.next()),
            Ordering::Equal => {
                count += 1;
                one.next();
                other.next();
            }
        }
    }
    count
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
    }

    #[test]
    fn steps_are_found_again_in_a_stage_that_is_renamed_or_renumbered() {
        assert_eq!(counterparts(&["[a 2/2] RUN true"], &["[b 2/2] RUN true"]), [Some(0)]);
        let before = ["[stage-1 2/3] COPY . .", "[stage-1 3/3] RUN make"];
        let after =
            ["[stage-1 2/2] RUN lint", "[stage-2 2/3] COPY . .", "[stage-2 3/3] RUN make -j"];
        assert_eq!(counterparts(&before, &after), [None, Some(0), Some(1)]);
        // A stage's own steps are nearer than those of another.
        let before = ["[a 2/2] RUN one --x", "[b 2/2] RUN one"];
        assert_eq!(counterparts(&before, &["[a 2/2] RUN one"]), [Some(0)]);
    }

    #[test]
    fn the_likeliest_pair_is_found_in_whatever_order_steps_ended() {
        let before = ["[2/2] RUN pip install -r requirements.txt"];
        let edited = "[3/3] RUN pip install --no-cache-dir -r requirements.txt";
        let other = "[2/3] RUN pip install -r requirements-dev.txt";
        assert_eq!(counterparts(&before, &[edited, other]), [Some(0), None]);
        assert_eq!(counterparts(&before, &[other, edited]), [None, Some(0)]);
    }

    #[test]
    fn copies_are_the_same_one_where_they_take_some_files_in_common() {
        let alone = |before: &str, after: &str| {
            counterparts(&[&format!("[2/2] {before}")], &[&format!("[2/2] {after}")]) == [None]
        };
        for (before, after) in [
            ("COPY a .", "COPY b ."),
            ("COPY packages.txt .", "COPY src/words.py ."),
            ("COPY --chown=1 a/b c /to", "COPY --chown=1 a/bc d /to"),
            ("COPY . .", "COPY --from=builder . ."),
            ("COPY package.json .", "COPY lib*.json ."),
            ("ADD https://example.org/v1.tgz /", "ADD https://example.org/v2.tgz /"),
        ] {
            assert!(alone(before, after), "{before}, {after}");
        }
        for (before, after) in [
            ("COPY package.json .", "COPY . ."),
            ("COPY . .", "COPY ./ /srv/"),
            ("COPY a b c d /to/", "COPY c /to/c"),
            ("COPY src src", "COPY src/main.c ./src/"),
            ("COPY package.json .", "COPY package*.json ./"),
            ("COPY [\"a\", \"/to\"]", "COPY a /to"),
            ("COPY --from=one /a /", "COPY --from=two /a /b"),
        ] {
            assert!(!alone(before, after), "{before}, {after}");
        }
        let parsed = |name| StepName::parse(name).unwrap();
        let others = |a, b| parsed(a).copies_others(&parsed(b));
        assert!(others("[2/2] COPY a .", "[2/2] COPY a b ."));
        assert!(!others("[2/2] COPY --chown=1 b a .", "[2/2] COPY a b /to"));
        assert!(!others("[2/2] COPY src/ ./a /to/", "[2/2] COPY a ./src /to/"));
        assert!(!others("[2/2] COPY . .", "[2/2] COPY [\"./\", \"/srv/\"]"));
        assert!(!others("[2/2] COPY --from=x /a//b .", "[2/2] COPY --from=x a/./b/ ."));
        assert!(others("[2/2] COPY src/a .", "[2/2] COPY src ."));
        assert!(!others("[2/2] RUN a b", "[2/2] RUN b c"));
    }

    #[test]
    fn a_mount_that_is_added_does_not_make_another_instruction() {
        let (before, after) =
            ("[2/2] RUN npm ci", "[2/2] RUN --mount=type=cache,target=/root/.npm npm ci");
        assert_eq!(counterparts(&[before], &[after]), [Some(0)]);
    }
}
