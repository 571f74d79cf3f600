//! apt, used without touching the machine: where its packages come from, and getting some of them.
//!
//! Mirrors, keys and options are this machine's own; no host name stands here. apt checks the
//! signatures. Packages are unpacked (`dpkg -x`), never installed: none of their scripts run.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::EngineError;
use super::error::at;

/// One suite of one mirror, as an apt source names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub uri: String,
    pub suite: String,
    pub components: Vec<String>,
    /// The keyring's path, where the source names one.
    pub signed_by: Option<PathBuf>,
}

impl Source {
    /// This source as a line of `sources.list`.
    pub fn line(&self) -> String {
        let key = self.signed_by.as_ref().map(|key| format!("[signed-by={}] ", key.display()));
        let key = key.unwrap_or_default();
        format!("deb {key}{} {} {}", self.uri, self.suite, self.components.join(" "))
    }
}

/// The release this machine runs and the sources it installs from.
#[derive(Clone, Debug)]
pub struct Machine {
    /// `bookworm`
    pub codename: String,
    pub sources: Vec<Source>,
}

impl Machine {
    /// Reads `/etc/os-release` and apt's sources.
    pub fn read() -> Result<Self, EngineError> {
        let release = Path::new("/etc/os-release");
        let release = fs::read_to_string(release).map_err(at("read", release))?;
        let codename = codename(&release).unwrap_or_default();
        let mut sources = Vec::new();
        let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
        if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
            let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            more.sort();
            files.extend(more);
        }
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => sources.extend(parse_list(&text)),
                Some("sources") => sources.extend(parse_deb822(&text)),
                _ => {}
            }
        }
        Ok(Self { codename, sources })
    }

    /// The `main` component of `suite`, from the mirror that serves this machine's own release.
    pub fn source(&self, suite: &str) -> Result<Source, EngineError> {
        let has_main = |source: &&Source| source.components.iter().any(|name| name == "main");
        let own = |source: &&Source| source.suite == self.codename;
        let found = self.sources.iter().filter(has_main).find(own);
        let found = found.or_else(|| self.sources.iter().find(has_main));
        let source = found.ok_or(EngineError::NoMirror)?;
        let keyring = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
        let signed_by =
            if keyring.exists() { Some(keyring.to_owned()) } else { source.signed_by.clone() };
        let components = vec!["main".to_owned()];
        Ok(Source { uri: source.uri.clone(), suite: suite.to_owned(), components, signed_by })
    }

    /// This machine's own release, with all the components and the key that its source names.
    fn own(&self) -> Result<Source, EngineError> {
        let own = self.sources.iter().find(|source| source.suite == self.codename);
        own.cloned().map_or_else(|| self.source(&self.codename), Ok)
    }
}

/// Where a package is to come from.
#[derive(Clone, Debug)]
pub enum From {
    /// Whatever this machine would install; where it does not know the packages, since its own
    /// lists may never have been fetched, its release with lists of ours.
    Machine,
    /// Another suite, with lists of its own.
    Suite(Source),
}

/// Downloads `packages` and unpacks them into `into`; `work` is scratch space. Tells the archives.
pub async fn unpack(
    packages: &[&str],
    from: &From,
    work: &Path,
    into: &Path,
) -> Result<Vec<PathBuf>, EngineError> {
    let archives = match from {
        From::Suite(source) => download(packages, Some(source), work).await?,
        From::Machine => match download(packages, None, work).await {
            Ok(archives) => archives,
            Err(error) => {
                // Where there is no such release, the first error says more.
                let Ok(own) = Machine::read().and_then(|machine| machine.own()) else {
                    return Err(error);
                };
                let downloaded = download(packages, Some(&own), work).await;
                downloaded.map_err(|with_ours| EngineError::NoPackages {
                    packages: packages.join(", "),
                    reason: format!(
                        "with this machine's lists, {error}; with new lists of {}, {with_ours}",
                        own.suite
                    ),
                })?
            }
        },
    };
    for archive in &archives {
        run(Command::new("dpkg").arg("-x").arg(archive).arg(into)).await?;
    }
    Ok(archives)
}

/// The archives of `packages`: from `suite` with lists of its own, else as this machine would.
async fn download(
    packages: &[&str],
    suite: Option<&Source>,
    work: &Path,
) -> Result<Vec<PathBuf>, EngineError> {
    let folder = work.join(packages.join("+"));
    // What an attempt that failed left there is not what this one gets.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(at("create", &folder))?;
    // Even as root: the download directory is ours alone.
    let mut options = vec!["-oAPT::Sandbox::User=root".to_owned()];
    if let Some(source) = suite {
        options.extend(private_state(source, work)?);
        // A mirror that does not answer is only a warning otherwise, and its packages then unknown.
        let any = "-oAPT::Update::Error-Mode=any";
        run(Command::new("apt-get").args(&options).args([any, "update", "-qq"])).await?;
    }
    let mut download = Command::new("apt-get");
    download.args(&options);
    download.arg("-qq").arg("download").args(packages).current_dir(&folder);
    run(&mut download).await?;
    let entries = fs::read_dir(&folder).map_err(at("list", &folder))?.flatten();
    let archives = entries.map(|entry| entry.path());
    Ok(archives.filter(|path| path.extension().is_some_and(|kind| kind == "deb")).collect())
}

/// The version of the package in `archive`.
pub async fn version(archive: &Path) -> Result<String, EngineError> {
    let text = run(Command::new("dpkg-deb").arg("-f").arg(archive).arg("Version")).await?;
    Ok(text.trim().to_owned())
}

/// The version that this machine's lists offer; empty if none.
pub async fn machine_version(package: &str) -> String {
    let mut show = Command::new("apt-cache");
    show.args(["show", "--no-all-versions", package]);
    let text = run(&mut show).await.unwrap_or_default();
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    version.unwrap_or_default().to_owned()
}

/// This machine's options without which its mirror cannot be used, as `apt.conf` lines.
pub async fn needed_options() -> Vec<String> {
    const NEEDED: [&str; 6] = [
        "Acquire::Check-Valid-Until ",
        "Acquire::Check-Date ",
        "Acquire::Retries ",
        "Acquire::http::Proxy ",
        "Acquire::https::Proxy ",
        "Acquire::https::Verify-Peer ",
    ];
    let mut dump = Command::new("apt-config");
    dump.arg("dump");
    let text = run(&mut dump).await.unwrap_or_default();
    let is_needed = |line: &&str| NEEDED.iter().any(|name| line.starts_with(name));
    let is_set = |line: &&str| !line.ends_with("\"\";");
    text.lines().filter(is_needed).filter(is_set).map(str::to_owned).collect()
}

/// Runs a program to its end; its standard output, or an error with the end of what it complained.
pub(crate) async fn run(command: &mut Command) -> Result<String, EngineError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(std::process::Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|source| EngineError::Spawn { program: program.clone(), source })?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = stderr.lines().collect();
        let stderr = lines[lines.len().saturating_sub(8)..].join("\n");
        return Err(EngineError::Command { program, status: output.status.to_string(), stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Hooks of the machine's configuration would run for lists that are not the machine's. They are
/// cleared by a file of the command line, since no other is read after the machine's own, and an
/// option that is set to nothing leaves the entries of its list as they are.
const NO_HOOKS: &str = "#clear APT::Update::Pre-Invoke;\n\
                        #clear APT::Update::Post-Invoke;\n\
                        #clear APT::Update::Post-Invoke-Success;\n";

/// The arguments with which apt keeps `source` and all it knows of it below `work`.
fn private_state(source: &Source, work: &Path) -> Result<Vec<String>, EngineError> {
    let state = work.join("state");
    let cache = work.join("cache");
    for folder in [state.join("lists/partial"), cache.join("archives/partial")] {
        fs::create_dir_all(&folder).map_err(at("create", &folder))?;
    }
    let status = work.join("status");
    fs::write(&status, "").map_err(at("write", &status))?;
    let list = work.join("sources.list");
    fs::write(&list, source.line() + "\n").map_err(at("write", &list))?;
    let no_hooks = work.join("apt.conf");
    fs::write(&no_hooks, NO_HOOKS).map_err(at("write", &no_hooks))?;
    Ok(vec![
        format!("-c{}", no_hooks.display()),
        format!("-oDir::State={}", state.display()),
        format!("-oDir::State::status={}", status.display()),
        format!("-oDir::Cache={}", cache.display()),
        format!("-oDir::Etc::sourcelist={}", list.display()),
        "-oDir::Etc::sourceparts=-".to_owned(),
        "-oAcquire::Languages=none".to_owned(),
    ])
}

fn codename(os_release: &str) -> Option<String> {
    let value = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// `sources.list`: one line a source (sources.list(5)).
fn parse_list(text: &str) -> Vec<Source> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Source> {
    let mut rest = line.strip_prefix("deb ")?.trim_start();
    let mut signed_by = None;
    if let Some(after) = rest.strip_prefix('[') {
        let (options, after) = after.split_once(']')?;
        signed_by = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(PathBuf::from);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uri, suite, components: words.collect(), signed_by })
}

/// `*.sources`: paragraphs of fields, each of which may hold several words (sources.list(5)).
fn parse_deb822(text: &str) -> Vec<Source> {
    let without_comments: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).map(str::trim_end).collect();
    without_comments.split(|line| line.is_empty()).flat_map(parse_paragraph).collect()
}

fn parse_paragraph(lines: &[&str]) -> Vec<Source> {
    let field = |name: &str| -> Vec<String> {
        let mut words = Vec::new();
        let mut inside = false;
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if inside {
                    words.extend(line.split_whitespace().map(str::to_owned));
                }
            } else if let Some((key, value)) = line.split_once(':') {
                inside = key.eq_ignore_ascii_case(name);
                if inside {
                    words.extend(value.split_whitespace().map(str::to_owned));
                }
            }
        }
        words
    };
    let disabled = field("Enabled").iter().any(|word| word == "no");
    if disabled || !field("Types").iter().any(|word| word == "deb") {
        return Vec::new();
    }
    let signed_by =
        field("Signed-By").first().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let (suites, components) = (field("Suites"), field("Components"));
    let mut sources = Vec::new();
    for uri in field("URIs") {
        for suite in &suites {
            sources.push(Source {
                uri: uri.clone(),
                suite: suite.clone(),
                components: components.clone(),
                signed_by: signed_by.clone(),
            });
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_apt_sources_are_read() {
        let list = "# no\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian forky main contrib # x\ndeb-src http://mirror.test/debian forky main\n";
        let deb822 = "Types: deb deb-src\n# old\nURIs: http://mirror.test/debian\nSuites: forky\n forky-updates\nComponents: main\nSigned-By: /k.gpg\n\nEnabled: no\nTypes: deb\nURIs: http://other.test\nSuites: x\nComponents: y\n";
        let source = |suite: &str, components: &[&str]| Source {
            uri: "http://mirror.test/debian".to_owned(),
            suite: suite.to_owned(),
            components: components.iter().map(|&name| name.to_owned()).collect(),
            signed_by: Some("/k.gpg".into()),
        };
        assert_eq!(parse_list(list), [source("forky", &["main", "contrib"])]);
        assert_eq!(
            parse_deb822(deb822),
            [source("forky", &["main"]), source("forky-updates", &["main"])]
        );
        assert_eq!(
            source("forky", &["main"]).line(),
            "deb [signed-by=/k.gpg] http://mirror.test/debian forky main"
        );
    }

    #[test]
    fn the_machines_own_release_is_taken_as_its_source_names_it() {
        let sources = parse_list(
            "deb http://a.test/tools stable main\ndeb http://m.test/ubuntu noble main universe\n",
        );
        let machine =
            |codename: &str| Machine { codename: codename.to_owned(), sources: sources.clone() };
        assert_eq!(machine("noble").own().unwrap(), sources[1]);
        let other = machine("forky").own().unwrap();
        assert_eq!((&*other.suite, &*other.uri), ("forky", "http://a.test/tools"));
        assert!(Machine { codename: "forky".to_owned(), sources: vec![] }.own().is_err());
    }

    #[tokio::test]
    async fn no_hook_of_the_machine_runs_for_our_own_lists() {
        let work = tempfile::tempdir().unwrap();
        let machine = work.path().join("machine.conf");
        let hooks = ["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"];
        let text = hooks.map(|hook| format!("APT::Update::{hook} {{ \"touch /hook\"; }};\n"));
        fs::write(&machine, text.concat()).unwrap();
        let source = Source {
            uri: "http://mirror.test/debian".to_owned(),
            suite: "forky".to_owned(),
            components: vec!["main".to_owned()],
            signed_by: None,
        };
        let options = private_state(&source, work.path()).unwrap();
        let dump = async |options: &[String]| {
            let mut dump = Command::new("apt-config");
            run(dump.args(options).arg("dump").env("APT_CONFIG", &machine)).await.unwrap()
        };
        assert!(dump(&[]).await.contains("touch /hook"));
        let dumped = dump(&options).await;
        assert!(!dumped.contains("touch /hook"), "{dumped}");
        assert!(dumped.contains(&format!("{}/sources.list", work.path().display())));
    }
}
