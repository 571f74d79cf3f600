//! What each step of a build came out as: its layer, by the provenance in the engine's history.
//!
//! The engine writes provenance of every build into its history before `Solve` returns, so reading
//! it costs the build nothing. Surprising: a step has a layer there only where it was packed, for an
//! image or a cache; and the layer's digest depends on files' times, which no cache key does.

use std::collections::BTreeMap;

use bollard_buildkit_proto::moby::buildkit::v1::BuildHistoryRequest;
use serde::Deserialize;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;

use super::channel::{BuildkitError, Connection, MESSAGE_LIMIT};
use super::content::{ReadRequest, ReadResponse};

/// Provenance larger than this is not read.
const PROVENANCE_LIMIT: usize = 32 << 20;
const READ: &str = "/containerd.services.content.v1.Content/Read";

/// The packed layer that a step added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLayer {
    /// The vertex' digest, as in the build's trace.
    pub vertex: String,
    /// Digest of the packed layer.
    pub digest: String,
    pub media_type: String,
    /// Packed.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
}

/// The layers of the steps of the build `reference`; none where the engine keeps no history.
pub async fn step_layers(
    connection: &Connection,
    reference: &str,
) -> Result<Vec<StepLayer>, BuildkitError> {
    let failed = BuildkitError::call("Control.ListenBuildHistory");
    let request = BuildHistoryRequest {
        r#ref: reference.to_owned(),
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let mut events =
        connection.control().listen_build_history(request).await.map_err(&failed)?.into_inner();
    let mut attestations = vec![];
    while let Some(event) = events.message().await.map_err(&failed)? {
        let result = event.record.and_then(|record| record.result);
        attestations.extend(result.into_iter().flat_map(|result| result.attestations));
    }
    let mut found = vec![];
    for attestation in attestations {
        let blob = read_blob(connection, &attestation.digest, PROVENANCE_LIMIT).await?;
        found.extend(layers_in(&blob));
    }
    Ok(found)
}

/// Where provenance has BuildKit's layers and its vertices' numbers: SLSA v0.2, then v1
/// (buildkit `solver/llbsolver/provenance/types`).
const PLACES: [(&str, &str); 2] = [
    (
        "/metadata/https:~1~1mobyproject.org~1buildkit@v1#metadata/layers",
        "/buildConfig/digestMapping",
    ),
    (
        "/runDetails/metadata/buildkit_metadata/layers",
        "/buildDefinition/internalParameters/buildConfig/digestMapping",
    ),
];

/// The top layer of each step of a build, by its provenance; none where that names no layers.
fn layers_in(provenance: &[u8]) -> Vec<StepLayer> {
    let provenance: serde_json::Value = serde_json::from_slice(provenance).unwrap_or_default();
    // An engine stores the predicate alone or in its statement.
    let predicate = provenance.get("predicate").unwrap_or(&provenance);
    let Some((layers, numbers)) = PLACES.iter().find_map(|(layers, numbers)| {
        Some((predicate.pointer(layers)?, predicate.pointer(numbers)?))
    }) else {
        return vec![];
    };
    // By `stepN:OUTPUT`: the layers of each way to make that output, lowest first. A step has the
    // one output 0.
    let layers = BTreeMap::<String, Vec<Vec<Layer>>>::deserialize(layers).unwrap_or_default();
    let numbers = BTreeMap::<String, String>::deserialize(numbers).unwrap_or_default();
    let top = |step: &String| layers.get(&format!("{step}:0"))?.first()?.last();
    numbers
        .iter()
        .filter_map(|(vertex, step)| {
            let Layer { media_type, digest, size } = top(step)?;
            let (digest, media_type) = (digest.clone(), media_type.clone());
            Some(StepLayer { vertex: vertex.clone(), digest, media_type, size: *size })
        })
        .collect()
}

/// A blob of the engine's content store.
pub async fn read_blob(
    connection: &Connection,
    digest: &str,
    limit: usize,
) -> Result<Vec<u8>, BuildkitError> {
    let failed = BuildkitError::call("Content.Read");
    let mut client = Grpc::new(connection.channel()).max_decoding_message_size(MESSAGE_LIMIT);
    let lost = |error: tonic::transport::Error| tonic::Status::from_error(error.into());
    client.ready().await.map_err(lost).map_err(&failed)?;
    let request = ReadRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let codec: ProstCodec<ReadRequest, ReadResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static(READ);
    let answer = client.server_streaming(tonic::Request::new(request), path, codec).await;
    let mut pieces = answer.map_err(&failed)?.into_inner();
    let mut blob = vec![];
    while let Some(piece) = pieces.message().await.map_err(&failed)? {
        blob.extend_from_slice(&piece.data);
        if blob.len() > limit {
            return Err(failed(tonic::Status::out_of_range("the blob is too large")));
        }
    }
    Ok(blob)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cut from what dockerd 28.5.2 kept of a build of `scenarios/traps/tree/Dockerfile.stamp` on
    /// 2026-11-25: one step of twelve, with the base's layer below its own.
    const PREDICATE: &str = r#"{
        "buildType": "https://mobyproject.org/buildkit@v1",
        "buildConfig": {"digestMapping": {
            "sha256:2d98454973b7765e3de93a9f5502fcad4c72a2ffe4b2904b217ed4abaaabb9d3": "step10",
            "sha256:1776b7c10fa3b39e5dbabdb7a91dc48b9effc9b51fb887cb8e74a4abb913218d": "step1"
        }},
        "metadata": {"https://mobyproject.org/buildkit@v1#metadata": {"layers": {"step10:0": [[
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 107,
             "digest": "sha256:811bf161671f23902cf56cf83afcb5f09d6617100dae5cc4be442647fd58a424"},
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 133,
             "digest": "sha256:098dd0471ac8eca817ae50146067be34f69a002a151c37ddfbe4ba21c2aec225"}
        ]]}}}
    }"#;

    #[test]
    fn a_steps_layer_is_the_top_one_and_steps_without_are_left_out() {
        let expected = StepLayer {
            vertex: "sha256:2d98454973b7765e3de93a9f5502fcad4c72a2ffe4b2904b217ed4abaaabb9d3"
                .into(),
            digest: "sha256:098dd0471ac8eca817ae50146067be34f69a002a151c37ddfbe4ba21c2aec225"
                .into(),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".into(),
            size: 133,
        };
        assert_eq!(layers_in(PREDICATE.as_bytes()), std::slice::from_ref(&expected));
        let statement = format!("{{\"predicate\": {PREDICATE}}}");
        assert_eq!(layers_in(statement.as_bytes()), [expected]);
    }

    #[test]
    fn what_is_no_provenance_names_no_layers() {
        for text in ["", "{}", "[]", "{\"predicate\": 3}", &PREDICATE[..200]] {
            assert_eq!(layers_in(text.as_bytes()), []);
        }
    }
}
