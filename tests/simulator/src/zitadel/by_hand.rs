//! Manual changes, as in the console. They are events like all writes, and search follows them with its lag.

use super::events::{Kind, Resource};
use super::state::{UserKind, UserState};
use super::{Scope, Zitadel};

impl Zitadel {
    /// Makes these the roles of a member of a project (or, with both ids, of a grant), who is added if it isn't one.
    /// Without roles it is removed.
    pub fn set_roles(&self, of: impl Into<Resource>, user: &str, roles: &[&str]) {
        let of = of.into();
        let now = self.now();
        let mut state = self.state();
        if !state.projects.contains_key(&of.project) {
            return;
        }
        let org = state.org_of_project(&of.project);
        let grant = of.grant.as_ref().and_then(|id| state.grants.get(id));
        let granted_org = grant.map(|grant| grant.granted_org.clone());
        let member = state.member(&of, user).filter(|member| member.exists);
        let (user, exists) = (user.to_owned(), member.is_some());
        let new: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let kind = match (exists, new.is_empty()) {
            (false, true) => return,
            (true, true) => Kind::MemberRemoved { user },
            (true, false) if member.is_some_and(|member| member.roles == new) => return,
            (true, false) => Kind::MemberChanged { user, roles: new },
            (false, false) => Kind::MemberAdded { user, org, granted_org, roles: new },
        };
        // The unique constraint can only refuse what `member` has shown to be there.
        let _ = state.push(&of, kind, false, now);
    }

    /// Adds a role at the end of what a member has.
    pub fn add_role(&self, of: impl Into<Resource>, user: &str, role: &str) {
        let of = of.into();
        let mut roles = self.roles(&of, user);
        roles.push(role.to_owned());
        self.set_roles(&of, user, &roles.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Takes a role away from a member, and the last one with the membership; whether it had it.
    pub fn remove_role(&self, of: impl Into<Resource>, user: &str, role: &str) -> bool {
        let of = of.into();
        let mut roles = self.roles(&of, user);
        let before = roles.len();
        roles.retain(|r| r != role);
        let removed = roles.len() < before;
        if removed {
            self.set_roles(&of, user, &roles.iter().map(String::as_str).collect::<Vec<_>>());
        }
        removed
    }

    /// Removes a member; whether it was one.
    pub fn remove_member(&self, of: impl Into<Resource>, user: &str) -> bool {
        let of = of.into();
        let was = !self.roles(&of, user).is_empty();
        self.set_roles(&of, user, &[]);
        was
    }

    /// Takes away everything that a user may do on the instance or in an organisation, such as the caller's own
    /// rights. What it may do on a project or a grant is taken by [`remove_member`](Self::remove_member).
    pub fn take_rights(&self, user: &str, scope: &Scope) {
        self.state().rights.retain(|right| right.user != user || right.scope != *scope);
    }

    /// Deactivates a project, which changes nothing for its members (project-members.json, 84).
    pub fn deactivate_project(&self, project: &str) {
        let now = self.now();
        let mut state = self.state();
        if let Some(known) = state.projects.get_mut(project) {
            known.active = false;
            let _ = state.push(&Resource::from(project), Kind::ProjectDeactivated, false, now);
        }
    }

    /// Gives a project another name.
    pub fn rename_project(&self, project: &str, name: &str) {
        let now = self.now();
        let mut state = self.state();
        if let Some(known) = state.projects.get_mut(project) {
            name.clone_into(&mut known.name);
            let _ = state.push(&Resource::from(project), Kind::ProjectRenamed, false, now);
        }
    }

    /// Deletes a project. Its members become ghosts (`docs/reference/zitadel.md`, trap 1).
    pub fn delete_project(&self, project: &str) {
        let now = self.now();
        let mut state = self.state();
        if let Some(known) = state.projects.get_mut(project) {
            known.deleted = true;
            let _ = state.push(&Resource::from(project), Kind::ProjectRemoved, false, now);
        }
    }

    /// Removes a grant of a project, and its members with it.
    pub fn delete_project_grant(&self, grant: &str) {
        self.change_grant(grant, Kind::GrantRemoved);
    }

    /// Deactivates a grant, which changes nothing for its members (project-grant-members.json, 55 and 56).
    pub fn deactivate_project_grant(&self, grant: &str) {
        self.change_grant(grant, Kind::GrantDeactivated);
    }

    /// Makes a grant active again.
    pub fn reactivate_project_grant(&self, grant: &str) {
        self.change_grant(grant, Kind::GrantReactivated);
    }

    fn change_grant(&self, id: &str, kind: Kind) {
        let now = self.now();
        let mut state = self.state();
        let Some(grant) = state.grants.get_mut(id) else {
            return;
        };
        grant.active = kind != Kind::GrantDeactivated;
        grant.deleted |= kind == Kind::GrantRemoved;
        let resource = Resource::from((grant.project.as_str(), id));
        let _ = state.push(&resource, kind, false, now);
    }

    /// Deletes a user with its tokens. Where it was a member of a project it becomes a ghost.
    pub fn delete_user(&self, user: &str) {
        let now = self.now();
        let mut state = self.state();
        let Some(known) = state.users.get_mut(user) else {
            return;
        };
        known.deleted = true;
        state.push_global(Kind::UserRemoved { user: user.to_owned() }, now);
        let member_of: Vec<Resource> = state
            .members
            .iter()
            .filter(|((_, member), known)| member == user && known.exists)
            .map(|((resource, _), _)| resource.clone())
            .collect();
        for resource in member_of {
            let _ = state.push(&resource, Kind::MemberCascadeRemoved { user: user.to_owned() }, false, now);
        }
    }

    /// Deactivates a user: its tokens are refused, its memberships stay (project-members.json, 81 to 83). What it got
    /// by signing in is refused permanently (auth.json, 79).
    pub fn deactivate_user(&self, user: &str) {
        self.set_user_state(user, UserState::Inactive);
        self.state().credentials.sign_out(user);
    }

    /// Makes a user active again.
    pub fn reactivate_user(&self, user: &str) {
        self.set_user_state(user, UserState::Active);
    }

    fn set_user_state(&self, user: &str, new: UserState) {
        let mut state = self.state();
        if let Some(known) = state.users.get_mut(user) {
            known.state = new;
            state.touch_user(user, self.now());
        }
    }

    /// Gives a user another user name, and with it another login name.
    pub fn rename_user(&self, user: &str, name: &str) {
        let mut state = self.state();
        let Some(org) = state.users.get(user).map(|user| user.org.clone()) else {
            return;
        };
        let login_name = state.login_name(&org, name);
        if let Some(known) = state.users.get_mut(user) {
            name.clone_into(&mut known.user_name);
            known.login_name = Some(login_name);
        }
        state.touch_user(user, self.now());
    }

    /// Gives a person another e-mail address; a machine has none.
    pub fn set_email(&self, user: &str, address: &str) {
        let mut state = self.state();
        if let Some(UserKind::Human { email, .. }) = state.users.get_mut(user).map(|user| &mut user.kind) {
            address.clone_into(email);
            state.touch_user(user, self.now());
        }
    }

    /// Deletes an organisation. Its users vanish from search, though writes still know them
    /// (project-members.json, 106 to 109).
    pub fn delete_org(&self, org: &str) {
        let now = self.now();
        let mut state = self.state();
        let Some(known) = state.orgs.get_mut(org) else {
            return;
        };
        known.deleted = true;
        state.push_global(Kind::OrgRemoved { org: org.to_owned() }, now);
    }

    /// Revokes a token, or all of a user's if that is who is named.
    pub fn revoke_token(&self, token_or_user: &str) {
        let mut state = self.state();
        state.credentials.tokens.retain(|token, held| token != token_or_user && held.user != token_or_user);
    }

    /// Removes a key. Tokens that it was used for stay (auth.json, 71).
    pub fn remove_key(&self, key_id: &str) {
        self.state().credentials.keys.remove(key_id);
    }

    /// Removes the client secret of a user.
    pub fn remove_client_secret(&self, user: &str) {
        self.state().credentials.secrets.remove(user);
    }
}
