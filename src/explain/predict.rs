//! Which steps the next build would reuse, without building it.
//!
//! The tree to be built is taken for one more commit of the sequence, made on top of its last one.
//! A step is reused where a cache that its build could read holds it and nothing that it is made
//! from differs; one that a cache lacks is no miss as long as no rebuilt step needs it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dockerfile::{Dockerfile, Place};
use crate::journal::{CommitRecord, Outcome};
use crate::measure::{Analysis, Traffic, TrialRow};
use crate::units::Nanos;

use super::cause::Cause;
use super::depends::{rests_on, steps, takes_from, tops};
use super::misses::{Explainer, is_needed};

/// What would become of one step under one strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prediction {
    pub strategy: String,
    /// Its stage, as BuildKit names it.
    pub stage: String,
    /// The instruction as the Dockerfile writes it.
    pub instruction: String,
    /// The Dockerfile line on which it begins, from 1.
    pub line: usize,
    pub reused: bool,
    /// Not certain is a step that takes files from a stage to be rebuilt: it is reused after all
    /// where these come out the same. Nor is any reuse where another frontend reads the Dockerfile, or of
    /// what may be made from a stage that only BuildKit knows, as in `FROM base-${TARGETARCH}`.
    pub certain: bool,
    /// Why not, where it is not reused and the cause lies in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
}

/// The round whose caches the next build is taken to find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Basis {
    pub strategy: String,
    /// From 0, as in journals.
    pub round: u32,
    /// How many of the journal's commits it built.
    pub built: usize,
    #[serde(skip)]
    link: usize,
}

/// For each strategy of which a trial was played, in the journal's order, the latest of the rounds that
/// built most commits.
pub fn bases(analysis: &Analysis) -> Vec<Basis> {
    let basis = |(number, strategy): (usize, &String)| {
        let mut built: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        for row in analysis.trials.iter().filter(|row| row.strategy == number) {
            let wrote = matches!(row.outcome, Outcome::Built | Outcome::WrongImage { .. });
            *built.entry((row.link, row.round)).or_default() += usize::from(wrote);
        }
        let most = built.into_iter().max_by_key(|((link, round), count)| (*count, *round, *link));
        most.map(|((link, round), built)| Basis { strategy: strategy.clone(), round, built, link })
    };
    analysis.strategies.iter().enumerate().filter_map(basis).collect()
}

/// Whether each step that a build of `tree` needs would be reused, by strategy, then line, going by
/// the round of [`bases`].
///
/// `tree.changes` are those against the last commit of the journal.
pub fn predict(analysis: &Analysis, tree: CommitRecord) -> Vec<Prediction> {
    let mut with_tree = analysis.clone();
    let next = with_tree.header.commits.len();
    with_tree.header.commits.push(CommitRecord { parent: next.checked_sub(1), ..tree });
    let mut explainer = Explainer::new(&with_tree);
    let mut found = vec![];
    for Basis { strategy, round, link, .. } in bases(analysis) {
        let place = with_tree.strategies.iter().position(|name| *name == strategy);
        let Some(number) = place else { continue };
        let row = TrialRow {
            builder: None,
            round,
            strategy: number,
            link,
            commit: next,
            outcome: Outcome::Built,
            builds: vec![],
            steps: vec![],
            bases: vec![],
            differences: vec![],
            traffic: Traffic::default(),
            stored: None,
            engine_start: None,
            checkout: Nanos(0),
            collected: None,
        };
        found.extend(of_strategy(&mut explainer, &row, &strategy));
    }
    found
}

fn of_strategy(explainer: &mut Explainer<'_>, row: &TrialRow, strategy: &str) -> Vec<Prediction> {
    let dockerfile = explainer.dockerfile(row).clone();
    let last = dockerfile.stages.len().checked_sub(1);
    let targets: Vec<Option<usize>> = match explainer.targets() {
        [] => vec![last],
        named => {
            named.iter().map(|name| dockerfile.stage_named(name, dockerfile.stages.len())).collect()
        }
    };
    let all: Vec<Place> = (0..dockerfile.stages.len())
        .flat_map(|stage| steps(&dockerfile, stage))
        .map(|(place, _)| place)
        .collect();
    let before = row.commit.checked_sub(1);
    let other_frontend =
        before.is_some_and(|before| explainer.other_frontend(before, row.commit).is_some());
    let open = open_stages(&dockerfile, explainer.comparisons.recipe(row.commit).args);
    let mut seen: BTreeSet<Place> = BTreeSet::new();
    let mut found = vec![];
    for (build, target) in targets.into_iter().enumerate() {
        let Some(target) = target else { continue };
        let needed: Vec<Place> =
            all.iter().copied().filter(|place| is_needed(&dockerfile, *place, target)).collect();
        let mut rebuilt: BTreeSet<Place> = BTreeSet::new();
        // What the image and rebuilt steps are laid onto.
        let mut laid_on: BTreeSet<Place> = tops(&dockerfile, target).into_iter().collect();
        // From the last step down, since what a rebuilt one needs must be there.
        for place in needed.iter().rev().copied() {
            let wanted = laid_on.contains(&place)
                || rebuilt.iter().any(|other| {
                    takes_from(&dockerfile, *other)
                        .iter()
                        .any(|stage| is_needed(&dockerfile, place, *stage))
                });
            let (held, same) = explainer.would_hold(row, build, place);
            if !same || (!held && wanted) {
                rebuilt.insert(place);
                laid_on.extend(rests_on(&dockerfile, place));
            }
        }
        let mut doubtful: BTreeSet<Place> = BTreeSet::new();
        for place in needed.into_iter().filter(|place| seen.insert(*place)) {
            let Some(instruction) = dockerfile.at(place) else { continue };
            let missed = rebuilt.contains(&place);
            let cause = if missed { explainer.own_cause(row, build, place) } else { None };
            let mut above = rests_on(&dockerfile, place);
            above.retain(|above| rebuilt.contains(above));
            let inherited = above.iter().all(|above| doubtful.contains(above));
            let taken = !takes_from(&dockerfile, place).is_empty() || !above.is_empty();
            if missed && cause.is_none() && inherited && taken {
                doubtful.insert(place);
            }
            found.push(Prediction {
                strategy: strategy.to_owned(),
                stage: dockerfile.stage_name(place.stage),
                instruction: format!("{} {}", instruction.keyword, instruction.text),
                line: instruction.first_line,
                reused: !missed,
                certain: !doubtful.contains(&place)
                    && (missed || !(other_frontend || open[place.stage])),
                cause,
            });
        }
    }
    found.sort_by_key(|prediction| prediction.line);
    found
}

/// For each stage whether it starts or takes files from one that may be another than is known here.
fn open_stages(dockerfile: &Dockerfile, args: &BTreeMap<String, String>) -> Vec<bool> {
    let mut open: Vec<bool> = vec![];
    for stage in 0..dockerfile.stages.len() {
        let steps = steps(dockerfile, stage).into_iter();
        let taken = steps.flat_map(|(place, _)| takes_from(dockerfile, place));
        let mut from = taken.chain(dockerfile.parent_stage(stage));
        // Each of them stands before it.
        let is_open = dockerfile.has_open_base(stage, args) || from.any(|from| open[from]);
        open.push(is_open);
    }
    open
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{commit, edited, recorded, trial};
    use super::*;

    const TEXT: &str =
        "FROM busybox AS build\nCOPY a /a\nRUN true\nFROM busybox\nCOPY --from=build /a /a\n";
    const STEPS: [&str; 3] =
        ["[build 2/3] COPY a /a", "[build 3/3] RUN true", "[stage-1 2/2] COPY --from=build /a /a"];

    fn built(commit: usize, cached: bool) -> crate::journal::TrialRecord {
        trial("registry-max", commit, &STEPS.map(|name| (name, cached)))
    }

    fn reused(recorded: &crate::journal::Recorded, tree: CommitRecord) -> Vec<(usize, bool, bool)> {
        let found = predict(&Analysis::of(recorded), tree);
        found.iter().map(|step| (step.line, step.reused, step.certain)).collect()
    }

    #[test]
    fn a_renamed_stage_is_the_same_stage() {
        let recorded =
            recorded(&["registry-max"], vec![edited(TEXT, &[("a", "1")])], vec![built(0, false)]);
        let all = [(2, true, true), (3, true, true), (5, true, true)];
        assert_eq!(reused(&recorded, commit(TEXT, &[])), all);
        let renamed = TEXT.replace("AS build", "AS builder").replace("=build", "=builder");
        assert_eq!(reused(&recorded, commit(&renamed, &[])), all);
        let numbered = TEXT.replace("=build", "=0");
        assert_eq!(reused(&recorded, commit(&numbered, &[])), all);
        let other = TEXT.replace("=build", "=busybox");
        assert_eq!(reused(&recorded, commit(&other, &[])), [(5, false, true)]);
    }

    #[test]
    fn the_latest_round_that_built_most_commits_is_what_the_next_build_finds() {
        let commits = vec![edited(TEXT, &[("a", "1")]), edited(TEXT, &[("a", "2")])];
        let mut recorded = recorded(
            &["registry-max"],
            commits,
            vec![built(0, false), built(1, false), built(0, false)],
        );
        // The second round was cut after its first commit, whose `a` the tree does not have.
        recorded.trials[2].key.round = 1;
        let all = [(2, true, true), (3, true, true), (5, true, true)];
        assert_eq!(reused(&recorded, commit(TEXT, &[])), all);
        let basis = |recorded: &crate::journal::Recorded| {
            let bases = bases(&Analysis::of(recorded));
            bases.iter().map(|basis| (basis.round, basis.built)).collect::<Vec<_>>()
        };
        assert_eq!(basis(&recorded), [(0, 2)]);
        let mut second = built(1, true);
        second.key.round = 1;
        recorded.trials.push(second);
        assert_eq!(basis(&recorded), [(1, 2)]);
    }

    /// What the next build makes of `after`, where one of `before` was built under `strategy`.
    fn next(strategy: &str, before: &str, after: &str) -> Vec<(usize, bool, bool)> {
        let built = trial(strategy, 0, &[("[1/1] RUN a", false)]);
        reused(&recorded(&[strategy], vec![commit(before, &[])], vec![built]), commit(after, &[]))
    }

    #[test]
    fn a_cache_holds_what_was_built_then() {
        let text = "FROM busybox AS build\nRUN make\nFROM busybox\nCOPY --from=build /x /x\n";
        assert_eq!(next("registry-min", text, "FROM busybox\nRUN make\n"), [(2, false, true)]);
        assert_eq!(next("registry-max", text, "FROM busybox\nRUN make\n"), [(2, true, true)]);
        // Nothing needed it.
        let text = "FROM busybox AS lint\nRUN lint\nFROM busybox\nRUN a\n";
        let copied = format!("{text}COPY --from=lint /r /r\n");
        for strategy in ["registry-max", "local"] {
            let found = next(strategy, text, &copied);
            assert_eq!(found, [(2, false, true), (4, true, true), (5, false, true)], "{strategy}");
        }
    }

    #[test]
    fn a_step_whose_line_another_stage_has_too_is_reused_and_what_is_below_it_is_not() {
        let text = "FROM node:20 AS t\nRUN npm ci\nRUN npm test\nFROM node:20 AS prod\n\
                    RUN npm ci --omit=dev\nRUN npm run build\nCOPY --from=t /r /r\n";
        let found = next("registry-max", text, &text.replace(" --omit=dev", ""));
        let reused: Vec<bool> = found.iter().map(|(_, reused, _)| *reused).collect();
        assert_eq!(reused, [true, true, true, false, false]);
    }

    #[test]
    fn a_linked_copy_is_reused_whatever_stands_above_it() {
        let text = "FROM busybox AS tool\nRUN make\nFROM busybox\nARG N=1\nRUN echo $N\n\
                    COPY --link a /a\nCOPY --link --from=tool /t /t\nRUN cat /a\n";
        let lines = |after: &str| -> Vec<(usize, bool)> {
            let found = next("registry-max", text, after);
            found.into_iter().map(|(line, reused, _)| (line, reused)).collect()
        };
        let all = |reused: [bool; 5]| [2, 5, 6, 7, 8].into_iter().zip(reused).collect::<Vec<_>>();
        assert_eq!(lines(text), all([true; 5]));
        let other = text.replace("N=1", "N=2");
        assert_eq!(lines(&other), all([true, false, true, true, false]));
        let base = text.replace("FROM busybox\nARG", "FROM debian\nARG");
        assert_eq!(lines(&base), all([true, false, true, true, false]));
        let made = text.replace("make", "make all");
        assert_eq!(lines(&made), all([false, true, true, false, false]));
        let copied = text.replace("link a /a", "link b /a");
        assert_eq!(lines(&copied), all([true, true, false, true, false]));
        // BuildKit makes these on top of what stands above them.
        for flag in ["--link=false", "--link --chmod=755"] {
            let plain = text.replace("--link a", &format!("{flag} a"));
            let other = plain.replace("N=1", "N=2");
            let found = next("registry-max", &plain, &other);
            assert!(!found[2].1 && found[3].1, "{flag}: {found:?}");
        }
    }

    #[test]
    fn what_only_buildkit_knows_the_base_of_is_not_certain() {
        let text = "FROM alpine AS base-amd64\nRUN a\nFROM base-${TARGETARCH} AS final\nRUN b\n";
        assert_eq!(next("registry-max", text, &text.replace("RUN a", "RUN c")), [(4, true, false)]);
        let image = text.replace("FROM base-", "FROM debian-");
        assert_eq!(next("registry-max", &image, &image), [(4, true, true)]);
    }
}
