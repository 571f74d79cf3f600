//! Runs a built image and holds what it prints against what the scenario expects.

use std::path::Path;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use crate::engine::guarded::{self, Guard};
use crate::engine::{EngineError, docker};
use crate::journal::Verification;
use crate::scenario::format::Verify;
use crate::secrets::Secrets;

/// How much of an image's output the journal keeps, in bytes.
const KEPT_OUTPUT: usize = 2_000;

/// How many of the last lines that a failing image printed are shown, of each stream.
const SHOWN_LINES: usize = 5;

/// The longest that an image may run: it is there to be looked at, not to serve.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The most that an image may print, in bytes of both streams together.
const MOST_OUTPUT: usize = 16 << 20;

/// An image to run.
#[derive(Debug)]
pub struct Image<'a> {
    /// Of the Docker engine that holds it.
    pub socket: &'a Path,
    pub name: &'a str,
    /// The run's directory, which its container is labelled with.
    pub run: &'a Path,
    /// [`LIMIT`], but in tests.
    pub limit: Duration,
}

/// What an image printed, and how it ended.
struct Ran {
    /// As it is compared; secrets may be in it.
    stdout: String,
    /// The same as it is shown, in which there are none.
    shown: String,
    /// As it is shown.
    stderr: String,
    ended: Ended,
}

#[derive(Debug)]
enum Ended {
    With(i64),
    /// In the engine's words, such as that there is no program of that name in it.
    NotStarted(String),
    /// After so long.
    Not(Duration),
    /// It printed more than [`MOST_OUTPUT`].
    Flooding,
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("failed to run {image}")]
    Run { image: String, source: Error },
}

/// What the image printed, and what is wrong with it, if anything; neither shows any of `secrets`.
pub async fn run(
    image: &Image<'_>,
    verify: &Verify,
    secrets: &Secrets,
) -> Result<(Verification, Option<String>), VerifyError> {
    let ran = ran(image, verify, secrets).await?;
    let problem = problem(verify, &ran);
    let mut kept = ran.shown;
    kept.truncate(kept.floor_char_boundary(KEPT_OUTPUT));
    let verification = Verification {
        target: verify.target.clone(),
        args: verify.args.clone(),
        passed: problem.is_none(),
        stdout: kept,
    };
    Ok((verification, problem))
}

async fn ran(image: &Image<'_>, verify: &Verify, secrets: &Secrets) -> Result<Ran, VerifyError> {
    let docker = docker::connect(image.socket)?;
    let failed = |source| VerifyError::Run { image: image.name.into(), source };
    let body = ContainerCreateBody {
        image: Some(image.name.into()),
        cmd: (!verify.args.is_empty()).then(|| verify.args.clone()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(guarded::labels(image.run)),
        host_config: Some(HostConfig { network_mode: Some("none".into()), ..Default::default() }),
        ..Default::default()
    };
    let mut printed = Printed::default();
    let ended = match docker.create_container(None, body).await {
        Ok(created) => {
            let container = Guard::new(image.socket, created.id);
            let running = printed.by(&docker, container.id());
            let ended = tokio::time::timeout(image.limit, running).await;
            // The engine may be kept for further commits, so the container does not stay. What was
            // seen is not less true where it does, and the next run sweeps.
            let _ = container.remove().await;
            ended.unwrap_or(Ok(Ended::Not(image.limit))).map_err(failed)?
        }
        // It names no program to run, say.
        Err(Error::DockerResponseServerError { status_code: 400, message }) => {
            Ended::NotStarted(message)
        }
        Err(error) => return Err(failed(error)),
    };
    let stdout = String::from_utf8_lossy(&printed.stdout).into_owned();
    let shown = hidden(secrets, &printed.stdout, &ended);
    let stderr = hidden(secrets, &printed.stderr, &ended);
    Ok(Ran { stdout, shown, stderr, ended })
}

/// What may be shown of what an image printed.
fn hidden(secrets: &Secrets, printed: &[u8], ended: &Ended) -> String {
    let shown = match ended {
        Ended::With(_) | Ended::NotStarted(_) => secrets.hidden(printed),
        // It may have been in the middle of a secret.
        Ended::Not(_) | Ended::Flooding => secrets.hidden_cut(printed).into(),
    };
    String::from_utf8_lossy(&shown).into_owned()
}

/// What an image printed so far.
#[derive(Default)]
struct Printed {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Printed {
    /// Starts the container and collects what it prints until it ends.
    async fn by(&mut self, docker: &bollard::Docker, id: &str) -> Result<Ended, Error> {
        let options =
            AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        let mut attached = docker.attach_container(id, Some(options)).await?.output;
        match docker.start_container(id, None::<StartContainerOptions>).await {
            // The engine is well, and says what of the image is not.
            Err(Error::DockerResponseServerError { message, .. }) => {
                return Ok(Ended::NotStarted(message));
            }
            started => started?,
        }
        while let Some(message) = attached.next().await {
            match message? {
                LogOutput::StdOut { message } => self.stdout.extend_from_slice(&message),
                LogOutput::StdErr { message } => self.stderr.extend_from_slice(&message),
                LogOutput::StdIn { .. } | LogOutput::Console { .. } => {}
            }
            if self.stdout.len() + self.stderr.len() > MOST_OUTPUT {
                return Ok(Ended::Flooding);
            }
        }
        let mut waited = docker.wait_container(id, None::<WaitContainerOptions>);
        match waited.next().await {
            Some(Ok(response)) => Ok(Ended::With(response.status_code)),
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(Ended::With(code)),
            Some(Err(error)) => Err(error),
            None => Ok(Ended::With(-1)),
        }
    }
}

/// Why what an image did is not what `verify` asks for.
fn problem(verify: &Verify, ran: &Ran) -> Option<String> {
    let Ran { stdout, shown, stderr, ended } = ran;
    let image = if verify.target.is_empty() { "the image" } else { &verify.target };
    let what = format!("{image} run with {:?}", verify.args);
    let ended = match ended {
        Ended::With(0) => None,
        Ended::With(status) => Some(format!("exited with {status}")),
        Ended::NotStarted(message) => Some(format!("did not start: {}", end(message))),
        Ended::Not(limit) => Some(format!("did not end within {} s", limit.as_secs_f64())),
        Ended::Flooding => Some(format!("printed more than {} MiB", MOST_OUTPUT >> 20)),
    };
    if let Some(ended) = ended {
        let streams = [("stderr", end(stderr)), ("stdout", end(shown))];
        let printed = streams.iter().filter(|(_, end)| !end.is_empty());
        let printed: String = printed.map(|(name, end)| format!("; {name}: {end}")).collect();
        return Some(format!("{what} {ended}{printed}"));
    }
    if let Some(pattern) = &verify.stdout {
        // Whoever writes `^out$` does not think of the newline that ends the last line.
        let line = stdout.strip_suffix('\n').unwrap_or(stdout);
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(line) || regex.is_match(stdout) => {}
            Ok(_) => {
                return Some(format!(
                    "{what} printed {}, which {pattern:?} does not match",
                    beginning(shown)
                ));
            }
            Err(error) => return Some(format!("{pattern:?} is not a regular expression: {error}")),
        }
    }
    if let Some(expected) = &verify.stdout_json {
        match serde_json::from_str::<serde_json::Value>(stdout) {
            Ok(found) if found == *expected => {}
            _ => {
                let printed = beginning(shown);
                return Some(format!("{what} printed {printed} instead of {expected}"));
            }
        }
    }
    None
}

/// The last lines of `text`, in one.
fn end(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let joined = lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" | ");
    let start = joined.ceil_char_boundary(joined.len().saturating_sub(KEPT_OUTPUT));
    let cut = match (lines.len() > SHOWN_LINES, start > 0) {
        (false, false) => "",
        (true, false) => "… | ",
        (_, true) => "… ",
    };
    format!("{cut}{}", &joined[start..]).replace(char::is_control, " ")
}

/// The beginning of `text`, as it is written in programs.
fn beginning(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(KEPT_OUTPUT)];
    format!("{shown:?}{}", if shown.len() < text.len() { " …" } else { "" })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::engine::wire::{Answer, serve};

    fn ran(stdout: &str, status: i64) -> Ran {
        let ended = Ended::With(status);
        Ran { stdout: stdout.into(), shown: stdout.into(), stderr: String::new(), ended }
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
        let long = problem(&verify, &ran(&"ä".repeat(10_000), 0)).unwrap();
        assert!(long.len() < 2_200 && long.contains("ä\" … instead of {"), "{long}");
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

    /// What is said of an image that the engine starts with `start`, and that prints `output`.
    async fn said(start: (u16, &'static str), output: Answer) -> (Verification, Option<String>) {
        said_without(&Secrets::default(), start, output).await
    }

    /// The same without `secrets`.
    async fn said_without(
        secrets: &Secrets,
        start: (u16, &'static str),
        output: Answer,
    ) -> (Verification, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let output = std::sync::Mutex::new(Some(output));
        let asked = serve(&socket, move |method, path| match path.split('?').next().unwrap() {
            "/containers/create" => Answer::Json(201, json!({ "Id": "x", "Warnings": [] })),
            "/containers/x/attach" => output.lock().unwrap().take().unwrap(),
            "/containers/x/start" => Answer::Json(start.0, json!({ "message": start.1 })),
            "/containers/x/wait" => Answer::Json(200, json!({ "StatusCode": 0 })),
            "/containers/x" if method == Method::DELETE => Answer::Json(204, json!(null)),
            other => panic!("{method} {other}"),
        });
        let limit = Duration::from_millis(300);
        let image = Image { socket: &socket, name: "app", run: folder.path(), limit };
        let verify = Verify {
            stdout: Some("^out$".into()),
            stdout_json: None,
            target: String::new(),
            ..expecting(1.into())
        };
        let found = run(&image, &verify, secrets).await.unwrap();
        let asked = asked.lock().unwrap();
        assert!(asked.last().unwrap().starts_with("DELETE /containers/x"), "{asked:?}");
        found
    }

    fn output(text: &'static str, times: usize, ends: bool) -> Answer {
        Answer::Output { text, times, ends }
    }

    #[tokio::test]
    async fn an_image_that_does_not_end_is_wrong_after_a_while() {
        assert_eq!(said((204, ""), output("out\n", 1, true)).await.1, None);
        let (verification, problem) = said((204, ""), output("so far\n", 1, false)).await;
        let expected = "the image run with [\".\"] did not end within 0.3 s; stdout: so far";
        assert_eq!(problem.as_deref(), Some(expected));
        assert!(!verification.passed && verification.stdout == "so far\n");
    }

    #[tokio::test]
    async fn an_image_that_prints_without_end_is_wrong_once_it_is_too_much() {
        const PIECE: &str = match str::from_utf8(&[b'x'; 1 << 20]) {
            Ok(piece) => piece,
            Err(_) => "",
        };
        let (verification, problem) = said((204, ""), output(PIECE, 17, false)).await;
        let problem = problem.unwrap();
        assert!(problem.contains("printed more than 16 MiB") && problem.len() < 3_000);
        assert_eq!(verification.stdout.len(), KEPT_OUTPUT);
    }

    #[tokio::test]
    async fn an_image_that_cannot_be_started_is_wrong_and_breaks_nothing() {
        let message = "exec: \"jq\": executable file not found in $PATH";
        let (verification, problem) = said((400, message), output("", 0, false)).await;
        let expected = format!("the image run with [\".\"] did not start: {message}");
        assert_eq!((problem, verification.passed), (Some(expected), false));
    }

    #[tokio::test]
    async fn a_secret_that_an_image_prints_is_hidden_before_it_is_quoted_or_cut() {
        const QUOTED: &str = "//registry.example/:_authToken=\"abc\\def-123456\"";
        const LONG: &str = match str::from_utf8(&[b'x'; 5_000]) {
            Ok(long) => long,
            Err(_) => "",
        };
        let mut secrets = Secrets::default();
        secrets.conceal(QUOTED).unwrap();
        secrets.conceal(LONG).unwrap();
        let (verification, problem) =
            said_without(&secrets, (204, ""), output(QUOTED, 1, true)).await;
        let expected = "the image run with [\".\"] printed \"***\", which \"^out$\" does not match";
        assert_eq!(problem.as_deref(), Some(expected));
        assert_eq!(verification.stdout, "***");
        let (verification, problem) =
            said_without(&secrets, (204, ""), output(LONG, 1, true)).await;
        assert_eq!(problem.as_deref(), Some(expected));
        assert_eq!(verification.stdout, "***");
        // It was stopped in the middle.
        let (verification, problem) =
            said_without(&secrets, (204, ""), output(&LONG[..4_000], 1, false)).await;
        let expected = "the image run with [\".\"] did not end within 0.3 s; stdout: ***";
        assert_eq!(problem.as_deref(), Some(expected));
        assert_eq!(verification.stdout, "***");
    }

    #[tokio::test]
    async fn an_image_is_compared_with_its_secrets_and_shown_without() {
        let mut secrets = Secrets::default();
        secrets.conceal("horse and out").unwrap();
        let (verification, problem) =
            said_without(&secrets, (204, ""), output("horse and out\n", 1, true)).await;
        assert!(problem.is_some_and(|problem| problem.contains("printed \"***\\n\"")));
        assert_eq!(verification.stdout, "***\n");
        let found = Ran { shown: "***".into(), ..ran("{\"a\": \"secret\"}", 0) };
        assert_eq!(super::problem(&expecting(json!({ "a": "secret" })), &found), None);
    }
}
