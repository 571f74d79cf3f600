//! The trials of a journal as rows, with the lists that their numbers point into.

use crate::journal::{Header, TrialView};
use crate::strategy::EngineUse;

use super::names::{Name, Names};
use super::reduce::reduce;
use super::row::TrialRow;

/// Trials being reduced, one after the other.
#[derive(Clone, Debug)]
pub struct Rows {
    pub strategies: Vec<String>,
    /// How many of `strategies` are kept over commits, by place.
    kept: Vec<bool>,
    pub links: Vec<Option<String>>,
    pub trials: Vec<TrialRow>,
    pub names: Names,
}

impl Rows {
    pub fn new(header: &Header) -> Self {
        Self {
            strategies: header.strategies.iter().map(|strategy| strategy.name.clone()).collect(),
            kept: header.strategies.iter().map(|s| s.engine == EngineUse::Kept).collect(),
            links: vec![],
            trials: vec![],
            names: Names::default(),
        }
    }

    /// Reduces `trial` and keeps the row.
    pub fn add(&mut self, trial: &TrialView<'_>) {
        let name = trial.strategy.as_str();
        let strategy = self.strategy(name);
        let link = self.link(trial.link.as_ref().map(|link| link.as_str()));
        let kept = self.kept.get(strategy).copied().unwrap_or(false);
        self.trials.push(reduce(trial, (strategy, link), kept, &mut self.names));
    }

    /// Adds the rows of `others`, which come after ours.
    pub fn append(&mut self, others: Self) {
        let strategies: Vec<usize> =
            others.strategies.iter().map(|name| self.strategy(name)).collect();
        let links: Vec<usize> =
            others.links.iter().map(|link| self.link(link.as_deref())).collect();
        let names = others.names.translate_into(&mut self.names);
        let translate = |name: Name| names.get(Names::place(name)).copied().unwrap_or(name);
        self.trials.reserve(others.trials.len());
        for mut trial in others.trials {
            trial.strategy = strategies[trial.strategy];
            trial.link = links[trial.link];
            trial.rename(translate);
            self.trials.push(trial);
        }
    }

    fn strategy(&mut self, name: &str) -> usize {
        let known = self.strategies.iter().position(|strategy| strategy == name);
        known.unwrap_or_else(|| {
            self.strategies.push(name.to_owned());
            self.strategies.len() - 1
        })
    }

    fn link(&mut self, name: Option<&str>) -> usize {
        let known = self.links.iter().position(|link| link.as_deref() == name);
        known.unwrap_or_else(|| {
            self.links.push(name.map(str::to_owned));
            self.links.len() - 1
        })
    }
}
