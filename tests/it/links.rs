//! Link profiles over real builds: one more dimension of the matrix, and bytes that take their time.

use cachefrom::journal::Outcome;
use cachefrom::measure::reuse;

use crate::end_to_end::{left_behind, played};

#[test]
fn every_strategy_is_played_over_every_link_and_a_slow_one_takes_as_long_as_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    // 2 MB that do not compress: half a second at 32 Mbit/s.
    let dockerfile = "FROM busybox\nRUN head -c 2000000 /dev/urandom > /big\nCOPY file /\n";
    std::fs::write(tree.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(tree.join("file"), "1\n").unwrap();
    let scenario = folder.path().join("links.toml");
    let text = r#"
        schema = 1
        name = "links"
        source = "tree"
        strategies = ["cold", "registry-max"]
        [build]
        [[link]]
        name = "lan"
        [[link]]
        name = "narrow"
        latency = "1ms"
        down = "32Mbit"
        up = "32Mbit"
        [[commit]]
        message = "first"
        [[commit]]
        message = "second"
        edits = [{ append = "file", content = "2\n" }]
    "#;
    std::fs::write(&scenario, text).unwrap();
    let recorded = played(&scenario, folder.path());
    assert_eq!(left_behind(folder.path()), Vec::<String>::new());

    let names: Vec<&str> = recorded.header.links.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["lan", "narrow"]);
    assert_eq!(recorded.trials.len(), 2 * 2 * 2);
    for trial in &recorded.trials {
        assert_eq!(trial.outcome, Outcome::Built, "{:?}", trial.key);
        let cached =
            if trial.key.strategy == "registry-max" && trial.key.commit == 1 { 1 } else { 0 };
        assert_eq!(reuse(trial).cached, cached, "{:?}", trial.key);
        // What crosses cannot take less time than the link allows; 10 ms may be lent.
        if trial.key.link.as_deref() == Some("narrow") {
            let most = trial.pulled().0.max(trial.pushed().0) as f64 * 8.0 / 32e6;
            assert!(trial.wall().seconds() + 0.01 > most, "{:?}: {}", trial.key, trial.wall());
        }
    }
    let pushed = recorded.trials.iter().map(|trial| trial.pushed().0).max().unwrap();
    assert!(pushed > 2_000_000, "{pushed}");
}
