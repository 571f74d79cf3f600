//! Journals that anybody may have written: what they call things does no harm to who reads them.

use std::path::{Path, PathBuf};

use cachefrom::journal::Line;

use crate::end_to_end::cachefrom;
use crate::journals::{self, good, journal, steps};
use crate::outputs::assert_well_formed;

fn written(folder: &Path, lines: &[Line]) -> String {
    let path = folder.join("journal.jsonl");
    std::fs::write(&path, journals::text(lines)).unwrap();
    path.display().to_string()
}

/// Both streams of the program, told apart by nothing.
fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = cachefrom(arguments, folder);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn no_command_sends_a_terminal_what_a_journal_would_have_it_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = journal(&steps(&[("COPY \u{1b}[2J .", true)]), 1, |_| 1.0);
    let Line::Header(header) = &mut lines[0] else { panic!() };
    for commit in &mut header.commits {
        commit.message = format!("\u{1b}]0;owned\u{7} by \u{7}{}\u{ffff}", commit.id);
        commit.dockerfile = Some("FROM scratch\nCOPY \u{1b}[2J .\n".into());
    }
    header.skipped.push(cachefrom::journal::Skipped {
        strategy: "\u{1b}[31mred".into(),
        because: "\u{9b}no".into(),
    });
    let path = &written(folder.path(), &lines);
    let out = &folder.path().join("out").display().to_string();
    let commands: [&[&str]; 5] = [
        &["explain", path],
        &["explain", path, "--commit", "none such"],
        &["report", path, "--out", out],
        &["check", path, "--baseline", path],
        &["compare", path, path],
    ];
    for arguments in commands {
        let (_, text) = said(folder.path(), arguments);
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert!(!text.is_empty() && control.is_none(), "{arguments:?}: {control:?} in {text}");
    }
    let drawn = std::fs::read_dir(folder.path().join("out/charts")).unwrap().flatten();
    let drawn = drawn.map(|entry| entry.path()).filter(|path| path.extension().unwrap() == "svg");
    let drawn: Vec<PathBuf> = drawn.collect();
    assert!(drawn.len() > 8 && drawn.iter().any(|path| path.ends_with("timeline.svg")));
    assert_well_formed(&drawn);
}

#[test]
fn a_name_of_any_length_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = journal(&good(), 1, |_| 1.0);
    let Line::Header(header) = &mut lines[0] else { panic!() };
    header.commits[1].message = "long ".repeat(14_000);
    let path = &written(folder.path(), &lines);
    let saved = folder.path().join("saved").display().to_string();
    let save = ["baseline", "save", "long", path, "--baseline-dir", &saved];
    let show = ["baseline", "show", "long", "--baseline-dir", &saved];
    for arguments in [&["compare", path, path] as &[&str], &save, &show] {
        let (code, text) = said(folder.path(), arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {text}", text = &text[..text.len().min(400)]);
    }
}
