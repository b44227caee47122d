//! The state: the write side, and what search and rights read.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Zitadel;
use super::events::Resource;

impl Zitadel {
    /// The roles of a member of a project (or, asked with both ids, of a grant) as the write side has them: what the
    /// last write set, lost or not. Empty: no member.
    pub fn roles(&self, of: impl Into<Resource>, user: &str) -> Vec<String> {
        let state = self.state();
        let member = state.member(&of.into(), user).filter(|member| member.exists);
        member.map(|member| member.roles.clone()).unwrap_or_default()
    }

    /// The roles of a member as search has them, in their order and with repetitions. Empty: no row. A user without a
    /// login name has them too, although search does not show it.
    pub fn projected_roles(&self, of: impl Into<Resource>, user: &str) -> Vec<String> {
        let mut state = self.state();
        state.catch_up();
        state.projection.row(&of.into(), user).map(|row| row.roles.clone()).unwrap_or_default()
    }

    /// How many memberships a user has in a project or a grant, as search has them: 0 or 1.
    pub fn memberships_of(&self, of: impl Into<Resource>, user: &str) -> usize {
        usize::from(!self.projected_roles(of, user).is_empty())
    }

    /// What access is really in force: what the projection says now, since rights follow it and not the writes
    /// (zitadel/concurrency.json, 6). Nothing ends automatically here, so the instant changes nothing; it is a
    /// parameter so that both providers have the same method.
    pub fn effective_roles(&self, of: impl Into<Resource>, user: &str, _at: Timestamp) -> BTreeSet<String> {
        self.projected_roles(of, user).into_iter().collect()
    }

    /// The last sequence of a project.
    pub fn sequence(&self, project: &str) -> u64 {
        self.state().projects.get(project).map_or(0, |project| project.sequence)
    }
}
