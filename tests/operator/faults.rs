//! Faults at a provider and beside it: what is told is true, and in the end the provider holds what is declared.

mod answers;
mod down;
mod limits;
mod lost;
mod organizations;
mod refused;
mod writers;
