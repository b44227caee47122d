//! The operator: one road from a declared membership to the provider and back.

pub mod api;
pub mod arguments;
pub mod confirm;
pub mod controller;
pub mod crds;
pub mod events;
pub mod grants;
pub mod layers;
pub mod member;
pub mod plan;
pub mod policy;
pub mod provider;
pub mod roster;
pub mod status;
pub mod telemetry;
