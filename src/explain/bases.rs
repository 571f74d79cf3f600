//! What each trial's `FROM`s were resolved to, by the names of their steps.
//!
//! Within one run a base image stays what it is, unless engines get it from a registry of their own
//! choice and its tag moves in between.

use std::collections::HashMap;

use crate::dockerfile::{Instruction, Place};
use crate::measure::{Analysis, TrialRow};

use super::cause::Cause;
use super::depends::rests_on;
use super::recipe::Recipe;

/// The images of every trial, by strategy, link, round and commit: `HOST/NAME:TAG@DIGEST`.
pub struct Bases<'a>(HashMap<(usize, usize, u32, usize), Vec<&'a str>>);

impl<'a> Bases<'a> {
    pub fn new(analysis: &'a Analysis) -> Self {
        let names = |row: &TrialRow| row.bases.iter().map(|name| analysis.text(*name)).collect();
        let key = |row: &TrialRow| (row.strategy, row.link, row.round, row.commit);
        Self(analysis.trials.iter().map(|row| (key(row), names(row))).collect())
    }

    /// Another digest of the image that the step at `place` stands right on, linked copies aside, against
    /// the trial of the commit `before` of the same sequence; none where it stands on another step.
    pub fn moved(
        &self,
        row: &TrialRow,
        place: Place,
        before: usize,
        now: &Recipe<'_>,
    ) -> Option<Cause> {
        let is_linked = |place: Place| now.dockerfile.at(place).is_some_and(Instruction::is_linked);
        if is_linked(place) || !rests_on(&now.dockerfile, place).into_iter().all(is_linked) {
            return None;
        }
        let image = now.dockerfile.base_image(place.stage, now.args)?;
        let digest = |commit: usize| {
            let images = self.0.get(&(row.strategy, row.link, row.round, commit))?;
            let whole = whole(&image);
            let mut digests = images.iter().filter_map(|name| {
                let (name, digest) = name.split_once('@')?;
                (name == whole).then_some(digest)
            });
            digests.next()
        };
        let (old, new) = (digest(before)?, digest(row.commit)?);
        let named = |digest: &str| format!("{image}@{digest}");
        (old != new).then(|| Cause::Base { before: named(old), after: named(new) })
    }
}

/// A reference as BuildKit names it: with Docker Hub's host and folder and the tag where these are
/// left out (distribution `reference/normalize.go`, `ParseNormalizedNamed` and `TagNameOnly`).
fn whole(image: &str) -> String {
    let has_host = image.split_once('/').is_some_and(|(first, _)| {
        first.contains('.') || first.contains(':') || first == "localhost"
    });
    let named = match (has_host, image.contains('/')) {
        (true, _) => image.to_owned(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    };
    let last = named.rsplit('/').next().unwrap_or_default();
    if last.contains(':') { named } else { format!("{named}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_filled_in_as_buildkit_does() {
        assert_eq!(whole("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(whole("me/tool:1"), "docker.io/me/tool:1");
        assert_eq!(whole("localhost:5000/tool"), "localhost:5000/tool:latest");
        assert_eq!(whole("ghcr.io/me/tool:2"), "ghcr.io/me/tool:2");
    }
}
