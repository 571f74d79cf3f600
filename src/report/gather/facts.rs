//! Where a run was played, and what went wrong in it.

use crate::journal::Outcome;
use crate::measure::Analysis;

use super::super::view::Fact;

/// Failed trials whose messages are shown.
const MOST_FAILURES: usize = 10;

pub fn environment(analysis: &Analysis) -> Vec<Fact> {
    let header = &analysis.header;
    let about = &header.environment;
    let targets = header.targets.join(", ");
    let facts = [
        ("engine", about.engine.clone()),
        ("builder", about.builder.clone()),
        ("platform", about.platform.clone()),
        ("network of RUN", about.network.clone()),
        ("registry", about.registry.as_ref().map_or_else(String::new, |it| it.repository.clone())),
        ("storage driver", about.storage_driver.clone()),
        ("kernel", about.kernel.clone()),
        (
            "CPU",
            match (about.cpu.as_str(), about.cores) {
                (cpu, 0) => cpu.to_owned(),
                (cpu, cores) => format!("{cpu}, {cores} cores"),
            },
        ),
        ("cachefrom", about.cachefrom.clone()),
        ("started", about.started.clone()),
        ("seed", header.seed.to_string()),
        ("targets", targets),
    ];
    let mut facts: Vec<Fact> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact { name: name.into(), value })
        .collect();
    let played = |name: &String| analysis.links.iter().flatten().any(|link| link == name);
    for link in header.links.iter().filter(|link| played(&link.name)) {
        facts.push(Fact { name: format!("link {}", link.name), value: link.words() });
    }
    for image in &header.images {
        let digest: String = image.digest.chars().take(19).collect();
        let value = format!("{digest} from {}", image.source);
        facts.push(Fact { name: format!("base image {}", image.reference), value });
    }
    facts
}

/// Why trials failed, the first few.
pub fn failures(analysis: &Analysis) -> Vec<String> {
    let failed = || analysis.trials.iter().filter(|trial| !trial.built());
    let mut sentences: Vec<String> = failed()
        .take(MOST_FAILURES)
        .map(|trial| {
            let why = match &trial.outcome {
                Outcome::Built => String::new(),
                Outcome::BuildFailed { step, message, .. } if step.is_empty() => message.clone(),
                Outcome::BuildFailed { step, message, .. } => format!("{step}: {message}"),
                Outcome::WrongImage { message } => format!("wrong image: {message}"),
                Outcome::Broken { message } => message.clone(),
            };
            format!(
                "{} at commit {}, round {}: {why}",
                analysis.strategies[trial.strategy],
                trial.commit + 1,
                trial.round.saturating_add(1),
            )
        })
        .collect();
    let more = failed().count().saturating_sub(MOST_FAILURES);
    if more > 0 {
        sentences.push(format!("{more} more trials failed; the journal says how"));
    }
    sentences
}
