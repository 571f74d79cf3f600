//! Folds BuildKit's status stream into a [`Trace`]: a pure function of the messages.
//!
//! Stops at plain data; opens no stream. The surprising thing: one vertex comes many times, and a
//! lazily pulled one comes again with `cached=false` after it was a hit, so flags are or-ed and
//! times are collected as intervals, keyed by their start (buildkit `progressui`, `mergeIntervals`).

use std::collections::{BTreeMap, HashMap, VecDeque};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{StatusResponse, VertexLog};

use crate::secrets::Secrets;
use crate::trace::{CLIPPED, Interval, LOG_TAIL, Trace, Transfer, Vertex};
use crate::units::{Bytes, Nanos};

/// No longer than this is kept of a line of output, in bytes: some steps print without newlines.
const LINE_LIMIT: usize = 4096;

/// A trace in the making. Times are nanoseconds since the epoch of the engine's clock.
#[derive(Debug, Default)]
pub struct Fold {
    /// Hidden in lines of output, which are whole only here.
    secrets: Secrets,
    vertices: Vec<Pending>,
    index: HashMap<String, usize>,
    last: Option<i128>,
}

#[derive(Debug, Default)]
struct Pending {
    digest: String,
    name: String,
    inputs: Vec<String>,
    cached: bool,
    spans: BTreeMap<i128, Option<i128>>,
    transfers: Vec<Row>,
    error: String,
    log: VecDeque<String>,
    partial: Vec<u8>,
    /// Whether the line that `partial` is went on.
    cut: bool,
}

#[derive(Debug)]
struct Row {
    id: String,
    current: i64,
    start: Option<i128>,
    end: Option<i128>,
}

impl Fold {
    /// Shows none of `secrets`.
    pub fn hiding(secrets: Secrets) -> Self {
        Self { secrets, ..Self::default() }
    }

    /// Takes in one message, in the order of arrival.
    pub fn add(&mut self, message: &StatusResponse) {
        for vertex in &message.vertexes {
            let started = self.seen(vertex.started.as_ref());
            let completed = self.seen(vertex.completed.as_ref());
            let pending = self.pending(&vertex.digest);
            if pending.name.is_empty() {
                pending.name.clone_from(&vertex.name);
            }
            if pending.inputs.is_empty() {
                pending.inputs.clone_from(&vertex.inputs);
            }
            pending.cached |= vertex.cached;
            pending.error.clone_from(&vertex.error);
            if let Some(start) = started {
                let end = pending.spans.entry(start).or_default();
                *end = (*end).max(completed);
            }
        }
        for status in &message.statuses {
            let stamp = self.seen(status.timestamp.as_ref());
            let start = self.seen(status.started.as_ref()).or(stamp);
            let end = self.seen(status.completed.as_ref()).or(stamp);
            let rows = &mut self.pending(&status.vertex).transfers;
            match rows.iter_mut().find(|row| row.id == status.id) {
                Some(row) => {
                    row.current = status.current;
                    row.start = [row.start, start].into_iter().flatten().min();
                    row.end = row.end.max(end);
                }
                None => {
                    rows.push(Row { id: status.id.clone(), current: status.current, start, end });
                }
            }
        }
        for log in &message.logs {
            self.log(log);
        }
    }

    /// The trace of what was added: its first event is at zero.
    pub fn finish(self) -> Trace {
        let starts = self.vertices.iter().flat_map(|pending| {
            let rows = pending.transfers.iter().filter_map(|row| row.start);
            pending.spans.keys().copied().chain(rows)
        });
        let origin = starts.min().unwrap_or(0);
        let last = self.last.unwrap_or(origin);
        let since = |time: i128| Nanos(u64::try_from((time - origin).max(0)).unwrap_or(u64::MAX));
        let secrets = &self.secrets;
        let vertices = self.vertices.into_iter();
        let vertices = vertices.map(|pending| pending.finish(secrets, last, since));
        Trace { vertices: vertices.collect() }
    }

    fn log(&mut self, log: &VertexLog) {
        // A secret that begins within the limit is known by its end.
        let limit = LINE_LIMIT + self.secrets.longest();
        let index = self.index(&log.vertex);
        let pending = &mut self.vertices[index];
        for (at, byte) in log.msg.iter().enumerate() {
            if *byte == b'\n' {
                pending.cut |= log.msg[at..].starts_with(CLIPPED);
                pending.end_line(&self.secrets);
            } else if pending.partial.len() < limit {
                pending.partial.push(*byte);
            } else {
                pending.cut = true;
            }
        }
    }

    fn seen(&mut self, timestamp: Option<&Timestamp>) -> Option<i128> {
        let time = timestamp.map(|t| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos));
        self.last = self.last.max(time);
        time
    }

    fn pending(&mut self, digest: &str) -> &mut Pending {
        let index = self.index(digest);
        &mut self.vertices[index]
    }

    /// The place in `vertices` of the one that `digest` names.
    fn index(&mut self, digest: &str) -> usize {
        *self.index.entry(digest.to_owned()).or_insert_with(|| {
            self.vertices.push(Pending { digest: digest.to_owned(), ..Pending::default() });
            self.vertices.len() - 1
        })
    }
}

impl Pending {
    fn end_line(&mut self, secrets: &Secrets) {
        let mut line = match std::mem::take(&mut self.cut) {
            true => secrets.hidden_cut(&self.partial),
            false => secrets.hidden(&self.partial).into_owned(),
        };
        line.truncate(LINE_LIMIT);
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        self.partial.clear();
        if self.log.len() == LOG_TAIL {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    fn finish(mut self, secrets: &Secrets, last: i128, since: impl Fn(i128) -> Nanos) -> Vertex {
        if !self.partial.is_empty() {
            self.end_line(secrets);
        }
        let mut intervals: Vec<Interval> = Vec::new();
        for (start, end) in self.spans {
            // An end before its start would be a clock that stepped back during the step.
            let end = since(end.unwrap_or(last).max(start));
            let start = since(start);
            match intervals.last_mut() {
                Some(before) if start <= before.end => before.end = before.end.max(end),
                _ => intervals.push(Interval { start, end }),
            }
        }
        let transfers = self.transfers.into_iter().map(|row| {
            let start = row.start.unwrap_or(last);
            let end = row.end.unwrap_or(start).max(start);
            Transfer {
                id: row.id,
                bytes: Bytes(u64::try_from(row.current).unwrap_or(0)),
                interval: Interval { start: since(start), end: since(end) },
            }
        });
        let transfers = transfers.collect();
        let error = some(&self.error);
        let log = if error.is_some() { self.log.into() } else { Vec::new() };
        let Self { digest, name, inputs, cached, .. } = self;
        Vertex { digest, name, inputs, cached, intervals, transfers, error, log }
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::{Vertex as Message, VertexStatus};
    use proptest::prelude::*;

    use super::*;

    fn at(nanos: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds: 1_700_000_000, nanos: nanos as i32 })
    }

    fn vertex(cached: bool, start: i64, end: Option<i64>) -> StatusResponse {
        let completed = end.and_then(at);
        let vertex = Message {
            digest: "d".into(),
            cached,
            started: at(start),
            completed,
            ..Default::default()
        };
        StatusResponse { vertexes: vec![vertex], ..Default::default() }
    }

    fn folded(messages: &[StatusResponse]) -> Trace {
        let mut fold = Fold::default();
        for message in messages {
            fold.add(message);
        }
        fold.finish()
    }

    #[test]
    fn a_lazily_pulled_vertex_stays_cached_and_keeps_both_intervals() {
        let mut announced = vertex(false, 0, None);
        announced.vertexes[0].started = None;
        announced.vertexes[0].name = "[2/2] RUN make".into();
        announced.vertexes[0].inputs = vec!["base".into()];
        let pull = StatusResponse {
            statuses: vec![VertexStatus {
                id: "sha256:aa".into(),
                vertex: "d".into(),
                current: 42,
                started: at(500),
                completed: at(800),
                ..Default::default()
            }],
            ..Default::default()
        };
        let lazily = [vertex(false, 500, None), pull, vertex(false, 500, Some(900))];
        let mut messages = vec![announced, vertex(true, 10, Some(20))];
        messages.extend(lazily);
        let trace = folded(&messages);
        let [vertex] = trace.vertices.as_slice() else { panic!("{trace:?}") };
        assert!(vertex.cached);
        assert_eq!(vertex.name, "[2/2] RUN make");
        assert_eq!(vertex.inputs, ["base"]);
        let spans: Vec<_> = vertex.intervals.iter().map(|i| (i.start.0, i.end.0)).collect();
        assert_eq!(spans, [(0, 10), (490, 890)]);
        assert_eq!(vertex.transfers[0].bytes, Bytes(42));
    }

    #[test]
    fn an_error_that_a_later_message_takes_back_is_no_error() {
        let mut failed = vertex(false, 0, Some(5));
        failed.vertexes[0].error = "failed to load cache".into();
        let trace = folded(&[failed.clone(), vertex(false, 6, Some(9))]);
        assert_eq!(trace.vertices[0].error, None);
        let trace = folded(&[vertex(false, 6, Some(9)), failed]);
        assert_eq!(trace.vertices[0].error.as_deref(), Some("failed to load cache"));
    }

    fn log(text: &str) -> StatusResponse {
        let msg = text.as_bytes().into();
        let log = VertexLog { vertex: "d".into(), msg, ..Default::default() };
        StatusResponse { logs: vec![log], ..Default::default() }
    }

    #[test]
    fn a_secret_is_hidden_before_its_line_is_cut() {
        let secret: String = (0..2_000).map(|n| format!("{n} ")).collect();
        assert!(secret.len() > 2 * LINE_LIMIT);
        let mut secrets = Secrets::default();
        secrets.conceal(&secret).unwrap();
        secrets.conceal("correct-horse").unwrap();
        let mut failed = vertex(false, 0, Some(5));
        failed.vertexes[0].error = "exit code: 1".into();
        let mut fold = Fold::hiding(secrets);
        let across = format!("{}correct-horse, and more\n", "x".repeat(LINE_LIMIT - 3));
        let (begun, rest) = secret.split_at(5_000);
        let clipped = format!("{begun}\n[output clipped, log limit 100KiB/s reached]\n");
        let pieces = [&across, begun, rest, "!\n", &clipped];
        for message in [failed].into_iter().chain(pieces.map(log)) {
            fold.add(&message);
        }
        let log = &fold.finish().vertices[0].log;
        let across = format!("{}***", "x".repeat(LINE_LIMIT - 3));
        let notice = "[output clipped, log limit 100KiB/s reached]";
        assert_eq!(*log, [&across, "*** !", "***", notice]);
    }

    #[test]
    fn a_failed_vertex_keeps_the_tail_of_its_log_across_messages() {
        let mut failed = vertex(false, 0, Some(5));
        failed.vertexes[0].error = "exit code: 1".into();
        let mut messages = vec![failed];
        messages.extend((0..30).map(|n| log(&format!("line {n}\n"))));
        messages.extend([log("half "), log("done\r\n"), log("no newline")]);
        let trace = folded(&messages);
        let log = &trace.vertices[0].log;
        assert_eq!(log.len(), LOG_TAIL);
        assert_eq!(log[LOG_TAIL - 2..], ["half done", "no newline"]);
    }

    #[test]
    fn an_unfinished_vertex_ends_with_the_last_event() {
        let mut other = vertex(false, 10, Some(100));
        other.vertexes[0].digest = "other".into();
        let trace = folded(&[vertex(false, 0, None), other]);
        assert_eq!(trace.vertices[0].intervals[0].end, Nanos(100));
    }

    fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
        proptest::option::of((any::<i64>(), any::<i32>()))
            .prop_map(|t| t.map(|(seconds, nanos)| Timestamp { seconds, nanos }))
    }

    fn any_message() -> impl Strategy<Value = StatusResponse> {
        let vertex = ("[a-c]?", ".*", any::<bool>(), any_time(), any_time(), ".?").prop_map(
            |(digest, name, cached, started, completed, error)| Message {
                digest,
                name,
                cached,
                started,
                completed,
                error,
                ..Default::default()
            },
        );
        let status = ("[a-c]?", "[x-z]", any::<i64>(), any_time(), any_time(), any_time())
            .prop_map(|(vertex, id, current, timestamp, started, completed)| VertexStatus {
                id,
                vertex,
                current,
                timestamp,
                started,
                completed,
                ..Default::default()
            });
        let log = ("[a-c]?", any::<Vec<u8>>()).prop_map(|(vertex, msg)| VertexLog {
            vertex,
            msg,
            ..Default::default()
        });
        (
            proptest::collection::vec(vertex, 0..4),
            proptest::collection::vec(status, 0..4),
            proptest::collection::vec(log, 0..4),
        )
            .prop_map(|(vertexes, statuses, logs)| StatusResponse {
                vertexes,
                statuses,
                logs,
                ..Default::default()
            })
    }

    proptest! {
        #[test]
        fn folding_never_panics_and_intervals_are_sorted_and_disjoint(
            messages in proptest::collection::vec(any_message(), 0..12)
        ) {
            for vertex in folded(&messages).vertices {
                prop_assert!(vertex.intervals.iter().all(|i| i.start <= i.end));
                prop_assert!(vertex.intervals.windows(2).all(|w| w[0].end < w[1].start));
                prop_assert!(vertex.log.len() <= LOG_TAIL);
            }
        }
    }
}
