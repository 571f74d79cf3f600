//! A check as other programs read it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cachefrom::check::output::{annotations, badge, bencher, benchmark_action, junit, markdown};
use cachefrom::check::{Verdict, line_of};

use crate::check::{analysis, checked};
use crate::journals::{bad, good};

const DOCKERFILE: &str = "FROM x\nCOPY . .\nCOPY lock .\nRUN install\nRUN make\n";

#[test]
fn annotations_name_the_line_and_strange_text_cannot_break_out() {
    let mut checked = checked(&good(), &bad());
    let text = annotations(&checked, "a,b:c/Dockerfile", |_, step| line_of(DOCKERFILE, step));
    assert!(text.contains("::error file=a%2Cb%3Ac/Dockerfile,line=3,"), "{text}");
    assert!(text.contains("line=4,"), "{text}");
    checked.findings[0].verdict = Verdict::Regressed;
    checked.findings[0].evidence = "a\n::stop-commands::b <script>|".into();
    let text = annotations(&checked, "Dockerfile", |_, _| None);
    assert!(text.lines().all(|line| line.starts_with("::error ")), "{text}");
    let table = markdown(&checked);
    assert!(table.contains("&lt;script&gt;\\|") && !table.contains("<script>"), "{table}");
}

#[test]
fn junit_holds_its_schema_whatever_the_names_are() {
    let mut checked = checked(&good(), &bad());
    checked.scenario = "<&\"\u{1}".into();
    checked.findings[0].verdict = Verdict::CannotTell;
    checked.findings[1].evidence = "]]> \u{0}\u{ffff} \t\n é".into();
    let folder = tempfile::tempdir().unwrap();
    for (number, stamp) in ["2026-11-25T03:57:49Z", "", "nonsense of twenty"].iter().enumerate() {
        let path = folder.path().join(format!("{number}.xml"));
        std::fs::write(&path, junit(&checked, stamp)).unwrap();
        assert_valid_junit(&path);
    }
    // The check itself can fail.
    let path = folder.path().join("wrong.xml");
    std::fs::write(&path, junit(&checked, "").replace("classname=", "class=")).unwrap();
    assert!(!validated(&path).status.success());
}

#[test]
fn dashboards_get_a_number_a_cell_and_a_badge_says_the_verdict() {
    let run = analysis(&good(), 1);
    let metrics = bencher(&run);
    let edit = &metrics["made-up/registry-max/edit"];
    assert_eq!(edit["reuse"]["value"], 0.5);
    assert_eq!(edit["pushed"]["value"], 2_000_000.0);
    let latency = edit["latency"]["value"].as_f64().unwrap();
    assert!((latency - 2_070_000_000.0).abs() < 1.0, "{latency}");
    let entries = benchmark_action(&run);
    let rebuilt = entries.as_array().unwrap().iter().find(|entry| {
        entry["name"] == "made-up/registry-max/edit: rebuilt" && entry["unit"] == "share"
    });
    assert_eq!(rebuilt.unwrap()["value"], 0.5);
    assert!(badge(&checked(&good(), &bad())).contains(">regressed</text>"));
}

pub fn assert_valid_junit(path: &Path) {
    let output = validated(path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

pub fn assert_well_formed(paths: &[PathBuf]) {
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let output = xmllint(&paths);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn validated(path: &Path) -> Output {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/junit/junit.xsd");
    xmllint(&[Path::new("--schema"), &schema, path])
}

/// Parses files; where the machine has no xmllint it is fetched once, through apt.
fn xmllint(arguments: &[&Path]) -> Output {
    let run = |program: &Path, libraries: &str| {
        Command::new(program)
            .args(["--noout", "--nonet"])
            .args(arguments)
            .env("LD_LIBRARY_PATH", libraries)
            .output()
    };
    if let Ok(output) = run(Path::new("xmllint"), "") {
        return output;
    }
    static FETCHED: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
    let root = FETCHED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let script =
            "apt-get download libxml2-utils libxml2 && for deb in *.deb; do dpkg -x $deb .; done";
        let status = Command::new("sh").args(["-ec", script]).current_dir(folder.path()).output();
        assert!(
            status.unwrap().status.success(),
            "install libxml2-utils: xmllint is not to be had"
        );
        folder
    });
    let libraries = std::fs::read_dir(root.path().join("usr/lib")).unwrap().flatten();
    let libraries: Vec<String> =
        libraries.map(|entry| entry.path().to_str().unwrap().to_owned()).collect();
    run(&root.path().join("usr/bin/xmllint"), &libraries.join(":")).unwrap()
}
