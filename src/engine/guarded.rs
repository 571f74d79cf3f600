//! Containers in a Docker that is not ours: they go with what made them, and what a killed run left
//! there goes with the next run of the same machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};

use super::sweep::identity;
use super::{EngineError, detached, docker, request};

/// Holds the directory of the run that made a container: where that is gone, so is its run.
pub const LABEL: &str = "cachefrom.run";
/// Holds whose directory that is, see [`identity`].
const MACHINE_LABEL: &str = "cachefrom.machine";

/// A container that is removed when dropped.
#[derive(Debug)]
pub struct Guard {
    socket: PathBuf,
    /// Empty once it is removed.
    id: String,
}

impl Guard {
    /// Of the container `id` of the Docker engine at `socket`.
    pub fn new(socket: &Path, id: String) -> Self {
        Self { socket: socket.to_owned(), id }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Removes it now.
    pub async fn remove(mut self) -> Result<(), EngineError> {
        let id = std::mem::take(&mut self.id);
        remove(&self.socket, &id).await
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.id.is_empty() {
            let (socket, id) = (self.socket.clone(), self.id.clone());
            // Nobody is left to tell of a failure; the next run sweeps.
            detached(async move { drop(remove(&socket, &id).await) });
        }
    }
}

async fn remove(socket: &Path, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    docker::connect(socket)?
        .remove_container(id, Some(options))
        .await
        .map_err(request::failed(socket, "/containers"))
}

/// What tells the containers of the run in `run_root` from others.
pub fn labels(run_root: &Path) -> HashMap<String, String> {
    HashMap::from([
        (LABEL.to_owned(), run_root.display().to_string()),
        (MACHINE_LABEL.to_owned(), identity(run_root)),
    ])
}

/// Removes the containers of runs that died: those whose run's directory was here and is gone.
pub async fn sweep(socket: &Path, identity: &str) -> Result<(), EngineError> {
    let labelled = HashMap::from([("label".to_owned(), vec![LABEL.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&labelled).build();
    let found = docker::connect(socket)?
        .list_containers(Some(options))
        .await
        .map_err(request::failed(socket, "/containers/json"))?;
    for container in found {
        let labels = container.labels.unwrap_or_default();
        // What another machine's run is called says nothing here: its directory is not to be seen.
        let ours = !identity.is_empty()
            && labels.get(MACHINE_LABEL).is_some_and(|machine| machine == identity);
        if let (true, Some(run), Some(id)) = (ours, labels.get(LABEL), &container.id)
            // One that this user may not look at is another user's and may live.
            && Path::new(run).try_exists().is_ok_and(|exists| !exists)
        {
            // Another run may be removing it just now; else the next one tries again.
            let _ = remove(socket, id).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::RunRoot;
    use super::super::wire::{Answer, serve};
    use super::*;

    #[tokio::test]
    async fn containers_of_dead_runs_are_swept_and_those_of_other_machines_are_not() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunRoot::create(&parent.path().join("root")).unwrap();
        let gone = run.path().with_file_name("run-gone");
        let container = |id: &str, labels: HashMap<String, String>| serde_json::json!({ "Id": id, "Names": [id], "Labels": labels });
        let mut elsewhere = labels(&gone);
        elsewhere.insert(MACHINE_LABEL.to_owned(), "another".to_owned());
        let mut unnamed = labels(&gone);
        unnamed.remove(MACHINE_LABEL);
        let found = serde_json::json!([
            container("living", labels(run.path())),
            container("dead", labels(&gone)),
            container("elsewhere", elsewhere),
            container("unnamed", unnamed),
        ]);
        let socket = parent.path().join("docker.sock");
        let asked = serve(&socket, move |method, _| match method == http::Method::DELETE {
            true => Answer::Json(409, serde_json::json!({ "message": "in progress" })),
            false => Answer::Json(200, found.clone()),
        });
        sweep(&socket, &identity(run.path())).await.unwrap();
        sweep(&socket, "").await.unwrap();
        let asked = asked.lock().unwrap();
        let removed: Vec<&String> =
            asked.iter().filter(|request| request.starts_with("DELETE")).collect();
        assert!(matches!(&removed[..], [one] if one.contains("/containers/dead?")), "{removed:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_guarded_container_goes_with_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let asked = serve(&socket, |_, _| Answer::Json(204, serde_json::Value::Null));
        drop(Guard::new(&socket, "one".to_owned()));
        Guard::new(&socket, "other".to_owned()).remove().await.unwrap();
        let asked = asked.lock().unwrap();
        assert!(asked[0].starts_with("DELETE /containers/one?"), "{asked:?}");
        assert!(asked[1].starts_with("DELETE /containers/other?") && asked.len() == 2);
    }
}
