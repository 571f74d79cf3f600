//! The strategies of DESIGN §4, read from the table that ships in the crate.

use std::sync::LazyLock;

use serde::Deserialize;

use super::definition::Strategy;

/// Their names, in the order in which reports show them.
pub const BUILT_IN: [&str; 7] =
    ["cold", "no-cache", "local", "inline", "stages", "registry-min", "registry-max"];

#[derive(Deserialize)]
struct Table {
    strategy: Vec<Strategy>,
}

/// Every built-in strategy, in the order of [`BUILT_IN`].
pub fn built_in() -> &'static [Strategy] {
    static TABLE: LazyLock<Vec<Strategy>> = LazyLock::new(|| {
        let table: Table = toml::from_str(include_str!("built_in.toml"))
            .expect("the table is part of the crate and a test reads it");
        table.strategy
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_holds_exactly_the_named_strategies() {
        let names: Vec<&str> = built_in().iter().map(|strategy| strategy.name.as_str()).collect();
        assert_eq!(names, BUILT_IN);
    }
}
