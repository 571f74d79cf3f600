//! What the steps of two runs stand on: base images by digest, platform, network.
//!
//! Text says what a stage starts from, and digests say what that was; a tag that moved makes every
//! step of the stage another one, though not a letter of the Dockerfile changed.

use crate::dockerfile;
use crate::measure::Analysis;

/// What the step `name` stands on that differs between two runs, as a clause; none where nothing
/// does or the journals do not tell. Each run comes with the commit in question.
pub fn changed(
    (before, was): (&Analysis, usize),
    (after, is): (&Analysis, usize),
    name: &str,
) -> Option<String> {
    image((before, was), (after, is), name)
        .or_else(|| {
            let platform = |run: &Analysis| run.header.environment.platform.clone();
            differing("the platform", &platform(before), &platform(after))
        })
        .or_else(|| {
            // Only a RUN has a network (buildkit `frontend/dockerfile/dockerfile2llb/convert.go`).
            let network = |run: &Analysis| run.header.environment.network.clone();
            let runs = name.split_once("] ").is_some_and(|(_, text)| text.starts_with("RUN "));
            let found = differing("the network mode", &network(before), &network(after));
            found.filter(|_| runs)
        })
}

/// Base images that both runs name and that were not the same, a sentence each.
pub fn images(before: &Analysis, after: &Analysis) -> Vec<String> {
    let both = after.header.images.iter().filter_map(|image| {
        let was = digest(before, &image.reference)?;
        let what = format!("base image {}", image.reference);
        differing(&what, was, &image.digest)
    });
    both.collect()
}

fn differing(what: &str, was: &str, is: &str) -> Option<String> {
    let told = !was.is_empty() && !is.is_empty();
    (told && was != is).then(|| format!("{what} was {was} and is {is}"))
}

fn image(
    (before, was): (&Analysis, usize),
    (after, is): (&Analysis, usize),
    name: &str,
) -> Option<String> {
    let now = reference(after, is, name)?;
    // A saved baseline has no Dockerfile; its images' names say which of them it was.
    let then = match text(before, was) {
        Some(_) => reference(before, was, name)?,
        None => now.clone(),
    };
    let known = |run, reference: &str| digest(run, reference).map(str::to_owned);
    let (old, new) = (known(before, &then), known(after, &now));
    if then == now {
        return differing(&format!("its base image {now}"), &old?, &new?);
    }
    let told = |reference: String, digest: Option<String>| match digest {
        Some(digest) => format!("{reference} ({digest})"),
        None => reference,
    };
    differing("its base image", &told(then, old), &told(now, new))
}

fn digest<'a>(run: &'a Analysis, reference: &str) -> Option<&'a str> {
    let found = run.header.images.iter().find(|image| image.reference == reference);
    found.map(|image| image.digest.as_str())
}

fn text(run: &Analysis, commit: usize) -> Option<&str> {
    run.header.commits.get(commit)?.dockerfile.as_deref()
}

/// The image that the stage of the step `name` starts from in the end.
fn reference(run: &Analysis, commit: usize, name: &str) -> Option<String> {
    let dockerfile = dockerfile::parse(text(run, commit)?);
    let stage = dockerfile.find_step(name)?.stage;
    dockerfile.base_image(stage, &run.header.commits.get(commit)?.args)
}
