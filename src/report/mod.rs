//! What a person, a pull request or another program reads of a run: charts, HTML, Markdown, CSV,
//! JSON.
//!
//! Drawn and written from one [`View`], so that all of them agree. No formula is here, and nothing
//! is read from disk.

mod axis;
pub mod chart;
#[cfg(test)]
mod example;
mod font;
mod paint;
mod scene;
mod theme;
mod view;

pub use paint::{PaintError, png, svg};
pub use scene::Scene;
pub use theme::Theme;
pub use view::{View, schema};
