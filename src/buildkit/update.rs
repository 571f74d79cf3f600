//! BuildKit's status messages as plain data for displays: a pure function, message by message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::StatusResponse;

use crate::trace::{LogUpdate, StatusUpdate, Update, VertexUpdate};

/// What `message` says.
pub fn update(message: StatusResponse) -> Update {
    let vertexes = message.vertexes.into_iter().map(|vertex| VertexUpdate {
        started: time(vertex.started),
        completed: time(vertex.completed),
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        error: vertex.error,
    });
    let statuses = message.statuses.into_iter().map(|status| StatusUpdate {
        timestamp: time(status.timestamp),
        started: time(status.started),
        completed: time(status.completed),
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        total: status.total,
        current: status.current,
    });
    let logs = message.logs.into_iter().map(|log| LogUpdate {
        timestamp: time(log.timestamp),
        data: STANDARD.encode(&log.msg),
        vertex: log.vertex,
        stream: log.stream,
    });
    Update { vertexes: vertexes.collect(), statuses: statuses.collect(), logs: logs.collect() }
}

/// None also for a time that no calendar has.
fn time(time: Option<Timestamp>) -> Option<String> {
    let time = time?;
    Some(jiff::Timestamp::new(time.seconds, time.nanos).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::moby::buildkit::v1::{Vertex, VertexLog};

    use super::*;

    #[test]
    fn a_message_is_printed_as_buildx_prints_it() {
        let message = StatusResponse {
            vertexes: vec![Vertex {
                digest: "sha256:1".into(),
                name: "[1/2] FROM x".into(),
                started: Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }),
                ..Default::default()
            }],
            logs: vec![VertexLog {
                vertex: "sha256:1".into(),
                stream: 1,
                msg: b"hi\n".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let text = serde_json::to_string(&update(message)).unwrap();
        assert_eq!(
            text,
            r#"{"vertexes":[{"digest":"sha256:1","name":"[1/2] FROM x","started":"2023-11-14T22:13:20.000000005Z"}],"logs":[{"vertex":"sha256:1","stream":1,"data":"aGkK"}]}"#
        );
    }
}
