//! What kept engines let go of between the trials of a sequence.

use std::collections::HashMap;

use crate::journal::Collected;
use crate::measure::TrialRow;
use crate::trace::bracketed;

use super::cause::Cause;

/// The trials of one sequence that found records gone, by commit.
type Found<'a> = Vec<(usize, &'a Collected)>;

/// What was found to be gone, by strategy, link and round.
pub struct Collections<'a>(HashMap<(usize, usize, u32), Found<'a>>);

impl<'a> Collections<'a> {
    pub fn new(trials: &'a [TrialRow]) -> Self {
        let mut found: HashMap<(usize, usize, u32), Found<'a>> = HashMap::new();
        for row in trials {
            if let Some(collected) = &row.collected {
                let key = (row.strategy, row.link, row.round);
                found.entry(key).or_default().push((row.commit, collected));
            }
        }
        Self(found)
    }

    /// Whether what the commit `held` had left in the engine was let go of before the builds of `row`:
    /// the step itself, or else anything at all.
    pub fn since(&self, row: &TrialRow, held: usize, step: &str) -> Option<Cause> {
        let found = self.0.get(&(row.strategy, row.link, row.round))?;
        let since = || found.iter().filter(|(commit, _)| (held + 1..=row.commit).contains(commit));
        let own = since().find(|(_, collected)| collected.of.iter().any(|of| is_of(of, step)));
        let (commit, Collected { records, bytes, .. }) = own.or_else(|| since().next())?;
        let (commit, records, bytes) = (*commit, *records, *bytes);
        Some(Cause::Collected { commit, records, bytes, own: own.is_some() })
    }
}

/// Whether a record that BuildKit describes as `of` holds the result of `step`. That of a `RUN` is
/// described by its command.
fn is_of(of: &str, step: &str) -> bool {
    let command = bracketed(step).and_then(|(_, text)| text.strip_prefix("RUN "));
    let command = command.map(|text| {
        let is_flag = |word: &&str| word.starts_with("--");
        text.split_whitespace().skip_while(is_flag).collect::<Vec<_>>().join(" ")
    });
    let ran = of.strip_prefix("mount / from exec /bin/sh -c ");
    let ran = ran.map(|ran| ran.split_whitespace().collect::<Vec<_>>().join(" "));
    of == step || (command.is_some() && command == ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The descriptions are those of dockerd 28.5.2.
    #[test]
    fn a_record_is_of_the_step_that_it_describes() {
        let copy = "[builder 1/3] COPY a.txt /a.txt";
        assert!(is_of(copy, copy));
        let run = "[builder 2/3] RUN --network=none cp /a.txt  /b.txt";
        assert!(is_of("mount / from exec /bin/sh -c cp /a.txt /b.txt", run));
        assert!(!is_of("mount / from exec /bin/sh -c cp /a.txt /c.txt", run));
        assert!(!is_of("mount /root from exec /bin/sh -c cp /a.txt /b.txt", run));
        assert!(!is_of("pulled from docker.io/library/busybox:latest", copy));
    }
}
