//! A file of tolerances alone: what a scenario's `[check]` holds, with or without that heading.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::Diagnostics;
use super::format::CheckTable;
use super::{assertions, read, read_as, shape};

const NAME: &str = "the tolerances";

/// A file with the heading.
#[derive(Deserialize, JsonSchema)]
struct Headed {
    check: CheckTable,
}

/// Reads a file of tolerances; on failure, everything that is wrong with it.
pub fn tolerances(path: &Path) -> Result<CheckTable, Diagnostics> {
    let text = read(path, NAME)?;
    let headed =
        toml::from_str::<toml::Table>(&text).is_ok_and(|table| table.contains_key("check"));
    if !headed {
        return read_as(path, &text, |table, out| {
            shape::check(table, &schemars::schema_for!(CheckTable).to_value(), NAME, out);
            assertions::tolerances(table, out);
        });
    }
    let file: Headed = read_as(path, &text, |document, out| {
        for key in document.keys().filter(|key| key.get_ref() != "check") {
            let message = format!("`{}` is not under `[check]`", key.get_ref());
            let remedy = "move it below that heading, or leave the heading out";
            out.add(key.span(), message, Some(remedy.into()));
        }
        shape::check(document, &schemars::schema_for!(Headed).to_value(), NAME, out);
        if let Some(table) = document.get("check").and_then(|check| check.get_ref().as_table()) {
            assertions::tolerances(table, out);
        }
    })?;
    Ok(file.check)
}
