//! Which provider object takes precedence if several have declarations of one target. Their declarations do not share a
//! plan, because one credential must not write on behalf of another. Pure.

/// What requests about a project have shown about the credential's permissions there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing is known yet.
    #[default]
    None,
    /// The last list succeeded, and the last write was not refused for lack of permissions.
    Able,
    /// The last list was refused, or the last write for lack of permissions.
    Unable,
}

/// Whether a provider object may shadow others on a target. Only one whose credential can manage the project may,
/// because any user can name any project. While nothing is known, as after a start, the statuses from before decide:
/// that the object of the one that would take precedence is Ready (`is_ready`), or that the other was shadowed
/// (`was_shadowed`).
pub fn may_take_precedence(evidence: Evidence, is_ready: bool, was_shadowed: bool) -> bool {
    match evidence {
        Evidence::Able => true,
        Evidence::Unable => false,
        Evidence::None => is_ready || was_shadowed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with `Unable` treated as `Able`, and with `None` treated as either.
    #[test]
    fn only_a_provider_object_that_can_manage_the_project_takes_precedence() {
        for (evidence, is_ready, was_shadowed, expected) in [
            (Evidence::Able, false, false, true),
            (Evidence::Unable, true, true, false),
            (Evidence::None, false, false, false),
            (Evidence::None, true, false, true),
            (Evidence::None, false, true, true),
        ] {
            assert_eq!(may_take_precedence(evidence, is_ready, was_shadowed), expected, "{evidence:?}");
        }
    }
}
