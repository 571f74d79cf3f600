//! Round numbers and units for axes.

/// Where an axis ends, where its ticks are and what they are called.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// In the data's unit; above 0.
    pub end: f64,
    /// Values of the ticks, from 0, in the data's unit.
    pub ticks: Vec<f64>,
    /// How many of the data's units one shown unit is.
    scale: f64,
    /// Digits after the point.
    digits: usize,
    pub unit: &'static str,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    Seconds,
    Bytes,
}

impl Axis {
    /// An axis from 0 that holds `greatest`, with about `wanted` ticks.
    pub fn new(quantity: Quantity, greatest: f64, wanted: usize) -> Self {
        // A chart of nothing but zeroes still has an axis. No integer of a journal is above 1.8e19, and
        // what lies far beyond an axis takes minutes to paint.
        let greatest = if greatest > 0.0 { greatest.clamp(1e-9, 1e20) } else { 1.0 };
        let (scale, unit) = match quantity {
            Quantity::Seconds if greatest < 1.0 => (1e-3, "ms"),
            Quantity::Seconds if greatest < 300.0 => (1.0, "s"),
            Quantity::Seconds if greatest < 7_200.0 => (60.0, "min"),
            Quantity::Seconds => (3_600.0, "h"),
            Quantity::Bytes if greatest < 1e3 => (1.0, "B"),
            Quantity::Bytes if greatest < 1e6 => (1e3, "kB"),
            Quantity::Bytes if greatest < 1e9 => (1e6, "MB"),
            Quantity::Bytes if greatest < 1e12 => (1e9, "GB"),
            Quantity::Bytes => (1e12, "TB"),
        };
        let raw = greatest / scale / wanted.max(1) as f64;
        let power = 10_f64.powf(raw.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= raw * 0.999).unwrap_or(10.0 * power);
        let count = (greatest / scale / step).ceil().max(1.0) as usize;
        let digits = (0..6)
            .find(|digits| {
                let shown = step * 10_f64.powi(*digits);
                (shown - shown.round()).abs() < 1e-6 * shown
            })
            .unwrap_or(6) as usize;
        Self {
            end: count as f64 * step * scale,
            ticks: (0..=count).map(|tick| tick as f64 * step * scale).collect(),
            scale,
            digits,
            unit,
        }
    }

    /// A tick's label, without the unit.
    pub fn label(&self, value: f64) -> String {
        format!("{:.*}", self.digits, value / self.scale)
    }

    /// A value between ticks, with its unit, to three digits.
    pub fn value(&self, value: f64) -> String {
        let shown = value / self.scale;
        let digits = match shown.abs() {
            size if size >= 99.95 => 0,
            size if size >= 9.995 => 1,
            0.0 => 0,
            _ => 2,
        };
        format!("{shown:.digits$} {}", self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_the_greatest_value() {
        let axis = Axis::new(Quantity::Seconds, 7.3, 5);
        assert_eq!(axis.ticks, [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!((axis.label(4.0), axis.value(3.456)), ("4".into(), "3.46 s".into()));
        let axis = Axis::new(Quantity::Bytes, 123_456_789.0, 4);
        assert_eq!(axis.unit, "MB");
        assert_eq!(axis.label(axis.end), "150");
        let axis = Axis::new(Quantity::Seconds, 0.25, 5);
        assert_eq!((axis.unit, axis.label(axis.end)), ("ms", "250".into()));
    }

    #[test]
    fn nothing_and_nonsense_still_have_an_axis() {
        for greatest in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
            let axis = Axis::new(Quantity::Seconds, greatest, 5);
            assert!(axis.end.is_finite() && axis.end > 0.0, "{greatest}: {axis:?}");
            assert!(axis.ticks.len() < 20);
        }
        let most = u64::MAX as f64;
        assert!(Axis::new(Quantity::Bytes, most, 5).end >= most);
    }
}
