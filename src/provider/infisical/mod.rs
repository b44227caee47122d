//! Infisical.

/// Placeholder.
pub struct Infisical;
