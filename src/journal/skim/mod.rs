//! Reads a trial line that stands exactly as [`super::Journal::append`] writes it.
//!
//! A check of two journals reads hundreds of megabytes, and a reader that takes JSON in whatever
//! order and spacing spends half of that time on asking which key comes next. This one knows. It
//! gives up at the first byte that it does not expect, and what it gives up on serde_json reads
//! whole; what it takes, serde_json reads alike, unless that is nested too deep for it: here every
//! value has the whole of its limit.

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{IgnoredAny, IntoDeserializer};

use super::view::{
    BuildView, FlowView, MeteredView, Text, TraceView, TransferView, TrialView, VertexView,
};
use crate::trace::Interval;
use crate::units::{Bytes, Nanos};

/// How much of each trial is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Everything that any number is computed from.
    Whole,
    /// No transfers and no inputs of vertices: a pull, push or inline export during a vertex counts
    /// as the vertex' own time, and no step is known to have been fetched.
    WithoutTransfers,
}

/// The trial of `line`; none where a byte stands otherwise than expected.
pub fn skim(line: &str, depth: Depth) -> Option<TrialView<'_>> {
    // What no string may hold unescaped need then not be looked for in each.
    let text = line.strip_suffix('\n').unwrap_or(line);
    let least = text.bytes().fold(u8::MAX, |least, byte| least.min(byte));
    if least < b' ' {
        return None;
    }
    let mut rest = Rest { text, depth };
    let trial = rest.trial()?;
    rest.text.is_empty().then_some(trial)
}

/// What of a line was not read yet.
struct Rest<'a> {
    text: &'a str,
    depth: Depth,
}

impl<'a> Rest<'a> {
    fn trial(&mut self) -> Option<TrialView<'a>> {
        self.expect(r#"{"line":"trial""#)?;
        let round = self.value(r#","round":"#)?;
        let strategy = self.value(r#","strategy":"#)?;
        let link = self.optional(r#","link":"#)?;
        let commit = self.value(r#","commit":"#)?;
        let outcome = self.value(r#","outcome":"#)?;
        let builder = self.optional(r#","builder":"#)?;
        self.expect(r#","builds":"#)?;
        let mut builds = vec![];
        self.each(Self::build, |build| builds.push(build))?;
        self.value::<IgnoredAny>(r#","verifications":"#)?;
        let engine_start = self.value(r#","engine_start":"#)?;
        self.optional::<IgnoredAny>(r#","engine_stop":"#)?;
        let checkout = self.value(r#","checkout":"#)?;
        self.value::<IgnoredAny>(r#","cache_records_before":"#)?;
        let collected = self.optional(r#","collected":"#)?;
        self.expect(r#","metered":"#)?;
        let metered = self.metered()?;
        self.expect("}")?;
        Some(TrialView {
            round,
            strategy,
            link,
            commit,
            builder,
            outcome,
            builds,
            engine_start,
            checkout,
            collected,
            metered,
        })
    }

    fn build(&mut self) -> Option<BuildView<'a>> {
        let target = self.value(r#"{"target":"#)?;
        let wall = self.value(r#","wall":"#)?;
        self.expect(r#","trace":{"vertices":"#)?;
        let mut vertices = vec![];
        self.each(Self::vertex, |vertex| vertices.push(vertex))?;
        let import_errors = self.value(r#"},"import_errors":"#)?;
        self.value::<IgnoredAny>(r#","exporter_response":"#)?;
        let layers = self.optional(r#","layers":"#)?.unwrap_or_default();
        let outputs = self.optional(r#","outputs":"#)?.unwrap_or_default();
        self.expect("}")?;
        let trace = TraceView { vertices };
        Some(BuildView { target, wall, trace, import_errors, layers, outputs })
    }

    fn vertex(&mut self) -> Option<VertexView<'a>> {
        let whole = self.depth == Depth::Whole;
        self.expect(r#"{"digest":"#)?;
        let mut vertex = VertexView { digest: self.string()?, ..VertexView::default() };
        self.expect(r#","name":"#)?;
        vertex.name = self.string()?;
        if self.finds(r#","inputs":"#) {
            let inputs = &mut vertex.inputs;
            self.each(Self::string, |input| {
                if whole {
                    inputs.push(input);
                }
            })?;
        }
        vertex.cached = self.finds(r#","cached":true"#);
        if !vertex.cached {
            self.expect(r#","cached":false"#)?;
        }
        self.expect(r#","intervals":"#)?;
        self.each(Self::interval, |interval| vertex.intervals.push(interval))?;
        if self.finds(r#","transfers":"#) {
            let transfers = &mut vertex.transfers;
            self.each(Self::transfer, |transfer| {
                if whole {
                    transfers.push(transfer);
                }
            })?;
        }
        self.optional::<IgnoredAny>(r#","error":"#)?;
        self.optional::<IgnoredAny>(r#","log":"#)?;
        self.expect("}")?;
        Some(vertex)
    }

    fn transfer(&mut self) -> Option<TransferView<'a>> {
        self.expect(r#"{"id":"#)?;
        let id = self.string()?;
        let bytes = Bytes(self.number(r#","bytes":"#)?);
        self.expect(r#","interval":"#)?;
        let interval = self.interval()?;
        self.expect("}")?;
        Some(TransferView { id, bytes, interval })
    }

    fn interval(&mut self) -> Option<Interval> {
        let start = Nanos(self.number(r#"{"start":"#)?);
        let end = Nanos(self.number(r#","end":"#)?);
        self.expect("}")?;
        Some(Interval { start, end })
    }

    fn metered(&mut self) -> Option<MeteredView<'a>> {
        let mut flows = vec![];
        self.expect(r#"{"flows":"#)?;
        self.each(Self::flow, |flow| flows.push(flow))?;
        self.value::<IgnoredAny>(r#","events":"#)?;
        self.optional::<IgnoredAny>(r#","faults":"#)?;
        let stored = self.optional(r#","stored":"#)?.unwrap_or_default();
        self.expect("}")?;
        Some(MeteredView { flows, stored })
    }

    fn flow(&mut self) -> Option<FlowView> {
        self.expect(r#"{"repository":"#)?;
        if !self.finds("null") {
            self.string()?;
        }
        let direction = self.word(r#","direction":"#)?;
        let kind = self.word(r#","kind":"#)?;
        if self.finds(r#","blob":"#) {
            self.string()?;
        }
        let requests = self.number(r#","requests":"#)?;
        let bytes = Bytes(self.number(r#","bytes":"#)?);
        let time = Nanos(self.number(r#","time":"#)?);
        self.expect("}")?;
        Some(FlowView { direction, kind, requests, bytes, time })
    }

    /// Steps over `literal` where it comes next, and says whether it did.
    fn finds(&mut self, literal: &str) -> bool {
        let rest = self.text.strip_prefix(literal);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn expect(&mut self, literal: &str) -> Option<()> {
        self.finds(literal).then_some(())
    }

    /// A list, each element read by `element` and given to `keep`.
    fn each<T>(
        &mut self,
        element: impl Fn(&mut Self) -> Option<T>,
        mut keep: impl FnMut(T),
    ) -> Option<()> {
        self.expect("[")?;
        if self.finds("]") {
            return Some(());
        }
        loop {
            keep(element(self)?);
            if !self.finds(",") {
                return self.expect("]");
            }
        }
    }

    fn string(&mut self) -> Option<Text<'a>> {
        let text = self.text.strip_prefix('"')?;
        let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
        let (found, rest) = text.split_at(end);
        match rest.strip_prefix('"') {
            Some(rest) => {
                self.text = rest;
                Some(Text(found.into()))
            }
            None => self.value(""),
        }
    }

    /// A variant of an enum, which is written as a word.
    fn word<T: Deserialize<'a>>(&mut self, key: &str) -> Option<T> {
        self.expect(key)?;
        let word: &str = &self.string()?.0;
        T::deserialize(IntoDeserializer::<Error>::into_deserializer(word)).ok()
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        self.expect(key)?;
        let digits = self.text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.text.split_at(digits);
        // JSON knows no number of several digits that begins with a zero.
        if digits > 1 && number.starts_with('0') {
            return None;
        }
        self.text = rest;
        number.parse().ok()
    }

    /// Whatever comes after `key`, by serde_json.
    fn value<T: Deserialize<'a>>(&mut self, key: &str) -> Option<T> {
        self.expect(key)?;
        let mut values = serde_json::Deserializer::from_str(self.text).into_iter();
        let value = values.next()?.ok()?;
        self.text = self.text.get(values.byte_offset()..)?;
        Some(value)
    }

    fn optional<T: Deserialize<'a>>(&mut self, key: &str) -> Option<Option<T>> {
        if self.text.starts_with(key) { Some(Some(self.value(key)?)) } else { Some(None) }
    }
}
