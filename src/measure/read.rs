//! Reads and reduces a journal on all cores, without ever holding its traces.
//!
//! Each thread takes the next block of lines and reduces it; the rows are then put in the
//! journal's order, so how blocks fell on threads changes nothing in the result.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::journal::{Block, Depth, End, Header, JournalError, LineView, Scan};

use super::rows::Rows;

/// What a journal holds, reduced.
pub struct Read {
    pub header: Header,
    pub rows: Rows,
    pub end: Option<End>,
    pub cut: bool,
}

/// Threads beyond these wait for the disk.
const MOST_THREADS: usize = 16;

/// Reads the journal at `path`.
pub fn read(path: &Path, depth: Depth) -> Result<Read, JournalError> {
    let scan = Scan::open(path)?;
    let header = scan.header().clone();
    let scan = Mutex::new(scan);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    // Below a few blocks a second thread costs more than it saves.
    let threads = cores.min(MOST_THREADS).min((size >> 20) as usize).max(1);
    let results: Vec<Result<Vec<Reduced>, JournalError>> = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (1..threads).map(|_| scope.spawn(|| reduce(path, &scan, &header, depth))).collect();
        let own = reduce(path, &scan, &header, depth);
        let others = workers.into_iter().map(|worker| {
            // A panic of a worker is ours.
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        std::iter::once(own).chain(others).collect()
    });
    let mut reduced = vec![];
    let mut errors = vec![];
    for result in results {
        match result {
            Ok(more) => reduced.extend(more),
            Err(error) => errors.push(error),
        }
    }
    // Of several lines that cannot be read the first is named.
    errors.sort_by_key(|error| match error {
        JournalError::Parse { line, .. } | JournalError::Mixed { line, .. } => *line,
        _ => 0,
    });
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    reduced.sort_by_key(|reduced| reduced.number);
    let cut = scan.into_inner().unwrap_or_else(PoisonError::into_inner).cut();
    let mut read = Read { rows: Rows::new(&header), header, end: None, cut };
    for block in reduced {
        read.rows.append(block.rows);
        read.end = block.end.or(read.end);
    }
    Ok(read)
}

/// One block, reduced.
struct Reduced {
    number: usize,
    rows: Rows,
    end: Option<End>,
}

/// Takes blocks until none is left.
fn reduce(
    path: &Path,
    scan: &Mutex<Scan>,
    header: &Header,
    depth: Depth,
) -> Result<Vec<Reduced>, JournalError> {
    let mut block = Block::default();
    let mut reduced = vec![];
    loop {
        // A thread that panicked holding it left a scan that others may still read.
        let more = scan.lock().unwrap_or_else(PoisonError::into_inner).next_block(&mut block)?;
        if !more {
            return Ok(reduced);
        }
        let mut rows = Rows::new(header);
        let mut end = None;
        block.lines(path, header, depth, |line| match line {
            LineView::Trial(trial) => rows.add(&trial),
            LineView::End(found) => end = Some(found),
        })?;
        reduced.push(Reduced { number: block.number, rows, end });
    }
}
