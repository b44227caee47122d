//! The commands: their arguments, and `verify-provider`.

pub mod arguments;
pub mod verify;
