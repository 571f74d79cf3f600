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

/// How many of the last lines that a failing image printed are shown, of each stream.
const SHOWN_LINES: usize = 5;

/// What an image printed, and how it ended.
struct Ran {
    stdout: String,
    stderr: String,
    status: i64,
}

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
    let ran = ran.map_err(failed)?;
    removed.map_err(failed)?;
    let problem = problem(verify, &ran);
    let mut kept = ran.stdout;
    kept.truncate(kept.floor_char_boundary(KEPT_OUTPUT));
    let verification = Verification {
        target: verify.target.clone(),
        args: verify.args.clone(),
        passed: problem.is_none(),
        stdout: kept,
    };
    Ok((verification, problem))
}

async fn output(docker: &bollard::Docker, id: &str) -> Result<Ran, bollard::errors::Error> {
    let options =
        AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
    let mut attached = docker.attach_container(id, Some(options)).await?.output;
    docker.start_container(id, None::<StartContainerOptions>).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(message) = attached.next().await {
        match message? {
            LogOutput::StdOut { message } => stdout.extend_from_slice(&message),
            LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
            LogOutput::StdIn { .. } | LogOutput::Console { .. } => {}
        }
    }
    let mut waited = docker.wait_container(id, None::<WaitContainerOptions>);
    let status = match waited.next().await {
        Some(Ok(response)) => response.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(error),
        None => -1,
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { stdout: text(stdout), stderr: text(stderr), status })
}

/// Why what an image did is not what `verify` asks for.
fn problem(verify: &Verify, ran: &Ran) -> Option<String> {
    let Ran { stdout, stderr, status } = ran;
    let image = if verify.target.is_empty() { "the image" } else { &verify.target };
    let what = format!("{image} run with {:?}", verify.args);
    if *status != 0 {
        let streams = [("stderr", end(stderr)), ("stdout", end(stdout))];
        let printed = streams.iter().filter(|(_, end)| !end.is_empty());
        let printed: String = printed.map(|(name, end)| format!("; {name}: {end}")).collect();
        return Some(format!("{what} exited with {status}{printed}"));
    }
    if let Some(pattern) = &verify.stdout {
        // Whoever writes `^out$` does not think of the newline that ends the last line.
        let line = stdout.strip_suffix('\n').unwrap_or(stdout);
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(line) || regex.is_match(stdout) => {}
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

/// The last lines of `text`, in one.
fn end(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    let cut = if shown.len() < lines.len() { "… | " } else { "" };
    format!("{cut}{}", shown.join(" | ")).replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(stdout: &str, status: i64) -> Ran {
        Ran { stdout: stdout.into(), stderr: String::new(), status }
    }

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
        assert_eq!(problem(&verify, &ran("{ \"b\": 2,\n \"a\": 1 }", 0)), None);
        assert!(problem(&verify, &ran("{\"a\": 1}", 0)).is_some());
        assert!(problem(&verify, &ran("{ \"b\": 2, \"a\": 1 }", 3)).is_some());
    }

    #[test]
    fn a_pattern_may_leave_the_final_newline_out() {
        let matches = |pattern: &str, stdout: &str| {
            let verify =
                Verify { stdout: Some(pattern.into()), stdout_json: None, ..expecting(1.into()) };
            problem(&verify, &ran(stdout, 0)).is_none()
        };
        assert!(
            matches("^out$", "out\n") && matches("^out\n$", "out\n") && matches("^out$", "out")
        );
        assert!(!matches("^out$", "out\n\n") && !matches("^out$", "out\nmore\n"));
    }

    #[test]
    fn a_failing_image_is_shown_with_the_end_of_what_it_printed() {
        let lines = "1\n2\n3\n4\n5\n6\tsix\n";
        let failed = Ran { stderr: lines.into(), ..ran("so far\n", 127) };
        assert_eq!(
            problem(&expecting(1.into()), &failed).unwrap(),
            "PRODUCTION run with [\".\"] exited with 127; stderr: … | 2 | 3 | 4 | 5 | 6 six; stdout: so far"
        );
        let verify = Verify { target: String::new(), ..expecting(1.into()) };
        assert_eq!(
            problem(&verify, &ran("", 1)).unwrap(),
            "the image run with [\".\"] exited with 1"
        );
    }
}
