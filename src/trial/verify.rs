//! Runs a built image and holds what it prints against what the scenario expects.

use std::path::Path;

use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::StreamExt;

use crate::engine::{EngineError, docker};
use crate::journal::Verification;
use crate::scenario::format::Verify;

/// How much of an image's output the journal keeps, in bytes.
const KEPT_OUTPUT: usize = 2_000;

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to run {image}")]
    Run { image: String, source: bollard::errors::Error },
}

/// What the image printed, and what is wrong with it, if anything.
pub async fn run(
    socket: &Path,
    image: &str,
    verify: &Verify,
) -> Result<(Verification, Option<String>), VerifyError> {
    let docker = docker::connect(socket)?;
    let failed = |source| VerifyError::Run { image: image.into(), source };
    let body = ContainerCreateBody {
        image: Some(image.into()),
        cmd: (!verify.args.is_empty()).then(|| verify.args.clone()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig { network_mode: Some("none".into()), ..Default::default() }),
        ..Default::default()
    };
    let id = docker.create_container(None, body).await.map_err(failed)?.id;
    let ran = output(&docker, &id).await;
    // The engine may be kept for further commits, so the container does not stay.
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    let removed = docker.remove_container(&id, Some(options)).await;
    let (stdout, status) = ran.map_err(failed)?;
    removed.map_err(failed)?;
    let problem = problem(verify, &stdout, status);
    let mut kept = stdout;
    kept.truncate(kept.floor_char_boundary(KEPT_OUTPUT));
    let verification = Verification {
        target: verify.target.clone(),
        args: verify.args.clone(),
        passed: problem.is_none(),
        stdout: kept,
    };
    Ok((verification, problem))
}

async fn output(
    docker: &bollard::Docker,
    id: &str,
) -> Result<(String, i64), bollard::errors::Error> {
    let options =
        AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
    let mut attached = docker.attach_container(id, Some(options)).await?.output;
    docker.start_container(id, None::<StartContainerOptions>).await?;
    let mut stdout = Vec::new();
    while let Some(message) = attached.next().await {
        if let LogOutput::StdOut { message } = message? {
            stdout.extend_from_slice(&message);
        }
    }
    let mut waited = docker.wait_container(id, None::<WaitContainerOptions>);
    let status = match waited.next().await {
        Some(Ok(response)) => response.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(error),
        None => -1,
    };
    Ok((String::from_utf8_lossy(&stdout).into_owned(), status))
}

/// Why `stdout` and `status` are not what `verify` asks for.
fn problem(verify: &Verify, stdout: &str, status: i64) -> Option<String> {
    let what = format!("{} run with {:?}", verify.target, verify.args);
    if status != 0 {
        return Some(format!("{what} exited with {status}"));
    }
    if let Some(pattern) = &verify.stdout {
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(stdout) => {}
            Ok(_) => {
                return Some(format!(
                    "{what} printed {stdout:?}, which {pattern:?} does not match"
                ));
            }
            Err(error) => return Some(format!("{pattern:?} is not a regular expression: {error}")),
        }
    }
    if let Some(expected) = &verify.stdout_json {
        match serde_json::from_str::<serde_json::Value>(stdout) {
            Ok(found) if found == *expected => {}
            _ => return Some(format!("{what} printed {stdout:?} instead of {expected}")),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expecting(json: serde_json::Value) -> Verify {
        Verify {
            target: "PRODUCTION".into(),
            args: vec![".".into()],
            commits: vec![],
            stdout: None,
            stdout_json: Some(json),
        }
    }

    #[test]
    fn output_is_compared_as_json_and_not_as_text() {
        let verify = expecting(serde_json::json!({"a": 1, "b": 2}));
        assert_eq!(problem(&verify, "{ \"b\": 2,\n \"a\": 1 }", 0), None);
        assert!(problem(&verify, "{\"a\": 1}", 0).is_some());
        assert!(problem(&verify, "{ \"b\": 2, \"a\": 1 }", 3).is_some());
    }
}
