//! Keeps secrets out of what a trial records and shows, which its builds and images may have printed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::journal::{Outcome, TrialRecord};
use crate::secrets::Secrets;
use crate::trace::{Update, is_step};

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

/// The same of what is shown while a build runs. A line that comes in pieces is not known there.
pub fn hide_update(secrets: &Secrets, update: &mut Update) {
    for vertex in &mut update.vertexes {
        secrets.hide(&mut vertex.error);
        if !is_step(&vertex.name) {
            secrets.hide(&mut vertex.name);
        }
    }
    for status in &mut update.statuses {
        secrets.hide(&mut status.name);
    }
    for log in &mut update.logs {
        let printed = BASE64.decode(&log.data).unwrap_or_default();
        // Bytes that are no text stay as they are, unless there is something to hide.
        let printed = String::from_utf8_lossy(&printed);
        let mut text = printed.clone().into_owned();
        secrets.hide(&mut text);
        if text != printed {
            log.data = BASE64.encode(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::journal::{BuildRecord, TrialKey};
    use crate::trace::{LogUpdate, StatusUpdate, Trace, Vertex, VertexUpdate};
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
        secrets.conceal("correct-horse");
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
        secrets.conceal("correct-horse");
        hide_update(&secrets, &mut update);
        assert!(!format!("{update:?}").contains("horse"));
        let logs = update.logs.iter().map(|log| BASE64.decode(&log.data).unwrap());
        assert_eq!(logs.collect::<Vec<_>>(), [b"denied: ***".to_vec(), b"\xff\n".to_vec()]);
    }
}
