//! Integration tests: one binary, a module an area.

mod end_to_end; // the whole program on real engines
mod layers; // which module may name which
mod measure; // journals, whole and damaged, as numbers
