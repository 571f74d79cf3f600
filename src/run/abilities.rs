//! Which strategies an engine cannot play, and why: a pure function, asked before anything is built.
//!
//! The facts are BuildKit's (`BUILDKIT.md` §2.1): dockerd has no s3 or azblob cache, and without the
//! containerd image store it exports inline caches only and pushes nothing.

use crate::engine::{self, EngineAddress, Fresh};
use crate::journal::{RealRegistry, Skipped};
use crate::strategy::{CacheEntry, EngineUse, Strategy};
use crate::trial::Worker;

/// What is known of a run's engines.
#[derive(Clone, Debug)]
pub struct Abilities {
    pub fresh: Fresh,
    /// Whether they can reach the run's own registry.
    pub local: bool,
    /// None where nobody has asked yet: what it decides is then not foreseen.
    pub worker: Option<Worker>,
    /// The real registry that takes the place of the run's own.
    pub remote: Option<RealRegistry>,
}

/// The strategies that every one of `builders`, each with its address, can play, and the others.
pub fn divide(
    strategies: &[Strategy],
    builders: &[(String, Abilities)],
) -> (Vec<Strategy>, Vec<Skipped>) {
    let (mut played, mut skipped) = (vec![], vec![]);
    for strategy in strategies {
        let refused = builders
            .iter()
            .find_map(|(address, abilities)| Some((address, because(strategy, abilities)?)));
        match refused {
            None => played.push(strategy.clone()),
            Some((address, because)) => {
                let because = match builders {
                    [_] => because,
                    _ => format!("on {address}, {because}"),
                };
                skipped.push(Skipped { strategy: strategy.name.clone(), because });
            }
        }
    }
    (played, skipped)
}

/// What the engines' address alone decides, before any of them is asked.
pub fn foreseen(address: Option<&EngineAddress>, allow_prune: bool) -> Abilities {
    let private = matches!(address, None | Some(EngineAddress::Private(_)));
    let worker =
        Worker { snapshotter: "overlayfs".to_owned(), in_docker: true, ..Worker::default() };
    Abilities {
        fresh: engine::fresh(address, allow_prune),
        local: true,
        worker: private.then_some(worker),
        remote: None,
    }
}

fn because(strategy: &Strategy, abilities: &Abilities) -> Option<String> {
    let exports = || strategy.exports.iter();
    let entries = || strategy.imports.iter().chain(&strategy.exports);
    if let (EngineUse::Fresh, Fresh::No(reason)) = (strategy.engine, &abilities.fresh) {
        return Some(reason.clone());
    }
    let pushes = strategy.push.is_some();
    if !abilities.local && (pushes || entries().any(|entry| entry.kind == "registry")) {
        let reason = "it needs a registry, and the run's own, on this machine's loopback interface, \
                      is out of the engine's reach";
        return Some(reason.to_owned());
    }
    if entries().any(|entry| entry.kind == "gha" && !gha_is_complete(entry)) {
        let reason = "a gha cache needs the attributes `token` and `url_v2` (or `url`)";
        return Some(reason.to_owned());
    }
    if let Some(remote) = &abilities.remote
        && let Some(refused) = exports().find_map(|entry| refused(entry, remote))
    {
        return Some(refused);
    }
    let worker = abilities.worker.as_ref()?;
    if let Some(entry) = entries().find(|entry| ["s3", "azblob"].contains(&&*entry.kind))
        && worker.in_docker
    {
        return Some(format!(
            "the BuildKit inside dockerd has no {} cache; a buildkitd has (--builder docker-container://)",
            entry.kind
        ));
    }
    if worker.in_docker && worker.snapshotter.is_empty() {
        let without = "and this engine, which keeps no images in containerd, cannot";
        if let Some(entry) = exports().find(|entry| entry.kind != "inline") {
            return Some(format!("it exports a {} cache, {without}", entry.kind));
        }
        if pushes {
            return Some(format!("it pushes what it builds, {without}"));
        }
    }
    None
}

/// What a real registry has against a cache that a strategy exports to it.
fn refused(entry: &CacheEntry, remote: &RealRegistry) -> Option<String> {
    let (accepts, repository) = (&remote.accepts, &remote.repository);
    if entry.kind != "registry" {
        return None;
    }
    // BuildKit's own default since 0.21 is an image manifest.
    let index = entry.attrs.get("image-manifest").is_some_and(|value| value == "false");
    match index {
        true if !accepts.cache_index => {
            Some(format!("{repository} refuses caches as indexes; export with image-manifest=true"))
        }
        false if !accepts.cache_manifest => Some(format!(
            "{repository} refuses caches as image manifests; export with image-manifest=false"
        )),
        _ => None,
    }
}

fn gha_is_complete(entry: &CacheEntry) -> bool {
    let has = |attr: &str| entry.attrs.get(attr).is_some_and(|value| !value.is_empty());
    has("token") && (has("url") || has("url_v2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::built_in;

    fn skipped(abilities: &Abilities) -> Vec<String> {
        let (_, skipped) = divide(built_in(), &[(String::new(), abilities.clone())]);
        skipped.into_iter().map(|skipped| skipped.strategy).collect()
    }

    fn with(kind: &str) -> Strategy {
        let text = format!("name = 'x'\nengine = 'kept'\nexport = [{{ type = '{kind}' }}]");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_private_engine_plays_every_built_in_strategy() {
        assert_eq!(skipped(&foreseen(None, false)), Vec::<String>::new());
    }

    #[test]
    fn an_engine_that_was_there_before_plays_only_strategies_that_keep_theirs() {
        let address = "tcp://127.0.0.1:1".parse().unwrap();
        let fresh = ["cold", "inline", "stages", "registry-min", "registry-max"];
        assert_eq!(skipped(&foreseen(Some(&address), false)), fresh);
        assert_eq!(skipped(&foreseen(Some(&address), true)), Vec::<String>::new());
    }

    #[test]
    fn without_the_containerd_store_nothing_is_pushed_or_exported() {
        let mut abilities = foreseen(None, false);
        abilities.worker = Some(Worker { in_docker: true, ..Worker::default() });
        assert_eq!(skipped(&abilities), ["inline", "stages", "registry-min", "registry-max"]);
        assert!(because(&with("inline"), &abilities).is_none());
        assert!(because(&with("local"), &abilities).unwrap().contains("local cache"));
    }

    #[test]
    fn caches_in_clouds_are_skipped_where_they_cannot_work() {
        let mut abilities = foreseen(None, false);
        assert!(because(&with("s3"), &abilities).unwrap().contains("no s3 cache"));
        assert!(because(&with("gha"), &abilities).unwrap().contains("token"));
        abilities.worker = Some(Worker { snapshotter: "overlayfs".into(), ..Worker::default() });
        assert!(because(&with("azblob"), &abilities).is_none());
    }

    #[test]
    fn a_form_of_cache_that_a_real_registry_refuses_is_not_tried() {
        let mut abilities = foreseen(None, false);
        let mut remote =
            RealRegistry { repository: "r.test/me".into(), accepts: Default::default() };
        remote.accepts.cache_index = true;
        abilities.remote = Some(remote);
        assert_eq!(skipped(&abilities), ["registry-min", "registry-max"]);
        let mut older = with("registry");
        older.exports[0].attrs.insert("image-manifest".into(), "false".into());
        assert_eq!(because(&older, &abilities), None);
        abilities.remote.as_mut().unwrap().accepts = Default::default();
        assert!(because(&older, &abilities).unwrap().contains("image-manifest=true"));
    }

    #[test]
    fn what_one_of_several_builders_cannot_play_is_not_played_and_says_on_which() {
        let mut other = foreseen(None, false);
        other.local = false;
        let builders = [("a".to_owned(), foreseen(None, false)), ("b".to_owned(), other)];
        let (played, skipped) = divide(built_in(), &builders);
        assert_eq!(played.len() + skipped.len(), built_in().len());
        assert!(played.iter().all(|strategy| strategy.push.is_none()));
        assert!(!skipped.is_empty());
        assert!(skipped.iter().all(|skipped| skipped.because.starts_with("on b, it needs")));
    }

    #[test]
    fn an_engine_elsewhere_has_no_registry_of_ours() {
        let mut abilities = foreseen(None, false);
        abilities.local = false;
        assert_eq!(skipped(&abilities), ["inline", "stages", "registry-min", "registry-max"]);
    }
}
