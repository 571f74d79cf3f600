//! The shape of a scenario file: unknown keys, missing keys and wrong types, against the schema.
//!
//! Walks the parsed file and the JSON Schema together, because serde would stop at the first
//! mistake. It knows only what schemars writes for the types in `format`. What the values mean is
//! `check`'s business.

use std::ops::Range;

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Findings, did_you_mean};

/// The keys one of which every edit has, in the order of `format::Edit`.
pub(super) const EDIT_KINDS: [&str; 11] = [
    "write", "append", "replace", "delete", "rename", "chmod", "touch", "copy", "patch", "set-arg",
    "generate",
];

/// Holds `document` against `schema`; `name` is what the file is called.
pub(super) fn check(
    document: &DeTable<'_>,
    schema: &Json,
    name: &str,
    findings: &mut Findings<'_>,
) {
    Walk { root: schema }.table(document, 0..0, schema, name, findings);
}

struct Walk<'schema> {
    root: &'schema Json,
}

impl Walk<'_> {
    /// Follows a reference, and the choice between something and null, which TOML cannot say.
    fn resolve<'a>(&'a self, schema: &'a Json) -> &'a Json {
        let choice = schema.get("anyOf").and_then(Json::as_array).map(Vec::as_slice);
        if let Some([something, null]) = choice
            && null.get("type").and_then(Json::as_str) == Some("null")
        {
            return self.resolve(something);
        }
        let pointer = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'));
        pointer.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(schema)
    }

    fn value(
        &self,
        value: &Spanned<DeValue<'_>>,
        schema: &Json,
        name: &str,
        out: &mut Findings<'_>,
    ) {
        let schema = self.resolve(schema);
        let span = value.span();
        if let Some(variants) = schema.get("anyOf").and_then(Json::as_array) {
            let type_at = |variant: &Json| self.resolve(variant).get("type").cloned();
            let some: Vec<&Json> =
                variants.iter().filter(|v| type_at(v) != Some("null".into())).collect();
            if let [only] = some[..] {
                return self.value(value, only, name, out);
            }
            // A size is a number or text; only edits are a choice between tables.
            let plain =
                |v: &&Json| ["integer", "string"].map(Json::from).map(Some).contains(&type_at(v));
            if !some.iter().all(plain) {
                return self.edit(value, variants, out);
            }
            let is = Json::from(value.get_ref().type_str());
            return match some.iter().find(|v| type_at(v).as_ref() == Some(&is)) {
                Some(variant) => self.value(value, variant, name, out),
                None => wrong_type(value, "integer or string", name, out),
            };
        }
        let words = words(schema);
        if !words.is_empty() {
            match value.get_ref().as_str() {
                Some(word) if words.contains(&word) => {}
                Some(word) => {
                    let remedy = did_you_mean(word, words.iter().copied());
                    let known = words.join("`, `");
                    let message = format!("unknown value `{word}` of `{name}`");
                    out.add(span, message, remedy.or(Some(format!("one of `{known}`"))));
                }
                None => wrong_type(value, "string", name, out),
            }
            return;
        }
        let Some(expected) = type_of(schema) else { return };
        match (expected, value.get_ref()) {
            ("object", DeValue::Table(table)) => self.table(table, span, schema, name, out),
            ("array", DeValue::Array(items)) => {
                let Some(item_schema) = schema.get("items") else { return };
                for item in items.iter() {
                    self.value(item, item_schema, name, out);
                }
            }
            ("string", DeValue::String(_))
            | ("boolean", DeValue::Boolean(_))
            | ("number", DeValue::Float(_) | DeValue::Integer(_)) => {}
            ("integer", DeValue::Integer(integer)) => {
                let number = i128::from_str_radix(integer.as_str(), integer.radix());
                let minimum = schema.get("minimum").and_then(Json::as_i64).unwrap_or(i64::MIN);
                let maximum = match schema.get("format").and_then(Json::as_str) {
                    Some("uint32") => i64::from(u32::MAX),
                    // TOML has no larger integers, whatever the field could hold.
                    _ => i64::MAX,
                };
                if !number.is_ok_and(|n| (minimum.into()..=maximum.into()).contains(&n)) {
                    let message = format!("`{name}` is {}, out of range", integer.as_str());
                    out.add(span, message, Some(format!("from {minimum} to {maximum}")));
                }
            }
            _ => wrong_type(value, expected, name, out),
        }
    }

    fn table(
        &self,
        table: &DeTable<'_>,
        span: Range<usize>,
        schema: &Json,
        name: &str,
        out: &mut Findings<'_>,
    ) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let extra = schema.get("additionalProperties");
        for (key, value) in table.iter() {
            let key_name: &str = key.get_ref();
            match (properties.and_then(|known| known.get(key_name)), extra) {
                (Some(property), _) => self.value(value, property, key_name, out),
                (None, Some(Json::Bool(false))) => {
                    let known = properties.into_iter().flat_map(|known| known.keys());
                    let known: Vec<&str> = known.map(String::as_str).collect();
                    let remedy = did_you_mean(key_name, known.iter().copied())
                        .unwrap_or_else(|| format!("known keys: {}", known.join(", ")));
                    let message = format!("unknown key `{key_name}` in {name}");
                    out.add(key.span(), message, Some(remedy));
                }
                (None, Some(schema)) => self.value(value, schema, key_name, out),
                (None, None) => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str) {
            if !table.contains_key(key) {
                out.add(span.clone(), format!("missing key `{key}` in {name}"), None);
            }
        }
    }

    /// The only choice between tables in the format: its kind is the key that is present.
    fn edit(&self, value: &Spanned<DeValue<'_>>, variants: &[Json], out: &mut Findings<'_>) {
        let Some(table) = value.get_ref().as_table() else {
            return wrong_type(value, "object", "edits", out);
        };
        let kinds: Vec<&str> = EDIT_KINDS.into_iter().filter(|k| table.contains_key(*k)).collect();
        match kinds[..] {
            [kind] => {
                let variant =
                    variants.iter().map(|variant| self.resolve(variant)).find(|variant| {
                        let required = variant.get("required").and_then(Json::as_array);
                        required.is_some_and(|keys| keys.iter().any(|key| key == kind))
                    });
                if let Some(variant) = variant {
                    self.table(table, value.span(), variant, &format!("the edit `{kind}`"), out);
                }
            }
            [] => {
                let near = table.keys().find_map(|key| {
                    did_you_mean(key.get_ref(), EDIT_KINDS).map(|remedy| (key, remedy))
                });
                let known = || format!("one of `{}` says what it does", EDIT_KINDS.join("`, `"));
                let first = table.keys().min_by_key(|key| key.span().start);
                match (near, first) {
                    (Some((key, remedy)), _) => {
                        let message = format!("unknown kind of edit `{}`", key.get_ref());
                        out.add(key.span(), message, Some(remedy));
                    }
                    (None, Some(key)) => {
                        let message = format!("unknown kind of edit `{}`", key.get_ref());
                        out.add(key.span(), message, Some(known()));
                    }
                    (None, None) => {
                        out.add(value.span(), "an edit without a kind".into(), Some(known()));
                    }
                }
            }
            [..] => {
                let message = format!("an edit of {} kinds: `{}`", kinds.len(), kinds.join("`, `"));
                out.add(value.span(), message, Some("make it several edits".into()));
            }
        }
    }
}

/// The words that an enumeration allows; empty for every other schema.
fn words(schema: &Json) -> Vec<&str> {
    let listed = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    let described = described.flat_map(|choice| {
        let words = choice.get("enum").and_then(Json::as_array).into_iter().flatten();
        choice.get("const").into_iter().chain(words)
    });
    listed.chain(described).filter_map(Json::as_str).collect()
}

/// The one type that a schema allows beside null, which TOML cannot say.
fn type_of(schema: &Json) -> Option<&str> {
    match schema.get("type")? {
        Json::String(one) => Some(one),
        Json::Array(several) => several.iter().filter_map(Json::as_str).find(|t| *t != "null"),
        _ => None,
    }
}

fn wrong_type(value: &Spanned<DeValue<'_>>, expected: &str, name: &str, out: &mut Findings<'_>) {
    // JSON Schema's word for it is not TOML's.
    let expected = if expected == "object" { "table" } else { expected };
    let message = format!("`{name}` wants {expected}, not {}", value.get_ref().type_str());
    out.add(value.span(), message, None);
}
