//! Scenes as SVG and PNG, through plotters' backends.
//!
//! Backends count whole pixels, so both are painted at twice the size; an SVG says so in its
//! `viewBox`, and a PNG is sharp on screens of double density.

use plotters::prelude::{BitMapBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};
use plotters_backend::{DrawingBackend, DrawingErrorKind};

use super::font;
use super::scene::{Anchor, Mark, Scene, Shape, Text};
use super::theme::{Ink, Theme};

/// Painted pixels a scene pixel.
const SCALE: f64 = 2.0;

/// No picture is painted taller than this, in scene pixels; what would be below is left out.
const TALLEST: f64 = 16_000.0;

/// What plotters' backends do differently.
struct Habits {
    /// How many pixels the far corner of a filled rectangle lies inside it.
    overlap: i32,
    /// How much lower text must be asked for, in ems, so that capitals stand in the middle.
    lower: f64,
}

const SVG: Habits = Habits { overlap: 0, lower: 0.08 };
const BITMAP: Habits = Habits { overlap: 1, lower: 0.24 };

#[derive(Debug, thiserror::Error)]
pub enum PaintError {
    #[error("cannot paint {title:?}: {reason}")]
    Backend { title: String, reason: String },
    #[error("cannot encode {title:?} as PNG")]
    Png { title: String, source: png::EncodingError },
}

/// The scene as an SVG document that needs no font and no style sheet.
pub fn svg(scene: &Scene, theme: Theme) -> Result<String, PaintError> {
    let (width, height) = size(scene);
    let mut text = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut text, (width, height));
        draw(&mut backend, scene, theme, &SVG).map_err(|e| backend_error(scene, &e))?;
        backend.present().map_err(|e| backend_error(scene, &e))?;
    }
    let long = format!("<svg width=\"{width}\" height=\"{height}\"");
    let title = escape(&scene.title);
    let short = format!(
        "<svg role=\"img\" aria-label=\"{title}\" width=\"{}\" height=\"{}\" font-family=\"{}\"",
        f64::from(width) / SCALE,
        f64::from(height) / SCALE,
        font::FALLBACKS,
    );
    Ok(text
        .replacen(&long, &short, 1)
        .replace(&format!(" font-family=\"{}\"", font::FAMILY), "")
        .replace(" font-weight=\"bold\"", " font-weight=\"600\"")
        .replace(" opacity=\"1\"", "")
        .replace(" stroke=\"none\"", ""))
}

/// An SVG whose colours are the CSS variables of [`Theme::roles`], to stand inside a page.
pub fn svg_for_page(scene: &Scene) -> Result<String, PaintError> {
    let mut text = svg(scene, Theme::Light)?;
    for (ink, variable) in Theme::roles() {
        let value = format!("\"#{:06X}\"", Theme::Light.color(ink));
        text = text.replace(&value, &format!("\"var({variable})\""));
    }
    Ok(text)
}

/// The scene as a PNG of twice its size.
pub fn png(scene: &Scene, theme: Theme) -> Result<Vec<u8>, PaintError> {
    let (width, height) = size(scene);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        draw(&mut backend, scene, theme, &BITMAP).map_err(|e| backend_error(scene, &e))?;
        backend.present().map_err(|e| backend_error(scene, &e))?;
    }
    let error = |source| PaintError::Png { title: scene.title.clone(), source };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Default);
    encoder.set_filter(png::FilterType::NoFilter);
    let mut writer = encoder.write_header().map_err(error)?;
    writer.write_image_data(&pixels).map_err(error)?;
    writer.finish().map_err(error)?;
    Ok(file)
}

/// In painted pixels.
fn size(scene: &Scene) -> (u32, u32) {
    let pixels = |length: f64| (length.clamp(1.0, TALLEST) * SCALE).ceil() as u32;
    (pixels(scene.width), pixels(scene.height))
}

fn backend_error<E: std::error::Error + Send + Sync>(
    scene: &Scene,
    error: &DrawingErrorKind<E>,
) -> PaintError {
    PaintError::Backend { title: scene.title.clone(), reason: error.to_string() }
}

fn pixel(length: f64) -> i32 {
    (length * SCALE).round() as i32
}

fn color(theme: Theme, ink: Ink) -> RGBColor {
    let [_, red, green, blue] = theme.color(ink).to_be_bytes();
    RGBColor(red, green, blue)
}

fn draw<B: DrawingBackend>(
    backend: &mut B,
    scene: &Scene,
    theme: Theme,
    habits: &Habits,
) -> Result<(), DrawingErrorKind<B::ErrorType>> {
    font::register();
    let (width, height) = size(scene);
    let paper = color(theme, Ink::Paper);
    backend.draw_rect((0, 0), (width as i32, height as i32), &paper, true)?;
    for mark in &scene.marks {
        match mark {
            Mark::Rect { x, y, width, height, ink } => {
                let from = (pixel(*x), pixel(*y));
                // However small, what is there is seen.
                let to = (
                    pixel(x + width).max(from.0 + 1) - habits.overlap,
                    pixel(y + height).max(from.1 + 1) - habits.overlap,
                );
                backend.draw_rect(from, to, &color(theme, *ink), true)?;
            }
            Mark::Line { points, width, ink } => {
                let style = ShapeStyle {
                    color: color(theme, *ink).into(),
                    filled: false,
                    stroke_width: pixel(*width).max(1) as u32,
                };
                let points = points.iter().map(|(x, y)| (pixel(*x), pixel(*y)));
                backend.draw_path(points.collect::<Vec<_>>(), &style)?;
            }
            Mark::Dot { x, y, radius, shape, ink } => {
                dot(backend, (*x, *y), *radius, *shape, color(theme, *ink))?;
            }
            Mark::Text(text) => draw_text(backend, text, theme, habits)?,
        }
    }
    Ok(())
}

fn dot<B: DrawingBackend>(
    backend: &mut B,
    (x, y): (f64, f64),
    radius: f64,
    shape: Shape,
    color: RGBColor,
) -> Result<(), DrawingErrorKind<B::ErrorType>> {
    let corners = |corners: &[(f64, f64)]| -> Vec<(i32, i32)> {
        corners.iter().map(|(dx, dy)| (pixel(x + dx * radius), pixel(y + dy * radius))).collect()
    };
    match shape {
        Shape::Circle => {
            let radius = pixel(radius).max(1) as u32;
            backend.draw_circle((pixel(x), pixel(y)), radius, &color, true)
        }
        Shape::Square => {
            let square = [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)];
            backend.fill_polygon(corners(&square), &color)
        }
        Shape::Triangle => {
            backend.fill_polygon(corners(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]), &color)
        }
        Shape::Diamond => {
            let diamond = [(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)];
            backend.fill_polygon(corners(&diamond), &color)
        }
    }
}

fn draw_text<B: DrawingBackend>(
    backend: &mut B,
    text: &Text,
    theme: Theme,
    habits: &Habits,
) -> Result<(), DrawingErrorKind<B::ErrorType>> {
    let horizontal = match text.anchor {
        Anchor::Start => HPos::Left,
        Anchor::Middle => HPos::Center,
        Anchor::End => HPos::Right,
    };
    let style = if text.bold { FontStyle::Bold } else { FontStyle::Normal };
    let size = text.size * SCALE * font::LINE_HEIGHT;
    let ink = color(theme, text.ink);
    let style = TextStyle::from((FontFamily::Name(font::FAMILY), size, style))
        .color(&ink)
        .pos(Pos::new(horizontal, VPos::Center));
    backend.draw_text(&text.text, &style, (pixel(text.x), pixel(text.y + habits.lower * text.size)))
}

/// `text` inside an XML attribute or element.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars().map(font::drawn) {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
