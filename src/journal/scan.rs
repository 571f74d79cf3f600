//! Reads a journal in blocks of whole lines, for readers that never hold it all.
//!
//! Where it may be cut and what a newer format is are as for [`super::Recorded`]. Lines are parsed
//! by whoever holds the block, so that several threads can do it; the line number of one that
//! cannot be parsed is only counted then.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::file::{JournalError, check_format};
use super::header::Header;
use super::record::{End, Line};
use super::skim::{Depth, skim};
use super::view::TrialView;

/// How much of a file a block holds at least, in bytes, unless the file ends.
const BLOCK: usize = 1 << 20;

/// Whole lines of a journal.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Blocks are numbered from 0 in the order of the file.
    pub number: usize,
    text: Vec<u8>,
    /// Where the block begins in the file, in bytes.
    offset: u64,
}

/// A journal whose header was read and whose further lines are still to be.
#[derive(Debug)]
pub struct Scan {
    path: PathBuf,
    file: File,
    header: Header,
    /// The start of a line whose end was not read yet.
    rest: Vec<u8>,
    offset: u64,
    blocks: usize,
    ended: bool,
}

/// One line after the header.
#[derive(Debug)]
pub enum LineView<'a> {
    Trial(Box<TrialView<'a>>),
    End(End),
}

impl Scan {
    /// Opens the journal at `path` and reads its header.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let read = |source| JournalError::Read { path: path.into(), source };
        let mut file = File::open(path).map_err(read)?;
        let mut line = vec![];
        BufReader::new(&mut file).read_until(b'\n', &mut line).map_err(read)?;
        if line.last() != Some(&b'\n') {
            return Err(JournalError::NoHeader { path: path.into() });
        }
        check_format(&line, path)?;
        let parsed = serde_json::from_slice(&line).map_err(|source| JournalError::Parse {
            path: path.into(),
            line: 1,
            source,
        })?;
        let Line::Header(header) = parsed else {
            return Err(JournalError::NoHeader { path: path.into() });
        };
        // The header's reader read ahead.
        file.seek(SeekFrom::Start(line.len() as u64)).map_err(read)?;
        Ok(Self {
            path: path.into(),
            file,
            header: *header,
            rest: vec![],
            offset: line.len() as u64,
            blocks: 0,
            ended: false,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the last line was cut; known once no block is left.
    pub fn cut(&self) -> bool {
        self.ended && !self.rest.is_empty()
    }

    /// Fills `block` with the next lines; `false` when none are left.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, JournalError> {
        block.text.clear();
        block.text.append(&mut self.rest);
        while !self.ended {
            let before = block.text.len();
            let more = (&mut self.file).take(BLOCK as u64).read_to_end(&mut block.text);
            let more =
                more.map_err(|source| JournalError::Read { path: self.path.clone(), source })?;
            self.ended = more == 0;
            let newline = memchr::memrchr(b'\n', &block.text[before..]);
            if let Some(newline) = newline {
                self.rest = block.text.split_off(before + newline + 1);
                block.number = self.blocks;
                block.offset = self.offset;
                self.blocks += 1;
                self.offset += block.text.len() as u64;
                return Ok(true);
            }
        }
        // What has no end is a line that was cut.
        self.rest = std::mem::take(&mut block.text);
        Ok(false)
    }
}

impl Block {
    /// Hands every trial and end, in order, to `each`. The block is of the journal at `path`,
    /// whose header is `header`; a second header must be of the same run.
    pub fn lines(
        &self,
        path: &Path,
        header: &Header,
        depth: Depth,
        mut each: impl FnMut(LineView<'_>),
    ) -> Result<(), JournalError> {
        let mut offset = self.offset;
        let mut rest = self.text.as_slice();
        loop {
            let Some(newline) = memchr::memchr(b'\n', rest) else { return Ok(()) };
            let (text, others) = rest.split_at(newline + 1);
            rest = others;
            let line = || line_number(path, offset);
            let parsed = parse(text, depth).map_err(|source| JournalError::Parse {
                path: path.into(),
                line: line(),
                source,
            })?;
            match parsed {
                Parsed::Line(line) => each(line),
                Parsed::Header(other) => header.check_same_run(&other, path, line())?,
            }
            offset += text.len() as u64;
        }
    }
}

enum Parsed<'a> {
    Line(LineView<'a>),
    /// A second header, as the journals of two runs have where they were joined.
    Header(Box<Header>),
}

/// How a trial line of ours begins.
const TRIAL: &[u8] = b"{\"line\":\"trial\",";

fn parse(line: &[u8], depth: Depth) -> Result<Parsed<'_>, serde_json::Error> {
    // A tagged enum is buffered before it is read, so a line that says at once what it is is
    // read three times as fast without one.
    if line.starts_with(TRIAL) {
        return trial(line, depth);
    }
    // Another order of keys is as good, and rare enough to be read twice.
    match serde_json::from_slice(line)? {
        Line::Trial(_) => trial(line, depth),
        Line::Header(header) => Ok(Parsed::Header(header)),
        Line::End(end) => Ok(Parsed::Line(LineView::End(end))),
    }
}

fn trial(line: &[u8], depth: Depth) -> Result<Parsed<'_>, serde_json::Error> {
    let text = std::str::from_utf8(line).ok();
    let trial = match text.and_then(|text| skim(text, depth)) {
        Some(trial) => trial,
        None => {
            // Checking a line's encoding once is faster than checking each of its strings.
            let mut trial: TrialView<'_> = match text {
                Some(text) => serde_json::from_str(text)?,
                None => serde_json::from_slice(line)?,
            };
            if depth == Depth::WithoutTransfers {
                trial.forget_transfers();
            }
            trial
        }
    };
    Ok(Parsed::Line(LineView::Trial(Box::new(trial))))
}

/// The number, from 1, of the line that begins at `offset`.
fn line_number(path: &Path, offset: u64) -> usize {
    let Ok(file) = File::open(path) else { return 0 };
    let before = BufReader::new(file.take(offset));
    before.split(b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::file::Journal;
    use super::super::file::tests::header;
    use super::super::record::{Outcome, TrialKey, TrialRecord};
    use super::*;

    fn trial(round: u32) -> TrialRecord {
        TrialRecord::new(
            TrialKey { round, strategy: "co\"ld".into(), link: Some("wan".into()), commit: 3 },
            Outcome::Broken { message: "é\n".into() },
        )
    }

    fn journal(dir: &Path, rounds: u32) -> PathBuf {
        let path = dir.join("journal.jsonl");
        let header = Header { scenario: "s".into(), rounds, ..header() };
        let mut journal = Journal::create(&path, &header).unwrap();
        for round in 0..rounds {
            journal.append(&Line::Trial(Box::new(trial(round)))).unwrap();
        }
        path
    }

    fn rounds(path: &Path) -> Result<(Vec<u32>, bool), JournalError> {
        let mut scan = Scan::open(path)?;
        let (mut found, mut block) = (vec![], Block::default());
        while scan.next_block(&mut block)? {
            block.lines(path, &scan.header().clone(), Depth::Whole, |line| match line {
                LineView::Trial(trial) => found.push(trial.round),
                LineView::End(_) => panic!("{line:?}"),
            })?;
        }
        Ok((found, scan.cut()))
    }

    #[test]
    fn blocks_hold_every_whole_line_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = journal(dir.path(), 3);
        assert_eq!(rounds(&path).unwrap(), (vec![0, 1, 2], false));
        // More than a block.
        let mut text = std::fs::read(&path).unwrap();
        let start = text.iter().position(|&byte| byte == b'\n').unwrap() + 1;
        let body = text[start..].to_vec();
        let copies = BLOCK * 2 / body.len();
        for _ in 1..copies {
            text.extend_from_slice(&body);
        }
        std::fs::write(&path, &text).unwrap();
        let (found, cut) = rounds(&path).unwrap();
        assert!(!cut);
        assert_eq!(found, [0, 1, 2].repeat(copies));
    }

    #[test]
    fn a_line_that_was_cut_is_left_out_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = journal(dir.path(), 2);
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        assert_eq!(rounds(&path).unwrap(), (vec![0], true));
    }

    #[test]
    fn a_line_that_is_no_line_is_named_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = journal(dir.path(), 2);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"line\":\"trial\",\"round\":x}\n");
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(rounds(&path), Err(JournalError::Parse { line: 4, .. })));
    }

    #[test]
    fn a_view_of_a_line_is_the_view_of_its_record_whatever_the_order_of_keys() {
        let record = trial(7);
        let text = serde_json::to_string(&Line::Trial(Box::new(record.clone()))).unwrap();
        assert!(text.as_bytes().starts_with(TRIAL));
        // Through a map, which sorts the keys.
        let sorted: serde_json::Value = serde_json::from_str(&text).unwrap();
        for text in [text, sorted.to_string()] {
            for depth in [Depth::Whole, Depth::WithoutTransfers] {
                let parsed = parse(text.as_bytes(), depth).unwrap();
                let Parsed::Line(LineView::Trial(view)) = parsed else { panic!("{text}") };
                assert_eq!(*view, TrialView::from(&record));
            }
        }
    }

    #[test]
    fn no_journal_is_told_from_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        for text in ["", "\n", "{}", "{}\n", "[1]\n", "\u{0}\u{1}\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Scan::open(&path), Err(JournalError::NoHeader { .. })), "{text:?}");
        }
        std::fs::write(&path, "{\"line\":\"header\",\"schema\":9}\n").unwrap();
        assert!(matches!(Scan::open(&path), Err(JournalError::Format { found: 9, .. })));
    }
}
