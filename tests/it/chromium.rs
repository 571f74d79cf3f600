//! The HTML report in a real browser: it opens from disk without a word on the console, fits narrow
//! and wide windows, sorts, and shows the timeline of a build that is clicked.
//!
//! Chromium is the machine's, or Debian's package, unpacked into the user's cache directory once and
//! installed nowhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::report::published;

/// A browser and the folders in which its libraries are.
struct Chromium {
    program: PathBuf,
    libraries: String,
}

impl Chromium {
    fn find() -> Self {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let installed = std::env::split_paths(&paths).map(|folder| folder.join("chromium"));
        if let Some(program) = installed.into_iter().find(|program| program.is_file()) {
            return Self { program, libraries: String::new() };
        }
        let home = PathBuf::from(std::env::var_os("HOME").expect("HOME names the user's folder"));
        let cache = home.join(".cache/cachefrom");
        fs::create_dir_all(&cache).unwrap();
        let lock = fs::File::create(cache.join("chromium.lock")).unwrap();
        lock.lock().unwrap();
        let root = cache.join("chromium");
        if !root.exists() {
            fetch(&cache, &root);
        }
        let folder = root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH));
        Self {
            program: root.join("usr/lib/chromium/chromium"),
            libraries: format!("{0}:{0}/pulseaudio", folder.display()),
        }
    }

    /// The page's document after its scripts ran, and what was said on the console.
    fn load(&self, page: &Path, width: u32) -> (String, Vec<String>) {
        let profile = tempfile::tempdir().unwrap();
        let output = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
            .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000"])
            .arg(format!("--window-size={width},900"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("file://{}", page.display()))
            .env("LD_LIBRARY_PATH", &self.libraries)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        let said = stderr.lines().filter(|line| line.contains("CONSOLE"));
        (String::from_utf8_lossy(&output.stdout).into_owned(), said.map(String::from).collect())
    }
}

/// Downloads the package with what this machine lacks of its dependencies, and unpacks them.
fn fetch(cache: &Path, root: &Path) {
    let scratch = tempfile::Builder::new().prefix(".new-").tempdir_in(cache).unwrap();
    let archives = scratch.path().join("archives");
    fs::create_dir_all(archives.join("partial")).unwrap();
    let download = || {
        Command::new("apt-get")
            .args(["install", "--yes", "--download-only", "--no-install-recommends"])
            .arg(format!("-oDir::Cache::archives={}", archives.display()))
            .arg("chromium")
            .output()
            .unwrap()
    };
    let mut output = download();
    if !output.status.success() {
        // A new machine has no package lists yet.
        Command::new("apt-get").arg("update").output().unwrap();
        output = download();
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unpacked = scratch.path().join("root");
    for entry in fs::read_dir(&archives).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg").arg("-x").args([&path, &unpacked]).status().unwrap();
            assert!(status.success(), "{}", path.display());
        }
    }
    fs::rename(unpacked, root).unwrap();
}

/// Appended to a copy of the page: uses it as a person would and writes down what came of it.
const VISITOR: &str = r##"<script>
const wide = document.documentElement.scrollWidth > window.innerWidth;
const table = document.querySelector("#numbers table");
const heads = [...table.tHead.rows[0].cells];
const wall = heads.findIndex((head) => head.textContent === "wall time");
heads[wall].querySelector("button").click();
const times = [...table.tBodies[0].rows].map((row) => Number(row.cells[wall].dataset.value));
const sorted = times.every((time, place) => place === 0 || times[place - 1] <= time);
const row = document.querySelector('tr.pick[data-variant="3"][data-commit="2"]');
row.click();
const chosen = [...document.querySelectorAll(".choose select")].map((s) => s.selectedOptions[0].textContent);
const bars = document.querySelectorAll(".gantt .bars i").length;
const result = document.createElement("pre");
result.id = "visit";
result.textContent = JSON.stringify({ wide, sorted, chosen, bars: bars > 5, rows: times.length });
document.body.append(result);
</script>"##;

#[test]
fn the_page_opens_from_disk_without_a_word_on_the_console_and_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cachefrom"))
        .args(["report", "--format", "html", "--out"])
        .args([folder.path(), &published()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let page = folder.path().join("report.html");
    let visited = folder.path().join("visited.html");
    fs::write(&visited, fs::read_to_string(&page).unwrap() + VISITOR).unwrap();
    let chromium = Chromium::find();
    for width in [400, 1400] {
        let (document, said) = chromium.load(&page, width);
        assert_eq!(said, Vec::<String>::new(), "at {width}");
        assert_eq!(document.matches("<figure").count(), 7, "at {width}");
        assert!(document.contains("class=\"gantt\""), "at {width}");

        let (document, said) = chromium.load(&visited, width);
        assert_eq!(said, Vec::<String>::new(), "at {width}");
        let start = document.find("<pre id=\"visit\">").expect("the visit ended") + 16;
        let result = &document[start..start + document[start..].find("</pre>").unwrap()];
        assert_eq!(
            result,
            "{\"wide\":false,\"sorted\":true,\"chosen\":[\"stages\",\"3 nothing but a README\",\"1\",\"BUILDER\"],\
             \"bars\":true,\"rows\":30}",
            "at {width}"
        );
    }
}
