//! The table at the end of a run, as a person reads it.

use crate::journal::Recorded;
use crate::measure::Summary;

/// Strategy × commit: median wall, reused steps, bytes; then one sentence a strategy.
pub fn table(recorded: &Recorded) -> String {
    let summary = Summary::of(recorded);
    let header = &recorded.header;
    let mut rows = vec![
        ["strategy", "commit", "wall", "vs cold", "reused", "pulled", "pushed"].map(String::from),
    ];
    for cell in &summary.cells {
        let message = &header.commits[cell.commit].message;
        let built = cell.rounds > 0;
        let or_dash = |text: String| if built { text } else { "–".into() };
        rows.push([
            cell.strategy.clone(),
            format!("{} {message}", cell.commit + 1),
            if built { cell.wall.to_string() } else { "failed".into() },
            cell.times_faster_than_cold.map_or("–".into(), |ratio| format!("{ratio:.2} ×")),
            or_dash(format!("{}/{}", cell.reuse.cached, cell.reuse.steps)),
            or_dash(cell.pulled.to_string()),
            or_dash(cell.pushed.to_string()),
        ]);
    }
    let mut text = aligned(&rows);
    text.push('\n');
    for sentence in summary.sentences(recorded) {
        text.push_str(&format!("{sentence}.\n"));
    }
    for skipped in &header.skipped {
        text.push_str(&format!("{} was skipped, because {}.\n", skipped.strategy, skipped.because));
    }
    text
}

/// Columns as wide as their widest entry; the first two to the left, numbers to the right.
fn aligned(rows: &[[String; 7]]) -> String {
    let mut widths = [0; 7];
    for row in rows {
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = (*width).max(entry.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .enumerate()
            .map(|(column, (entry, width))| match column {
                0 | 1 => format!("{entry:<width$}"),
                _ => format!("{entry:>width$}"),
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
