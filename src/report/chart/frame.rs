//! What charts have in common: their head, and the two ways to lay out variants × commits.
//!
//! Few cells are drawn as rows, a group for each commit, so that strategies stand under each other
//! with their names beside them. Many are drawn as panels, one a variant, with commits along x.
//! A chart paints a cell through a [`Place`], which hides which of the two it is.

use super::labels::apart;
use crate::report::axis::{Axis, Quantity};
use crate::report::font;
use crate::report::scene::{Anchor, Scene, Shape, Style};
use crate::report::theme::Ink;
use crate::report::view::{Cell, View};

pub const WIDTH: f64 = 800.0;
pub const MARGIN: f64 = 16.0;
/// More cells than this become panels.
const MOST_ROWS: usize = 60;

const ROW: f64 = 18.0;
const GROUP: f64 = 24.0;
/// Names at the left get no more than this.
const NAMES: f64 = 190.0;

/// One entry of a legend.
pub struct Entry {
    pub label: String,
    pub sign: Sign,
}

/// What a legend shows beside a label.
#[derive(Clone, Copy)]
pub enum Sign {
    Box(Ink),
    /// Half and half.
    Split(Ink, Ink),
    /// A dot in a box.
    Dotted(Ink, Ink),
    Dot(Ink),
    /// A median on its interval.
    Estimate(Ink),
    Line(Ink),
    Cross(Ink),
}

/// Draws title, explanation and legend; returns where the chart's body begins.
pub fn head(scene: &mut Scene, explanation: &str, legend: &[Entry]) -> f64 {
    let room = scene.width - 2.0 * MARGIN;
    let mut y = MARGIN + 9.0;
    let title = Style { size: 16.0, bold: true, ink: Ink::Text, anchor: Anchor::Start };
    for line in font::wrap(&scene.title.clone(), title.size, true, room) {
        scene.text(MARGIN, y, line, title);
        y += 22.0;
    }
    for line in font::wrap(explanation, Style::NOTE.size, false, room) {
        scene.text(MARGIN, y, line, Style::NOTE);
        y += 17.0;
    }
    if !legend.is_empty() {
        y += 6.0;
        let mut x = MARGIN;
        for entry in legend {
            let label = Style::LABEL.fit(&entry.label, room - 24.0);
            let wide = 20.0 + Style::LABEL.width(&label);
            if x > MARGIN && x + wide > scene.width - MARGIN {
                x = MARGIN;
                y += 18.0;
            }
            sign(scene, (x, y), entry.sign);
            scene.text(x + 20.0, y, label, Style::LABEL);
            x += wide + 16.0;
        }
        y += 16.0;
    }
    y + 6.0
}

fn sign(scene: &mut Scene, (x, y): (f64, f64), sign: Sign) {
    match sign {
        Sign::Box(ink) => scene.rect((x + 1.0, y - 6.0), (12.0, 12.0), ink),
        Sign::Split(left, right) => {
            scene.rect((x + 1.0, y - 6.0), (6.0, 12.0), left);
            scene.rect((x + 7.0, y - 6.0), (6.0, 12.0), right);
        }
        Sign::Dotted(box_ink, ink) => {
            scene.rect((x + 1.0, y - 6.0), (12.0, 12.0), box_ink);
            scene.dot((x + 7.0, y), 2.5, Shape::Circle, ink);
        }
        Sign::Dot(ink) => scene.dot((x + 7.0, y), 2.5, Shape::Circle, ink),
        Sign::Estimate(ink) => {
            scene.line(vec![(x, y), (x + 14.0, y)], 2.0, ink);
            scene.dot((x + 7.0, y), 4.0, Shape::Circle, ink);
        }
        Sign::Line(ink) => scene.line(vec![(x, y), (x + 14.0, y)], 2.0, ink),
        Sign::Cross(ink) => cross(scene, (x + 7.0, y), ink),
    }
}

fn cross(scene: &mut Scene, (x, y): (f64, f64), ink: Ink) {
    scene.line(vec![(x - 3.5, y - 3.5), (x + 3.5, y + 3.5)], 1.5, ink);
    scene.line(vec![(x - 3.5, y + 3.5), (x + 3.5, y - 3.5)], 1.5, ink);
}

/// A number as a chart's title and axes name it.
pub struct Plot<'a> {
    pub view: &'a View,
    pub quantity: Quantity,
    /// What the axis shows, such as `wall time`.
    pub name: &'a str,
    /// What the axis shows to the other side of zero, if it has one.
    pub opposite: Option<&'a str>,
    /// The greatest value to either side.
    pub greatest: f64,
    pub paint: &'a dyn Fn(&mut Scene, &Cell, &Place),
    /// What stands at the end of a row, in two columns.
    pub values: &'a dyn Fn(&Cell) -> [String; 2],
    /// What a variant's panel shows beside it at a commit, as a line.
    pub reference: Option<&'a dyn Fn(usize, usize) -> Option<f64>>,
}

/// Where a cell is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Whether values grow to the right; else they grow upwards.
    horizontal: bool,
    zero: f64,
    per_unit: f64,
    /// The middle of the cell's stripe, and how thick it is.
    across: f64,
    pub thickness: f64,
}

impl Place {
    fn at(&self, value: f64) -> f64 {
        self.zero + value * self.per_unit
    }

    fn point(&self, value: f64, offset: f64) -> (f64, f64) {
        let across = self.across + offset * self.thickness / 2.0;
        if self.horizontal { (self.at(value), across) } else { (across, self.at(value)) }
    }

    /// A bar between two values that fills `share` of the stripe.
    pub fn bar(&self, scene: &mut Scene, (from, to): (f64, f64), share: f64, ink: Ink) {
        let (low, high) = (self.at(from).min(self.at(to)), self.at(from).max(self.at(to)));
        let thick = self.thickness * share;
        let start = self.across - thick / 2.0;
        if self.horizontal {
            scene.rect((low, start), (high - low, thick), ink);
        } else {
            scene.rect((start, low), (thick, high - low), ink);
        }
    }

    pub fn interval(&self, scene: &mut Scene, (low, high): (f64, f64), ink: Ink) {
        let width = (self.thickness / 6.0).clamp(1.0, 2.0);
        scene.line(vec![self.point(low, 0.0), self.point(high, 0.0)], width, ink);
        for end in [low, high] {
            let points = vec![self.point(end, -0.3), self.point(end, 0.3)];
            scene.line(points, width, ink);
        }
    }

    /// A dot, `offset` from -1 to 1 across the stripe.
    pub fn dot(&self, scene: &mut Scene, value: f64, offset: f64, radius: f64, ink: Ink) {
        scene.dot(self.point(value, offset), radius, Shape::Circle, ink);
    }

    fn failed(&self, scene: &mut Scene) {
        let (x, y) = self.point(0.0, 0.0);
        let at = if self.horizontal { (x + 6.0, y) } else { (x, y - 6.0) };
        cross(scene, at, Ink::Text);
    }
}

/// Whether `view` is drawn as rows.
pub fn as_rows(view: &View) -> bool {
    view.cells.len() <= MOST_ROWS
}

/// Draws `plot` below `top` and sets the scene's height.
pub fn body(scene: &mut Scene, top: f64, plot: &Plot<'_>) {
    if as_rows(plot.view) {
        rows(scene, top, plot)
    } else {
        super::panels::panels(scene, top, plot)
    }
}

/// Draws a cell, or a cross where nothing was built.
pub fn cell(scene: &mut Scene, plot: &Plot<'_>, cell: &Cell, place: &Place) {
    if cell.built == 0 { place.failed(scene) } else { (plot.paint)(scene, cell, place) }
}

impl Place {
    pub fn upwards(zero: f64, per_unit: f64, across: f64, thickness: f64) -> Self {
        Self { horizontal: false, zero, per_unit: -per_unit, across, thickness }
    }
}

fn rows(scene: &mut Scene, top: f64, plot: &Plot<'_>) {
    let view = plot.view;
    let widest = |texts: &mut dyn Iterator<Item = f64>| texts.fold(0.0, f64::max);
    let names =
        widest(&mut view.cells.iter().map(|c| Style::LABEL.width(&view.variants[c.variant].name)));
    let columns = [0, 1].map(|column| {
        widest(&mut view.cells.iter().map(|cell| Style::NOTE.width(&values(plot, cell)[column])))
    });
    let between = if columns[1] > 0.0 { 12.0 } else { 0.0 };
    let ends = [scene.width - MARGIN - columns[1] - between, scene.width - MARGIN];
    let left = MARGIN + names.min(NAMES) + 14.0;
    let right = ends[0] - columns[0] - 14.0;
    let axis = Axis::new(plot.quantity, plot.greatest, if plot.opposite.is_some() { 4 } else { 7 });
    let sides = if plot.opposite.is_some() { 2.0 } else { 1.0 };
    let per_unit = (right - left) / (axis.end * sides);
    let zero = if plot.opposite.is_some() { f64::midpoint(left, right) } else { left };
    let along = |value: f64| zero + value * per_unit;

    let commits: Vec<usize> = (0..view.commits.len())
        .filter(|commit| view.cells.iter().any(|cell| cell.commit == *commit))
        .collect();
    let rows_of = |commit: usize| view.cells.iter().filter(move |cell| cell.commit == commit);
    let body_top = top + 20.0;
    let height: f64 =
        commits.iter().map(|&commit| GROUP + rows_of(commit).count() as f64 * ROW + 4.0).sum();
    let bottom = body_top + height;

    let mut ticks: Vec<f64> = axis.ticks.clone();
    if plot.opposite.is_some() {
        ticks.extend(axis.ticks.iter().skip(1).map(|tick| -tick));
    }
    // Gridlines stop for the commits' headings.
    let mut y = body_top;
    for &commit in &commits {
        let rows = rows_of(commit).count() as f64 * ROW;
        for tick in &ticks {
            let x = along(*tick);
            let ink = if *tick == 0.0 { Ink::Faint } else { Ink::Grid };
            scene.line(vec![(x, y + GROUP), (x, y + GROUP + rows)], 1.0, ink);
        }
        y += GROUP + rows + 4.0;
    }
    for tick in &ticks {
        for y in [top + 8.0, bottom + 12.0] {
            scene.text(along(*tick), y, axis.label(tick.abs()), Style::TICK);
        }
    }
    let all: Vec<&str> = view.variants.iter().map(|variant| variant.name.as_str()).collect();
    let labels = apart(&all, Style::LABEL, left - MARGIN - 14.0);
    let mut y = body_top;
    for &commit in &commits {
        let about = &view.commits[commit];
        let heading = format!("{}  {}", commit + 1, about.message);
        let room = scene.width - 2.0 * MARGIN;
        scene.text(MARGIN, y + 13.0, Style::HEADING.fit(&heading, room), Style::HEADING);
        y += GROUP;
        for drawn in rows_of(commit) {
            let middle = y + ROW / 2.0;
            let name = Style::LABEL.anchored(Anchor::End);
            scene.text(left - 10.0, middle, &*labels[drawn.variant], name);
            let place = Place { horizontal: true, zero, per_unit, across: middle, thickness: ROW };
            cell(scene, plot, drawn, &place);
            for (text, end) in values(plot, drawn).into_iter().zip(ends) {
                scene.text(end, middle, text, Style::NOTE.anchored(Anchor::End));
            }
            y += ROW;
        }
        y += 4.0;
    }
    axis_title(scene, bottom + 30.0, (zero, left, right), plot, axis.unit);
    scene.height = bottom + 30.0 + MARGIN;
}

fn values(plot: &Plot<'_>, cell: &Cell) -> [String; 2] {
    if cell.built == 0 { ["failed".into(), String::new()] } else { (plot.values)(cell) }
}

fn axis_title(
    scene: &mut Scene,
    y: f64,
    (zero, left, right): (f64, f64, f64),
    plot: &Plot<'_>,
    unit: &str,
) {
    let style = Style::NOTE.anchored(Anchor::Middle);
    match plot.opposite {
        None => {
            scene.text(f64::midpoint(left, right), y, format!("{} ({unit})", plot.name), style);
        }
        Some(opposite) => {
            let (before, after) = (f64::midpoint(left, zero), f64::midpoint(zero, right));
            scene.text(before, y, format!("← {opposite} ({unit})"), style);
            scene.text(after, y, format!("{} ({unit}) →", plot.name), style);
        }
    }
}
