//! Changes by hand: somebody at the dashboard. What is named and not there is made.

use super::credentials::Caller;
use super::rows::RoleRow;
use super::{Infisical, time};

impl Infisical {
    /// Makes these the roles of an identity in a project: of its first membership, which is made if there is none.
    pub fn set_roles(&self, project: &str, identity: &str, roles: Vec<RoleRow>) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.project(project);
        state.identity(identity);
        let rows: Vec<_> = roles.iter().map(|role| state.stored(project, role, now)).collect();
        match state.memberships.of_mut(project, identity).first_mut() {
            Some(membership) => membership.rows = rows,
            None => state.insert(project, identity, rows, now),
        }
    }

    /// Adds a role to what an identity has.
    pub fn add_role(&self, project: &str, identity: &str, role: RoleRow) {
        let mut roles = self.roles(project, identity);
        roles.push(role);
        self.set_roles(project, identity, roles);
    }

    /// Takes every row of a role away from an identity; whether it had any. The membership stays.
    pub fn remove_role(&self, project: &str, identity: &str, role: &str) -> bool {
        let mut roles = self.roles(project, identity);
        let before = roles.len();
        roles.retain(|row| row.role != role);
        let removed = roles.len() < before;
        if removed {
            self.set_roles(project, identity, roles);
        }
        removed
    }

    /// Makes one membership more of an identity that may have some: what concurrent POSTs leave behind.
    pub fn add_membership(&self, project: &str, identity: &str, roles: Vec<RoleRow>) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.project(project);
        state.identity(identity);
        let rows = roles.iter().map(|role| state.stored(project, role, now)).collect();
        state.insert(project, identity, rows, now);
    }

    /// Takes all memberships of an identity in a project away; whether there were any.
    pub fn remove_member(&self, project: &str, identity: &str) -> bool {
        self.state().memberships.remove(project, identity) > 0
    }

    /// Deletes a project with its memberships.
    pub fn delete_project(&self, project: &str) {
        let mut state = self.state();
        state.projects.remove(project);
        state.memberships.remove_project(project);
    }

    /// Deletes an identity with its memberships, clients and tokens (identity-extras.json, 59 to 65).
    pub fn delete_identity(&self, identity: &str) {
        let mut state = self.state();
        state.identities.remove(identity);
        state.memberships.remove_identity(identity);
        state.clients.retain(|client| client.identity != identity);
        for token in state.tokens.values_mut() {
            token.revoked |= token.caller == Caller::Identity(identity.to_owned());
        }
    }

    /// Deletes a custom role with its rows.
    pub fn delete_custom_role(&self, project: &str, slug: &str) {
        let mut state = self.state();
        let Some(role) = state.role_of_slug(project, slug) else {
            return;
        };
        for membership in state.memberships.of_project_mut(project) {
            membership.rows.retain(|row| row.role != role);
        }
        state.project(project).roles.retain(|role| role.slug != slug);
    }

    /// Gives a custom role another slug; its assignments stay (`reference/infisical.md`, Roles in answers).
    pub fn rename_custom_role(&self, project: &str, slug: &str, new_slug: &str) {
        if let Some(role) = self.state().project(project).roles.iter_mut().find(|role| role.slug == slug) {
            new_slug.clone_into(&mut role.slug);
        }
    }

    /// Revokes an access token, or all of an identity's if that is what is named.
    pub fn revoke_token(&self, token_or_identity: &str) {
        let mut state = self.state();
        if state.revoke(token_or_identity) {
            return;
        }
        let caller = Caller::Identity(token_or_identity.to_owned());
        state.tokens.values_mut().filter(|token| token.caller == caller).for_each(|token| token.revoked = true);
    }
}
