use std::path::Path;

use proptest::prelude::*;

use super::super::record::{Line, TrialRecord};
use super::*;

/// Every trial line of every journal below `folder`.
fn recorded(folder: &Path) -> Vec<String> {
    let mut lines = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            lines.extend(recorded(&path));
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            let text = std::fs::read_to_string(path).unwrap();
            let trials = text.lines().filter(|line| line.starts_with(r#"{"line":"trial""#));
            lines.extend(trials.map(str::to_owned));
        }
    }
    lines
}

/// A line with everything that a trial may hold.
fn full() -> String {
    let interval = r#"{"start":1,"end":18446744073709551615}"#;
    let text = format!(
        r#"{{"line":"trial","round":1,"strategy":"a \"b\" \u00e9","link":"wan","commit":2,
        "outcome":{{"is":"build-failed","step":"[1/2] RUN \"x\"","exit_code":1,"message":"m","log":["l"]}},
        "builder":"tcp://x","builds":[{{"target":null,"wall":3,"trace":{{"vertices":[
        {{"digest":"sha256:aa","name":"[2/2] RUN \"é\" \\ \ud83d\ude00","inputs":["a","b\\"],"cached":true,
        "intervals":[{interval},{interval}],"transfers":[{{"id":"ex \"","bytes":0,"interval":{interval}}}],
        "error":"e","log":["a"]}},{{"digest":"","name":"","cached":false,"intervals":[]}}]}},
        "import_errors":["e\n"],"exporter_response":{{"k":"v"}},
        "layers":[{{"diff_id":"d","bytes":1}}],
        "outputs":[{{"vertex":"v","content":"c","differs":[{{"from":"f","files":["g"],"count":1}}]}}]}}],
        "verifications":[{{"target":"t","args":["-a"],"passed":true,"stdout":"\t"}}],
        "engine_start":5,"engine_stop":6,"checkout":7,"cache_records_before":8,
        "collected":{{"records":1,"bytes":2,"of":["x"]}},
        "metered":{{"flows":[{{"repository":null,"direction":"push","kind":"manifest","requests":1,"bytes":2,"time":3}}],
        "events":[],"stored":{{"a/r1/b":{{"blobs":1,"bytes":2,"unreachable_bytes":3}}}}}}}}"#
    );
    let record: TrialRecord = serde_json::from_str(&text).unwrap();
    serde_json::to_string(&Line::Trial(Box::new(record))).unwrap()
}

/// What serde_json reads of the line.
fn plain(line: &str, depth: Depth) -> Result<TrialView<'_>, serde_json::Error> {
    let mut trial: TrialView<'_> = serde_json::from_str(line)?;
    if depth == Depth::WithoutTransfers {
        trial.forget_transfers();
    }
    Ok(trial)
}

#[test]
fn what_this_program_writes_is_taken_and_read_as_serde_json_reads_it() {
    let mut lines = recorded(&Path::new(env!("CARGO_MANIFEST_DIR")).join("results"));
    assert!(lines.len() > 500, "{}", lines.len());
    lines.push(full());
    for line in lines {
        for depth in [Depth::Whole, Depth::WithoutTransfers] {
            assert_eq!(skim(&line, depth).as_ref(), plain(&line, depth).ok().as_ref(), "{line}");
        }
    }
}

#[test]
fn a_reader_of_no_transfers_holds_none() {
    let line = full();
    let vertices = |depth| skim(&line, depth).unwrap().builds.remove(0).trace.vertices;
    let (whole, brief) = (vertices(Depth::Whole), vertices(Depth::WithoutTransfers));
    assert_eq!((whole[0].inputs.len(), whole[0].transfers.len()), (2, 1));
    assert_eq!((brief[0].inputs.len(), brief[0].transfers.len()), (0, 0));
}

#[test]
fn what_stands_otherwise_is_left_to_serde_json() {
    let line = full();
    let spaced = line.replace(r#","cached":"#, r#", "cached":"#);
    let swapped =
        line.replace(r#""engine_stop":6,"checkout":7"#, r#""checkout":7,"engine_stop":6"#);
    let longer = line.replace(r#","checkout""#, r#","new":1,"checkout""#);
    for other in [spaced, swapped, longer] {
        assert_ne!(other, line);
        assert_eq!(skim(&other, Depth::Whole), None, "{other}");
        assert_eq!(plain(&other, Depth::Whole).unwrap(), skim(&line, Depth::Whole).unwrap());
    }
}

/// Changes `line` at a place: takes `cut` characters out and puts `new` in.
fn changed(line: &str, place: prop::sample::Index, cut: usize, new: &str) -> String {
    let mut characters: Vec<char> = line.chars().collect();
    let start = place.index(characters.len());
    let end = (start + cut).min(characters.len());
    characters.splice(start..end, new.chars());
    characters.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn whatever_is_taken_serde_json_takes_alike(
        place in any::<prop::sample::Index>(),
        cut in 0_usize..3,
        new in r#"([\[\]{}",:\\0-9eE.+\- \t\u{0}a-zé]|null|true|\\u00e9|\\ud800){0,2}"#,
    ) {
        let line = changed(&full(), place, cut, &new);
        for depth in [Depth::Whole, Depth::WithoutTransfers] {
            if let Some(skimmed) = skim(&line, depth) {
                prop_assert_eq!(skimmed, plain(&line, depth).unwrap());
            }
        }
    }
}
