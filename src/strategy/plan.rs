//! The pure function *(strategy, position) → cache plan*.
//!
//! It fills placeholders in and repeats imports over stages; it looks at nothing else. The one
//! surprising rule: an import whose placeholder has no value is dropped, since there is no cache
//! yet that it could name, while an export or push in that state is kept with an empty value.

use super::definition::{CacheEntry, EngineUse, Strategy};
use super::position::Position;

/// What the builds of one trial import and export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePlan {
    pub engine: EngineUse,
    pub no_cache: bool,
    pub builds: Vec<BuildPlan>,
}

/// One build of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPlan {
    /// The stage; the Dockerfile's last one when absent.
    pub target: Option<String>,
    /// Nearest first, without duplicates.
    pub imports: Vec<CacheEntry>,
    pub exports: Vec<CacheEntry>,
    pub push: Option<String>,
}

/// The caches that the builds of the trial at `position` may read, and those they write.
pub fn plan(strategy: &Strategy, position: &Position) -> CachePlan {
    let targets: Vec<Option<&str>> = match position.targets.as_slice() {
        [] => vec![None],
        targets => targets.iter().map(|target| Some(target.as_str())).collect(),
    };
    let builds = targets
        .iter()
        .enumerate()
        .map(|(index, target)| {
            let at = At { position, stage: target.unwrap_or(LAST_STAGE) };
            BuildPlan {
                target: target.map(String::from),
                imports: imports(strategy, &at, &targets, index),
                exports: strategy.exports.iter().map(|entry| at.entry(entry, None).0).collect(),
                push: strategy.push.as_ref().map(|name| at.text(name, None).0),
            }
        })
        .collect();
    CachePlan { engine: strategy.engine, no_cache: strategy.no_cache, builds }
}

/// What may stand in braces in attributes of caches and in `push`, beside `ancestor-N` and, in
/// attributes, `env:NAME`.
pub const PLACEHOLDERS: [&str; 8] =
    ["repo", "commit", "parent", "branch", "default-branch", "merge-base", "tag", "stage"];
/// Those that repeat an import over stages.
pub const ONCE_A_STAGE: [&str; 2] = ["each-stage", "built-stage"];

/// Stands for the stage's name in tags where the scenario names no target.
const LAST_STAGE: &str = "image";

fn imports(
    strategy: &Strategy,
    at: &At<'_>,
    targets: &[Option<&str>],
    index: usize,
) -> Vec<CacheEntry> {
    let mut found: Vec<CacheEntry> = vec![];
    for entry in &strategy.imports {
        let uses = |placeholder: &str| entry.attrs.values().any(|v| v.contains(placeholder));
        let stages: Vec<Option<&str>> = if uses("{built-stage}") {
            targets[..index].iter().map(|t| Some(t.unwrap_or(LAST_STAGE))).collect()
        } else if uses("{each-stage}") {
            targets.iter().map(|t| Some(t.unwrap_or(LAST_STAGE))).collect()
        } else {
            vec![None]
        };
        for stage in stages {
            let (entry, complete) = at.entry(entry, stage);
            if complete && !found.contains(&entry) {
                found.push(entry);
            }
        }
    }
    found
}

struct At<'a> {
    position: &'a Position,
    stage: &'a str,
}

impl At<'_> {
    /// `entry` with its placeholders filled in, and whether each of them had a value.
    fn entry(&self, entry: &CacheEntry, other_stage: Option<&str>) -> (CacheEntry, bool) {
        let mut complete = true;
        let attrs = entry
            .attrs
            .iter()
            .map(|(key, value)| {
                let (value, whole) = self.text(value, other_stage);
                complete &= whole;
                (key.clone(), value)
            })
            .collect();
        (CacheEntry { kind: entry.kind.clone(), attrs }, complete)
    }

    fn text(&self, template: &str, other_stage: Option<&str>) -> (String, bool) {
        let position = self.position;
        let (branch, default_branch) = (tag(&position.branch), tag(&position.default_branch));
        let values = [
            ("{repo}", Some(position.repo.as_str())),
            ("{commit}", Some(position.commit.as_str())),
            ("{parent}", position.parent()),
            ("{branch}", Some(branch.as_str())),
            ("{default-branch}", Some(default_branch.as_str())),
            ("{merge-base}", position.merge_base.as_deref()),
            ("{tag}", position.tag.as_deref()),
            ("{stage}", Some(self.stage)),
            ("{each-stage}", other_stage),
            ("{built-stage}", other_stage),
        ];
        let ancestors = (1..=Position::ANCESTORS).map(|number| {
            let ancestor = position.ancestors.get(number - 1);
            (format!("{{ancestor-{number}}}"), ancestor.map(String::as_str))
        });
        let values = values.map(|(placeholder, value)| (placeholder.to_owned(), value));
        let mut text = template.to_owned();
        let mut complete = true;
        for (placeholder, value) in values.into_iter().chain(ancestors) {
            let placeholder = placeholder.as_str();
            if text.contains(placeholder) {
                complete &= value.is_some();
                text = text.replace(placeholder, value.unwrap_or(""));
            }
        }
        (text, complete)
    }
}

/// `name` with what a tag may not hold replaced by `-` (OCI distribution-spec 1.1, "reference").
fn tag(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::built_in::{built_in, policies};
    use super::super::definition::Strategy;
    use super::*;

    fn position(parent: Option<&str>) -> Position {
        Position {
            repo: "localhost:1/jq".into(),
            commit: "c2".into(),
            ancestors: parent.map(String::from).into_iter().collect(),
            branch: "main".into(),
            default_branch: "main".into(),
            merge_base: None,
            tag: None,
            targets: vec!["BUILDER".into(), "PRODUCTION".into()],
        }
    }

    fn named(name: &str) -> &'static Strategy {
        built_in().iter().find(|strategy| strategy.name == name).unwrap()
    }

    fn refs(entries: &[CacheEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.attrs["ref"].as_str()).collect()
    }

    #[test]
    fn stages_import_what_was_just_built_then_every_stage_of_the_parent() {
        let plan = plan(named("stages"), &position(Some("c1")));
        assert_eq!(
            refs(&plan.builds[1].imports),
            [
                "localhost:1/jq:BUILDER_c2",
                "localhost:1/jq:BUILDER_c1",
                "localhost:1/jq:PRODUCTION_c1"
            ]
        );
        assert_eq!(plan.builds[1].push.as_deref(), Some("localhost:1/jq:PRODUCTION_c2"));
    }

    #[test]
    fn the_first_commit_imports_no_parent() {
        assert!(plan(named("inline"), &position(None)).builds[0].imports.is_empty());
    }

    #[test]
    fn every_placeholder_that_is_named_is_filled_in() {
        let position = position(Some("c1"));
        let at = At { position: &position, stage: "s" };
        let ancestors = (1..=Position::ANCESTORS).map(|number| format!("ancestor-{number}"));
        let named = PLACEHOLDERS.into_iter().chain(ONCE_A_STAGE).map(str::to_owned);
        for name in named.chain(ancestors) {
            let (filled, _) = at.text(&format!("{{{name}}}"), Some("t"));
            assert!(!filled.contains('{'), "{filled}");
        }
        assert_eq!(at.text("{other}", Some("t")), ("{other}".to_owned(), true));
    }

    #[test]
    fn each_target_has_its_own_registry_cache() {
        let plan = plan(named("registry-max"), &position(Some("c1")));
        assert_eq!(refs(&plan.builds[0].exports), ["localhost:1/jq:cache-BUILDER"]);
        assert_eq!(refs(&plan.builds[1].imports), ["localhost:1/jq:cache-PRODUCTION"]);
    }

    proptest! {
        #[test]
        fn plans_fill_every_placeholder_once_a_target(
            which in 0..15usize,
            ancestors in proptest::collection::vec("[a-f0-9]{7}", 0..5),
            branch in "[a-z/]{1,12}",
            targets in proptest::collection::vec("[A-Z]{1,6}", 0..4),
        ) {
            let position = Position { ancestors, branch, targets, ..position(None) };
            let all: Vec<&Strategy> = built_in().iter().chain(policies()).collect();
            let plan = plan(all[which], &position);
            prop_assert_eq!(plan.builds.len(), position.targets.len().max(1));
            for build in &plan.builds {
                let texts = build.imports.iter().chain(&build.exports)
                    .flat_map(|entry| entry.attrs.values()).chain(&build.push);
                for text in texts {
                    prop_assert!(!text.contains(['{', '}']), "{}", text);
                }
                let mut seen = build.imports.clone();
                seen.dedup();
                prop_assert_eq!(&seen, &build.imports);
            }
        }
    }
}
