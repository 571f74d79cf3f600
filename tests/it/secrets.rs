//! Secrets reach the builds that mount them, and nothing that is kept.

use std::fs;
use std::path::Path;

use cachefrom::journal::{Outcome, Recorded};

use super::end_to_end::cachefrom;

const SECRET: &str = "correct-horse-battery";

/// Begins a second line of it, which is longer than what is kept of one.
const LONG: &str = "a-long-token";

/// Whether `text` shows any of the secret.
fn shows(text: &[u8]) -> bool {
    let holds = |part: &str| text.windows(part.len()).any(|window| window == part.as_bytes());
    holds(SECRET) || holds(LONG)
}

/// Whether any file below `folder` does.
fn leaks(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return leaks(&path);
        }
        shows(&fs::read(&path).unwrap())
    })
}

#[test]
fn a_secret_is_mounted_and_hidden_where_a_build_prints_it() {
    let temporary = tempfile::Builder::new().prefix("cf-").tempdir().unwrap();
    let folder = temporary.path();
    let (tree, out) = (folder.join("tree"), folder.join("out"));
    fs::create_dir(&tree).unwrap();
    let dockerfile = "FROM busybox\nRUN --mount=type=secret,id=token,required grep -q battery /run/secrets/token\n";
    fs::write(tree.join("Dockerfile"), dockerfile).unwrap();
    fs::write(folder.join("token"), format!("{SECRET}\n{LONG}{}\n", "-\"x".repeat(3_000))).unwrap();
    let print = "grep -q battery /run/secrets/token && cat /run/secrets/token && false";
    let scenario = format!(
        "schema = 1\nname = \"secret\"\nsource = \"tree\"\nstrategies = [\"local\"]\n[build]\n\
         [[commit]]\nmessage = \"mounted\"\n[[commit]]\nmessage = \"printed\"\n\
         edits = [{{ replace = \"Dockerfile\", pattern = \"grep -q battery /run/secrets/token\", with = \"{print}\" }}]\n"
    );
    let path = folder.join("secret.toml");
    fs::write(&path, scenario).unwrap();
    let secret = format!("id=token,src={}", folder.join("token").display());
    let paths = [&out, &path].map(|path| path.to_str().unwrap());
    let args = ["run", "--progress", "plain", "--secret", &secret, "--out", paths[0], paths[1]];
    let output = cachefrom(&args, folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(!shows(&output.stderr), "{said}");
    assert!(!leaks(&out));
    let recorded = Recorded::read(&out.join("journal.jsonl")).unwrap();
    assert_eq!(recorded.trials[0].outcome, Outcome::Built);
    let Outcome::BuildFailed { log, .. } = &recorded.trials[1].outcome else {
        panic!("{recorded:?}")
    };
    assert_eq!(*log, ["***", "***"]);
    let gone = cachefrom(&["run", "--secret", "id=x,src=/nowhere", paths[1]], folder);
    assert_eq!(gone.status.code(), Some(2));
    let said = String::from_utf8_lossy(&gone.stderr);
    assert!(said.contains("cannot read secret x from /nowhere"), "{said}");
}
