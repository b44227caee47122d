//! Manual changes, as in the dashboard. Missing objects are created. Members, which are identities, users or groups,
//! are named by their id; an unknown one becomes an identity.

use super::credentials::Caller;
use super::rows::RoleRow;
use super::subjects::{Mail, OrgRole, Seat};
use super::{Infisical, time};

/// Roles of members.
impl Infisical {
    /// Sets these roles of a subject in a project: in its first membership, which is created if there is none.
    pub fn set_roles(&self, project: &str, subject: &str, roles: Vec<RoleRow>) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.make_sure_of(project, subject, now);
        let rows: Vec<_> = roles.iter().map(|role| state.stored(project, role, now)).collect();
        match state.memberships.of_mut(project, subject).first_mut() {
            Some(membership) => membership.rows = rows,
            None => state.insert(project, subject, rows, now),
        }
    }

    /// Adds a role to what a subject has.
    pub fn add_role(&self, project: &str, subject: &str, role: RoleRow) {
        let mut roles = self.roles(project, subject);
        roles.push(role);
        self.set_roles(project, subject, roles);
    }

    /// Removes every row of a role from a subject; returns whether it had any. The membership remains.
    pub fn remove_role(&self, project: &str, subject: &str, role: &str) -> bool {
        let mut roles = self.roles(project, subject);
        let before = roles.len();
        roles.retain(|row| row.role != role);
        let removed = roles.len() < before;
        if removed {
            self.set_roles(project, subject, roles);
        }
        removed
    }

    /// Creates one more membership of a subject that may have some, as concurrent POSTs do.
    pub fn add_membership(&self, project: &str, subject: &str, roles: Vec<RoleRow>) {
        let now = time::cut(self.now());
        let mut state = self.state();
        state.make_sure_of(project, subject, now);
        let rows = roles.iter().map(|role| state.stored(project, role, now)).collect();
        state.insert(project, subject, rows, now);
    }

    /// Removes all memberships of a subject in a project; returns whether there were any.
    pub fn remove_member(&self, project: &str, subject: &str) -> bool {
        self.state().memberships.remove(project, subject) > 0
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
        let now = time::cut(self.now());
        state.project(project, now).roles.retain(|role| role.slug != slug);
    }

    /// Gives a custom role another slug; its assignments stay (`docs/reference/infisical.md`, Roles in answers).
    pub fn rename_custom_role(&self, project: &str, slug: &str, new_slug: &str) {
        let now = time::cut(self.now());
        if let Some(role) = self.state().project(project, now).roles.iter_mut().find(|role| role.slug == slug) {
            new_slug.clone_into(&mut role.slug);
        }
    }
}

/// Deletions.
impl Infisical {
    /// Deletes a project with its memberships.
    pub fn delete_project(&self, project: &str) {
        let mut state = self.state();
        state.projects.remove(project);
        state.memberships.remove_project(project);
    }

    /// Deletes an identity with its memberships, ways of signing in and tokens (identity-extras.json, 59 to 65).
    pub fn delete_identity(&self, identity: &str) {
        let mut state = self.state();
        state.identities.remove(identity);
        state.clients.retain(|client| client.identity != identity);
        state.logins.kubernetes.remove(identity);
        state.logins.oidc.remove(identity);
        state.forget(identity);
    }

    /// Deletes an account with its memberships and tokens.
    pub fn delete_user(&self, user: &str) {
        let mut state = self.state();
        state.users.remove(user);
        for group in state.groups.values_mut() {
            group.users.remove(user);
        }
        state.forget(user);
    }

    /// Deletes a group with its memberships (group-memberships.json, 63 to 65).
    pub fn delete_group(&self, group: &str) {
        let mut state = self.state();
        state.groups.remove(group);
        state.forget(group);
    }

    /// Removes an identity's sign-in with the cluster's tokens. The response to its access tokens is 500 from then on
    /// (kubernetes-auth.json, 117).
    pub fn remove_cluster_login(&self, identity: &str) {
        let mut state = self.state();
        state.logins.kubernetes.remove(identity);
        state.logins.oidc.remove(identity);
        let caller = Caller::Subject(identity.to_owned());
        state.tokens.values_mut().filter(|token| token.caller == caller).for_each(|token| token.orphaned = true);
    }

    /// Revokes an access token, or all of a subject's if that is what is named.
    pub fn revoke_token(&self, token_or_subject: &str) {
        let mut state = self.state();
        if state.revoke(token_or_subject) {
            return;
        }
        let caller = Caller::Subject(token_or_subject.to_owned());
        state.tokens.values_mut().filter(|token| token.caller == caller).for_each(|token| token.revoked = true);
    }
}

/// Renames. Unknown ids are ignored.
impl Infisical {
    /// Gives an identity another name.
    pub fn rename_identity(&self, identity: &str, name: &str) {
        if let Some(identity) = self.state().identities.get_mut(identity) {
            name.clone_into(&mut identity.name);
        }
    }

    /// Gives a user another e-mail address, which is the username too.
    pub fn rename_user(&self, user: &str, email: &str) {
        if let Some(user) = self.state().users.get_mut(user) {
            email.clone_into(&mut user.username);
            email.clone_into(&mut user.email);
        }
    }

    /// Gives a group another slug.
    pub fn rename_group(&self, group: &str, slug: &str) {
        if let Some(group) = self.state().groups.get_mut(group) {
            slug.clone_into(&mut group.slug);
        }
    }

    /// Gives a project another slug.
    pub fn rename_project(&self, project: &str, slug: &str) {
        if let Some(project) = self.state().projects.get_mut(project) {
            slug.clone_into(&mut project.slug);
        }
    }
}

/// The organisation.
impl Infisical {
    /// Sets what an identity, or a user whose invitation is accepted, may do in its organisation.
    pub fn set_org_role(&self, subject: &str, role: OrgRole) {
        let mut state = self.state();
        let org = state.default_org.clone();
        if let Some(identity) = state.identities.get_mut(subject) {
            identity.org_role = role;
        } else if let Some(user) = state.users.get_mut(subject) {
            user.seats.insert(org, Seat { role, accepted: true });
        }
    }

    /// Adds a user to a group: it has the group's rights when it calls.
    pub fn add_to_group(&self, group: &str, user: &str) {
        if let Some(group) = self.state().groups.get_mut(group) {
            group.users.insert(user.to_owned());
        }
    }

    /// The mails that were sent since the start, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        self.state().mails.clone()
    }

    /// The usernames of all accounts there are, those among them that an invitation made.
    pub fn accounts(&self) -> Vec<String> {
        self.state().users.values().map(|user| user.username.clone()).collect()
    }
}
