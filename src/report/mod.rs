//! What a person, a pull request or another program reads of a run: charts, HTML, Markdown, CSV,
//! JSON.
//!
//! Drawn and written from one [`View`], so that all of them agree. No formula is here, and nothing
//! is read from disk.

mod axis;
pub mod chart;
mod csv;
#[cfg(test)]
mod example;
pub mod files;
mod font;
mod gather;
mod html;
mod markdown;
mod paint;
mod scene;
mod theme;
mod timelines;
pub mod view;
mod words;

pub use csv::trials as csv;
pub use font::register as register_fonts;
pub use html::html;
pub use markdown::markdown;
pub use paint::{PaintError, png, svg};
pub use scene::Scene;
pub use theme::Theme;
pub use timelines::Timelines;
pub use view::{View, schema};
