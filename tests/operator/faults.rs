//! Faults at a provider and elsewhere: the reports are correct, and eventually the provider holds what is declared.

mod answers;
mod down;
mod limits;
mod lost;
mod organizations;
mod refused;
mod silent;
mod writers;
