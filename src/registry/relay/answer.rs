//! What a real registry answers, taken into memory where it must be small: it may send anything.

use reqwest::Response;

use super::error::reason;
use crate::registry::manifests::MANIFEST_LIMIT;

/// The whole of `answer`, or why it is not to be had; no manifest is larger than what is taken.
pub async fn small(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    loop {
        let piece = answer.chunk().await.map_err(|error| reason(&error.without_url()))?;
        let Some(piece) = piece else { return Ok(bytes) };
        bytes.extend_from_slice(&piece);
        if bytes.len() > MANIFEST_LIMIT {
            return Err(format!("it sent more than {MANIFEST_LIMIT} bytes"));
        }
    }
}

/// An answer's JSON, where it is what is expected.
pub async fn json_of<T: for<'a> serde::Deserialize<'a>>(answer: Response) -> Option<T> {
    serde_json::from_slice(&small(answer).await.ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_taken_as_far_as_a_manifest_may_be_large() {
        let of = |size: usize| Response::from(http::Response::new(vec![b' '; size]));
        assert_eq!(small(of(MANIFEST_LIMIT)).await.unwrap().len(), MANIFEST_LIMIT);
        let error = small(of(MANIFEST_LIMIT + 1)).await.unwrap_err();
        assert!(error.contains("more than 16777216 bytes"), "{error}");
        assert_eq!(json_of::<u32>(of(MANIFEST_LIMIT + 1)).await, None);
    }
}
