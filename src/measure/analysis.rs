//! A whole journal as numbers: what every report, chart and check is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::journal::{Depth, End, Header, JournalError, Outcome, Recorded, TrialView};
use crate::units::Bytes;

use super::cell::{Cell, cell};
use super::doubts;
use super::lookup::{COLD, Lookup};
use super::names::{Name, Names};
use super::overall::{Overall, overall};
use super::read::{Read, read};
use super::row::TrialRow;
use super::rows::Rows;
use super::sequence::{SequenceTotals, totals};
use super::statistics::Bootstrap;
use super::verdict::{BreakEven, Verdict, verdict};
use super::warning::Warning;

/// Everything that is computed from one journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    pub header: Header,
    pub end: Option<End>,
    /// Whether the journal's last line was cut.
    pub cut: bool,
    /// The header's strategies, then any that only trials name.
    pub strategies: Vec<String>,
    /// Links that trials were run over, `None` (not shaped) first.
    pub links: Vec<Option<String>>,
    /// In the order of the journal.
    pub trials: Vec<TrialRow>,
    /// Those that have trials, by link, then strategy, then commit.
    pub cells: Vec<Cell>,
    /// By link, then strategy; cold has none.
    pub verdicts: Vec<Verdict>,
    /// By link, then strategy.
    pub sequences: Vec<SequenceTotals>,
    /// By link, then strategy.
    pub overall: Vec<Overall>,
    pub warnings: Vec<Warning>,
    names: Names,
}

impl Analysis {
    /// Measures a journal that was read whole.
    pub fn of(recorded: &Recorded) -> Self {
        let mut rows = Rows::new(&recorded.header);
        for trial in &recorded.trials {
            rows.add(&TrialView::from(trial));
        }
        let (end, cut) = (recorded.end.clone(), recorded.cut);
        Self::of_rows(Read { header: recorded.header.clone(), rows, end, cut })
    }

    /// Reads and measures the journal at `path`, on all cores and without holding its traces.
    pub fn read(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::of_rows(read(path, Depth::Whole)?))
    }

    /// As [`Self::read`] and a third faster, for a check: phases know of no transfers
    /// ([`Depth::WithoutTransfers`]).
    pub fn read_for_check(path: &Path) -> Result<Self, JournalError> {
        Ok(Self::of_rows(read(path, Depth::WithoutTransfers)?))
    }

    /// The same run as if the trials at the places `broken` had broken, for the reasons given: they are
    /// in no number. Warnings stay the journal's.
    pub fn without(&self, broken: &BTreeMap<usize, String>) -> Self {
        let mut rows = Rows::new(&self.header);
        rows.strategies = self.strategies.clone();
        rows.links = self.links.clone();
        rows.names = self.names.clone();
        rows.trials = self.trials.clone();
        for (place, message) in broken {
            if let Some(trial) = rows.trials.get_mut(*place) {
                trial.outcome = Outcome::Broken { message: message.clone() };
            }
        }
        let (header, end, cut) = (self.header.clone(), self.end.clone(), self.cut);
        let rest = Self::of_rows(Read { header, rows, end, cut });
        Self { warnings: self.warnings.clone(), ..rest }
    }

    fn of_rows(read: Read) -> Self {
        let Read { header, rows, end, cut } = read;
        let Rows { strategies, links, mut trials, names, .. } = rows;
        let (links, order) = sorted_links(links);
        for trial in &mut trials {
            trial.link = order[trial.link];
        }
        let mut warnings = doubts::of_trials(&header, links.len(), &mut trials);
        let cold = strategies.iter().position(|name| name == COLD);
        let lookup = Lookup::new(&header, &trials, cold);
        let mut bootstrap = Bootstrap::new();
        let mut by_cell: BTreeMap<(usize, usize, usize), Vec<usize>> = BTreeMap::new();
        let mut by_strategy: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (place, trial) in trials.iter().enumerate() {
            by_cell.entry((trial.link, trial.strategy, trial.commit)).or_default().push(place);
            by_strategy.entry((trial.link, trial.strategy)).or_default().push(place);
        }
        for places in by_cell.values_mut() {
            places.sort_by_key(|&place| trials[place].round);
        }
        let cells: Vec<Cell> =
            by_cell.values().filter_map(|places| cell(&lookup, places, &mut bootstrap)).collect();
        let mut verdicts = vec![];
        let mut sequences = vec![];
        let mut overall = vec![];
        for (&(link, strategy), places) in &by_strategy {
            let rows: Vec<&TrialRow> = places.iter().map(|&place| &trials[place]).collect();
            let totals = totals(&lookup, (strategy, link), &rows);
            overall.push(self::overall(&lookup, &totals, &rows, &mut bootstrap));
            if cold.is_some_and(|cold| cold != strategy) {
                verdicts.push(verdict(&lookup, &totals, &rows));
            }
            sequences.push(totals);
        }
        bandwidths_of_unshaped_links(&links, &mut verdicts);
        warnings.extend(doubts::of_numbers(&doubts::Numbers {
            lookup: &lookup,
            strategies: &strategies,
            links: &links,
            cells: &cells,
            names: &names,
        }));
        warnings.extend(doubts::of_journal(&header, end.as_ref(), cut));
        Self {
            header,
            end,
            cut,
            strategies,
            links,
            trials,
            cells,
            verdicts,
            sequences,
            overall,
            warnings,
            names,
        }
    }

    /// A step's, target's or layer's name.
    pub fn text(&self, name: Name) -> &str {
        self.names.text(name)
    }

    pub fn cell(&self, link: usize, strategy: usize, commit: usize) -> Option<&Cell> {
        let key = (link, strategy, commit);
        let place =
            self.cells.binary_search_by_key(&key, |cell| (cell.link, cell.strategy, cell.commit));
        place.ok().map(|place| &self.cells[place])
    }

    /// Distinct rounds that have a built trial.
    pub fn rounds(&self) -> usize {
        let built = self.trials.iter().filter(|trial| trial.built());
        built.map(|trial| trial.round).collect::<BTreeSet<_>>().len()
    }
}

/// The links in order, and each one's new place.
fn sorted_links(links: Vec<Option<String>>) -> (Vec<Option<String>>, Vec<usize>) {
    let mut sorted = links.clone();
    sorted.sort();
    let place = |link| sorted.iter().position(|other| other == link).unwrap_or(0);
    let order = links.iter().map(place).collect();
    (sorted, order)
}

/// What a strategy saves over a shaped link is measured with that link's transfers in it, so the
/// bandwidth at which it breaks even is taken from the trials over an unshaped link, if any.
fn bandwidths_of_unshaped_links(links: &[Option<String>], verdicts: &mut [Verdict]) {
    let unshaped = links.iter().position(Option::is_none);
    let measured: Vec<(usize, BreakEven<Bytes>)> = verdicts
        .iter()
        .filter(|verdict| Some(verdict.link) == unshaped)
        .map(|verdict| (verdict.strategy, verdict.break_even_bandwidth))
        .collect();
    for verdict in verdicts.iter_mut().filter(|verdict| Some(verdict.link) != unshaped) {
        let same = measured.iter().find(|(strategy, _)| *strategy == verdict.strategy);
        verdict.break_even_bandwidth = same.map_or(BreakEven::Unknown, |(_, found)| *found);
    }
}
