//! Integration tests: one binary, a module an area.

mod alarms; // when a check raises one, and when not
mod baselines; // what they keep of a run, and what git sees of them
mod builders; // engines elsewhere: by TLS, and several at once
mod buildx; // the peer: docker buildx on engines of its own
mod check; // runs held against baselines: the rules
mod chromium; // the HTML report in a real browser
mod ci; // what a CI job sees of real engines' runs
mod collected; // what a kept engine lets go of between trials
mod content; // a warm image holds what a cold one does
mod docker_registry; // the peer: Debian's docker-registry
mod end_to_end; // the whole program on real engines
mod engines; // every kind of engine address, on real engines
mod faults; // what goes wrong, and what is left then
mod frontends; // what reads a Dockerfile: another image, or the engine itself
mod gate; // what CI jobs see of verdicts
mod inputs; // what a run takes in, and what it refuses
mod hostile; // journals that anybody may have written
mod journals; // made-up journals
mod layers; // which module may name which
mod measure; // journals, whole and damaged, as numbers
mod links; // how far away the registry is
mod moved; // a COPY that moves, where several caches can be read
mod outputs; // a check as other programs read it
mod parity; // the same answers as buildx
mod predict; // explain and predict, as a person calls them
mod registry_faults; // what a registry's faults do to builds
mod registry_clients; // crane, oras and skopeo copy images
mod registry_peers; // the same answers as Debian's docker-registry
mod relay; // real registries: passwords, tokens, their own certificates
mod report; // journals as reports
mod replay; // commits of real repositories
mod secrets; // what builds mount and nothing keeps
mod traps; // known traps of build caches, and why steps miss in them
mod workflows; // the workflows of docs/ci.md, played
