//! Many cells: one panel a variant, all on one scale, commits along x by their number.

use super::frame::{MARGIN, Place, Plot, cell};
use super::labels::apart;
use crate::report::axis::Axis;
use crate::report::scene::{Anchor, Scene, Style};
use crate::report::theme::Ink;
use crate::report::view::View;

const PLOT: f64 = 104.0;
const HEADING: f64 = 22.0;
const BELOW: f64 = 24.0;
const GAP: f64 = 18.0;

pub fn panels(scene: &mut Scene, top: f64, plot: &Plot<'_>) {
    let view = plot.view;
    let axis = Axis::new(plot.quantity, plot.greatest, if plot.opposite.is_some() { 2 } else { 4 });
    let mut ticks: Vec<f64> = axis.ticks.clone();
    if plot.opposite.is_some() {
        ticks.extend(axis.ticks.iter().skip(1).map(|tick| -tick));
    }
    let label = |tick: f64| format!("{} {}", axis.label(tick.abs()), axis.unit);
    let labels = ticks.iter().map(|tick| Style::TICK.width(&label(*tick))).fold(0.0, f64::max);
    let left = MARGIN + labels + 8.0;
    let variants: Vec<usize> = (0..view.variants.len())
        .filter(|variant| view.cells.iter().any(|cell| cell.variant == *variant))
        .collect();
    let columns = match view.commits.len() {
        0..=12 => 3,
        13..=45 => 2,
        _ => 1,
    };
    let columns = columns.min(variants.len().max(1));
    let width = (scene.width - MARGIN - left - GAP * (columns - 1) as f64) / columns as f64;
    let slot = width / view.commits.len().max(1) as f64;
    let sides = if plot.opposite.is_some() { 2.0 } else { 1.0 };
    let per_unit = PLOT / (axis.end * sides);
    let names: Vec<&str> = variants.iter().map(|v| view.variants[*v].name.as_str()).collect();
    let headings = apart(&names, Style::HEADING, width);
    for (number, &variant) in variants.iter().enumerate() {
        let (row, column) = (number / columns, number % columns);
        let x = left + column as f64 * (width + GAP);
        let y = top + row as f64 * (HEADING + PLOT + BELOW);
        let zero = y + HEADING + PLOT / sides;
        scene.text(x, y + 10.0, &*headings[number], Style::HEADING);
        for tick in &ticks {
            let at = zero - tick * per_unit;
            let ink = if *tick == 0.0 { Ink::Faint } else { Ink::Grid };
            scene.line(vec![(x, at), (x + width, at)], 1.0, ink);
            if column == 0 {
                scene.text(x - 8.0, at, label(*tick), Style::TICK.anchored(Anchor::End));
            }
        }
        commit_numbers(scene, (x, y + HEADING + PLOT + 10.0), slot, view.commits.len());
        if let Some(reference) = plot.reference {
            for commit in 0..view.commits.len() {
                let Some(value) = reference(variant, commit) else { continue };
                let (at, from) = (zero - value * per_unit, x + commit as f64 * slot);
                scene.line(vec![(from, at), (from + slot, at)], 1.5, Ink::Faint);
            }
        }
        for drawn in view.cells.iter().filter(|cell| cell.variant == variant) {
            let across = x + (drawn.commit as f64 + 0.5) * slot;
            cell(scene, plot, drawn, &Place::upwards(zero, per_unit, across, slot.min(18.0)));
        }
    }
    let rows = variants.len().div_ceil(columns);
    let bottom = top + rows as f64 * (HEADING + PLOT + BELOW);
    let title = match plot.opposite {
        None => format!("{} by commit, in the sequence's order", plot.name),
        Some(opposite) => {
            format!("{} (up) and {opposite} (down) by commit, in the sequence's order", plot.name)
        }
    };
    let middle = f64::midpoint(left, scene.width - MARGIN);
    scene.text(middle, bottom + 4.0, title, Style::NOTE.anchored(Anchor::Middle));
    scene.height = commit_names(scene, view, bottom + 26.0) + MARGIN - 14.0;
}

/// More commits than this are named in the report's table only.
const MOST_NAMED: usize = 12;

/// What the numbers under slots stand for, below `y`; returns where it ends.
pub fn commit_names(scene: &mut Scene, view: &View, mut y: f64) -> f64 {
    if view.commits.len() > MOST_NAMED {
        return y;
    }
    let room = scene.width - 2.0 * MARGIN;
    let mut x = MARGIN;
    for (number, commit) in view.commits.iter().enumerate() {
        let name = Style::NOTE.fit(&format!("{}  {}", number + 1, commit.message), room / 2.0);
        let wide = Style::NOTE.width(&name);
        if x > MARGIN && x + wide > scene.width - MARGIN {
            x = MARGIN;
            y += 17.0;
        }
        scene.text(x, y, name, Style::NOTE);
        x += wide + 22.0;
    }
    y + 17.0
}

/// Numbers from 1 under slots, as many as fit.
pub fn commit_numbers(scene: &mut Scene, (x, y): (f64, f64), slot: f64, commits: usize) {
    let widest = Style::TICK.width(&commits.to_string()) + 6.0;
    let fitting = (widest / slot.max(0.01)).ceil() as usize;
    let steps = [1, 5, 10, 20, 50, 100, 200, 500];
    let every = steps.into_iter().find(|step| *step >= fitting).unwrap_or(fitting);
    for commit in (0..commits).filter(|commit| (commit + 1) % every == 0 || *commit == 0) {
        // The first is always named; the next may be too near to it.
        if commit > 0 && every > 1 && commit < fitting {
            continue;
        }
        let text = (commit + 1).to_string();
        scene.text(x + (commit as f64 + 0.5) * slot, y, text, Style::TICK);
    }
}
