//! Which builders build at once, on engines that only say who is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Barrier;

use super::turns::Turns;
use super::{Event, Options, Setup, Way, bases, deal, sequences};
use crate::engine::{Control, Engine, EngineError, Engines, Fresh, Machine, Terms, cache_dir};
use crate::history::History;
use crate::journal::{Journal, Outcome, Recorded};
use crate::registry::Registry;
use crate::scenario;
use crate::strategy::{Strategy, built_in};
use crate::units::Nanos;

/// Engines that never build, but tell when they are wanted.
#[derive(Debug)]
struct Wanted {
    terms: Terms,
    /// How many are wanted on its machine just now.
    now: Arc<AtomicUsize>,
    /// All that are wanted at once meet here, where that is what is tested.
    meeting: Option<Arc<Barrier>>,
    /// How many were wanted at all.
    ever: Arc<AtomicUsize>,
}

#[async_trait]
impl Engines for Wanted {
    fn address(&self) -> String {
        "unix:///nowhere".to_owned()
    }

    fn describe(&self) -> String {
        String::new()
    }

    fn terms(&self) -> &Terms {
        &self.terms
    }

    async fn look(&self) -> Result<Control, EngineError> {
        Ok(Control::Unix("/nowhere".into()))
    }

    async fn warm(&self, _: &[String]) -> Result<bool, EngineError> {
        Ok(true)
    }

    async fn start(&self) -> Result<Box<dyn Engine>, EngineError> {
        self.ever.fetch_add(1, Ordering::SeqCst);
        assert_eq!(self.now.fetch_add(1, Ordering::SeqCst), 0, "two at once on one machine");
        match &self.meeting {
            Some(meeting) => {
                meeting.wait().await;
            }
            // Long enough for another to come in, were it let.
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        self.now.fetch_sub(1, Ordering::SeqCst);
        Err(EngineError::NotStopped { waited: Nanos(0) })
    }

    async fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Plays four rounds of one strategy over two commits on one builder for each of `machines`.
async fn play(machines: [Machine; 2], meeting: Option<Arc<Barrier>>) -> Recorded {
    let folder = tempfile::tempdir().unwrap();
    let loaded = scenario_in(folder.path());
    let history =
        History::script(&loaded, crate::history::Written::NOTHING, folder.path()).unwrap();
    let registry = Registry::start(folder.path().join("registry")).await.unwrap();
    let options = options(folder.path());
    let ways = [Way { link: None, far: None }];
    let terms = Terms {
        fresh: Fresh::No(String::new()),
        mirrored: false,
        local: false,
        host_network: false,
        docker_api: false,
    };
    let same = machines[0] == machines[1];
    let first = Arc::new(AtomicUsize::new(0));
    let second = if same { Arc::clone(&first) } else { Arc::default() };
    let ever = Arc::new(AtomicUsize::new(0));
    let engines = [first, second].map(|now| {
        let (terms, meeting, ever) = (terms.clone(), meeting.clone(), Arc::clone(&ever));
        Wanted { terms, now, meeting, ever }
    });
    let on_event = |_: Event<'_>| {};
    let setups: Vec<Setup<'_>> = engines
        .iter()
        .zip(&machines)
        .enumerate()
        .map(|(number, (engines, machine))| Setup {
            loaded: &loaded,
            options: &options,
            on_event: &on_event,
            history: &history,
            registry: &registry,
            engines,
            ways: &ways,
            machine,
            builder: Some(format!("builder {number}")),
            scratch: folder.path(),
            secrets: &options.secrets,
            bases: bases::Bases::default(),
            outputs: Default::default(),
        })
        .collect();
    let strategies: Vec<Strategy> =
        built_in().iter().filter(|strategy| strategy.name == "local").cloned().collect();
    let order = sequences(&strategies, 1, 4, 1);
    let dealt = deal(&order, setups.len()).unwrap();
    let turns = Turns { strategies: &strategies, order, dealt, commits: 2 };
    let wanted = turns.keys(&setups[0]);
    assert_eq!(wanted.len(), 8);
    let path = folder.path().join("journal.jsonl");
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("results/jq/2026-11-25");
    let header = Recorded::read(&published.join("journal.jsonl")).unwrap().header;
    let mut journal = Journal::create(&path, &header).unwrap();
    let played = turns.play(&setups, &wanted, &mut journal);
    tokio::time::timeout(Duration::from_secs(60), played)
        .await
        .expect("they wait for ever")
        .unwrap();
    let recorded = Recorded::read(&path).unwrap();
    let keys: BTreeSet<_> = recorded.trials.iter().map(|trial| trial.key.clone()).collect();
    assert_eq!(keys, wanted);
    for trial in &recorded.trials {
        assert!(matches!(trial.outcome, Outcome::Broken { .. }), "{:?}", trial.outcome);
        let builder = format!("builder {}", trial.key.round % 2);
        assert_eq!(trial.builder.as_ref(), Some(&builder));
    }
    // Each round keeps one engine, and does not go on with another.
    assert_eq!(ever.load(Ordering::SeqCst), 4);
    recorded
}

fn scenario_in(folder: &Path) -> scenario::Loaded {
    std::fs::create_dir(folder.join("source")).unwrap();
    std::fs::write(folder.join("source/Dockerfile"), "FROM scratch\nCOPY . /\n").unwrap();
    let text = "schema = 1\nname = 'two'\nsource = 'source'\n[build]\n\
                [[commit]]\nmessage = 'first'\n\
                [[commit]]\nmessage = 'again'\nedits = [{ touch = 'Dockerfile' }]\n";
    let path = folder.join("two.toml");
    std::fs::write(&path, text).unwrap();
    scenario::load(&path).unwrap()
}

pub fn options(folder: &Path) -> Options {
    Options {
        rounds: 4,
        seed: 1,
        replay: None,
        strategies: vec![],
        links: vec![],
        remote: None,
        last_commit: None,
        partition: None,
        out: folder.to_owned(),
        resume: false,
        builders: vec![],
        tls: None,
        secrets: Default::default(),
        allow_prune: false,
        status: false,
        cache_dir: cache_dir(),
        run_root: folder.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_of_one_machine_take_turns() {
    let recorded = play([Machine::This, Machine::This], None).await;
    let rounds: Vec<u32> = recorded.trials.iter().map(|trial| trial.key.round).collect();
    assert_eq!(rounds, [0, 0, 1, 1, 2, 2, 3, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn builders_of_two_machines_build_at_the_same_time() {
    let other = Machine::Other(["192.0.2.1".parse().unwrap()].into());
    // Neither gets its engine before the other wants one too.
    let recorded = play([Machine::This, other], Some(Arc::new(Barrier::new(2)))).await;
    assert_eq!(recorded.trials.len(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_whose_kept_engine_is_lost_gives_no_further_numbers() {
    let recorded = play([Machine::This, Machine::This], None).await;
    let said = |commit: usize| {
        let trials = recorded.trials.iter().filter(move |trial| trial.key.commit == commit);
        trials.map(|trial| match &trial.outcome {
            Outcome::Broken { message } => message.as_str(),
            other => panic!("{other:?}"),
        })
    };
    assert!(said(0).all(|message| message.contains("did not stop")), "{:?}", said(0).next());
    assert!(said(1).all(|message| message == "the kept engine was lost at commit 1"));
}
