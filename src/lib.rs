//! The operator: one road from a declared membership to the provider and back.

pub mod api;
pub mod grants;
pub mod layers;
pub mod member;
pub mod plan;
pub mod policy;
pub mod provider;
