//! The order in which reports show steps.

use std::collections::{HashMap, HashSet};

use crate::measure::Analysis;

/// Every step of the run in the order of its Dockerfiles.
pub struct Steps {
    pub names: Vec<String>,
    pub places: HashMap<String, usize>,
}

impl Steps {
    pub fn of(analysis: &Analysis) -> Self {
        let mut seen: Vec<&str> = vec![];
        let mut known = HashSet::new();
        for step in analysis.cells.iter().flat_map(|cell| &cell.steps) {
            let name = analysis.text(step.name);
            if known.insert(name) {
                seen.push(name);
            }
        }
        let mut stages: Vec<&str> = vec![];
        for name in &seen {
            let (stage, _) = stage_and_number(name);
            if !stages.contains(&stage) {
                stages.push(stage);
            }
        }
        // Stable, so that steps of one number stay in the order in which commits brought them.
        seen.sort_by_key(|name| {
            let (stage, number) = stage_and_number(name);
            (stages.iter().position(|known| *known == stage), number)
        });
        let names: Vec<String> = seen.into_iter().map(str::to_owned).collect();
        let places = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        Self { names, places }
    }
}

/// `builder` and 2 of `[builder 2/6] RUN …`.
fn stage_and_number(name: &str) -> (&str, u32) {
    let head = name.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |s| s.0);
    let (stage, position) = head.rsplit_once(' ').unwrap_or(("", head));
    let number = position.split('/').next().and_then(|number| number.parse().ok());
    (stage, number.unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_known_by_stage_and_number() {
        assert_eq!(
            stage_and_number("[linux/amd64 builder 12/13] RUN x"),
            ("linux/amd64 builder", 12)
        );
        assert_eq!(stage_and_number("[2/3] COPY a b"), ("", 2));
        assert_eq!(stage_and_number("exporting"), ("", u32::MAX));
    }
}
