//! The walls of DESIGN §2: which module may name which.
//!
//! A text search for `crate::module`, which the house rule "one `use crate::…` a stage, never
//! braces straight after `crate::`" makes sufficient.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every module and the modules it may name.
const MAY_NAME: [(&str, &[&str]); 23] = [
    ("units", &[]),
    ("link", &["units"]),
    ("fault", &[]),
    ("trace", &["units"]),
    ("dockerfile", &[]),
    ("ignore", &[]),
    ("go_json", &[]),
    ("strategy", &[]),
    ("scenario", &["fault", "link", "strategy", "units"]),
    ("credentials", &["go_json"]),
    ("secrets", &[]),
    ("history", &["ignore", "scenario", "strategy"]),
    ("engine", &["units"]),
    ("registry", &["credentials", "fault", "go_json", "link", "units"]),
    ("buildkit", &["credentials", "ignore", "secrets", "trace", "units"]),
    ("journal", &["link", "registry", "strategy", "trace", "units"]),
    (
        "trial",
        &[
            "buildkit", "engine", "journal", "registry", "scenario", "secrets", "strategy",
            "trace", "units",
        ],
    ),
    (
        "run",
        &[
            "credentials",
            "dockerfile",
            "engine",
            "history",
            "journal",
            "link",
            "registry",
            "scenario",
            "secrets",
            "strategy",
            "trace",
            "trial",
            "units",
        ],
    ),
    ("measure", &["journal", "strategy", "trace", "units"]),
    (
        "check",
        &[
            "dockerfile",
            "explain",
            "journal",
            "link",
            "measure",
            "registry",
            "scenario",
            "strategy",
            "trace",
            "units",
        ],
    ),
    ("explain", &["dockerfile", "ignore", "journal", "measure", "strategy", "trace", "units"]),
    ("report", &["explain", "journal", "measure", "units"]),
    (
        "cli",
        &[
            "check", "engine", "explain", "history", "ignore", "journal", "link", "measure",
            "registry", "report", "run", "scenario", "secrets", "units",
        ],
    ),
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_module_names_one_that_it_must_not_know() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = vec![];
    sources(&root, &mut files);
    let mut wrong = vec![];
    let mut seen = BTreeSet::new();
    for file in files {
        let module = file.strip_prefix(&root).unwrap().iter().next().unwrap();
        let module = module.to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            panic!("{module} is missing from MAY_NAME");
        };
        // Tests may build what they need from anywhere.
        if file.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests")) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for named in code.split("crate::").skip(1) {
            let named: String =
                named.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if named != module && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names {named:?}", file.display()));
            }
        }
        seen.insert(module);
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen.len(), MAY_NAME.len(), "MAY_NAME holds a module that is gone");
}
