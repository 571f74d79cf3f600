//! What a run would do, for `--dry-run`: its commits, and who plays them in which order.

use crate::check::output::one_line;
use crate::run::{
    Options, commits_of, deal, divide, foreseen, history, links, sequences, strategies,
};
use crate::scenario::Loaded;

pub fn dry_run(loaded: &Loaded, options: &Options) -> anyhow::Result<()> {
    let asked = strategies(loaded, options)?;
    let builders = &options.builders;
    let foreseen = |address| foreseen(address, options.allow_prune);
    let abilities: Vec<_> = match builders.as_slice() {
        [] => vec![(String::new(), foreseen(None))],
        some => some.iter().map(|one| (one.to_string(), foreseen(Some(one)))).collect(),
    };
    let (strategies, skipped) = divide(&asked, &abilities);
    let scratch = tempfile::tempdir()?;
    let (history, notices) = history(loaded, options, scratch.path())?;
    notices.iter().for_each(|notice| super::say(notice));
    let commits = commits_of(&history, options)?;
    let mut text = format!("{}: {}\n\ncommits\n", loaded.scenario.name, loaded.scenario.title);
    for commit in history.commits().iter().take(commits) {
        text.push_str(&format!(
            "  {} {} {} ({})\n",
            commit.index + 1,
            &commit.id[..7.min(commit.id.len())],
            one_line(&commit.message),
            one_line(&commit.branch)
        ));
    }
    text.push_str("\nstrategies, in the order of play\n");
    let links = links(loaded, options);
    let mut order = sequences(&strategies, links.len().max(1), options.rounds, options.seed);
    if let Some(partition) = options.partition {
        order = partition.of(order, &strategies, options.rounds);
    }
    let dealt = deal(&order, builders.len())?;
    let played = order.len();
    for turn in order {
        let strategy = &strategies[turn.strategy];
        let over =
            links.get(turn.link).map_or(String::new(), |link| format!(" over {}", link.name));
        let builder = dealt.get(&turn.round).and_then(|builder| builders.get(*builder));
        let on = builder
            .filter(|_| builders.len() > 1)
            .map_or(String::new(), |builder| format!(" on {builder}"));
        text.push_str(&format!(
            "  round {} {}{over}{on}: {}\n",
            turn.round + 1,
            strategy.name,
            strategy.description
        ));
    }
    for skipped in &skipped {
        text.push_str(&format!("  {} is skipped, because {}\n", skipped.strategy, skipped.because));
    }
    let trials = commits * played;
    let builds = trials * loaded.scenario.build.targets.len().max(1);
    text.push_str(&format!("\n{trials} trials, {builds} builds\n"));
    if let Some(remote) = &options.remote {
        let after = if remote.keep_refs { "kept there" } else { "deleted afterwards" };
        text.push_str(&format!("what they push goes to {}, and is {after}\n", remote.address));
    }
    super::print(&text)?;
    Ok(())
}
