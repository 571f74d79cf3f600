//! Invented views for tests of drawing and writing: the seed's size, the largest that must stay
//! legible, and the smallest.

use super::view::{
    Bar, Cell, Commit, Estimate, Fact, State, StepState, Timeline, TimelineRow, Variant, Verdict,
    View,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 6 strategies × 5 commits × 10 rounds.
    Seed,
    /// 6 strategies over 2 links × 6 commits.
    Links,
    /// 12 strategies × 30 commits, names of 80 characters.
    Large,
    /// One trial.
    Small,
}

impl Size {
    pub const ALL: [Self; 4] = [Self::Seed, Self::Links, Self::Large, Self::Small];
}

const PHASES: [&str; 9] = [
    "base resolve",
    "cache import",
    "context transfer",
    "cache pull",
    "steps",
    "image export",
    "image push",
    "cache export",
    "other",
];

/// A repeatable number from 0 to 1.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 / (1u64 << 24) as f64
}

pub fn example(size: Size) -> View {
    let (variants, commits, rounds, step_count) = match size {
        Size::Seed => (6, 5, 10, 13),
        Size::Links => (12, 6, 10, 13),
        Size::Large => (12, 30, 10, 20),
        Size::Small => (1, 1, 1, 1),
    };
    let long = "a-name-of-eighty-characters-as-somebody-will-surely-give-one-to-a-cache-strategy";
    let names = ["cold", "local", "inline", "stages", "registry-min", "registry-max"];
    let messages = [
        "first",
        "edit one data file",
        "nothing but a README",
        "change the apt line",
        "unchanged rebuild",
    ];
    let steps: Vec<String> = (0..step_count)
        .map(|step| match step % 3 {
            0 => format!("[builder {}/9] RUN apt-get update && apt-get install --yes --no-install-recommends package-{step}", step + 2),
            1 => format!("[builder {}/9] COPY data /collected/data-{step}", step + 2),
            _ => format!("[production {}/9] RUN sleep \"{step}\"", step + 2),
        })
        .collect();
    let mut view = View {
        schema: super::view::SCHEMA,
        generator: "cachefrom 0.1.0".into(),
        scenario: "jq".into(),
        title: "jq in two stages, one data file edited".into(),
        rounds,
        trials: variants * commits * rounds,
        environment: vec![
            Fact { name: "engine".into(), value: "28.5.2".into() },
            Fact { name: "CPU".into(), value: "AMD EPYC, 2 cores".into() },
        ],
        phases: PHASES.map(String::from).into(),
        warnings: vec!["registry-max at “first”: one of 10 samples lies far outside".into()],
        timelines_left_out: 0,
        steps,
        ..View::default()
    };
    for commit in 0..commits {
        view.commits.push(Commit {
            id: format!("{:040x}", commit as u128 * 0x1234_5678_9ABC_DEF1 + 7),
            message: match size {
                Size::Large if commit == 7 => long.replace('-', " "),
                _ => messages[commit % 5].into(),
            },
            branch: if commit == 0 { "main" } else { "newbranch" }.into(),
            parent: commit.checked_sub(1),
        });
    }
    for number in 0..variants {
        let link = (size == Size::Links).then(|| ["ci", "slow"][number % 2].to_owned());
        let strategy = match size {
            Size::Large if number > 5 => format!("{number}-{long}").chars().take(80).collect(),
            Size::Links => names[number / 2].to_owned(),
            _ => names[number % 6].to_owned(),
        };
        let name = match &link {
            Some(link) => format!("{strategy} over {link}"),
            None => strategy.clone(),
        };
        let is_cold = strategy == "cold";
        let cell = |commit| cell((number, is_cold), commit, rounds, step_count);
        let cells: Vec<Cell> = (0..commits).map(cell).collect();
        let mut seconds = 0.0;
        let mut bytes = 0;
        let mut variant = Variant {
            name: name.clone(),
            description: format!("what {name} does"),
            is_cold,
            strategy,
            link,
            ..Variant::default()
        };
        for cell in &cells {
            seconds += cell.wall_seconds.unwrap().median;
            bytes += cell.pushed_bytes;
            variant.cumulative_seconds.push(Some(seconds));
            variant.stored_bytes.push(Some(bytes));
        }
        if !is_cold {
            variant.verdict = Some(Verdict {
                sentence: format!("{} saves 3.21 s a commit", variant.name),
                saving_seconds: Some(estimate(3.21)),
                times_faster: Some(estimate(1.9)),
                call: "faster".into(),
                break_even_hit_rate: "12 %".into(),
                break_even_hit_share: Some(0.12),
                break_even_bandwidth: "1.2 MB/s".into(),
                break_even_bytes_per_second: Some(1.2e6),
                hit_rate: Some(0.8),
                storage_bytes: bytes,
                ..Verdict::default()
            });
        }
        view.variants.push(variant);
        view.cells.extend(cells);
        for commit in 0..commits.min(2) {
            view.timelines.push(timeline(&view, number, commit));
        }
    }
    view
}

fn estimate(median: f64) -> Estimate {
    Estimate { median, low: Some(median * 0.9), high: Some(median * 1.15), samples: 10 }
}

fn cell((variant, is_cold): (usize, bool), commit: usize, rounds: usize, steps: usize) -> Cell {
    let seed = variant * 131 + commit * 17;
    let warm = !is_cold && commit > 0;
    let median = if warm { 2.0 + 5.0 * noise(seed) } else { 8.0 + noise(seed) };
    let low_high =
        |low: bool| (rounds > 1).then_some(if low { median * 0.93 } else { median * 1.1 });
    let shares = [0.02, 0.03, 0.05, 0.2, 0.35, 0.15, 0.1, 0.08, 0.02];
    let states = (0..steps).filter(|step| noise(seed + step * 7) > 0.05).map(|step| StepState {
        step,
        state: match noise(seed + step * 3) {
            _ if !warm => State::Rebuilt,
            0.0..0.3 => State::Cached,
            0.3..0.6 => State::Lazy,
            0.6..0.65 => State::Varies,
            _ => State::Rebuilt,
        },
    });
    Cell {
        variant,
        commit,
        built: rounds,
        wall_seconds: Some(Estimate {
            median,
            low: low_high(true),
            high: low_high(false),
            samples: rounds,
        }),
        samples_seconds: (0..rounds).map(|r| median * (0.9 + 0.25 * noise(seed + r * 5))).collect(),
        times_faster: (!is_cold).then(|| estimate(8.5 / median)),
        phase_seconds: shares.iter().map(|share| share * median).collect(),
        steps_cached: if warm { steps / 2 } else { 0 },
        steps_lazy: if warm { steps / 4 } else { 0 },
        steps,
        pulled_bytes: if warm { (34e6 * noise(seed + 3)) as u64 } else { 0 },
        pushed_bytes: if variant > 1 || steps == 1 { (40e6 * noise(seed + 9)) as u64 } else { 0 },
        step_states: states.collect(),
        ..Cell::default()
    }
}

fn timeline(view: &View, variant: usize, commit: usize) -> Timeline {
    let names = [
        "[internal] load build definition from Dockerfile",
        "importing cache manifest from 127.0.0.1:37381/jq/r0/registry-max:cache-BUILDER",
    ];
    let rows = names.iter().map(|name| (*name).to_owned()).chain(view.steps.iter().cloned());
    let rows = rows.chain(["exporting to image".to_owned()]);
    Timeline {
        variant,
        commit,
        round: 0,
        target: Some("BUILDER".into()),
        wall_seconds: 8.0,
        rows: rows
            .enumerate()
            .map(|(row, name)| {
                let from = row as f64 * 0.3;
                let bar = |phase: usize, from: f64| Bar {
                    phase: phase % 9,
                    from_seconds: from,
                    to_seconds: from + 0.4,
                };
                TimelineRow {
                    name,
                    cached: row % 3 == 1,
                    bars: vec![bar(row, from), bar(row + 3, from + 0.6)],
                }
            })
            .collect(),
    }
}
