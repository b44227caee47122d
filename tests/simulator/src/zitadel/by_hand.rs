//! Changes by hand: somebody at the console. They are events as all writes are, and search follows them with its lag.

use super::Zitadel;
use super::events::Kind;

impl Zitadel {
    /// Makes these the roles of a member, who is added if it isn't one. Without roles it is removed.
    pub fn set_roles(&self, project: &str, user: &str, roles: &[&str]) {
        let now = self.now();
        let mut state = self.state();
        let Some(org) = state.projects.get(project).map(|project| project.org.clone()) else {
            return;
        };
        let member = state.member(project, user, &org).filter(|member| member.exists);
        let (user, exists) = (user.to_owned(), member.is_some());
        let new: Vec<String> = roles.iter().map(|role| (*role).to_owned()).collect();
        let kind = match (exists, new.is_empty()) {
            (false, true) => return,
            (true, true) => Kind::MemberRemoved { user },
            (true, false) if member.is_some_and(|member| member.roles == new) => return,
            (true, false) => Kind::MemberChanged { user, roles: new },
            (false, false) => Kind::MemberAdded { user, org, roles: new },
        };
        // The unique constraint can only refuse what `member` has shown to be there.
        let _ = state.push(project, kind, false, now);
    }

    /// Adds a role at the end of what a member has.
    pub fn add_role(&self, project: &str, user: &str, role: &str) {
        let mut roles = self.roles(project, user);
        roles.push(role.to_owned());
        self.set_roles(project, user, &roles.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Takes a role away from a member, and the last one with the membership; whether it had it.
    pub fn remove_role(&self, project: &str, user: &str, role: &str) -> bool {
        let mut roles = self.roles(project, user);
        let before = roles.len();
        roles.retain(|r| r != role);
        let removed = roles.len() < before;
        if removed {
            self.set_roles(project, user, &roles.iter().map(String::as_str).collect::<Vec<_>>());
        }
        removed
    }

    /// Removes a member; whether it was one.
    pub fn remove_member(&self, project: &str, user: &str) -> bool {
        let was = !self.roles(project, user).is_empty();
        self.set_roles(project, user, &[]);
        was
    }

    /// Deactivates a project, which changes nothing for its members (project-members.json, 84).
    pub fn deactivate_project(&self, project: &str) {
        let now = self.now();
        let mut state = self.state();
        if let Some(known) = state.projects.get_mut(project) {
            known.active = false;
            let _ = state.push(project, Kind::ProjectDeactivated, false, now);
        }
    }

    /// Deletes a project. Its members become ghosts (`reference/zitadel.md`, trap 1).
    pub fn delete_project(&self, project: &str) {
        let now = self.now();
        let mut state = self.state();
        if let Some(known) = state.projects.get_mut(project) {
            known.deleted = true;
            let _ = state.push(project, Kind::ProjectRemoved, false, now);
        }
    }

    /// Deletes a user with its tokens. Where it was a member it becomes a ghost.
    pub fn delete_user(&self, user: &str) {
        let now = self.now();
        let mut state = self.state();
        let Some(known) = state.users.get_mut(user) else {
            return;
        };
        known.deleted = true;
        state.push_global(Kind::UserRemoved { user: user.to_owned() }, now);
        let member_of: Vec<String> = state
            .members
            .iter()
            .filter(|((_, member), known)| member == user && known.exists)
            .map(|((project, _), _)| project.clone())
            .collect();
        for project in member_of {
            let _ = state.push(&project, Kind::MemberCascadeRemoved { user: user.to_owned() }, false, now);
        }
    }

    /// Deactivates a user: its tokens are refused, its memberships stay (project-members.json, 81 to 83).
    pub fn deactivate_user(&self, user: &str) {
        if let Some(user) = self.state().users.get_mut(user) {
            user.active = false;
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

    /// Revokes a personal access token, or all of a user's if that is who is named.
    pub fn revoke_token(&self, token_or_user: &str) {
        let mut state = self.state();
        state.pats.retain(|token, pat| token != token_or_user && pat.user != token_or_user);
    }
}
