//! The schema of fields that only a status has. The operator writes them, and they have bounds as well.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{ROLE, instant, string};

/// The longest text in status, in characters: several of the bounds above combined.
pub const STATUS_TEXT: u32 = 1024;

/// An instant of a status: written by the operator (`time::in_status`), read by people. The operator can't parse the
/// year 9999 with every offset.
pub fn status_time(_: &mut SchemaGenerator) -> Schema {
    instant(
        "[1-8][0-9]{3}",
        "self >= timestamp('1000-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",
        "leave status to the operator, which writes years from 1000 to 8999",
    )
}

/// A text in status.
pub fn status_text(_: &mut SchemaGenerator) -> Schema {
    string(STATUS_TEXT, &[])
}

/// The roles in effect in status: 32 of the longest, with commas.
pub fn status_roles_text(_: &mut SchemaGenerator) -> Schema {
    string(32 * (ROLE + 2), &[])
}

/// A count.
pub fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0})
}

/// The generation that a status describes; -1 in a new object.
pub fn observed_generation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": -1})
}

/// Conditions, with the bounds of Kubernetes' own.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let mut last_transition_time = status_time(generator);
    last_transition_time.insert("description".to_owned(), "When the status last changed.".into());
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the object's state.",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": last_transition_time,
                "message": {
                    "description": "A description of the state, and what to do.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "description": "The generation of the spec that the condition describes.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
                "reason": {
                    "description": "The reason, as one stable word.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "status": {
                    "description": "Whether the condition holds.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "type": {
                    "description": "The condition: Ready, Reconciling, Stalled or Drifted.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
            },
        },
    })
}
