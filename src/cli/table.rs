//! The table at the end of a run, as a person reads it.

use crate::check::output::WIDEST;
use crate::journal::Recorded;
use crate::measure::statistics::Estimate;
use crate::measure::{Analysis, COLD, Cell};
use crate::units::Nanos;

/// Strategy × commit for each link: median wall, reused steps, bytes; then each strategy over all
/// commits, one sentence a strategy, and what to doubt.
pub fn table(recorded: &Recorded) -> String {
    let analysis = Analysis::of(recorded);
    let mut text = String::new();
    for (link, name) in analysis.links.iter().enumerate() {
        if analysis.links.len() > 1 || name.is_some() {
            text.push_str(&format!("over {}\n", name.as_deref().unwrap_or("an unshaped link")));
        }
        let cells = analysis.cells.iter().filter(|cell| cell.link == link);
        text.push_str(&section(&analysis, cells));
        text.push('\n');
    }
    text.push_str(&overall(&analysis));
    for sentence in sentences(&analysis) {
        text.push_str(&format!("{sentence}.\n"));
    }
    for warning in &analysis.warnings {
        text.push_str(&format!("note: {warning}.\n"));
    }
    text
}

fn section<'a>(analysis: &Analysis, cells: impl Iterator<Item = &'a Cell>) -> String {
    let cells: Vec<&Cell> = cells.collect();
    // Of rounds too few for an interval, the range is told.
    let intervals = cells.iter().any(|cell| cell.wall.is_some_and(|wall| wall.interval.is_some()));
    let spread = if intervals { "95 %" } else { "range" };
    let columns = ["strategy", "commit", "wall", spread, "vs cold", "reused", "pulled", "pushed"];
    let mut rows = vec![columns.map(String::from).to_vec()];
    for cell in cells {
        let message = &analysis.header.commits[cell.commit].message;
        let or_dash = |text: String| if cell.wall.is_some() { text } else { "–".into() };
        rows.push(vec![
            analysis.strategies[cell.strategy].clone(),
            format!("{} {message}", cell.commit + 1),
            cell.wall.map_or("failed".into(), |wall| seconds(wall.median)),
            if intervals { cell.wall.map_or("–".into(), interval) } else { range(cell) },
            cell.versus_cold.map_or("–".into(), |paired| format!("{:.2} ×", paired.ratio.median)),
            or_dash(format!("{}/{}", cell.reuse.cached, cell.reuse.steps)),
            or_dash(cell.pulled.to_string()),
            or_dash(cell.pushed.to_string()),
        ]);
    }
    aligned(&rows, 2)
}

/// Strategies side by side, where several built the same commits.
fn overall(analysis: &Analysis) -> String {
    let measured = || analysis.overall.iter().filter(|overall| overall.rounds > 0);
    let commits = measured().map(|overall| overall.commits).max().unwrap_or(0);
    if measured().count() < 2 || commits < 2 {
        return String::new();
    }
    let per_commit = ["wall", "95 %", "reused", "pulled", "pushed", "stored in all"];
    let mut rows = vec![vec![format!("mean of {commits} commits")]];
    rows[0].extend(per_commit.map(String::from));
    for overall in measured() {
        rows.push(vec![
            analysis.label(overall.strategy, overall.link),
            overall.wall.map_or("–".into(), |wall| seconds(wall.median)),
            overall.wall.map_or("–".into(), interval),
            overall.reused.map_or("–".into(), |share| format!("{:.0} %", share * 100.0)),
            overall.pulled.to_string(),
            overall.pushed.to_string(),
            overall.stored.to_string(),
        ]);
    }
    aligned(&rows, 1) + "\n"
}

/// `1.23 s` of 1.23.
fn seconds(seconds: f64) -> String {
    Nanos((seconds.max(0.0) * 1e9).round() as u64).to_string()
}

fn interval(estimate: Estimate) -> String {
    estimate
        .interval
        .map_or("–".into(), |range| format!("{} – {}", seconds(range.low), seconds(range.high)))
}

/// The least and the most of several rounds.
fn range(cell: &Cell) -> String {
    let walls = || cell.samples.iter().map(|sample| sample.wall);
    match (walls().min(), walls().max()) {
        (Some(least), Some(most)) if cell.samples.len() > 1 => format!("{least} … {most}"),
        _ => "–".into(),
    }
}

/// One sentence a strategy and link about what it reused, and one about whether it paid.
fn sentences(analysis: &Analysis) -> Vec<String> {
    let mut sentences = vec![];
    for sequence in &analysis.sequences {
        let (link, strategy) = (sequence.link, sequence.strategy);
        if analysis.strategies[strategy] == COLD {
            continue;
        }
        let label = analysis.label(strategy, link);
        let built = |commit| analysis.cell(link, strategy, commit).filter(|c| c.wall.is_some());
        let Some(cell) = built(1).or_else(|| (0..sequence.time.len()).find_map(built)) else {
            sentences.push(format!("{label} has no trial that was built"));
            continue;
        };
        let message = &analysis.header.commits[cell.commit].message;
        let rebuilt = cell.reuse.steps - cell.reuse.cached;
        let mut sentence =
            format!("{label} rebuilt {rebuilt} of {} steps at “{message}”", cell.reuse.steps);
        if let Some(paired) = cell.versus_cold {
            sentence.push_str(&format!(" and was {}", comparison(paired.ratio.median)));
        }
        sentences.push(sentence);
    }
    sentences.extend(analysis.verdicts.iter().map(|verdict| analysis.sentence(verdict)));
    sentences
}

/// `ratio` is how many times as long cold took.
fn comparison(ratio: f64) -> String {
    let (times, word) = if ratio >= 1.0 { (ratio, "faster") } else { (1.0 / ratio, "slower") };
    match format!("{times:.1}").as_str() {
        "1.0" => "as fast as cold".to_owned(),
        times => format!("{times} × {word} than cold"),
    }
}

/// Columns as wide as their widest entry, the first `words` to the left and numbers to the right. A
/// column that says nothing in any row, as intervals do after one round, is left out.
fn aligned(rows: &[Vec<String>], words: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let says = |column: &usize| rows.iter().skip(1).any(|row| row[*column] != "–");
    let widest =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let shown: Vec<(usize, usize)> =
        (0..columns).filter(says).map(|column| (column, widest(column).min(WIDEST))).collect();
    let mut text = String::new();
    for row in rows {
        let cells = shown.iter().map(|&(column, width)| match &row[column] {
            entry if column < words => format!("{entry:<width$}"),
            entry => format!("{entry:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_is_neither_faster_nor_slower() {
        let told = [1.04, 0.96, 1.06, 0.5].map(comparison);
        let fast = "as fast as cold".to_owned();
        let expected =
            [fast.clone(), fast, "1.1 × faster than cold".into(), "2.0 × slower than cold".into()];
        assert_eq!(told, expected);
    }

    /// It shows the rows of the second and the third commit.
    #[test]
    fn the_readmes_first_table_is_that_of_the_published_run() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let journal = root.join("results/jq/2026-11-25/journal.jsonl");
        let analysis = Analysis::of(&Recorded::read(&journal).unwrap());
        let whole = section(&analysis, analysis.cells.iter());
        let (head, rows) = whole.split_once('\n').unwrap();
        assert_eq!(rows.lines().count(), analysis.cells.len());
        let rows = rows.lines().zip(&analysis.cells);
        let rows = rows.filter(|(_, cell)| [1, 2].contains(&cell.commit)).map(|(row, _)| row);
        let computed: String =
            [head].into_iter().chain(rows).map(|row| format!("{row}\n")).collect();
        let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
        let shown = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
        assert_eq!(shown, Some(&*computed));
    }

    #[test]
    fn a_single_shaped_link_is_named_above_its_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let journal = root.join("results/jq/2026-11-25-links/journal.jsonl");
        let mut recorded = Recorded::read(&journal).unwrap();
        let link = recorded.header.links[0].name.clone();
        recorded.header.links.truncate(1);
        recorded.trials.retain(|trial| trial.key.link.as_ref() == Some(&link));
        assert!(table(&recorded).starts_with(&format!("over {link}\n")));
        recorded.header.links.clear();
        recorded.trials.iter_mut().for_each(|trial| trial.key.link = None);
        assert!(!table(&recorded).contains("over "));
    }
}
