//! The charts of a report, as scenes.
//!
//! Each is drawn from the [`View`] alone and is left out where there is nothing to draw: there is
//! no empty chart. Titles say what is shown, explanations how to read it.

mod bytes;
mod frame;
mod labels;
mod lines;
mod panels;
mod phases;
mod reuse;
mod timeline;
mod wall;

use super::scene::Scene;
use super::view::View;

pub use timeline::timeline;

/// A chart with the name of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// Without extension, such as `wall-time`.
    pub name: &'static str,
    pub scene: Scene,
}

/// Every chart that has something to show, in the order of a report.
pub fn charts(view: &View) -> Vec<Chart> {
    let drawn = [
        ("wall-time", wall::wall(view)),
        ("reuse", reuse::reuse(view)),
        ("phases", phases::phases(view)),
        ("transfer", bytes::bytes(view)),
        ("cumulative", lines::cumulative(view)),
        ("cache-growth", lines::growth(view)),
        ("timeline", timeline::longest(view)),
    ];
    drawn.into_iter().filter_map(|(name, scene)| Some(Chart { name, scene: scene? })).collect()
}

/// `median of 3 rounds`, `one round`.
fn over_rounds(view: &View) -> String {
    match view.rounds {
        1 => "one round".into(),
        rounds => format!("median of {rounds} rounds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{Size, example};
    use crate::report::font;
    use crate::report::paint::svg;
    use crate::report::scene::Mark;
    use crate::report::theme::{Ink, Theme};

    #[test]
    fn no_label_overlaps_another_and_nothing_leaves_the_picture() {
        for size in Size::ALL {
            let view = example(size);
            let charts = charts(&view);
            assert_eq!(charts.len(), 7, "{size:?}");
            for chart in charts {
                assert_eq!(chart.scene.faults(), Vec::<String>::new(), "{size:?} {}", chart.name);
            }
        }
    }

    #[test]
    fn text_that_xml_cannot_hold_is_drawn_as_spaces() {
        let bad = "a\u{1b}[2J \u{7}b \u{fffe}\u{ffff}\u{0}";
        let mut view = example(Size::Seed);
        view.scenario.push_str(bad);
        view.commits.iter_mut().for_each(|commit| commit.message.insert_str(1, bad));
        view.variants.iter_mut().for_each(|variant| variant.name.push_str(bad));
        view.steps.iter_mut().for_each(|step| step.insert_str(1, bad));
        view.timelines.iter_mut().flat_map(|build| &mut build.rows).for_each(|row| {
            row.name.insert_str(1, bad);
        });
        for chart in charts(&view) {
            assert_eq!(chart.scene.faults(), Vec::<String>::new(), "{}", chart.name);
            let text = svg(&chart.scene, Theme::Light).unwrap();
            let strange = text.chars().find(|&c| c != '\n' && c != font::drawn(c));
            assert_eq!(strange, None, "{}", chart.name);
        }
    }

    #[test]
    fn every_cold_variant_is_cold() {
        let mut view = example(Size::Links);
        assert_eq!(
            (view.cold(0), view.cold(1), view.cold(2), view.cold(3)),
            (Some(0), Some(1), Some(0), Some(1))
        );
        // Cold over the second link took longest of all.
        view.timelines.iter_mut().for_each(|build| {
            build.wall_seconds = 8.0 + f64::from(u8::from(view.variants[build.variant].is_cold));
        });
        let title = timeline::longest(&view).unwrap().title;
        assert!(!title.contains("cold"), "{title}");
        // A panel shows its own link's cold beside it.
        let walls = |view: &View| wall::wall(view).unwrap();
        let slow = view.cells.iter().position(|cell| (cell.variant, cell.commit) == (1, 2));
        let before = walls(&view);
        view.cells[slow.unwrap()].wall_seconds.as_mut().unwrap().median += 1.0;
        let after = walls(&view);
        let moved = before.marks.iter().zip(&after.marks).filter(|(was, is)| was != is);
        let lines = moved.filter(|(was, _)| matches!(was, Mark::Line { ink: Ink::Faint, .. }));
        assert_eq!(lines.count(), 6);
    }

    #[test]
    fn a_view_without_numbers_has_no_chart() {
        let mut view = example(Size::Seed);
        for cell in &mut view.cells {
            *cell = super::super::view::Cell {
                variant: cell.variant,
                commit: cell.commit,
                failed: 1,
                ..Default::default()
            };
        }
        for variant in &mut view.variants {
            variant.cumulative_seconds.fill(None);
            variant.stored_bytes.fill(None);
        }
        view.timelines.clear();
        assert_eq!(charts(&view), []);
        assert_eq!(charts(&View::default()), []);
    }
}
