//! The strategies of DESIGN §4 and the policies, read from tables that ship in the crate.

use std::sync::LazyLock;

use serde::Deserialize;

use super::definition::Strategy;

/// Their names, in the order in which reports show them.
pub const BUILT_IN: [&str; 7] =
    ["cold", "no-cache", "local", "inline", "stages", "registry-min", "registry-max"];

/// Names of the policies: strategies that differ in whose cache they import.
pub const POLICIES: [&str; 8] = [
    "from-parent",
    "from-last-3",
    "from-merge-base",
    "from-branch",
    "from-default",
    "from-branch-or-default",
    "from-shared-ref",
    "from-tag",
];

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

/// Every policy, in the order of [`POLICIES`].
pub fn policies() -> &'static [Strategy] {
    static TABLE: LazyLock<Vec<Strategy>> = LazyLock::new(|| {
        let table: Table = toml::from_str(include_str!("policies.toml"))
            .expect("the table is part of the crate and a test reads it");
        table.strategy
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_exactly_the_named_strategies() {
        let names: Vec<&str> = built_in().iter().map(|strategy| strategy.name.as_str()).collect();
        assert_eq!(names, BUILT_IN);
        let names: Vec<&str> = policies().iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, POLICIES);
    }
}
