//! A run's way into a real registry: opened before any engine, tidied up however the run ends.

use std::sync::Arc;

use crate::credentials;
use crate::journal::RealRegistry;
use crate::registry::relay::{Cleared, Relay, RelayError};
use crate::scenario::Loaded;

use super::{Event, OnEvent, Options};

/// The list of refs in the folder of the results.
const LIST: &str = "registry-refs.txt";

/// Opens the relay that was asked for, and says what the registry was found to accept.
///
/// The relay is in `held` from before anything is pushed, since that must be deleted however this ends.
pub async fn open(
    loaded: &Loaded,
    options: &Options,
    on_event: OnEvent<'_>,
    held: &mut Option<Arc<Relay>>,
) -> Result<Option<RealRegistry>, RelayError> {
    let Some(remote) = &options.remote else { return Ok(None) };
    let say = |text: String| on_event(Event::Notice(&text));
    say(format!("asking {} what it accepts", remote.address));
    let login = credentials::stored(remote.address.connected()).await;
    let ours = ours(&loaded.scenario.name);
    let list = Some(options.out.join(LIST));
    let relay = Relay::connect(remote, login, ours, &run_id(), list).await?;
    let relay = held.insert(Arc::new(relay));
    let accepts = relay.try_out().await?.clone();
    say(format!("{} {}", remote.address, accepts.words().join("; ")));
    Ok(Some(RealRegistry { repository: remote.address.to_string(), accepts }))
}

/// What the names of all repositories begin with that strategies of this scenario push to.
fn ours(scenario: &str) -> String {
    format!("{scenario}/r")
}

/// The day, and 24 random bits: enough to tell the runs of a day apart.
fn run_id() -> String {
    let day = jiff::Timestamp::now().strftime("%Y%m%d");
    format!("{day}-{:06x}", rand::random::<u32>() >> 8)
}

/// Deletes what the run pushed, or says where it is and why it stays.
pub async fn clear(relay: &Relay, options: &Options, on_event: OnEvent<'_>) -> Cleared {
    let say = |text: String| on_event(Event::Notice(&text));
    let keep = options.remote.as_ref().is_some_and(|remote| remote.keep_refs);
    if !keep && relay.has_refs() {
        say(format!("deleting this run's refs from {}", relay.address()));
    }
    let cleared = relay.clear(keep).await;
    if !cleared.left.is_empty() {
        let (count, list) = (cleared.left.len(), options.out.join(LIST));
        let (address, because) = (relay.address(), &cleared.because);
        say(format!("{count} refs stay in {address}, because {because}: {}", list.display()));
    }
    cleared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_name_that_fits_a_tag() {
        let (one, other) = (run_id(), run_id());
        assert_eq!(one.len(), "20261125-".len() + 6, "{one}");
        assert_ne!(one, other);
    }
}
