//! A picture as plain marks, before any file format.
//!
//! Charts are laid out into a scene by pure code, so that a test can ask whether two labels
//! overlap; `paint` hands the marks to plotters. Lengths are CSS pixels, y grows downwards.

use super::font;
use super::theme::Ink;

/// Where a text's position is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// A line of text; `y` is the middle of its height.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub x: f64,
    pub y: f64,
    pub text: String,
    /// Pixels an em.
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
    pub anchor: Anchor,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    Rect { x: f64, y: f64, width: f64, height: f64, ink: Ink },
    Line { points: Vec<(f64, f64)>, width: f64, ink: Ink },
    Dot { x: f64, y: f64, radius: f64, shape: Shape, ink: Ink },
    Text(Text),
}

/// A picture of `width` × `height` pixels; later marks cover earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub width: f64,
    pub height: f64,
    /// What the picture shows, in words.
    pub title: String,
    pub marks: Vec<Mark>,
}

/// How text looks in one place of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
    pub anchor: Anchor,
}

impl Style {
    pub const LABEL: Self = Self { size: 12.0, bold: false, ink: Ink::Text, anchor: Anchor::Start };
    pub const HEADING: Self =
        Self { size: 12.5, bold: true, ink: Ink::Text, anchor: Anchor::Start };
    pub const NOTE: Self = Self { size: 12.0, bold: false, ink: Ink::Muted, anchor: Anchor::Start };
    pub const TICK: Self =
        Self { size: 11.0, bold: false, ink: Ink::Muted, anchor: Anchor::Middle };

    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn width(self, text: &str) -> f64 {
        font::width(text, self.size, self.bold)
    }

    pub fn fit(self, text: &str, room: f64) -> String {
        font::fit(text, self.size, self.bold, room)
    }
}

impl Scene {
    pub fn new(width: f64, title: String) -> Self {
        Self { width, height: 0.0, title, marks: vec![] }
    }

    pub fn text(&mut self, x: f64, y: f64, text: impl Into<String>, style: Style) {
        let text: String = text.into().chars().map(font::drawn).collect();
        if text.is_empty() {
            return;
        }
        let Style { size, bold, ink, anchor } = style;
        self.marks.push(Mark::Text(Text { x, y, text, size, bold, ink, anchor }));
    }

    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), ink: Ink) {
        if width > 0.0 && height > 0.0 {
            self.marks.push(Mark::Rect { x, y, width, height, ink });
        }
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, width: f64, ink: Ink) {
        if points.len() > 1 {
            self.marks.push(Mark::Line { points, width, ink });
        }
    }

    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, shape: Shape, ink: Ink) {
        self.marks.push(Mark::Dot { x, y, radius, shape, ink });
    }
}

impl Text {
    /// Left, top, right and bottom of the letters.
    pub fn bounds(&self) -> (f64, f64, f64, f64) {
        let width = font::width(&self.text, self.size, self.bold);
        let left = match self.anchor {
            Anchor::Start => self.x,
            Anchor::Middle => self.x - width / 2.0,
            Anchor::End => self.x - width,
        };
        let half = self.size * 0.5;
        (left, self.y - half, left + width, self.y + half)
    }
}

#[cfg(test)]
impl Scene {
    /// Sentences about texts that overlap each other or leave the picture, and about numbers
    /// that are none.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = vec![];
        let texts: Vec<&Text> = self
            .marks
            .iter()
            .filter_map(|mark| if let Mark::Text(text) = mark { Some(text) } else { None })
            .collect();
        for (place, text) in texts.iter().enumerate() {
            let (left, top, right, bottom) = text.bounds();
            if left < -0.5 || top < -0.5 || right > self.width + 0.5 || bottom > self.height + 0.5 {
                faults.push(format!("{:?} leaves the picture", text.text));
            }
            if text.text.contains("NaN") || text.text.contains("inf") {
                faults.push(format!("{:?} is no number", text.text));
            }
            for other in &texts[place + 1..] {
                let (l, t, r, b) = other.bounds();
                if left < r && l < right && top < b && t < bottom {
                    faults.push(format!("{:?} overlaps {:?}", text.text, other.text));
                }
            }
        }
        let finite = |mark: &Mark| match mark {
            Mark::Rect { x, y, width, height, .. } => {
                [x, y, width, height].iter().all(|v| v.is_finite())
            }
            Mark::Line { points, .. } => points.iter().all(|(x, y)| x.is_finite() && y.is_finite()),
            Mark::Dot { x, y, radius, .. } => [x, y, radius].iter().all(|v| v.is_finite()),
            Mark::Text(text) => text.x.is_finite() && text.y.is_finite(),
        };
        let inside = |mark: &Mark| match mark {
            Mark::Rect { x, y, width, height, .. } => {
                *x >= -0.5
                    && *y >= -0.5
                    && x + width <= self.width + 0.5
                    && y + height <= self.height + 0.5
            }
            Mark::Dot { x, y, .. } => {
                (0.0..=self.width).contains(x) && (0.0..=self.height).contains(y)
            }
            Mark::Line { points, .. } => points.iter().all(|(x, y)| {
                (-0.5..=self.width + 0.5).contains(x) && (-0.5..=self.height + 0.5).contains(y)
            }),
            Mark::Text(_) => true,
        };
        let strays = self.marks.iter().filter(|mark| !finite(mark) || !inside(mark));
        faults.extend(strays.map(|mark| format!("{mark:?} is nowhere")));
        faults
    }
}
