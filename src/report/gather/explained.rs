//! Causes of misses and advice as rows.

use std::collections::BTreeMap;

use crate::explain;
use crate::measure::Analysis;

use super::super::view::{AdviceRow, CauseRow};

/// Why steps were rebuilt and what to do about it, see [`explain`].
pub fn explained(
    analysis: &Analysis,
    places: &BTreeMap<(usize, usize), usize>,
) -> (Vec<CauseRow>, Vec<AdviceRow>) {
    let header = &analysis.header;
    let place = |cost: &explain::Cost| {
        let strategy = analysis.strategies.iter().position(|name| *name == cost.strategy)?;
        let link = analysis.links.iter().position(|link| *link == cost.link)?;
        places.get(&(strategy, link)).copied()
    };
    let row = |cost: explain::Cost| {
        Some(CauseRow {
            variant: place(&cost)?,
            step: explain::brief(&cost.step),
            kind: cost.cause.to_owned(),
            sentence: explain::of_cost(&cost, header),
            commits: cost.commits.into_iter().collect(),
            trials: cost.trials,
            steps: cost.steps,
            seconds: cost.time.seconds(),
        })
    };
    let mut advisor = explain::Advisor::new(analysis);
    let trials = explain::explain(analysis).inspect(|trial| advisor.see(trial));
    let causes = explain::costs(trials, analysis).into_iter().filter_map(row).collect();
    let advice = advisor.advice().into_iter().map(|advice| AdviceRow {
        kind: advice.kind.name().to_owned(),
        text: advice.text,
        seconds: advice.cost.seconds(),
        commits: advice.commits.into_iter().collect(),
    });
    (causes, advice.collect())
}
