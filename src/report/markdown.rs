//! `report.md`: a run for a README or a pull request.
//!
//! GitHub's dialect. Whatever comes from a scenario is escaped, so that a commit message can
//! neither break a table nor mention anybody.

use super::chart::Chart;
use super::paint::escape;
use super::view::{Cell, Estimate, Overall, View};
use super::words::{bytes, percent, seconds};

/// More rows than this are folded away.
const MOST_OPEN: usize = 40;
/// More rows than this are left out, with a sentence.
const MOST_ROWS: usize = 400;
/// So many causes are shown, the dearest ones.
const MOST_CAUSES: usize = 12;
/// So many commits are named in one row.
const MOST_NUMBERS: usize = 8;

/// The report; `charts` are those that were drawn and the folder that holds them, relative to it.
pub fn markdown(view: &View, charts: Option<(&str, &[Chart])>) -> String {
    let title = if view.title.is_empty() { &view.scenario } else { &view.title };
    let mut text = format!("# {}\n\n", escaped(title));
    text.push_str(&format!("{}\n\n", escaped(&summary(view))));
    let verdicts: Vec<&str> = view
        .variants
        .iter()
        .filter_map(|variant| variant.verdict.as_ref())
        .map(|verdict| verdict.sentence.as_str())
        .collect();
    if !verdicts.is_empty() {
        text.push_str(&list(verdicts));
    }
    text.push_str(&overall(view));
    if !view.warnings.is_empty() {
        text.push_str("**What to doubt**\n\n");
        text.push_str(&list(view.warnings.iter().map(String::as_str)));
    }
    if !view.failures.is_empty() {
        text.push_str("**Trials that failed**\n\n");
        text.push_str(&list(view.failures.iter().map(String::as_str)));
    }
    if let Some((folder, drawn)) = charts {
        drawn.iter().for_each(|chart| text.push_str(&picture(folder, chart)));
    }
    text.push_str(&cells(view));
    text.push_str(&causes(view));
    if !view.advice.is_empty() {
        text.push_str("**Advice**\n\n");
        text.push_str(&list(view.advice.iter().map(|piece| piece.text.as_str())));
    }
    if !view.environment.is_empty() {
        let facts = view.environment.iter().map(|fact| format!("{}: {}", fact.name, fact.value));
        let facts: Vec<String> = facts.map(|fact| escaped(&fact)).collect();
        text.push_str(&format!("<sub>{}</sub>\n", facts.join(" · ")));
    }
    text
}

/// `jq: 60 trials in 2 rounds, made by cachefrom 0.1.0`
pub fn summary(view: &View) -> String {
    let plural = |count: usize, word: &str| {
        if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
    };
    format!(
        "{}: {} in {}, {} × {}, reported by {}",
        view.scenario,
        plural(view.trials, "trial"),
        plural(view.rounds, "round"),
        plural(view.commits.len(), "commit"),
        plural(view.variants.len(), "strategy").replace("strategys", "strategies"),
        view.generator
    )
}

/// One picture that follows the reader's colour scheme.
fn picture(folder: &str, chart: &Chart) -> String {
    let (name, alt) = (chart.name, escape(&chart.scene.title));
    format!(
        "<picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"{folder}/{name}-dark.svg\">\
         <img alt=\"{alt}\" src=\"{folder}/{name}.svg\"></picture>\n\n"
    )
}

/// Strategies side by side, where there are several.
fn overall(view: &View) -> String {
    let Some((commits, measured)) = view.side_by_side() else { return String::new() };
    let mut table = String::from(
        "| strategy | wall time a commit | steps reused | pulled a commit | pushed a commit | in the registry |\n\
         | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (variant, overall) in measured {
        let numbers = overall_numbers(overall).join(" | ");
        table.push_str(&format!("| {} | {numbers} |\n", escaped(&variant.name)));
    }
    format!("{table}\nMeans of the {commits} commits after the first.\n\n")
}

/// Wall time and reuse, bytes pulled and pushed a commit, bytes in the registry.
pub fn overall_numbers(overall: &Overall) -> [String; 5] {
    [
        overall.wall_seconds.map_or("–".into(), |wall| with_interval(wall, seconds)),
        overall.reused.map_or("–".into(), percent),
        bytes(overall.pulled_bytes),
        bytes(overall.pushed_bytes),
        bytes(overall.stored_bytes),
    ]
}

fn cells(view: &View) -> String {
    if view.cells.is_empty() {
        return String::new();
    }
    let mut table = String::from(
        "| commit | strategy | wall time | vs cold | steps reused | pulled | pushed |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let mut by_commit: Vec<&Cell> = view.cells.iter().collect();
    by_commit.sort_by_key(|cell| (cell.commit, cell.variant));
    for cell in by_commit.iter().take(MOST_ROWS) {
        let commit = view.commits.get(cell.commit).map_or("", |commit| &commit.message);
        let [wall, ratio, reused, pulled, pushed] = numbers(cell);
        table.push_str(&format!(
            "| {} {} | {} | {wall} | {ratio} | {reused} | {pulled} | {pushed} |\n",
            cell.commit + 1,
            escaped(commit),
            escaped(&view.variants[cell.variant].name),
        ));
    }
    if by_commit.len() > MOST_ROWS {
        let rest = by_commit.len() - MOST_ROWS;
        table.push_str(&format!("\n{rest} more rows are in `report.json`.\n"));
    }
    if by_commit.len() > MOST_OPEN {
        return format!(
            "<details><summary>{} commits × strategies</summary>\n\n{table}\n</details>\n\n",
            by_commit.len()
        );
    }
    table.push('\n');
    table
}

/// What the causes of misses cost, the dearest few.
fn causes(view: &View) -> String {
    if view.causes.is_empty() {
        return String::new();
    }
    let mut table = String::from(
        "**Why steps were rebuilt**\n\n\
         | step time a round | strategy | step | cause | commits |\n| ---: | --- | --- | --- | --- |\n",
    );
    for row in view.causes.iter().take(MOST_CAUSES) {
        table.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            seconds(row.seconds),
            escaped(view.variants.get(row.variant).map_or("", |variant| &variant.name)),
            escaped(&row.step),
            escaped(&row.sentence),
            numbered(&row.commits),
        ));
    }
    if view.causes.len() > MOST_CAUSES {
        let rest = view.causes.len() - MOST_CAUSES;
        table.push_str(&format!("\n{rest} more are in `report.json`.\n"));
    }
    table.push('\n');
    table
}

/// Commits' numbers from 1, the first few.
pub fn numbered(commits: &[usize]) -> String {
    let numbers: Vec<String> =
        commits.iter().take(MOST_NUMBERS).map(|place| (place + 1).to_string()).collect();
    let more = commits.len().saturating_sub(MOST_NUMBERS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", numbers.join(", "))
}

/// Wall time, ratio to cold, reuse, pulled, pushed; dashes where nothing was built.
pub fn numbers(cell: &Cell) -> [String; 5] {
    let Some(wall) = cell.wall_seconds else {
        return ["failed", "–", "–", "–", "–"].map(String::from);
    };
    let mut reused = format!("{}/{}", cell.steps_cached, cell.steps);
    if cell.steps_lazy > 0 {
        reused.push_str(&format!(" ({} lazily)", cell.steps_lazy));
    }
    [
        with_interval(wall, seconds),
        cell.times_faster.map_or("–".into(), |ratio| format!("{:.2}×", ratio.median)),
        reused,
        bytes(cell.pulled_bytes),
        bytes(cell.pushed_bytes),
    ]
}

/// `1.23 s (1.20 s to 1.31 s)`.
pub fn with_interval(estimate: Estimate, show: impl Fn(f64) -> String) -> String {
    let median = show(estimate.median);
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{median} ({} to {})", show(low), show(high)),
        _ => median,
    }
}

fn list<'a>(sentences: impl IntoIterator<Item = &'a str>) -> String {
    let items = sentences.into_iter().map(|sentence| format!("- {}\n", escaped(sentence)));
    items.collect::<String>() + "\n"
}

/// Text that Markdown and HTML show as it is, on one line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // An empty comment keeps a name from being a mention.
            '@' => escaped.push_str("@<!-- -->"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::charts;
    use crate::report::example::{Size, example};

    #[test]
    fn a_report_of_one_trial_reads_so() {
        insta::assert_snapshot!(markdown(&example(Size::Small), None));
    }

    #[test]
    fn a_long_table_is_folded_and_pictures_follow_the_colour_scheme() {
        let view = example(Size::Large);
        let text = markdown(&view, Some(("charts", &charts(&view))));
        assert!(text.contains("<details><summary>360 commits × strategies</summary>"));
        assert!(text.contains("srcset=\"charts/wall-time-dark.svg\""));
    }

    #[test]
    fn a_commit_message_cannot_break_out_of_its_cell() {
        let mut view = example(Size::Small);
        view.commits[0].message = "a | b\n# <script> @somebody `x`".into();
        let text = markdown(&view, None);
        assert!(text.contains("1 a \\| b \\# &lt;script&gt; @<!-- -->somebody \\`x\\`"), "{text}");
    }
}
