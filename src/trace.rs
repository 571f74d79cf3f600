//! What BuildKit said about one build, as plain data.
//!
//! Times are nanoseconds on the engine's wall clock since the trace's first event, so
//! differences inside one trace are sound and comparisons with other clocks are not.
//! Knows nothing of protobuf: `buildkit` folds its status stream into this.

mod update;

use serde::{Deserialize, Serialize};

pub use update::{LogUpdate, StatusUpdate, Update, VertexUpdate};

use crate::units::{Bytes, Nanos};

/// A half-open span of time, `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub start: Nanos,
    pub end: Nanos,
}

/// A progress row inside a vertex: a layer pull, an extraction, a push, a context transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// BuildKit's status id, such as `sha256:…`, `extracting sha256:…`, `pushing layers`.
    pub id: String,
    /// The last `current` that was reported; 0 where BuildKit counts none.
    pub bytes: Bytes,
    pub interval: Interval,
}

/// One vertex of the build graph, merged over every message about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vertex {
    pub digest: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// True if any message said so: lazy pulls re-send a cached vertex with `cached=false`.
    pub cached: bool,
    /// Merged and sorted; empty if the vertex never ran.
    pub intervals: Vec<Interval>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The last lines of the vertex' output, at most [`LOG_TAIL`]; kept for failed vertices only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// How many lines of a failing step's output are kept.
pub const LOG_TAIL: usize = 20;

/// What an engine writes where it leaves out output of a step that prints too much or too fast, at
/// whatever byte (buildkit `util/progress/logs/logs.go`, `streamWriter.Write`).
pub const CLIPPED: &[u8] = b"\n[output clipped, log limit ";

impl Vertex {
    /// See [`is_step`].
    pub fn is_step(&self) -> bool {
        is_step(&self.name)
    }

    /// See [`is_from`].
    pub fn is_from(&self) -> bool {
        is_from(&self.name)
    }

    /// See [`is_link`].
    pub fn is_link(&self) -> bool {
        is_link(&self.name)
    }

    /// See [`is_met`].
    pub fn is_met(&self) -> bool {
        is_met(self.cached, &self.intervals)
    }
}

/// Whether a vertex ran or was cached. One that did neither was announced only, before its build
/// failed.
pub fn is_met(cached: bool, intervals: &[Interval]) -> bool {
    cached || !intervals.is_empty()
}

/// Whether a vertex of this name stands for a Dockerfile instruction, named `[stage n/m] …`
/// (buildkit `dockerfile2llb/convert.go`, `prefixCommand`).
pub fn is_step(name: &str) -> bool {
    let Some((head, _)) = bracketed(name) else { return false };
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let position = head.as_bytes().rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    let slash = position.iter().position(|&byte| byte == b'/');
    slash.is_some_and(|at| digits(&position[..at]) && digits(&position[at + 1..]))
}

/// Whether a step is a `FROM`, which resolves an image and is neither reused nor rebuilt.
pub fn is_from(name: &str) -> bool {
    bracketed(name).is_some_and(|(_, text)| text.starts_with("FROM "))
}

/// Whether a step is the second half of a `COPY --link` or `ADD --link`: it lays what the first half
/// copied onto what stands above (buildkit `dockerfile2llb/convert_copy.go`, `dispatchCopy`).
///
/// Only the copy is looked up in a cache as such. This half is made again, in milliseconds, whenever
/// anything above it is.
pub fn is_link(name: &str) -> bool {
    bracketed(name).is_some_and(|(_, text)| text.starts_with(LINK))
}

/// What stands before the instruction in the name of such a step.
const LINK: &str = "LINK ";

/// What the first half is called of a step that is the second, see [`is_link`].
pub fn linked(name: &str) -> Option<String> {
    let (head, text) = bracketed(name)?;
    Some(format!("[{head}] {}", text.strip_prefix(LINK)?))
}

/// What stands in the brackets at the start of a vertex' name, and what after them.
pub fn bracketed(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_prefix('[')?;
    // A dozen bytes, of every vertex of every journal: a plain loop is the fastest search.
    let end = name.bytes().position(|byte| byte == b']')?;
    Some((&name[..end], name[end + 1..].strip_prefix(' ')?))
}

/// Everything that was seen of one build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub vertices: Vec<Vertex>,
}

impl Trace {
    /// The steps that ran or came from a cache: Dockerfile instructions other than `FROM`, each once.
    /// Those that were announced only, before the build failed, are left out.
    pub fn steps(&self) -> impl Iterator<Item = &Vertex> {
        let steps = self.vertices.iter().filter(|vertex| vertex.is_step() && !vertex.is_from());
        steps.filter(|vertex| !vertex.is_link() && vertex.is_met())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Vertex {
        Vertex {
            digest: String::new(),
            name: name.into(),
            inputs: vec![],
            cached: false,
            intervals: vec![],
            transfers: vec![],
            error: None,
            log: vec![],
        }
    }

    #[test]
    fn what_never_started_is_no_step_of_the_build() {
        let interval = Interval { start: Nanos(0), end: Nanos(1) };
        let ran = Vertex { intervals: vec![interval], ..named("[1/3] RUN one") };
        let cached = Vertex { cached: true, ..named("[2/3] RUN two") };
        let trace = Trace { vertices: vec![ran, cached, named("[3/3] RUN three")] };
        let names: Vec<&str> = trace.steps().map(|step| step.name.as_str()).collect();
        assert_eq!(names, ["[1/3] RUN one", "[2/3] RUN two"]);
    }

    #[test]
    fn only_numbered_names_are_steps() {
        assert!(named("[builder 2/6] RUN true").is_step());
        assert!(named("[ 2/10] RUN true").is_step());
        assert!(named("[linux/amd64 builder 2/6] COPY a b").is_step());
        assert!(!named("[internal] load build context").is_step());
        assert!(!named("exporting to image").is_step());
        assert!(named("[builder 1/6] FROM docker.io/library/debian").is_from());
    }

    #[test]
    fn the_two_halves_of_a_linked_copy_are_one_step() {
        let copy = Vertex { cached: true, ..named("[app 2/3] COPY --link a /a") };
        let link = Vertex { cached: true, ..named("[app 2/3] LINK COPY --link a /a") };
        assert!(link.is_step() && link.is_link() && !copy.is_link());
        assert_eq!(linked(&link.name), Some(copy.name.clone()));
        assert_eq!(linked(&copy.name), None);
        assert!(!named("[app 2/3] RUN echo LINK ").is_link() && !named("LINK COPY").is_link());
        let trace = Trace { vertices: vec![link, copy.clone()] };
        assert!(trace.steps().eq([&copy]));
    }
}
