//! JSON as programs in Go write it: an empty list or map may be `null`.

use serde::{Deserialize, Deserializer};

/// Takes a field that is `null` for one that is absent; for serde's `deserialize_with`.
pub fn or_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
