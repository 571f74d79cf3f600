//! What BuildKit says while a build runs, in the words and shape of buildx's `--progress=rawjson`.
//!
//! For displays only: a trace is folded from the engine's own messages, never from these.

use serde::Serialize;

/// One message; buildx prints the same fields (buildkit `client/graph.go`, `SolveStatus`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Update {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vertexes: Vec<VertexUpdate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<StatusUpdate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogUpdate>,
}

/// Times are RFC 3339 with nanoseconds, on the engine's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VertexUpdate {
    pub digest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A progress row of a vertex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusUpdate {
    pub id: String,
    pub vertex: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// In bytes or in no unit, as is `current`; 0 where it is not known.
    pub total: i64,
    pub current: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
}

/// A piece of a vertex' output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogUpdate {
    pub vertex: String,
    /// 1 is standard output, 2 standard error.
    pub stream: i64,
    /// The bytes in base64: they need not be whole lines, nor UTF-8.
    pub data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<String>,
}
