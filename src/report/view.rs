//! What reports show, as plain rows: the shape of `report.json`.
//!
//! Everything is rounded, named and capped here, so that charts, pages and tables agree. Seconds
//! are `f64`, bytes whole; what could not be measured is absent, never NaN. Which numbers there are
//! and what they mean is `measure`'s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this shape.
pub const SCHEMA: u32 = 1;

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct View {
    /// The version of this format; 1.
    pub schema: u32,
    /// The program that made it, with its version.
    pub generator: String,
    pub scenario: String,
    pub title: String,
    /// Distinct rounds that have a built trial.
    pub rounds: usize,
    /// Trials in the journals, failed ones included.
    pub trials: usize,
    /// What may vary between machines: engine, kernel, CPU, link, image sources.
    pub environment: Vec<Fact>,
    /// Strategies, a variant a link where there are several.
    pub variants: Vec<Variant>,
    pub commits: Vec<Commit>,
    /// Names of the phases, in the order of a build; cells and bars give places in it.
    pub phases: Vec<String>,
    /// Names of all steps, in the order of Dockerfile stages; cells give places in it.
    pub steps: Vec<String>,
    /// One for each variant and commit that has trials, by variant, then commit.
    pub cells: Vec<Cell>,
    /// Why steps were rebuilt that a cache might have served, dearest first.
    #[serde(default)]
    pub causes: Vec<CauseRow>,
    /// What to change, going by what was measured, dearest first.
    #[serde(default)]
    pub advice: Vec<AdviceRow>,
    /// Doubts, and what the journals cannot tell; every report shows them.
    pub warnings: Vec<String>,
    /// What went wrong in trials that failed, the first few.
    pub failures: Vec<String>,
    /// Single builds as timelines; possibly not all of them. Not in `report.json`: they are the
    /// journal's traces.
    #[serde(skip)]
    pub timelines: Vec<Timeline>,
    /// Builds that `timelines` leaves out because there are too many.
    #[serde(skip)]
    pub timelines_left_out: usize,
}

/// One fact about the machine or the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// What one cause at one step cost under one variant, over all commits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CauseRow {
    /// Its place in [`View::variants`].
    pub variant: usize,
    /// The step where the chain begins, with its stage and without its number.
    pub step: String,
    /// One word, such as `files` or `instruction`.
    pub kind: String,
    /// In words, as it was at the first commit that met it, with at how many others it was the same,
    /// and at how many another of its kind.
    pub sentence: String,
    /// Places of the commits that met it.
    pub commits: Vec<usize>,
    /// Trials that met it, in all rounds.
    pub trials: usize,
    /// Steps that were rebuilt, those below it too, in all rounds.
    pub steps: usize,
    /// How long those ran in one round: for each commit the mean over the rounds that played it,
    /// summed over commits.
    pub seconds: f64,
}

/// One piece of advice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AdviceRow {
    /// One word or two, such as `move-copy`.
    pub kind: String,
    pub text: String,
    /// Step time that it cost in one round under the strategy that it cost most; 0 where it is about
    /// bytes.
    pub seconds: f64,
    /// Places of the commits that it cost something.
    pub commits: Vec<usize>,
}

/// A strategy over one link.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Variant {
    /// The strategy, and the link where the run had several.
    pub name: String,
    pub description: String,
    pub strategy: String,
    pub link: Option<String>,
    /// Whether this is what others are compared with.
    pub is_cold: bool,
    pub verdict: Option<Verdict>,
    /// Over all commits; absent where no round built them all.
    #[serde(default)]
    pub overall: Option<Overall>,
    /// By commit: seconds of all builds up to it; absent from the first gap on.
    pub cumulative_seconds: Vec<Option<f64>>,
    /// By commit: bytes left in the registry up to it.
    pub stored_bytes: Vec<Option<u64>>,
}

/// Whether a strategy paid.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// In words.
    pub sentence: String,
    /// Seconds saved per commit after the first; negative where it cost more than it gave.
    pub saving_seconds: Option<Estimate>,
    /// Cold's time ÷ this one's.
    pub times_faster: Option<Estimate>,
    /// `faster`, `slower`, `no difference` or `cannot tell`.
    pub call: String,
    pub import_seconds: f64,
    pub pull_seconds: f64,
    pub push_seconds: f64,
    pub export_seconds: f64,
    /// Step time that reuse avoided, per commit.
    pub avoided_seconds: f64,
    pub hit_rate: Option<f64>,
    /// The hit rate from which it pays, in words.
    pub break_even_hit_rate: String,
    /// The same as a share, 0 where it always pays; absent where it never does or is unknown.
    pub break_even_hit_share: Option<f64>,
    /// The bandwidth from which it pays, in words.
    pub break_even_bandwidth: String,
    /// The same in bytes per second, 0 where it always pays; absent where it never does or is unknown.
    pub break_even_bytes_per_second: Option<f64>,
    /// Bytes in the registry after the sequence.
    pub storage_bytes: u64,
}

/// A strategy per commit, over the commits after the first that any strategy built.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overall {
    /// Rounds in which it built all of them.
    pub rounds: usize,
    pub commits: usize,
    pub wall_seconds: Option<Estimate>,
    /// The share of steps that a cache served, 0 to 1.
    pub reused: Option<f64>,
    pub pulled_bytes: u64,
    pub pushed_bytes: u64,
    /// In the registry after the last commit.
    pub stored_bytes: u64,
}

/// A median with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    pub median: f64,
    /// Absent where there are too few samples for one: fewer than six.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub samples: usize,
}

/// One commit of the sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commit {
    pub id: String,
    pub message: String,
    pub branch: String,
    /// The parent's place in the sequence, from 0.
    pub parent: Option<usize>,
}

/// One commit under one variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Place in `variants`, from 0.
    pub variant: usize,
    /// Place in `commits`, from 0.
    pub commit: usize,
    /// Trials that were built and verified; only these are in the numbers.
    pub built: usize,
    pub failed: usize,
    /// Wall time of its builds; absent where none was built.
    pub wall_seconds: Option<Estimate>,
    /// Wall time of single trials, at most [`SAMPLES`], spread over the sorted values.
    pub samples_seconds: Vec<f64>,
    /// Cold's wall time ÷ this one's, paired within rounds.
    pub times_faster: Option<Estimate>,
    /// Median seconds of each phase.
    pub phase_seconds: Vec<f64>,
    /// Steps that a cache served, in the round with the fewest.
    pub steps_cached: usize,
    /// Of those, steps whose layers were never fetched.
    pub steps_lazy: usize,
    pub steps: usize,
    /// Step time that reuse avoided, against the cold build of the same round.
    pub avoided_seconds: Option<Estimate>,
    pub pulled_bytes: u64,
    pub pushed_bytes: u64,
    /// Uncompressed bytes of the images' layers, and those shared with the parent's image.
    pub layer_bytes: Option<u64>,
    pub layer_bytes_shared: Option<u64>,
    /// What became of each step that this cell's builds had.
    pub step_states: Vec<StepState>,
}

/// How many samples of a cell are shown.
pub const SAMPLES: usize = 25;

/// One step in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepState {
    /// Place in the report's `steps`.
    pub step: usize,
    pub state: State,
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A cache served it and its layers were there or were fetched.
    Cached,
    /// A cache served it and its layers were never fetched.
    Lazy,
    /// It ran.
    Rebuilt,
    /// Some rounds reused it and others ran it.
    Varies,
}

/// One build as intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    pub variant: usize,
    pub commit: usize,
    /// From 0.
    pub round: u32,
    pub target: Option<String>,
    pub wall_seconds: f64,
    /// In order of their start.
    pub rows: Vec<TimelineRow>,
}

/// What BuildKit did under one name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineRow {
    pub name: String,
    pub cached: bool,
    pub bars: Vec<Bar>,
}

/// A span of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bar {
    /// Place in the report's `phases`.
    pub phase: usize,
    pub from_seconds: f64,
    pub to_seconds: f64,
}

impl View {
    pub fn cell(&self, variant: usize, commit: usize) -> Option<&Cell> {
        let key = (variant, commit);
        let place = self.cells.binary_search_by_key(&key, |cell| (cell.variant, cell.commit));
        place.ok().map(|place| &self.cells[place])
    }

    /// Cells that have numbers.
    pub fn built(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| cell.built > 0)
    }

    /// Places of variants that have a cell with numbers.
    pub fn shown_variants(&self) -> Vec<usize> {
        let has = |place: &usize| self.built().any(|cell| cell.variant == *place);
        (0..self.variants.len()).filter(has).collect()
    }

    /// Variants to be shown side by side, and the number of commits that they share; none where fewer
    /// than two were measured.
    pub fn side_by_side(&self) -> Option<(usize, Vec<(&Variant, &Overall)>)> {
        let measured = self.variants.iter().filter_map(|v| Some((v, v.overall.as_ref()?)));
        let measured: Vec<_> = measured.collect();
        let commits = measured.iter().map(|(_, overall)| overall.commits).max()?;
        (measured.len() > 1).then_some((commits, measured))
    }

    /// Whether numbers per commit leave out the first, which has nothing to import. Where it is the only
    /// one, they are of it.
    pub fn without_first(&self) -> bool {
        self.commits.len() > 1
    }

    /// Place of what `variant` is compared with: cold over the same link.
    pub fn cold(&self, variant: usize) -> Option<usize> {
        let link = &self.variants.get(variant)?.link;
        self.variants.iter().position(|other| other.is_cold && other.link == *link)
    }
}

/// The JSON Schema of `report.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(View).to_value()
}
