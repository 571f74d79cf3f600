//! What the steps of a build came out as, so that a step that came out different can be told.
//!
//! Asked after the clock. Layers are read from the engine that built them, each once a run.
//! Surprising: nearly every layer that is built again has another digest, since files' times are in
//! it; what counts is what it holds without them (`listing`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::buildkit::{self, Connection, StepLayer};
use crate::journal::{Difference, StepOutput};

use super::listing::Listing;

/// Packed layers larger than this, in bytes, are not looked into.
const PACKED_LIMIT: u64 = 16 << 20;
/// How long an engine may take to show its history or one layer.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many different outputs of one step are remembered with their files, the latest.
const REMEMBERED: usize = 3;

/// What was seen in the trials of one run.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// What layers hold, by their digest; none for those that could not be listed.
    contents: HashMap<String, Option<String>>,
    /// The different outputs of a step, by its name, latest last.
    listings: HashMap<String, Vec<Arc<Listing>>>,
}

impl Outputs {
    /// The outputs of those steps of the build `reference` whose layers the engine can show.
    /// `names` says what a vertex is called.
    pub async fn of(
        &self,
        connection: &Connection,
        reference: &str,
        names: &HashMap<&str, &str>,
    ) -> Vec<StepOutput> {
        // An engine without a history, or with another, tells nothing: no step has an output then.
        let asked = buildkit::step_layers(connection, reference);
        let layers = tokio::time::timeout(PATIENCE, asked).await;
        let layers = layers.ok().and_then(Result::ok).unwrap_or_default();
        let mut outputs = vec![];
        for layer in layers {
            let Some(name) = names.get(layer.vertex.as_str()) else { continue };
            if let Some(output) = self.output(connection, &layer, name).await {
                outputs.push(output);
            }
        }
        outputs
    }

    async fn output(
        &self,
        connection: &Connection,
        layer: &StepLayer,
        name: &str,
    ) -> Option<StepOutput> {
        let vertex = layer.vertex.clone();
        let known = self.seen().contents.get(&layer.digest).cloned();
        if let Some(known) = known {
            let content = known?;
            let differs = self.seen().differences_of(name, &content);
            return Some(StepOutput { vertex, content, differs });
        }
        if layer.size > PACKED_LIMIT {
            return None;
        }
        let limit = usize::try_from(layer.size).unwrap_or(usize::MAX);
        // A cached step's layer may be nowhere but in the registry; the trial that built it said it.
        let read = buildkit::read_blob(connection, &layer.digest, limit);
        let packed = tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?;
        let media_type = layer.media_type.clone();
        let listed = tokio::task::spawn_blocking(move || Listing::of(&packed, &media_type)).await;
        let listing = listed.ok().and_then(Result::ok).flatten().map(Arc::new);
        let mut seen = self.seen();
        let content = listing.as_ref().map(|listing| listing.content.clone());
        seen.contents.insert(layer.digest.clone(), content);
        let listing = listing?;
        let differs = seen.differences(name, &listing);
        Some(StepOutput { vertex, content: listing.content.clone(), differs })
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        // What a thread that panicked had seen is still so.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// The same for an output that another step came out as before.
    fn differences_of(&mut self, name: &str, content: &str) -> Vec<Difference> {
        let mut remembered = self.listings.values().flatten();
        match remembered.find(|listing| listing.content == content).cloned() {
            Some(listing) => self.differences(name, &listing),
            None => vec![],
        }
    }

    /// How `listing` differs from what the step `name` came out as before; remembers it.
    fn differences(&mut self, name: &str, listing: &Arc<Listing>) -> Vec<Difference> {
        let known = self.listings.entry(name.to_owned()).or_default();
        if known.iter().any(|other| other.content == listing.content) {
            return vec![];
        }
        let differs = known.iter().map(|other| {
            let (files, count) = listing.differing(other);
            Difference { from: other.content.clone(), files, count }
        });
        let differs = differs.collect();
        if known.len() == REMEMBERED {
            known.remove(0);
        }
        known.push(Arc::clone(listing));
        differs
    }
}
