//! A kept engine that lets go of build cache between two trials: its misses are told as that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachefrom::buildkit::{Address, Connection, prune};
use cachefrom::explain::{Cause, Evidence, TrialMisses, explain};
use cachefrom::journal::Recorded;
use cachefrom::measure::Analysis;
use tokio::net::UnixListener;

use super::engines::{engine, recorded, run, scenario, temporary, to_control_api};

/// Serves the control API of the engine at `socket` as a bare buildkitd's, and empties the engine's
/// build cache before the first connection that is made once `journal` holds two trials.
fn serve_and_prune_once(plain: &Path, socket: &Path, journal: &Path) -> Arc<AtomicBool> {
    let listener = UnixListener::bind(plain).unwrap();
    let (socket, journal) = (socket.to_owned(), journal.to_owned());
    let pruned = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&pruned);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let trials = Recorded::read(&journal).map_or(0, |recorded| recorded.trials.len());
            if trials == 2 && !done.swap(true, Ordering::SeqCst) {
                let engine = Connection::open(&Address::Docker(socket.clone())).await.unwrap();
                prune(&engine).await.unwrap();
            }
            tokio::spawn(to_control_api(stream, socket.clone()));
        }
    });
    pruned
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kept_engine_let_go_of_is_told_from_what_cannot_be_explained() {
    let folder = temporary();
    let (engine, _root) = engine(folder.path()).await;
    let plain = folder.path().join("plain.sock");
    let journal = folder.path().join("results/journal.jsonl");
    let pruned = serve_and_prune_once(&plain, engine.socket(), &journal);
    let path = scenario(folder.path(), "strategies = ['local']");
    let address = format!("unix://{}", plain.display());
    let output = run(folder.path(), &path, None, &["--builder", &address]).await;
    let recorded = recorded(folder.path(), &output);
    engine.stop().await.unwrap();
    assert!(pruned.load(Ordering::SeqCst));

    let collected: Vec<_> = recorded.trials.iter().map(|trial| &trial.collected).collect();
    assert!(collected[0].is_none() && collected[1].is_none(), "{collected:#?}");
    let lost = collected[2].as_ref().unwrap();
    assert!(lost.records >= 3 && lost.bytes.0 > 0, "{lost:?}");

    let trials: Vec<TrialMisses> = explain(&Analysis::of(&recorded)).collect();
    // The third commit changes nothing, so every step would have come from the cache.
    let trial = &trials[2];
    assert_eq!((trial.commit, trial.cached, trial.misses.len()), (2, 0, 3));
    let first = &trial.misses[0];
    assert!(first.step.contains("COPY a.txt"), "{first:?}");
    let Cause::Collected { commit, records, bytes, own } = first.cause else { panic!("{first:?}") };
    assert_eq!((commit, records, bytes), (2, lost.records, lost.bytes));
    assert!(own && first.evidence == Evidence::Known, "{first:?} {lost:?}");
    for miss in &trial.misses[1..] {
        let fits = miss.first == 0 || matches!(miss.cause, Cause::Collected { own: true, .. });
        assert!(fits, "{miss:?} {lost:?}");
    }
    // The edit before it is explained as ever.
    let edited = &trials[1].misses[0];
    assert!(matches!(edited.cause, Cause::Files { count: 1, .. }), "{edited:?}");
}
