//! A frontend for tests, as `# syntax=` names one: it lets the engine's own do the work.
//!
//! Runs in a container with the gateway API on standard input and output (buildkit
//! `frontend/gateway/grpcclient/client.go`). Its arguments, `NAME=VALUE`, are options that it adds to
//! those of the build, so that two images of it can be told apart by what they make of a Dockerfile.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Mutex;

use bollard_buildkit_proto::google::rpc;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    PingRequest, ReturnRequest, SolveRequest,
};
use hyper_util::rt::TokioIo;
use tokio::io::join;
use tokio::net::unix::pipe::{Receiver, Sender};
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

/// The first variable of the build's options; the others are numbered on.
const OPTION: &str = "BUILDKIT_FRONTEND_OPT_";

#[tokio::main]
async fn main() {
    let input = std::io::stdin().as_fd().try_clone_to_owned().expect("an open standard input");
    let output = std::io::stdout().as_fd().try_clone_to_owned().expect("an open standard output");
    let input = Receiver::from_owned_fd(input).expect("the engine's pipe");
    let output = Sender::from_owned_fd(output).expect("the engine's pipe");
    let pipe = Mutex::new(Some(TokioIo::new(join(input, output))));
    let connect = service_fn(move |_: Uri| {
        let pipe = pipe.lock().expect("nothing panics with it").take();
        async { pipe.ok_or_else(|| std::io::Error::other("there is one connection")) }
    });
    let channel = Endpoint::from_static("http://frontend")
        .connect_with_connector(connect)
        .await
        .expect("the engine listens");
    let mut bridge = LlbBridgeClient::new(channel).max_decoding_message_size(16 << 20);
    bridge.ping(PingRequest {}).await.expect("an answer");
    let request = SolveRequest {
        frontend: "dockerfile.v0".into(),
        frontend_opt: options(),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..Default::default()
    };
    let answer = match bridge.solve(request).await {
        Ok(solved) => ReturnRequest { result: solved.into_inner().result, error: None },
        Err(status) => {
            let (code, message) = (status.code() as i32, status.message().to_owned());
            ReturnRequest {
                result: None,
                error: Some(rpc::Status { code, message, details: vec![] }),
            }
        }
    };
    bridge.r#return(answer).await.expect("it is taken");
}

/// The build's options with ours. `cmdline` is among them, which keeps the engine's frontend from
/// looking for another.
fn options() -> HashMap<String, String> {
    let given = std::env::vars().filter(|(name, _)| name.starts_with(OPTION));
    let given = given.map(|(_, option)| option).chain(std::env::args().skip(1));
    let pair = |option: String| option.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    given.filter_map(pair).collect()
}
