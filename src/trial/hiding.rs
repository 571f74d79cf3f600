//! Keeps secrets out of what a trial records and shows, which its builds and images may have printed.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::memmem;

use crate::journal::{Outcome, TrialRecord};
use crate::secrets::Secrets;
use crate::trace::{CLIPPED, LogUpdate, Update, is_step};

/// Takes out of what builds and images printed what may be secret.
pub fn hide(secrets: &Secrets, record: &mut TrialRecord) {
    for build in &mut record.builds {
        build.import_errors.iter_mut().for_each(|text| secrets.hide(text));
        build.exporter_response.values_mut().for_each(|text| secrets.hide(text));
        for vertex in &mut build.trace.vertices {
            vertex.log.iter_mut().chain(&mut vertex.error).for_each(|text| secrets.hide(text));
            // Steps are called what the Dockerfile says, and are found again by that.
            if !vertex.is_step() {
                secrets.hide(&mut vertex.name);
            }
        }
    }
    record.verifications.iter_mut().for_each(|ran| secrets.hide(&mut ran.stdout));
    match &mut record.outcome {
        Outcome::BuildFailed { step, message, log, .. } => {
            log.iter_mut().chain([step, message]).for_each(|text| secrets.hide(text));
        }
        Outcome::WrongImage { message } | Outcome::Broken { message } => secrets.hide(message),
        Outcome::Built => {}
    }
}

/// The same of what is shown while a build runs. A line may come in pieces: the end of one that may
/// be the beginning of a secret waits for the next.
pub struct Hiding<'a> {
    secrets: &'a Secrets,
    /// What waits of each vertex' streams, not encoded.
    waiting: BTreeMap<(String, i64), Waiting>,
}

struct Waiting {
    log: LogUpdate,
    bytes: Vec<u8>,
}

impl<'a> Hiding<'a> {
    pub fn of(secrets: &'a Secrets) -> Self {
        Self { secrets, waiting: BTreeMap::new() }
    }

    pub fn hide(&mut self, update: &mut Update) {
        let secrets = self.secrets;
        if !secrets.is_hiding() {
            return;
        }
        for vertex in &mut update.vertexes {
            secrets.hide(&mut vertex.error);
            if !is_step(&vertex.name) {
                secrets.hide(&mut vertex.name);
            }
        }
        for status in &mut update.statuses {
            secrets.hide(&mut status.name);
        }
        update.logs.retain_mut(|log| self.hide_log(log));
    }

    /// Whether anything of `log` is left to be shown now.
    fn hide_log(&mut self, log: &mut LogUpdate) -> bool {
        let Ok(printed) = BASE64.decode(&log.data) else { return false };
        let key = (log.vertex.clone(), log.stream);
        let before = self.waiting.remove(&key);
        let mut bytes = before.map_or_else(Vec::new, |waiting| waiting.bytes);
        bytes.extend(printed);
        let mut shown = vec![];
        while let Some(at) = memmem::find(&bytes, CLIPPED) {
            let after = bytes.split_off(at + CLIPPED.len());
            shown.extend(self.secrets.hidden_cut(&bytes[..at]));
            shown.extend_from_slice(CLIPPED);
            bytes = after;
        }
        let rest = bytes.split_off(self.secrets.unfinished(&bytes));
        if !rest.is_empty() {
            self.waiting.insert(key, Waiting { log: log.clone(), bytes: rest });
        }
        shown.extend_from_slice(&self.secrets.hidden(&bytes));
        log.data = BASE64.encode(&shown);
        !shown.is_empty()
    }

    /// What still waits when the build is over. What would be half of a secret shows none of it.
    pub fn rest(self) -> Option<Update> {
        let logs = self.waiting.into_values().map(|Waiting { log, bytes }| LogUpdate {
            data: BASE64.encode(self.secrets.hidden_cut(&bytes)),
            ..log
        });
        let logs: Vec<_> = logs.collect();
        (!logs.is_empty()).then(|| Update { logs, ..Update::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{BuildRecord, TrialKey};
    use crate::trace::{StatusUpdate, Trace, Vertex, VertexUpdate};
    use crate::units::Nanos;

    #[test]
    fn nothing_that_a_build_said_shows_a_secret() {
        let said = || "denied: correct-horse".to_owned();
        let vertex = |name: &str| Vertex {
            digest: String::new(),
            name: name.to_owned(),
            inputs: vec![],
            cached: false,
            intervals: vec![],
            transfers: vec![],
            error: Some(said()),
            log: vec![said()],
        };
        let vertices = vec![vertex("importing cache manifest from a/correct-horse")];
        let key = TrialKey { round: 0, strategy: "a".into(), link: None, commit: 0 };
        let outcome = Outcome::BuildFailed {
            step: "[2/2] RUN correct-horse".into(),
            exit_code: None,
            message: said(),
            log: vec![said()],
        };
        let mut record = TrialRecord::new(key, outcome);
        record.builds.push(BuildRecord {
            target: None,
            wall: Nanos(0),
            trace: Trace { vertices },
            import_errors: vec![said()],
            exporter_response: BTreeMap::from([("a".to_owned(), said())]),
            layers: vec![],
            outputs: vec![],
        });
        let mut secrets = Secrets::default();
        secrets.conceal("correct-horse").unwrap();
        hide(&secrets, &mut record);
        let written = format!("{record:?}");
        assert!(written.contains("denied: ***") && !written.contains("horse"), "{written}");
    }

    #[test]
    fn what_is_shown_of_a_running_build_shows_no_secret() {
        let said = || "denied: correct-horse".to_owned();
        let log = |bytes: &[u8]| LogUpdate { data: BASE64.encode(bytes), ..Default::default() };
        let mut update = Update {
            vertexes: vec![VertexUpdate { name: said(), error: said(), ..Default::default() }],
            statuses: vec![StatusUpdate { name: said(), ..Default::default() }],
            logs: vec![log(said().as_bytes()), log(b"\xff\n")],
        };
        let mut secrets = Secrets::default();
        secrets.conceal("correct-horse").unwrap();
        let mut hiding = Hiding::of(&secrets);
        hiding.hide(&mut update);
        assert!(!format!("{update:?}").contains("horse"));
        let logs = update.logs.iter().map(|log| BASE64.decode(&log.data).unwrap());
        assert_eq!(logs.collect::<Vec<_>>(), [b"denied: ***".to_vec(), b"\xff\n".to_vec()]);
        assert!(hiding.rest().is_none());
    }

    #[test]
    fn a_secret_that_is_printed_in_pieces_is_hidden_while_other_streams_go_on() {
        let mut secrets = Secrets::default();
        secrets.conceal("correct-horse").unwrap();
        let mut hiding = Hiding::of(&secrets);
        let mut shown = String::new();
        let show = |update: &Update, shown: &mut String| {
            for log in &update.logs {
                let text = String::from_utf8(BASE64.decode(&log.data).unwrap()).unwrap();
                shown.push_str(&format!("{}{text}|", log.stream));
            }
        };
        for (stream, text) in
            [(1, "a corr"), (2, "horse"), (1, "ect-"), (1, "horse b\nc"), (2, "!\n"), (1, "orrect")]
        {
            let log = LogUpdate { data: BASE64.encode(text), stream, ..Default::default() };
            let mut update = Update { logs: vec![log], ..Update::default() };
            hiding.hide(&mut update);
            show(&update, &mut shown);
        }
        assert_eq!(shown, "1a |2horse|1*** b\n|2!\n|");
        shown.clear();
        let data = BASE64.encode("-hor\n[output clipped, log limit 1MiB reached]\ncorrect-");
        let log = LogUpdate { data, stream: 1, ..Default::default() };
        let mut update = Update { logs: vec![log], ..Update::default() };
        hiding.hide(&mut update);
        show(&update, &mut shown);
        assert_eq!(shown, "1***\n[output clipped, log limit 1MiB reached]\n|");
        shown.clear();
        show(&hiding.rest().unwrap(), &mut shown);
        assert_eq!(shown, "1***|");
    }
}
