//! `report.md`: a run for a README or a pull request.
//!
//! GitHub's dialect. Whatever comes from a scenario is escaped, so that a commit message can
//! neither break a table nor mention anybody.

use std::collections::BTreeSet;

use super::chart::Chart;
use super::paint::escape;
use super::view::{Cell, Estimate, Overall, View};
use super::words::{bytes, counted, percent, seconds};

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

/// `jq: 60 trials in 2 rounds, 5 commits × 6 strategies over slow, reported by cachefrom 0.1.0`
pub fn summary(view: &View) -> String {
    let strategies: BTreeSet<&str> = view.variants.iter().map(|v| v.strategy.as_str()).collect();
    let links: BTreeSet<&Option<String>> = view.variants.iter().map(|v| &v.link).collect();
    let over = match (links.len(), links.first().copied()) {
        (1, Some(Some(link))) => format!(" over {link}"),
        (0 | 1, _) => String::new(),
        (several, _) => format!(" × {several} links"),
    };
    format!(
        "{}: {} in {}, {} × {}{over}, reported by {}",
        view.scenario,
        counted(view.trials, "trial", "trials"),
        counted(view.rounds, "round", "rounds"),
        counted(view.commits.len(), "commit", "commits"),
        counted(strategies.len(), "strategy", "strategies"),
        view.generator
    )
}

/// What the numbers of strategies side by side are of, as a clause.
pub fn averaged(view: &View, commits: usize) -> String {
    match (view.without_first(), commits) {
        (false, _) => "Of the only commit".into(),
        (true, 1) => "Of the only commit after the first".into(),
        (true, commits) => format!("Means of the {commits} commits after the first"),
    }
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
    format!("{table}\n{}.\n\n", averaged(view, commits))
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
    use std::path::Path;

    use super::*;
    use crate::journal::{Outcome, Recorded};
    use crate::measure::Analysis;
    use crate::report::chart::charts;
    use crate::report::example::{Size, example};
    use crate::report::html;
    use crate::report::view::Fact;

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

    fn of(run: &str, change: impl FnOnce(&mut Recorded)) -> View {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(run);
        let mut recorded = Recorded::read(&root.join("journal.jsonl")).unwrap();
        change(&mut recorded);
        View::of(&Analysis::of(&recorded))
    }

    #[test]
    fn links_are_counted_apart_from_strategies_and_a_single_one_is_named() {
        let both = of("jq/2026-11-25-links", |_| ());
        assert!(
            summary(&both).contains(", 5 commits × 6 strategies × 2 links, "),
            "{}",
            summary(&both)
        );
        let slow = of("jq/2026-11-25-links", |recorded| {
            recorded.trials.retain(|trial| trial.key.link.as_deref() == Some("slow"));
        });
        assert!(
            summary(&slow).contains(", 5 commits × 6 strategies over slow, "),
            "{}",
            summary(&slow)
        );
        for (view, links) in [(both, vec!["link ci", "link slow"]), (slow, vec!["link slow"])] {
            let told: Vec<&Fact> =
                view.environment.iter().filter(|fact| fact.name.starts_with("link ")).collect();
            assert_eq!(told.iter().map(|fact| &fact.name).collect::<Vec<_>>(), links);
            let words = "20 ms latency, 160 Mbit/s down, 160 Mbit/s up";
            assert_eq!(told[told.len() - 1].value, words);
            assert!(markdown(&view, None).contains(words));
            assert!(html(&view, &[]).unwrap().contains(words));
        }
    }

    #[test]
    fn where_and_how_builders_ran_is_told() {
        let view = of("jq/2026-11-25-debug", |recorded| {
            let about = &mut recorded.header.environment;
            about.builder = "buildkitd://here".into();
            (about.platform, about.network) = ("linux/arm64".into(), "host".into());
        });
        let told = |name: &str| {
            view.environment.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
        };
        let told = ["builder", "platform", "network of RUN"].map(told);
        assert_eq!(told, [Some("buildkitd://here"), Some("linux/arm64"), Some("host")]);
    }

    #[test]
    fn what_numbers_per_commit_are_of_is_told_of_one_commit_and_of_several() {
        let commits = |count: usize| {
            let view = of("jq/2026-11-25-debug", |recorded| {
                recorded.header.commits.truncate(count);
                recorded.trials.retain(|trial| trial.key.commit < count);
            });
            markdown(&view, None) + &html(&view, &[]).unwrap()
        };
        let cases = [
            (1, "Of the only commit", "Of the only commit, medians over rounds"),
            (2, "Of the only commit after the first", "Per commit after the first, medians"),
            (3, "Means of the 2 commits after the first", "Per commit after the first, medians"),
        ];
        for (count, side_by_side, verdicts) in cases {
            let text = commits(count);
            for said in
                [&format!("\n{side_by_side}.\n"), &format!(">{side_by_side}, medians"), verdicts]
            {
                assert!(text.contains(said), "{count}: {said}");
            }
            assert_eq!(text.contains("after the first"), count > 1);
        }
    }

    #[test]
    fn a_measured_zero_is_no_dash() {
        let view = of("jq/2026-11-25-debug", |_| ());
        let cold = markdown(&view, None);
        let cold = cold.lines().find(|line| line.starts_with("| 1 ") && line.contains("| cold |"));
        assert!(cold.unwrap().ends_with("| 0 B |"), "{cold:?}");
        let failed = of("jq/2026-11-25-debug", |recorded| {
            for trial in &mut recorded.trials {
                trial.outcome = Outcome::Broken { message: "no engine".into() };
                trial.builds.clear();
            }
        });
        for text in [markdown(&failed, None), html(&failed, &[]).unwrap()] {
            let zeros = ["| 0 B", "| 0 ms", ">0 B<", ">0 ms<"];
            assert!(zeros.iter().all(|zero| !text.contains(zero)), "{text}");
        }
    }
}
