//! Base images of two runs, by digest: a tag that moved is the same text and another image.

use crate::measure::Analysis;

/// Base images that both runs name and that were not the same, a sentence each.
pub fn images(before: &Analysis, after: &Analysis) -> Vec<String> {
    let both = after.header.images.iter().filter_map(|image| {
        let known = before.header.images.iter().find(|other| other.reference == image.reference)?;
        let (was, is) = (&known.digest, &image.digest);
        let told = !was.is_empty() && !is.is_empty();
        (told && was != is).then(|| format!("base image {} was {was} and is {is}", image.reference))
    });
    both.collect()
}
