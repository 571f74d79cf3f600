//! Bytes pulled from and pushed to the registry, to both sides of zero.

use super::frame::{Entry, Place, Plot, Sign, WIDTH, body, head};
use crate::report::axis::Quantity;
use crate::report::scene::Scene;
use crate::report::theme::Ink;
use crate::report::view::{Cell, View};
use crate::report::words;

pub fn bytes(view: &View) -> Option<Scene> {
    let greatest = view.built().map(|cell| cell.pulled_bytes.max(cell.pushed_bytes)).max()?;
    if greatest == 0 {
        return None;
    }
    let title = format!("{}: bytes that each commit's builds moved, by strategy", view.scenario);
    let mut scene = Scene::new(WIDTH, title);
    let explanation = format!(
        "Bodies of registry requests, images and caches together; {}.",
        super::over_rounds(view)
    );
    let legend = [
        Entry { label: "pushed".into(), sign: Sign::Box(Ink::Pushed) },
        Entry { label: "pulled".into(), sign: Sign::Box(Ink::Pulled) },
    ];
    let top = head(&mut scene, &explanation, &legend);
    let paint = |scene: &mut Scene, cell: &Cell, place: &Place| {
        place.bar(scene, (0.0, cell.pulled_bytes as f64), 0.66, Ink::Pulled);
        place.bar(scene, (0.0, -(cell.pushed_bytes as f64)), 0.66, Ink::Pushed);
    };
    let shown = |moved: u64, arrow: &str| format!("{} {arrow}", words::bytes(moved));
    let values = |cell: &Cell| [shown(cell.pushed_bytes, "↑"), shown(cell.pulled_bytes, "↓")];
    let plot = Plot {
        view,
        quantity: Quantity::Bytes,
        name: "pulled",
        opposite: Some("pushed"),
        greatest: greatest as f64,
        paint: &paint,
        values: &values,
        reference: None,
    };
    body(&mut scene, top, &plot);
    Some(scene)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::{Size, example};
    use crate::report::scene::Mark;

    #[test]
    fn a_measured_zero_is_no_dash() {
        let scene = bytes(&example(Size::Seed)).unwrap();
        let texts = || {
            scene.marks.iter().filter_map(|mark| match mark {
                Mark::Text(text) => Some(text.text.as_str()),
                _ => None,
            })
        };
        assert!(texts().any(|text| text == "0 B ↑") && texts().any(|text| text == "0 B ↓"));
        assert!(texts().all(|text| text != "–"));
    }
}
