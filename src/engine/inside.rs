//! Commands run inside a container: is BuildKit up there, and a connection to it.
//!
//! `buildctl dial-stdio` carries the connection's bytes, as it does for buildx. Knows nothing of how
//! the container came to be.

use std::pin::Pin;
use std::task::{Context, Poll};

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::StreamReader;

/// Whether the BuildKit inside says that it has workers.
pub async fn answers(docker: &bollard::Docker, id: &str) -> bool {
    let Ok((exec, mut output, _input)) =
        run_inside(docker, id, &["buildctl", "debug", "workers"]).await
    else {
        return false;
    };
    while let Some(Ok(_)) = output.next().await {}
    docker.inspect_exec(&exec).await.is_ok_and(|exec| exec.exit_code == Some(0))
}

type Output =
    Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

async fn run_inside(
    docker: &bollard::Docker,
    id: &str,
    command: &[&str],
) -> Result<(String, Output, Input), bollard::errors::Error> {
    let options = CreateExecOptions {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(id, options).await?.id;
    match docker.start_exec(&exec, None).await? {
        StartExecResults::Attached { output, input } => Ok((exec, output, input)),
        StartExecResults::Detached => {
            Ok((exec, Box::pin(futures_util::stream::empty()), Box::pin(tokio::io::sink())))
        }
    }
}

/// A connection to the BuildKit inside.
pub async fn dial(docker: bollard::Docker, id: String) -> std::io::Result<Stdio> {
    let (_, output, input) = run_inside(&docker, &id, &["buildctl", "dial-stdio"])
        .await
        .map_err(std::io::Error::other)?;
    let bytes = output.filter_map(|message| async move {
        match message {
            Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
            // What it complains about is for people; the connection then ends.
            Ok(_) => None,
            Err(error) => Some(Err(std::io::Error::other(error))),
        }
    });
    let output: ByteStream = Box::pin(bytes);
    Ok(Stdio { output: StreamReader::new(output), input })
}

type ByteStream = Pin<Box<dyn futures_util::Stream<Item = std::io::Result<Bytes>> + Send>>;

/// The standard streams of a command inside a container, as one connection.
pub struct Stdio {
    output: StreamReader<ByteStream, Bytes>,
    input: Input,
}

impl AsyncRead for Stdio {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.output).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stdio {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.input.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.input.as_mut().poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.input.as_mut().poll_shutdown(context)
    }
}
