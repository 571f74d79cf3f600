//! How long the incremental commit of a scenario takes to build under each cache strategy.
//!
//! Real engines, real builds: criterion asks for n iterations, and n rounds are played, of which
//! the wall time of the second commit's builds counts, as everywhere else. So `--save-baseline`,
//! `--baseline`, filters, `--list` and `-- --test` mean what they mean for any benchmark.
//! `CACHEFROM_BENCH_SCENARIO=FILE` names another scenario than `benches/incremental.toml`.
//!
//! One strategy is measured after the other, because criterion does so; `cachefrom run` interleaves
//! them and is what published figures come from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefrom::journal::{Outcome, Recorded};
use cachefrom::run::{self, Options};
use cachefrom::scenario::{self, Loaded};
use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};

/// The place of the incremental commit; a scenario of one commit has only that.
fn incremental(loaded: &Loaded) -> usize {
    loaded.scenario.commits.len().saturating_sub(1).min(1)
}

/// Plays `rounds` rounds of `strategy` up to the incremental commit.
fn play(loaded: &Loaded, strategy: &str, rounds: u32) -> Recorded {
    let temporary = tempfile::tempdir().expect("a folder for engines and the journal");
    let options = Options {
        rounds,
        seed: 1,
        replay: None,
        strategies: vec![strategy.to_owned()],
        links: vec![],
        remote: None,
        last_commit: Some(incremental(loaded)),
        partition: None,
        out: temporary.path().join("out"),
        resume: false,
        builders: vec![],
        tls: None,
        secrets: Default::default(),
        allow_prune: false,
        status: false,
        cache_dir: cachefrom::engine::cache_dir(),
        run_root: temporary.path().join("engines"),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ended = runtime.block_on(run::run(loaded, &options, &|_| (), std::future::pending()));
    match ended {
        Ok(ended) => ended.recorded.expect("a run that was not interrupted has a journal"),
        Err(error) => panic!("{strategy} cannot be played: {error}"),
    }
}

/// The wall time of the incremental commit's builds in all of `rounds` rounds.
fn measure(loaded: &Loaded, strategy: &str, rounds: u64) -> Duration {
    let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
    let recorded = play(loaded, strategy, rounds);
    for trial in &recorded.trials {
        // A time of a build that failed would be compared with times of builds that did not.
        assert_eq!(trial.outcome, Outcome::Built, "{:?}", trial.key);
    }
    let last = incremental(loaded);
    let walls = recorded.trials.iter().filter(|trial| trial.key.commit == last);
    walls.map(|trial| Duration::from_nanos(trial.wall().0)).sum()
}

fn strategies(criterion: &mut Criterion) {
    let path = std::env::var_os("CACHEFROM_BENCH_SCENARIO").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/incremental.toml"),
        PathBuf::from,
    );
    let loaded = match scenario::load(&path) {
        Ok(loaded) => loaded,
        Err(diagnostics) => panic!("{diagnostics}"),
    };
    let mut group = criterion.benchmark_group(&loaded.scenario.name);
    // A build takes seconds, so a sample is one build, and ten are what criterion needs.
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_secs(1));
    for strategy in &loaded.scenario.strategies {
        group.bench_function(BenchmarkId::from_parameter(strategy), |bencher| {
            bencher.iter_custom(|rounds| measure(&loaded, strategy, rounds));
        });
    }
    group.finish();
}

/// criterion draws its charts with plotters, which has no fonts but those it is given.
fn with_fonts() -> Criterion {
    cachefrom::report::register_fonts();
    Criterion::default()
}

criterion_group! {
    name = benches;
    config = with_fonts();
    targets = strategies
}
criterion_main!(benches);
