//! How often our statistics are wrong: A/A and power experiments on recorded noise, as Markdown.
//!
//! `cargo bench --bench statistics [-- JOURNAL…]`; without a journal it takes the recordings of
//! `results/statistics`. Two neighbouring rounds of one strategy stand for two strategies in one
//! round: they are as far apart in time, and nothing but noise tells them apart. It measures no
//! speed of ours, so criterion has no part in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cachefrom::measure::Analysis;
use cachefrom::measure::statistics::{Call, Paired, median};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Simulated runs of each experiment.
const RUNS: usize = 200;
/// And how often each experiment is repeated, to know its own error.
const REPEATS: usize = 10;
/// A cell with fewer recorded rounds says too little about its noise.
const FEWEST_ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("statistics: benchmark");
        return Ok(());
    }
    let smoke = arguments.iter().any(|argument| argument == "--test");
    // Cargo passes flags of its own, and `cargo bench NAME` a filter that is meant for others.
    let mut journals: Vec<PathBuf> =
        arguments.iter().filter(|a| a.ends_with(".jsonl")).map(PathBuf::from).collect();
    if journals.is_empty() {
        journals = recordings()?;
    }
    for journal in journals {
        report(&journal, if smoke { 1 } else { REPEATS })?;
    }
    Ok(())
}

/// The journals that lie in `results/statistics`.
fn recordings() -> std::io::Result<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/statistics");
    let mut found = vec![];
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The noise of one cell: pairs of times, in seconds, of neighbouring rounds.
struct Noise {
    cell: String,
    rounds: usize,
    pairs: Vec<(f64, f64)>,
}

impl Noise {
    /// `None` with fewer than [`FEWEST_ROUNDS`].
    fn of(cell: String, times: &[f64]) -> Option<Self> {
        let pairs = times.windows(2).map(|pair| (pair[0], pair[1])).collect();
        (times.len() >= FEWEST_ROUNDS).then_some(Self { cell, rounds: times.len(), pairs })
    }

    /// The typical distance of two neighbours: the standard deviation of one time, as a share,
    /// that the median absolute log ratio of a pair implies for normal noise (1.4826, and √2
    /// because a ratio has the noise of two).
    fn spread(&self) -> f64 {
        let distances: Vec<f64> = self.pairs.iter().map(|(a, b)| (b / a).ln().abs()).collect();
        median(&distances).unwrap_or(0.0) * 1.4826 / std::f64::consts::SQRT_2
    }
}

/// What varied in the recording: each cell, and each strategy over its sequence, as its verdict
/// is over all commits after the first.
fn noises(analysis: &Analysis) -> Vec<Noise> {
    let mut found = vec![];
    let mut sequences: BTreeMap<usize, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for cell in &analysis.cells {
        let message = &analysis.header.commits[cell.commit].message;
        let times: Vec<f64> = cell.samples.iter().map(|sample| sample.wall.seconds()).collect();
        let name = format!("{} at “{message}”", analysis.strategies[cell.strategy]);
        found.extend(Noise::of(name, &times));
        if cell.commit > 0 {
            let rounds = sequences.entry(cell.strategy).or_default();
            for sample in &cell.samples {
                rounds.entry(sample.round).or_default().push(sample.wall.seconds());
            }
        }
    }
    let commits = analysis.header.commits.len().saturating_sub(1);
    if commits > 1 {
        for (strategy, rounds) in sequences {
            let whole = rounds.values().filter(|walls| walls.len() == commits);
            let times: Vec<f64> = whole.map(|walls| walls.iter().sum()).collect();
            let name =
                format!("{}, all {commits} commits after the first", analysis.strategies[strategy]);
            found.extend(Noise::of(name, &times));
        }
    }
    found
}

/// One simulated comparison.
struct Experiment<'a> {
    noise: &'a Noise,
    rounds: usize,
    /// By how much the second strategy is slower.
    slowdown: f64,
    /// By how much the recorded noise is stretched.
    stretch: f64,
}

impl Experiment<'_> {
    /// How many of `runs` call the strategies different.
    fn called(&self, runs: usize, random: &mut ChaCha8Rng) -> usize {
        let run = |_: &usize| {
            let pairs: Vec<(f64, f64)> = (0..self.rounds)
                .map(|_| {
                    let pair = self.noise.pairs[random.random_range(0..self.noise.pairs.len())];
                    let (a, b) = if random.random() { pair } else { (pair.1, pair.0) };
                    (a, a * (b / a).powf(self.stretch) * (1.0 + self.slowdown))
                })
                .collect();
            let paired = Paired::of(&pairs);
            matches!(paired.map(|paired| paired.call()), Some(Call::Faster | Call::Slower))
        };
        (0..runs).filter(run).count()
    }

    /// The share called different.
    fn shares(&self, repeats: usize) -> Shares {
        let mut random = ChaCha8Rng::seed_from_u64(20_261_125);
        let counts: Vec<usize> = (0..repeats).map(|_| self.called(RUNS, &mut random)).collect();
        let share = |count: usize| count as f64 / RUNS as f64;
        Shares {
            first: share(counts[0]),
            mean: counts.iter().copied().map(share).sum::<f64>() / repeats as f64,
        }
    }
}

/// Shares of runs that were called different.
struct Shares {
    /// In the first 200 runs.
    first: f64,
    /// In all.
    mean: f64,
}

impl std::fmt::Display for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} % ({:.1} %)", self.first * 100.0, self.mean * 100.0)
    }
}

fn report(journal: &Path, repeats: usize) -> Result<(), Box<dyn std::error::Error>> {
    let analysis = Analysis::read(journal)?;
    let noises = noises(&analysis);
    let name = journal.file_name().unwrap_or_default().to_string_lossy();
    println!("## {name}\n");
    if noises.is_empty() {
        println!(
            "No strategy has {FEWEST_ROUNDS} rounds at a commit, so there is no noise to draw from.\n"
        );
        return Ok(());
    }
    println!("Each share is of the first {RUNS} runs, and in brackets of {}.\n", RUNS * repeats);
    println!(
        "| recorded | rounds | noise | A/A, 6 rounds | A/A, 10 | A/A, 20 | 10 % slower, found in 10 rounds |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for noise in &noises {
        let shares = |rounds, slowdown| {
            let experiment = Experiment { noise, rounds, slowdown, stretch: 1.0 };
            experiment.shares(repeats)
        };
        println!(
            "| {} | {} | {:.1} % | {} | {} | {} | {} |",
            noise.cell,
            noise.rounds,
            noise.spread() * 100.0,
            shares(6, 0.0),
            shares(10, 0.0),
            shares(20, 0.0),
            shares(10, 0.1),
        );
    }
    println!(
        "\nHow often a slowdown of 10 % is found in 10 rounds, were the same noise as large as:\n"
    );
    let spreads = [0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.15];
    let columns: Vec<String> =
        spreads.iter().map(|spread| format!("{:.0} %", spread * 100.0)).collect();
    println!("| recorded | {} |", columns.join(" | "));
    println!("| --- |{}", " ---: |".repeat(spreads.len()));
    for noise in &noises {
        let found = spreads.map(|spread| {
            let stretch = spread / noise.spread().max(f64::MIN_POSITIVE);
            let experiment = Experiment { noise, rounds: 10, slowdown: 0.1, stretch };
            format!("{:.1} %", experiment.shares(repeats).mean * 100.0)
        });
        println!("| {} | {} |", noise.cell, found.join(" | "));
    }
    println!();
    Ok(())
}
