//! What is known to go wrong before anything is built: a Dockerfile or a stage that a commit lacks,
//! and build args that nothing declares.
//!
//! Looks at every commit that is played, since edits may change the Dockerfile. Of a repository's
//! commits one that cannot be built is a result, but not a stage that none of them has. A Dockerfile
//! for a frontend of another kind is not understood here, and nothing is said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::dockerfile::{self, Dockerfile};
use crate::history::{History, HistoryError, ScriptedCommit};
use crate::scenario::format::Edit;
use crate::scenario::{Loaded, Part, blame, did_you_mean};

use super::commit::dockerfile;
use super::{Options, RunError, commits_of};

/// What to know about the commits of `history` that are played, a sentence each, or what is wrong
/// with them.
pub fn foretold(
    loaded: &Loaded,
    options: &Options,
    history: &History,
) -> Result<Vec<String>, RunError> {
    let played = &history.commits()[..commits_of(history, options)?];
    let path = &loaded.scenario.build.dockerfile;
    let mut declared: BTreeSet<String> = BTreeSet::new();
    let mut nowhere: Vec<&String> = loaded.scenario.build.targets.iter().collect();
    let mut last = None;
    for commit in played {
        let text = match dockerfile(history, commit.index, path)? {
            Some(text) => text,
            None if options.replay.is_some() => continue,
            None if is_link(history, commit, path)? => return Ok(vec![]),
            None => return Err(no_dockerfile(loaded, history, commit)?),
        };
        let Some(dockerfile) = understood(&text, &commit.args) else { return Ok(vec![]) };
        if options.replay.is_none() {
            targets(loaded, commit, &dockerfile)?;
        }
        nowhere.retain(|target| lacks(&dockerfile, target));
        declared.extend(dockerfile.declared_args().map(str::to_owned));
        last = Some(dockerfile);
    }
    if let (Some(target), Some(last)) = (nowhere.first(), &last) {
        let remedy = other_stage(last, target).unwrap_or_else(|| "no stage has a name".into());
        return Err(RunError::NoSuchTarget { target: target.to_string(), remedy });
    }
    Ok(undeclared(loaded, options, played.len(), &declared))
}

/// Whether `path` is a symlink of the commit or goes through one: the engine follows it.
fn is_link(history: &History, commit: &ScriptedCommit, path: &str) -> Result<bool, HistoryError> {
    let paths = history.paths(commit.index)?;
    let leads = |file: &String| Path::new(path).ancestors().any(|above| above == Path::new(file));
    Ok(paths.iter().any(leads))
}

/// The names in `args` that the Dockerfile `text` does not declare, a sentence each.
pub fn undeclared_args<'a>(text: &str, args: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some(dockerfile) = understood(text, &BTreeMap::new()) else { return vec![] };
    let declared: BTreeSet<String> = dockerfile.declared_args().map(str::to_owned).collect();
    args.filter_map(|name| unused(name, &declared)).map(|told| told.join("; ")).collect()
}

/// `None` where a frontend that is not Docker's own reads it.
fn understood(text: &str, args: &BTreeMap<String, String>) -> Option<Dockerfile> {
    let dockerfile = dockerfile::parse(text);
    let dockers_own = |image: &str| image.contains("docker/dockerfile");
    dockerfile.frontend(args).is_none_or(dockers_own).then_some(dockerfile)
}

fn no_dockerfile(
    loaded: &Loaded,
    history: &History,
    commit: &ScriptedCommit,
) -> Result<RunError, RunError> {
    let path = &loaded.scenario.build.dockerfile;
    let paths = history.paths(commit.index)?;
    let remedy = if commit.index == 0 && loaded.source.join(path).exists() {
        "it is in `source`, but `include` does not name it or git ignores it".to_owned()
    } else {
        let is_dockerfile = |path: &&String| path.to_lowercase().contains("dockerfile");
        let others: Vec<&str> = paths.iter().filter(is_dockerfile).map(String::as_str).collect();
        let near = did_you_mean(path, paths.iter().map(String::as_str));
        near.unwrap_or_else(|| match others.as_slice() {
            [] => "the path is relative to `source`".to_owned(),
            some => format!("there are {}", some.join(", ")),
        })
    };
    let message = format!("commit {} has no Dockerfile `{path}`", number(commit));
    Ok(blame(&loaded.path, Part::Dockerfile, message, Some(remedy)).into())
}

/// As a reader counts, with its message.
fn number(commit: &ScriptedCommit) -> String {
    format!("{} (`{}`)", commit.index + 1, commit.message)
}

fn targets(
    loaded: &Loaded,
    commit: &ScriptedCommit,
    dockerfile: &Dockerfile,
) -> Result<(), RunError> {
    let build = &loaded.scenario.build;
    let lacking = build.targets.iter().enumerate().find(|(_, target)| lacks(dockerfile, target));
    let Some((place, target)) = lacking else { return Ok(()) };
    let remedy = other_stage(dockerfile, target);
    let message =
        format!("`{target}` is no stage of {} at commit {}", build.dockerfile, number(commit));
    Err(blame(&loaded.path, Part::Target(place), message, remedy).into())
}

fn lacks(dockerfile: &Dockerfile, target: &str) -> bool {
    dockerfile.stage_named(target, dockerfile.stages.len()).is_none()
}

/// Which stages there are in the place of `target`; `None` where none has a name.
fn other_stage(dockerfile: &Dockerfile, target: &str) -> Option<String> {
    let stages: Vec<&str> =
        dockerfile.stages.iter().filter_map(|stage| stage.name.as_deref()).collect();
    did_you_mean(target, stages.iter().copied())
        .or_else(|| (!stages.is_empty()).then(|| format!("its stages are {}", stages.join(", "))))
}

fn undeclared(
    loaded: &Loaded,
    options: &Options,
    played: usize,
    declared: &BTreeSet<String>,
) -> Vec<String> {
    let scenario = &loaded.scenario;
    let mut found = vec![];
    for name in scenario.build.args.keys() {
        let Some([message, remedy]) = unused(name, declared) else { continue };
        found.push(match options.replay {
            Some(_) => format!("warning: {message}; {remedy}"),
            None => {
                let told = blame(&loaded.path, Part::Arg(name), message, Some(remedy));
                format!("warning: {told}")
            }
        });
    }
    for (commit, written) in scenario.commits.iter().enumerate().take(played) {
        for (edit, change) in written.edits.iter().enumerate() {
            let Edit::SetArg(change) = change else { continue };
            let Some([message, remedy]) = unused(&change.set_arg, declared) else { continue };
            let part = Part::Edit { commit, edit };
            let told = blame(&loaded.path, part, message, Some(remedy));
            found.push(format!("warning: {told}"));
        }
    }
    found
}

/// What to say of a build arg that is not among the `declared`, and what to do about it.
fn unused(name: &str, declared: &BTreeSet<String>) -> Option<[String; 2]> {
    if declared.contains(name) || is_predefined(name) {
        return None;
    }
    let message = format!("no `ARG` of the Dockerfile declares the build arg `{name}`");
    let remedy = did_you_mean(name, declared.iter().map(String::as_str))
        .unwrap_or_else(|| "whatever its value, builds stay the same".to_owned());
    Some([message, remedy])
}

/// Those that builds heed without an `ARG` (docs.docker.com/reference/dockerfile, "Predefined ARGs",
/// "Automatic platform ARGs", "BuildKit built-in build args").
fn is_predefined(name: &str) -> bool {
    const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
    const PLATFORM: [&str; 4] = ["PLATFORM", "OS", "ARCH", "VARIANT"];
    let platform = ["TARGET", "BUILD"].iter().filter_map(|whose| name.strip_prefix(whose));
    PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
        || name.starts_with("BUILDKIT_")
        || name == "SOURCE_DATE_EPOCH"
        || name == "TARGETSTAGE"
        || platform.into_iter().any(|what| PLATFORM.contains(&what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Written;
    use crate::scenario;

    const DOCKERFILE: &str = "ARG BASE=busybox\nFROM $BASE AS first\nARG NODE_VERSION=18\nRUN a\n";

    /// What is said of a scenario whose text after `source` is `rest`, without the folder's name.
    fn told(rest: &str, last_commit: Option<usize>) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("source")).unwrap();
        std::fs::write(folder.path().join("source/Dockerfile"), DOCKERFILE).unwrap();
        let path = folder.path().join("s.toml");
        let text = format!("schema = 1\nname = 's'\nsource = 'source'\n{rest}");
        std::fs::write(&path, text).unwrap();
        let loaded = scenario::load(&path).unwrap();
        let history = History::script(&loaded, Written::NOTHING, folder.path()).unwrap();
        let mut options = super::super::turns_tests::options(folder.path());
        options.last_commit = last_commit;
        let plain = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
        foretold(&loaded, &options, &history)
            .map(|told| told.into_iter().map(plain).collect())
            .map_err(|error| plain(error.to_string()))
    }

    #[test]
    fn a_dockerfile_or_stage_that_a_commit_lacks_is_named_with_its_place() {
        let one = "[[commit]]\nmessage = 'one'\n";
        let error = told(&format!("[build]\ndockerfile = 'Dockerfil'\n{one}"), None).unwrap_err();
        assert_eq!(
            error,
            "s.toml:5:14: commit 1 (`one`) has no Dockerfile `Dockerfil`\n  \
             5 | dockerfile = 'Dockerfil'\n    |              ^\n  did you mean `Dockerfile`?"
        );
        let error = told(&format!("[build]\ndockerfile = 'Nope'\n{one}"), None).unwrap_err();
        assert!(error.ends_with("there are Dockerfile"), "{error}");
        let error =
            told(&format!("[build]\ntargets = ['FIRST', 'frist']\n{one}"), None).unwrap_err();
        assert!(error.starts_with("s.toml:5:21: `frist` is no stage of Dockerfile"), "{error}");
        assert!(error.ends_with("did you mean `first`?"), "{error}");
        assert!(told(&format!("[build]\ntargets = ['First', '0']\n{one}"), None).is_ok());
    }

    #[test]
    fn every_commit_that_is_played_is_looked_at_and_no_other() {
        let rest = "[build]\n[[commit]]\nmessage = 'one'\n[[commit]]\nmessage = 'two'\n\
                    edits = [{ delete = 'Dockerfile' }, { write = 'a', content = 'b' }]\n";
        let error = told(rest, None).unwrap_err();
        assert!(error.starts_with("s.toml:4:1: commit 2 (`two`) has no Dockerfile"), "{error}");
        assert_eq!(told(rest, Some(0)), Ok(vec![]));
        assert_eq!(
            told(rest, Some(8)).unwrap_err(),
            "the scenario has 2 commits, there is no commit 9"
        );
        let later = "[build]\ntargets = ['second']\n[[commit]]\nmessage = 'one'\n\
                     [[commit]]\nmessage = 'two'\n\
                     edits = [{ append = 'Dockerfile', content = \"FROM first AS second\\n\" }]\n";
        let error = told(later, None).unwrap_err();
        assert!(
            error.contains("`second` is no stage of Dockerfile at commit 1 (`one`)"),
            "{error}"
        );
    }

    #[test]
    fn a_build_arg_that_nothing_declares_is_told_and_a_predefined_one_is_not() {
        let rest = "[build]\n\
                    args = { NODE_VERSON = '18', BASE = 'b', http_proxy = '', BUILDKIT_SYNTAX = 'docker/dockerfile:1' }\n\
                    [[commit]]\nmessage = 'one'\n[[commit]]\nmessage = 'two'\nedits = [\n  \
                    { set-arg = 'NODE_VERSION', value = '20' },\n  { set-arg = 'ELSE', value = '1' },\n]\n";
        assert_eq!(
            told(rest, None).unwrap(),
            [
                "warning: s.toml:5:10: no `ARG` of the Dockerfile declares the build arg `NODE_VERSON`\n  \
                 5 | args = { NODE_VERSON = '18', BASE = 'b', http_proxy = '', BUILDKIT_SYNTAX = 'docker/dockerfile:1' }\n    \
                 |          ^\n  did you mean `NODE_VERSION`?",
                "warning: s.toml:12:3: no `ARG` of the Dockerfile declares the build arg `ELSE`\n  \
                 12 |   { set-arg = 'ELSE', value = '1' },\n     |   ^\n  \
                 whatever its value, builds stay the same",
            ]
        );
        let names = ["TARGETARCH", "SOURCE_DATE_EPOCH", "NODE_VERSION", "TARGET"];
        let found = undeclared_args(DOCKERFILE, names.into_iter());
        assert!(matches!(found.as_slice(), [one] if one.contains("`TARGET`")), "{found:?}");
    }

    #[test]
    fn what_another_frontend_reads_is_not_judged() {
        let rest = "[build]\ntargets = ['any']\nargs = { BUILDKIT_SYNTAX = 'me/frontend', A = '1' }\n\
                    [[commit]]\nmessage = 'one'\n";
        assert_eq!(told(rest, None), Ok(vec![]));
    }

    #[test]
    fn a_scenario_that_changed_meanwhile_is_still_blamed() {
        let gone = Path::new("/nowhere/s.toml");
        let told = blame(gone, Part::Dockerfile, "is not there".into(), None);
        assert_eq!(told.to_string(), "/nowhere/s.toml:1:1: is not there");
    }
}
