//! Timelines of single builds, from their traces, until there are enough.
//!
//! A page that held every trace of a long journal would not open, so trials are taken in the
//! order of the journal, which is that of rounds, and the rest is counted.

use std::collections::BTreeMap;

use crate::journal::{BuildView, TrialView};
use crate::measure::{Analysis, Phase, activities, imports};

use super::gather::variant_places;
use super::view::{Bar, Timeline, TimelineRow};

/// Bars in all timelines of a report: about a megabyte of page.
const MOST_BARS: usize = 25_000;

/// Collects timelines for the report of one analysis.
pub struct Timelines<'a> {
    analysis: &'a Analysis,
    places: BTreeMap<(usize, usize), usize>,
    found: Vec<Timeline>,
    bars: usize,
}

impl<'a> Timelines<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        Self { analysis, places: variant_places(analysis), found: vec![], bars: 0 }
    }

    /// Whether no more trials are taken.
    pub fn full(&self) -> bool {
        self.bars >= MOST_BARS
    }

    /// Takes the builds of a trial, unless it is full.
    pub fn add(&mut self, trial: &TrialView<'_>) {
        let analysis = self.analysis;
        let strategy = analysis.strategies.iter().position(|s| s == trial.strategy.as_str());
        let link = trial.link.as_ref().map(|link| link.as_str());
        let link = analysis.links.iter().position(|known| known.as_deref() == link);
        let (Some(strategy), Some(link)) = (strategy, link) else { return };
        let Some(&variant) = self.places.get(&(strategy, link)) else { return };
        if self.full() || trial.commit >= analysis.header.commits.len() {
            return;
        }
        for build in &trial.builds {
            let rows = rows(build);
            self.bars += rows.iter().map(|row| row.bars.len()).sum::<usize>();
            self.found.push(Timeline {
                variant,
                commit: trial.commit,
                round: trial.round,
                target: build.target.as_ref().map(|target| target.as_str().to_owned()),
                wall_seconds: build.wall.seconds(),
                rows,
            });
        }
    }

    /// The timelines, and how many builds of the analysis are not among them.
    pub fn finish(self) -> (Vec<Timeline>, usize) {
        let all: usize = self.analysis.trials.iter().map(|trial| trial.builds.len()).sum();
        let left_out = all.saturating_sub(self.found.len());
        (self.found, left_out)
    }
}

fn rows(build: &BuildView<'_>) -> Vec<TimelineRow> {
    let imports = imports(build);
    let mut rows: Vec<TimelineRow> = build
        .trace
        .vertices
        .iter()
        .map(|vertex| {
            let bars = activities(vertex, imports).into_iter().map(|activity| Bar {
                phase: Phase::ALL.iter().position(|p| *p == activity.phase).unwrap_or(0),
                from_seconds: activity.interval.start.seconds(),
                to_seconds: activity.interval.end.seconds(),
            });
            let mut bars: Vec<Bar> = bars.filter(|bar| bar.to_seconds > bar.from_seconds).collect();
            bars.sort_by(|a, b| a.from_seconds.total_cmp(&b.from_seconds));
            let name = vertex.name.as_str().to_owned();
            TimelineRow { name, cached: vertex.cached, bars: joined(bars) }
        })
        .collect();
    rows.retain(|row| !row.bars.is_empty() || row.cached);
    let start = |row: &TimelineRow| row.bars.first().map_or(f64::MAX, |bar| bar.from_seconds);
    rows.sort_by(|a, b| start(a).total_cmp(&start(b)));
    rows
}

/// Bars of one phase that touch or overlap become one.
fn joined(bars: Vec<Bar>) -> Vec<Bar> {
    let mut joined: Vec<Bar> = vec![];
    for bar in bars {
        match joined.last_mut() {
            Some(last)
                if last.phase == bar.phase && bar.from_seconds <= last.to_seconds + 0.002 =>
            {
                last.to_seconds = last.to_seconds.max(bar.to_seconds);
            }
            _ => joined.push(bar),
        }
    }
    joined
}
