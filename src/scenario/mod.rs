//! Scenario files: the format, its schema, and its diagnostics.
pub mod format;
