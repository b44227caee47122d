//! ZITADEL.

/// ZITADEL.
pub struct Zitadel;
