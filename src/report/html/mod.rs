//! `report.html`: one file that needs no network, no fonts and, but for sorting and for choosing
//! a timeline, no JavaScript.
//!
//! Charts stand in it as SVG whose colours are CSS variables, so that one picture serves light
//! and dark. Everything from a journal is escaped: a commit message is text, not markup.

mod tables;

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::chart::Chart;
use super::font;
use super::markdown::summary;
use super::paint::{PaintError, escape, svg_for_page};
use super::theme::Theme;
use super::view::View;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page of `view` with `charts` in it.
pub fn html(view: &View, charts: &[Chart]) -> Result<String, PaintError> {
    let title = if view.title.is_empty() { &view.scenario } else { &view.title };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{0} – cachefrom</title>\n\
         <style>\n{1}</style>\n</head>\n<body>\n<header>\n<h1>{0}</h1>\n\
         <p class=\"muted\">{2}</p>\n",
        escape(title),
        style(),
        escape(&summary(view)),
    );
    let sections = [
        ("verdict", "Did the cache pay?", tables::verdicts(view)),
        ("strategies", "Strategies side by side", tables::overall(view)),
        ("charts", "Charts", figures(charts)?),
        ("numbers", "All numbers", tables::cells(view)),
        ("causes", "Why steps were rebuilt", tables::causes(view)),
        ("advice", "Advice", advice(view)),
        ("timeline", "Timeline of a build", timelines(view)),
        ("commits", "Commits", tables::commits(view)),
        ("run", "The run", tables::environment(view)),
    ];
    let sections: Vec<_> = sections.into_iter().filter(|(_, _, body)| !body.is_empty()).collect();
    page.push_str("<nav>");
    for (id, heading, _) in &sections {
        page.push_str(&format!("<a href=\"#{id}\">{heading}</a>"));
    }
    page.push_str("</nav>\n</header>\n<main>\n");
    page.push_str(&doubts(view));
    for (id, heading, body) in &sections {
        page.push_str(&format!("<section id=\"{id}\">\n<h2>{heading}</h2>\n{body}</section>\n"));
    }
    page.push_str(&format!(
        "</main>\n<footer>{}. Times are medians with 95 % bootstrap intervals, from six rounds on; what is compared \
         within rounds has Hodges and Lehmann's estimate with Wilcoxon's 95 % interval. The journal beside this page holds every build's trace.</footer>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(&view.generator)
    ));
    Ok(page)
}

/// The style sheet with colours and fonts filled in.
fn style() -> String {
    let variables = |theme: Theme| -> String {
        let roles = Theme::roles();
        let lines = roles.iter().map(|(ink, name)| format!("{name}: #{:06X};", theme.color(*ink)));
        lines.collect::<Vec<_>>().join(" ")
    };
    let face = |weight: u32, font: &[u8]| {
        format!(
            "@font-face {{ font-family: {}; font-weight: {weight}; \
             src: url(data:font/woff2;base64,{}) format(\"woff2\"); }}\n",
            font::FAMILY,
            STANDARD.encode(font)
        )
    };
    let sheet = STYLE
        .replace("/*LIGHT*/", &variables(Theme::Light))
        .replace("/*DARK*/", &variables(Theme::Dark))
        .replace("/*FONTS*/", font::FALLBACKS);
    face(400, font::REGULAR_WEB) + &face(600, font::SEMI_BOLD_WEB) + &sheet
}

/// What to doubt, and what failed, before any number.
fn doubts(view: &View) -> String {
    let mut text = String::new();
    let boxes = [("What to doubt", &view.warnings), ("Trials that failed", &view.failures)];
    for (heading, sentences) in boxes.into_iter().filter(|(_, sentences)| !sentences.is_empty()) {
        text.push_str(&format!("<div class=\"doubts\"><h2>{heading}</h2>\n<ul class=\"says\">\n"));
        for sentence in sentences {
            text.push_str(&format!("<li>{}</li>\n", escape(sentence)));
        }
        text.push_str("</ul></div>\n");
    }
    text
}

/// What to change, dearest first.
fn advice(view: &View) -> String {
    let items: Vec<String> =
        view.advice.iter().map(|piece| format!("<li>{}</li>\n", escape(&piece.text))).collect();
    if items.is_empty() {
        return String::new();
    }
    format!("<ul class=\"says\">\n{}</ul>\n", items.concat())
}

fn figures(charts: &[Chart]) -> Result<String, PaintError> {
    let mut text = String::new();
    for chart in charts {
        let svg = svg_for_page(&chart.scene)?;
        text.push_str(&format!(
            "<figure id=\"chart-{}\"><div class=\"wide\">{svg}</div></figure>\n",
            chart.name
        ));
    }
    Ok(text)
}

/// The traces for the script, and the place where it shows one.
fn timelines(view: &View) -> String {
    if view.timelines.is_empty() {
        return String::new();
    }
    let mut names: Vec<&str> = vec![];
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let milliseconds = |seconds: f64| (seconds * 1e4).round() / 10.0;
    let builds: Vec<_> = view
        .timelines
        .iter()
        .map(|build| {
            let rows: Vec<_> = build
                .rows
                .iter()
                .map(|row| {
                    let number = *numbers.entry(&row.name).or_insert_with(|| {
                        names.push(&row.name);
                        names.len() - 1
                    });
                    let bars: Vec<_> = row
                        .bars
                        .iter()
                        .map(|bar| {
                            let (from, to) = (bar.from_seconds, bar.to_seconds);
                            json!([bar.phase, milliseconds(from), milliseconds(to)])
                        })
                        .collect();
                    json!([number, u8::from(row.cached), bars])
                })
                .collect();
            json!({
                "v": build.variant,
                "c": build.commit,
                "r": build.round,
                "t": build.target,
                "w": milliseconds(build.wall_seconds),
                "rows": rows,
            })
        })
        .collect();
    let data = json!({
        "phases": view.phases,
        "names": names,
        "variants": view.variants.iter().map(|variant| &variant.name).collect::<Vec<_>>(),
        "commits": view.commits.iter().map(|commit| &commit.message).collect::<Vec<_>>(),
        "builds": builds,
    });
    // Inside a script element only this could end it.
    let data = data.to_string().replace('<', "\\u003c");
    let mut text = String::from(
        "<noscript><p>Choosing a build needs JavaScript; one build's timeline is among the charts.</p></noscript>\n",
    );
    if view.timelines_left_out > 0 {
        text.push_str(&format!(
            "<p class=\"muted\">The first {} builds of the journal; {} more are in the journal only.</p>\n",
            view.timelines.len(),
            view.timelines_left_out
        ));
    }
    text.push_str("<div id=\"timeline-chosen\"></div>\n");
    text.push_str(&format!("<script type=\"application/json\" id=\"timelines\">{data}</script>\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::chart::charts;
    use super::super::example::{Size, example};
    use super::*;

    #[test]
    fn nothing_is_fetched_and_nothing_of_a_journal_becomes_markup() {
        let mut view = example(Size::Seed);
        let evil = "</script><script>alert('x')</script><img src=http://x.test/>\"";
        view.title = evil.into();
        view.commits[1].message = evil.into();
        view.variants[1].name = evil.into();
        view.timelines[0].rows[0].name = evil.into();
        view.warnings.push(evil.into());
        view.steps[0] = evil.into();
        let page = html(&view, &charts(&view)).unwrap();
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
        let scripts = page.matches("</script>").count();
        assert_eq!(scripts, 2, "one for the data, one for the code");
        for loading in ["src=\"http", "href=\"http", "url(http", "@import", "fetch("] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    #[test]
    fn a_view_without_anything_is_still_a_page() {
        let view = View { warnings: vec!["nothing".into()], ..View::default() };
        let page = html(&view, &[]).unwrap();
        assert!(page.contains("<li>nothing</li>") && !page.contains("<figure"));
    }
}
