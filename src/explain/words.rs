//! Explanations in words, for people.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use crate::journal::Header;
use crate::units::Nanos;

use super::cause::{
    Cause, ChangedFile, Differing, Evidence, FileKind, InstructionChange, Output, Variable,
};
use super::{Cost, Miss, TrialMisses};

/// How many characters of a step's name are shown.
const WIDTH: usize = 90;

/// How many files a sentence names.
const NAMED: usize = 3;

/// The cause in one sentence, without its step.
pub fn sentence(cause: &Cause, header: &Header) -> String {
    let commit = |place: usize| named(header, place);
    match cause {
        Cause::NoCacheRead => "the strategy reads no cache".into(),
        Cause::FirstBuild => "nothing had written a cache yet".into(),
        Cause::ImportFailed { message } => format!("the cache could not be imported: {message}"),
        Cause::NeverWritten { reference } => {
            format!("nothing was ever written to the cache {}", short(reference))
        }
        Cause::Overwritten { reference, lost, by, target } => format!(
            "the cache {} held it after {} and was overwritten by {}{}",
            short(reference),
            commit(*lost),
            target.as_ref().map(|target| format!("target {target} of ")).unwrap_or_default(),
            commit(*by)
        ),
        Cause::Instruction { change, before, after } => match change {
            InstructionChange::Changed => "the instruction changed".into(),
            InstructionChange::Added => "the instruction is new".into(),
            InstructionChange::Moved => "the instruction stood elsewhere in its stage".into(),
            InstructionChange::RemovedAbove => {
                format!("right above it {} is gone", before.as_deref().unwrap_or("an instruction"))
            }
            InstructionChange::ChangedAbove => match before {
                Some(before) if after.is_empty() => {
                    format!("what it is made from changed: {} is gone", brief(before))
                }
                Some(before) => {
                    let (before, after) = (brief(before), brief(after));
                    format!("what it is made from changed: {before} became {after}, which a cache holds")
                }
                None => {
                    let after = brief(after);
                    format!("what it is made from changed: {after} is new there, and a cache holds it")
                }
            },
        },
        Cause::Frontend { before, after } => {
            let named = |frontend: &Option<String>| match frontend {
                Some(image) => image.clone(),
                None => "the engine's own".into(),
            };
            format!("nothing else changed: the frontend was {} and is {}", named(before), named(after))
        }
        Cause::Base { before, after } => format!("the base image was {before} and is {after}"),
        Cause::Argument(variable) => format!("the build arg {}", changed(variable)),
        Cause::Environment(variable) => format!("the variable {}", changed(variable)),
        Cause::Setting { keyword, before, after } => {
            format!("{keyword} was {} and is {}", quoted(before), quoted(after))
        }
        Cause::Files { files, count } => of_files(files, *count, header),
        Cause::Above { step, output } => {
            let came_out = output.as_ref().map(|output| format!(" and {}", outcome(output)));
            format!("{} above it was rebuilt{}", brief(step), came_out.unwrap_or_default())
        }
        Cause::Stage { stage, output, unstable } => {
            let came_out = output.as_ref().map(|output| format!(" and {}", outcome(output)));
            let by = unstable.as_ref().map(|step| format!("; {} makes that anew", brief(step)));
            let (came_out, by) = (came_out.unwrap_or_default(), by.unwrap_or_default());
            format!("it takes files from stage {stage}, which was rebuilt{came_out}{by}")
        }
        Cause::LeftOut { mode } => format!(
            "nothing changed: a cache of {} holds the final image's layers, and this step has none there",
            if mode == "min" { "mode=min" } else { "type=inline" }
        ),
        Cause::NeverBuilt => {
            "nothing changed: no build that wrote the cache needed this step".into()
        }
        Cause::Collected { commit: place, records, bytes, own } => {
            let held = if *own { "no longer held it" } else { "may no longer have held it" };
            let were = if *records == 1 { "record was" } else { "records were" };
            format!(
                "the engine {held}: {records} build cache {were} gone before {}, {bytes} in all, by garbage \
                 collection or a prune",
                commit(*place)
            )
        }
        Cause::Unexplained { caches: 2.. } => {
            "nothing that is recorded changed, and a cache that could be read should hold it; BuildKit does not \
             always find what one of several caches holds (moby/buildkit#6418)"
                .into()
        }
        Cause::Unexplained { .. } => {
            "nothing that is recorded changed, and the cache that was read should hold it".into()
        }
    }
}

/// The cause of a row of costs in one sentence, with how many commits it stands for.
pub fn of_cost(cost: &Cost, header: &Header) -> String {
    let at = |count: usize| match count {
        1 => "1 other commit".to_owned(),
        count => format!("{count} other commits"),
    };
    let mut text = sentence(&cost.example, header);
    let others = cost.others.len();
    let again = cost.commits.len().saturating_sub(1 + others);
    if again > 0 {
        let _ = write!(text, ", again at {}", at(again));
    }
    if others > 0 {
        let what = match cost.example {
            Cause::Files { .. } => "other files",
            Cause::Argument(_) | Cause::Environment(_) | Cause::Setting { .. } => "other values",
            _ => "another of its kind",
        };
        let _ = write!(text, ", and {what} at {}", at(others));
    }
    text
}

/// All of `trials` in words, those that say the same in several rounds once, with means of their times.
pub fn text(trials: &[TrialMisses], header: &Header) -> String {
    let mut out = String::new();
    let mut trials: Vec<&TrialMisses> = trials.iter().collect();
    // Strategies in the order of the header, though rounds shuffle them.
    let order = |trial: &TrialMisses| {
        header.strategies.iter().position(|strategy| strategy.name == trial.strategy)
    };
    trials.sort_by_key(|trial| (trial.link.clone(), order(trial), trial.commit, trial.round));
    let mut done = vec![false; trials.len()];
    for (place, trial) in trials.iter().enumerate() {
        if done[place] {
            continue;
        }
        // Those of one commit stand side by side.
        let same: Vec<usize> = (place..trials.len())
            .take_while(|&other| is_of_same(trial, trials[other]))
            .filter(|&other| !done[other] && says_the_same(trial, trials[other]))
            .collect();
        same.iter().for_each(|&other| done[other] = true);
        let same: Vec<&TrialMisses> = same.into_iter().map(|other| trials[other]).collect();
        let rounds: Vec<String> =
            same.iter().map(|trial| trial.round.saturating_add(1).to_string()).collect();
        if !out.is_empty() {
            out.push('\n');
        }
        one(&mut out, &mean(trial, &same), &rounds, header);
    }
    out
}

/// `trial` with the mean time of each of its steps over `rounds`, which miss the same steps in the same
/// order.
fn mean(trial: &TrialMisses, rounds: &[&TrialMisses]) -> TrialMisses {
    let mut mean = trial.clone();
    for (place, miss) in mean.misses.iter_mut().enumerate() {
        let times = rounds.iter().filter_map(|round| round.misses.get(place));
        let times: Nanos = times.map(|miss| miss.time).sum();
        miss.time = Nanos(times.0 / rounds.len().max(1) as u64);
    }
    mean
}

fn is_of_same(a: &TrialMisses, b: &TrialMisses) -> bool {
    (a.commit, &a.strategy, &a.link) == (b.commit, &b.strategy, &b.link)
}

fn says_the_same(a: &TrialMisses, b: &TrialMisses) -> bool {
    let misses = |trial: &TrialMisses| -> Vec<(String, Cause)> {
        trial.misses.iter().map(|miss| (miss.step.clone(), miss.cause.clone())).collect()
    };
    a.cached == b.cached && misses(a) == misses(b)
}

fn one(out: &mut String, trial: &TrialMisses, rounds: &[String], header: &Header) {
    let link = trial.link.as_ref().map(|link| format!(" over {link}")).unwrap_or_default();
    let time: Nanos = trial.misses.iter().map(|miss| miss.time).sum();
    let (missed, all) = (trial.misses.len(), trial.misses.len() + trial.cached);
    let (rounds, mean) = match rounds {
        [round] => (format!("round {round}"), ""),
        rounds => (format!("rounds {}", rounds.join(", ")), " a round"),
    };
    let head = format!("{}{link}, {}, {rounds}", trial.strategy, named(header, trial.commit));
    let _ = match missed {
        0 => writeln!(out, "{head}: every step came from a cache"),
        _ => writeln!(out, "{head}: {missed} of {all} steps rebuilt, {time}{mean}"),
    };
    let heads = trial.heads();
    for (place, miss) in heads {
        if miss.cause.is_of_all() {
            let before = trial.misses[..place].iter().any(|other| other.cause == miss.cause);
            if !before {
                let _ = writeln!(out, "  {} ({})", sentence(&miss.cause, header), sure(miss));
            }
            continue;
        }
        let line = miss.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        let _ = writeln!(out, "  {line}{}  {}", brief(&miss.step), miss.time);
        let _ = writeln!(out, "    {} ({})", sentence(&miss.cause, header), sure(miss));
        diff(out, &miss.cause);
        of_outputs(out, miss, header);
        below(out, trial, place, header);
        for target in &miss.empty_mounts {
            let _ = writeln!(out, "    its cache mount {target} was empty: the engine was new");
        }
    }
}

fn sure(miss: &Miss) -> &'static str {
    match miss.evidence {
        Evidence::Known => "known",
        Evidence::Inferred => "inferred",
    }
}

/// A step's name in one line of at most 90 characters.
pub fn brief(step: &str) -> String {
    let mut words = step.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(WIDTH) {
        words.truncate(end);
        words.push('…');
    }
    words
}

fn below(out: &mut String, trial: &TrialMisses, first: usize, header: &Header) {
    let chain: Vec<&Miss> = trial.below(first).collect();
    if chain.is_empty() {
        return;
    }
    let time: Nanos = chain.iter().map(|miss| miss.time).sum();
    let count = chain.len();
    let _ = writeln!(out, "    and with it {count} more, {time}:");
    for miss in chain {
        let _ = writeln!(out, "      {}", brief(&miss.step));
        of_outputs(out, miss, header);
    }
}

/// What is known of outputs beside a miss in a chain: a parent that came out the same, what differs
/// in a stage, and that the step itself comes out different each time.
fn of_outputs(out: &mut String, miss: &Miss, header: &Header) {
    let telling = matches!(
        &miss.cause,
        Cause::Above { output: Some(Output::Same), .. } | Cause::Stage { output: Some(_), .. }
    );
    if telling {
        let _ = writeln!(out, "        {} ({})", sentence(&miss.cause, header), sure(miss));
    }
    if let Some(differing) = &miss.unstable {
        let names = names(differing);
        let _ = writeln!(
            out,
            "        it comes out different when it runs again with the same inputs{names} (known)"
        );
    }
}

/// The lines of an instruction that changed.
fn diff(out: &mut String, cause: &Cause) {
    let Cause::Instruction { change: InstructionChange::Changed, before: Some(before), after } =
        cause
    else {
        return;
    };
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        let _ = writeln!(out, "      {sign} {}", change.value().trim_end());
    }
}

fn of_files(files: &[ChangedFile], count: usize, header: &Header) -> String {
    let one = |file: &ChangedFile| {
        let what = match file.change {
            FileKind::Content => "changed",
            FileKind::Mode => "has another mode",
            FileKind::Added => "is new",
            FileKind::Deleted => "is gone",
        };
        format!("{} {what} ({})", file.path, named(header, file.commit))
    };
    let mut text = files.iter().take(NAMED).map(one).collect::<Vec<_>>().join(", ");
    if count > NAMED {
        let _ = write!(text, " and {} more files", count - NAMED);
    }
    text
}

fn outcome(output: &Output) -> String {
    match output {
        Output::Same => "came out the same".into(),
        Output::Different(differing) => format!("came out different{}", names(differing)),
    }
}

/// The files of a difference, as they follow a clause; nothing where they are not known.
fn names(differing: &Differing) -> String {
    let Differing { files, count } = differing;
    if files.is_empty() {
        return String::new();
    }
    let mut text = files.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if *count > NAMED {
        let _ = write!(text, " and {} more files", count - NAMED);
    }
    format!(": {text}")
}

fn changed(variable: &Variable) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or("not set".into(), quoted);
    let line = variable.line.map(|line| format!(" (declared on line {line})")).unwrap_or_default();
    let Variable { name, before, after, .. } = variable;
    format!("{name} was {} and is {}{line}", value(before), value(after))
}

fn quoted(text: &str) -> String {
    if text.is_empty() { "empty".into() } else { format!("{text:?}") }
}

/// A cache's name without the place of the run's own registry.
fn short(reference: &str) -> &str {
    reference.strip_prefix("repo:").unwrap_or(reference)
}

fn named(header: &Header, place: usize) -> String {
    let message = header.commits.get(place).map(|c| c.message.lines().next().unwrap_or_default());
    format!("commit {} “{}”", place + 1, message.unwrap_or_default())
}
