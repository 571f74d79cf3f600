//! Phases of each commit's builds, stacked.

use super::frame::{Entry, Place, Plot, Sign, WIDTH, body, head};
use crate::report::axis::{Axis, Quantity};
use crate::report::scene::Scene;
use crate::report::theme::Ink;
use crate::report::view::{Cell, View};

pub fn phases(view: &View) -> Option<Scene> {
    let total = |cell: &Cell| cell.phase_seconds.iter().sum::<f64>();
    let greatest = view.built().map(total).fold(0.0, f64::max);
    if greatest <= 0.0 {
        return None;
    }
    let title =
        format!("{}: where the time of each commit's builds went, by strategy", view.scenario);
    let mut scene = Scene::new(WIDTH, title);
    let explanation = match view.rounds {
        1 => "Phases partition the wall time; one round.".to_owned(),
        rounds => format!(
            "Phases partition the wall time of a build; each is its own median of {rounds} rounds."
        ),
    };
    let seen = |phase: usize| {
        view.built().any(|cell| cell.phase_seconds.get(phase).is_some_and(|time| *time > 0.0))
    };
    let entry = |phase: usize| Entry {
        label: view.phases[phase].clone(),
        sign: Sign::Box(Ink::Phase(phase)),
    };
    let legend: Vec<Entry> =
        (0..view.phases.len()).filter(|phase| seen(*phase)).map(entry).collect();
    let top = head(&mut scene, &explanation, &legend);
    let paint = |scene: &mut Scene, cell: &Cell, place: &Place| {
        let mut from = 0.0;
        for (phase, time) in cell.phase_seconds.iter().enumerate() {
            if *time > 0.0 {
                place.bar(scene, (from, from + time), 0.72, Ink::Phase(phase));
                from += time;
            }
        }
    };
    let axis = Axis::new(Quantity::Seconds, greatest, 7);
    let plot = Plot {
        view,
        quantity: Quantity::Seconds,
        name: "time",
        opposite: None,
        greatest,
        paint: &paint,
        values: &|cell| [axis.value(total(cell)), String::new()],
        reference: None,
    };
    body(&mut scene, top, &plot);
    Some(scene)
}
