//! Integration tests: one binary, a module an area.

mod end_to_end; // the whole program on real engines
mod engines; // every kind of engine address, on real engines
mod layers; // which module may name which
