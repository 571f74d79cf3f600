//! For tests: a Docker engine as far as its API goes, answering what a test says.

use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{Method, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

/// What the engine answers.
pub enum Answer {
    Json(u16, serde_json::Value),
    /// The standard output of a container, so many times; for ever where it never ends.
    Output {
        text: &'static str,
        times: usize,
        ends: bool,
    },
}

/// Serves `answer` to each request's method and path, the latter with its query but without its
/// version, on `socket`; what was asked so far.
pub fn serve<F>(socket: &Path, answer: F) -> Arc<Mutex<Vec<String>>>
where
    F: Fn(&Method, &str) -> Answer + Send + Sync + 'static,
{
    let (asked, answer) = (Arc::new(Mutex::new(vec![])), Arc::new(answer));
    let (listener, seen) = (UnixListener::bind(socket).unwrap(), Arc::clone(&asked));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            let service = service_fn(move |request: http::Request<Incoming>| {
                let path = request.uri().path_and_query().unwrap().as_str();
                let path = path.trim_start_matches("/v1.44").to_owned();
                seen.lock().unwrap().push(format!("{} {path}", request.method()));
                let answer = answer(request.method(), &path);
                async move { respond(request, answer) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    asked
}

fn respond(
    request: http::Request<Incoming>,
    answer: Answer,
) -> Result<Response<String>, http::Error> {
    let (text, times, ends) = match answer {
        Answer::Json(204, _) => return Response::builder().status(204).body(String::new()),
        Answer::Json(status, body) => {
            let response = Response::builder().status(status);
            return response
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        Answer::Output { text, times, ends } => (text, times, ends),
    };
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        // The head of a frame: standard output, and its length.
        let mut frame = vec![1, 0, 0, 0];
        frame.extend((text.len() as u32).to_be_bytes());
        frame.extend(text.as_bytes());
        for _ in 0..times {
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
        if !ends {
            std::future::pending::<()>().await;
        }
        let _ = stream.shutdown().await;
    });
    Response::builder()
        .status(101)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(String::new())
}
