//! Wall time by strategy and commit: medians, intervals, and the samples behind them.

use super::frame::{Entry, Plot, Sign, WIDTH, as_rows, body, head};
use crate::report::axis::{Axis, Quantity};
use crate::report::scene::Scene;
use crate::report::theme::Ink;
use crate::report::view::{Cell, View};

/// More dots than this are not drawn: they would be a grey area and megabytes of SVG.
const MOST_DOTS: usize = 4_000;

pub fn wall(view: &View) -> Option<Scene> {
    view.built().next()?;
    let mut scene = Scene::new(
        WIDTH,
        format!("{}: wall time of each commit's builds, by strategy", view.scenario),
    );
    let dots = view.cells.iter().map(|cell| cell.samples_seconds.len()).sum::<usize>();
    let draw_dots = view.rounds > 1 && dots <= MOST_DOTS;
    let ink = |cell: &Cell| {
        if view.variants[cell.variant].is_cold { Ink::Muted } else { Ink::Series(0) }
    };
    let compared = !as_rows(view) && view.variants.iter().any(|variant| variant.is_cold);
    let intervals =
        view.cells.iter().any(|cell| cell.wall_seconds.is_some_and(|w| w.low.is_some()));
    let mut explanation = match (view.rounds, intervals) {
        (1, _) => "One round: every dot is one trial, and no interval can be given.".to_owned(),
        (rounds, true) => format!("Median of {rounds} rounds with its 95 % interval."),
        (rounds, false) => {
            format!("Median of {rounds} rounds, which are too few for a 95 % interval.")
        }
    };
    if as_rows(view) && view.cells.iter().any(|cell| cell.times_faster.is_some()) {
        explanation.push_str(" At the right: how many times faster than cold in the same round.");
    }
    let mut legend = vec![];
    if intervals {
        let label = "median and 95 % interval".to_owned();
        legend.push(Entry { label, sign: Sign::Estimate(Ink::Series(0)) });
    } else if view.rounds > 1 {
        legend.push(Entry { label: "median".into(), sign: Sign::Dot(Ink::Series(0)) });
    }
    if draw_dots {
        legend.push(Entry { label: "one trial".into(), sign: Sign::Dot(Ink::Faint) });
    }
    if compared {
        let label = "cold at the same commit".to_owned();
        legend.push(Entry { label, sign: Sign::Line(Ink::Faint) });
    }
    if view.cells.iter().any(|cell| cell.built == 0) {
        let label = "no trial was built".to_owned();
        legend.push(Entry { label, sign: Sign::Cross(Ink::Text) });
    }
    let top = head(&mut scene, &explanation, &legend);
    let greatest = view
        .built()
        .flat_map(|cell| {
            let estimate = cell.wall_seconds.iter().map(|wall| wall.high.unwrap_or(wall.median));
            estimate.chain(cell.samples_seconds.iter().copied().filter(|_| draw_dots))
        })
        .fold(0.0, f64::max);
    let paint = |scene: &mut Scene, cell: &Cell, place: &super::frame::Place| {
        if draw_dots {
            let samples = &cell.samples_seconds;
            for (number, sample) in samples.iter().enumerate() {
                // Neighbours in size are set apart, so that equal ones are seen.
                let offset = [-0.45, 0.15, -0.15, 0.45][number % 4];
                place.dot(
                    scene,
                    *sample,
                    offset,
                    (place.thickness / 8.0).clamp(1.0, 2.0),
                    Ink::Faint,
                );
            }
        }
        let Some(wall) = cell.wall_seconds else { return };
        if let (Some(low), Some(high)) = (wall.low, wall.high) {
            place.interval(scene, (low, high), ink(cell));
        }
        place.dot(scene, wall.median, 0.0, (place.thickness / 4.0).clamp(1.5, 4.0), ink(cell));
    };
    let axis = Axis::new(Quantity::Seconds, greatest, 7);
    let values = |cell: &Cell| {
        [
            cell.wall_seconds.map_or(String::new(), |wall| axis.value(wall.median)),
            cell.times_faster.map_or(String::new(), |ratio| format!("{:.1}×", ratio.median)),
        ]
    };
    let reference = |variant: usize, commit: usize| {
        Some(view.cell(view.cold(variant)?, commit)?.wall_seconds?.median)
    };
    let plot = Plot {
        view,
        quantity: Quantity::Seconds,
        name: "wall time",
        opposite: None,
        greatest,
        paint: &paint,
        values: &values,
        reference: Some(&reference),
    };
    body(&mut scene, top, &plot);
    Some(scene)
}
