//! What adds up over the sequence: time, and bytes left in the registry.
//!
//! A line's name stands at its end, moved up or down where names would overlap; shapes tell lines
//! apart without colours.

use super::frame::{MARGIN, WIDTH, head};
use super::labels::apart;
use super::panels::{commit_names, commit_numbers};
use crate::report::axis::{Axis, Quantity};
use crate::report::scene::{Anchor, Scene, Shape, Style};
use crate::report::theme::{Ink, SERIES};
use crate::report::view::{Variant, View};

const PLOT: f64 = 300.0;
const NAME: f64 = 15.0;
const NAMES: f64 = 200.0;

pub fn cumulative(view: &View) -> Option<Scene> {
    let title = format!("{}: time spent building, from the first commit on", view.scenario);
    let explanation = format!(
        "Wall time of all builds up to a commit, added up within a round; {}.",
        super::over_rounds(view)
    );
    let values = view.variants.iter().map(|variant| variant.cumulative_seconds.clone()).collect();
    lines(view, title, &explanation, Quantity::Seconds, values)
}

pub fn growth(view: &View) -> Option<Scene> {
    let title = format!("{}: what images and caches take up in the registry", view.scenario);
    let explanation = format!(
        "Bytes that a strategy's repositories held after a commit; {}. \
         Strategies that push nothing are left out.",
        super::over_rounds(view)
    );
    let values = view
        .variants
        .iter()
        .map(|variant| {
            let stored = || variant.stored_bytes.iter().map(|bytes| bytes.map(|b| b as f64));
            if stored().flatten().all(|bytes| bytes == 0.0) { vec![] } else { stored().collect() }
        })
        .collect();
    lines(view, title, &explanation, Quantity::Bytes, values)
}

/// One line a variant, by commit.
fn lines(
    view: &View,
    title: String,
    explanation: &str,
    quantity: Quantity,
    values: Vec<Vec<Option<f64>>>,
) -> Option<Scene> {
    let shown: Vec<usize> =
        (0..values.len()).filter(|&line| values[line].iter().any(Option::is_some)).collect();
    let greatest = values.iter().flatten().flatten().copied().fold(0.0, f64::max);
    if shown.is_empty() || greatest <= 0.0 {
        return None;
    }
    let mut scene = Scene::new(WIDTH, title);
    let top = head(&mut scene, explanation, &[]) + 8.0;
    // Names under each other need room, whatever the values.
    let height = PLOT.max(shown.len() as f64 * NAME + 10.0);
    let axis = Axis::new(quantity, greatest, 6);
    let label = |tick: f64| format!("{} {}", axis.label(tick), axis.unit);
    let labels = axis.ticks.iter().map(|tick| Style::TICK.width(&label(*tick))).fold(0.0, f64::max);
    let names = shown
        .iter()
        .map(|&line| Style::LABEL.width(&view.variants[line].name))
        .fold(0.0, f64::max)
        .min(NAMES);
    let (left, right) = (MARGIN + labels + 8.0, scene.width - MARGIN - names - 42.0);
    let slot = (right - left) / view.commits.len().max(1) as f64;
    let bottom = top + height;
    let up = |value: f64| bottom - value / axis.end * height;
    for tick in &axis.ticks {
        let ink = if *tick == 0.0 { Ink::Faint } else { Ink::Grid };
        scene.line(vec![(left, up(*tick)), (right, up(*tick))], 1.0, ink);
        scene.text(left - 8.0, up(*tick), label(*tick), Style::TICK.anchored(Anchor::End));
    }
    commit_numbers(&mut scene, (left, bottom + 12.0), slot, view.commits.len());
    let title = Style::NOTE.anchored(Anchor::Middle);
    let middle = f64::midpoint(left, right);
    scene.text(middle, bottom + 30.0, "commit, in the sequence's order", title);

    let mut ends = vec![];
    for &line in &shown {
        let points: Vec<(f64, f64)> = values[line]
            .iter()
            .enumerate()
            .filter_map(|(commit, value)| {
                Some((left + (commit as f64 + 0.5) * slot, up((*value)?)))
            })
            .collect();
        let (ink, shape) = look(&view.variants, line);
        let radius = (slot / 5.0).clamp(1.5, 4.0);
        for point in &points {
            scene.dot(*point, radius, shape, ink);
        }
        if let Some(last) = points.last() {
            ends.push((line, *last));
        }
        scene.line(points, 2.0, ink);
    }
    let all: Vec<&str> = view.variants.iter().map(|variant| variant.name.as_str()).collect();
    let labels = apart(&all, Style::LABEL, names);
    ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
    let wanted: Vec<f64> = ends.iter().map(|(_, (_, y))| *y).collect();
    let placed = spread(&wanted, (top, bottom));
    for ((line, (x, y)), at) in ends.iter().zip(placed) {
        let (ink, shape) = look(&view.variants, *line);
        scene.line(vec![(*x, *y), (right, *y), (right + 18.0, at), (right + 22.0, at)], 1.0, ink);
        scene.dot((right + 26.0, at), 3.5, shape, ink);
        scene.text(right + 36.0, at, &*labels[*line], Style::LABEL);
    }
    scene.height = commit_names(&mut scene, view, bottom + 54.0) + MARGIN - 14.0;
    Some(scene)
}

/// Colour and shape of a line. No two of the first 28 that are not cold share both, and no two of
/// the first four that are: cold has one colour over every link.
fn look(variants: &[Variant], line: usize) -> (Ink, Shape) {
    let shapes = [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Diamond];
    let is_cold = variants[line].is_cold;
    let place = variants[..line].iter().filter(|variant| variant.is_cold == is_cold).count();
    if is_cold {
        return (Ink::Muted, shapes[place % shapes.len()]);
    }
    (Ink::Series(place), shapes[(place / SERIES + place % SERIES) % shapes.len()])
}

/// Moves sorted positions apart to [`NAME`], as little as possible in all, and into `range` if they
/// fit: the isotonic regression of what each would be at without its predecessors (Barlow and
/// others, *Statistical Inference under Order Restrictions*, 1972, §1.2, pooling of violators).
fn spread(wanted: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = vec![];
    for (place, y) in wanted.iter().enumerate() {
        let mut pool = (y - place as f64 * NAME, 1);
        while let Some(&(mean, size)) = pools.last()
            && mean > pool.0
        {
            let all = size + pool.1;
            pool = ((mean * size as f64 + pool.0 * pool.1 as f64) / all as f64, all);
            pools.pop();
        }
        pools.push(pool);
    }
    let last = bottom - wanted.len().saturating_sub(1) as f64 * NAME;
    let offsets = pools.into_iter().flat_map(|(mean, size)| std::iter::repeat_n(mean, size));
    offsets
        .enumerate()
        .map(|(place, offset)| offset.min(last).max(top) + place as f64 * NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::theme::Theme;

    #[test]
    fn no_two_lines_of_seven_strategies_over_four_links_look_alike() {
        let variant = |place: usize| Variant { is_cold: place < 4, ..Variant::default() };
        let variants: Vec<Variant> = (0..32).map(variant).collect();
        let mut looks: Vec<String> = (0..32)
            .map(|line| look(&variants, line))
            .map(|(ink, shape)| format!("{:06X} {shape:?}", Theme::Light.color(ink)))
            .collect();
        looks.sort();
        looks.dedup();
        assert_eq!(looks.len(), 32);
    }

    #[test]
    fn names_are_moved_apart_and_stay_in_range() {
        assert_eq!(spread(&[10.0, 100.0], (0.0, 200.0)), [10.0, 100.0]);
        assert_eq!(spread(&[100.0, 101.0, 102.0], (0.0, 110.0)), [80.0, 95.0, 110.0]);
        assert_eq!(spread(&[50.0, 50.0], (0.0, 110.0)), [42.5, 57.5]);
        assert_eq!(spread(&[0.0, 0.0], (0.0, 110.0)), [0.0, 15.0]);
    }
}
