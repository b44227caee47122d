//! Loads a world and exports it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{CustomRole, Membership, Project, State};
use super::subjects::{Seat, User};
use super::world::{
    CustomRoleWorld, GroupWorld, IdentityWorld, InfisicalWorld, MembershipWorld, ProjectWorld, SeatWorld, UserWorld,
};
use super::{Infisical, RoleRow};

impl Infisical {
    /// Adds a world to the state.
    pub fn load(&self, world: &InfisicalWorld) {
        if let Some(generations) = world.generations {
            self.set_generations(generations);
        }
        if let Some(style) = world.error_style {
            self.set_error_style(style);
        }
        if world.new_privileges.is_some() {
            self.set_new_privileges(world.new_privileges);
        }
        self.load_members(world);
        for client in &world.clients {
            self.add_client(&client.client_id, &client.client_secret, &client.identity);
            let seconds = |seconds: u32| Duration::from_secs(seconds.into());
            self.set_token_lives(&client.client_id, seconds(client.token_ttl), seconds(client.token_max_ttl));
        }
        world.sub_organizations.iter().for_each(|organization| self.add_sub_organization(organization.clone()));
        world.kubernetes_logins.iter().for_each(|login| self.set_kubernetes_login(login.clone()));
        world.oidc_logins.iter().for_each(|login| self.set_oidc_login(login.clone()));
        if let Some(cluster) = &world.cluster {
            self.set_cluster(cluster.clone());
        }
        for (token, subject) in &world.tokens {
            self.add_token(token, subject);
        }
        for (token, name) in &world.admin_tokens {
            self.add_admin_token(token, name);
        }
        for membership in &world.memberships {
            self.add_membership(&membership.project, &membership.subject, membership.roles.clone());
        }
    }

    fn load_members(&self, world: &InfisicalWorld) {
        for project in &world.projects {
            self.add_project(&project.id, &project.slug, &project.name);
            for role in &project.custom_roles {
                let rights: Vec<&str> = role.rights.iter().map(String::as_str).collect();
                self.add_custom_role_with(&project.id, &role.slug, &role.name, &rights);
            }
            if let Some(product) = &project.product {
                self.set_product(&project.id, product);
            }
            if let (Some(org), Some(held)) = (&project.org, self.state().projects.get_mut(&project.id)) {
                held.org.clone_from(org);
            }
        }
        for identity in &world.identities {
            self.add_identity(&identity.id, &identity.name);
            if let Some(held) = self.state().identities.get_mut(&identity.id) {
                held.auth_method.clone_from(&identity.auth_method);
                held.org_role = identity.org_role;
                held.managed_by.clone_from(&identity.managed_by);
                held.org = identity.org.clone().unwrap_or_else(|| held.org.clone());
            }
        }
        for user in &world.users {
            self.add_user(&user.id, &user.email, "", "");
            if let Some(held) = self.state().users.get_mut(&user.id) {
                held.first_name.clone_from(&user.first_name);
                held.last_name.clone_from(&user.last_name);
                if let Some(seats) = &user.seats {
                    let seat = |seat: &SeatWorld| Seat { role: seat.role, accepted: seat.accepted };
                    held.seats = seats.iter().map(|(org, of)| (org.clone(), seat(of))).collect();
                }
            }
        }
        for group in &world.groups {
            self.add_group(&group.id, &group.slug, &group.name);
            if let Some(held) = self.state().groups.get_mut(&group.id) {
                held.org = group.org.clone().unwrap_or_else(|| held.org.clone());
                held.users = group.users.iter().cloned().collect();
            }
        }
    }

    /// The state, without secrets and tokens. Memberships show all their rows, including ended ones.
    pub fn world(&self) -> InfisicalWorld {
        let state = self.state();
        InfisicalWorld {
            generations: Some(state.generations),
            error_style: Some(state.style),
            new_privileges: state.new_privileges,
            projects: state.projects.values().map(project).collect(),
            identities: state
                .identities
                .values()
                .map(|identity| IdentityWorld {
                    id: identity.id.clone(),
                    name: identity.name.clone(),
                    auth_method: identity.auth_method.clone(),
                    org: Some(identity.org.clone()),
                    org_role: identity.org_role,
                    managed_by: identity.managed_by.clone(),
                })
                .collect(),
            users: state.users.values().map(user).collect(),
            groups: state
                .groups
                .values()
                .map(|group| GroupWorld {
                    id: group.id.clone(),
                    slug: group.slug.clone(),
                    name: group.name.clone(),
                    org: Some(group.org.clone()),
                    users: group.users.iter().cloned().collect(),
                })
                .collect(),
            sub_organizations: state.sub_organizations.clone(),
            kubernetes_logins: state.logins.kubernetes.values().cloned().collect(),
            oidc_logins: state.logins.oidc.values().cloned().collect(),
            cluster: Some(state.logins.cluster.clone()),
            memberships: state.memberships.all().map(|membership| held_by(&state, membership)).collect(),
            ..InfisicalWorld::default()
        }
    }
}

fn project(project: &Project) -> ProjectWorld {
    let custom_role = |role: &CustomRole| CustomRoleWorld {
        slug: role.slug.clone(),
        name: role.name.clone(),
        rights: role.rights.iter().cloned().collect(),
    };
    ProjectWorld {
        id: project.id.clone(),
        slug: project.slug.clone(),
        name: project.name.clone(),
        org: Some(project.org.clone()),
        product: Some(project.product.clone()),
        custom_roles: project.roles.iter().map(custom_role).collect(),
    }
}

fn user(user: &User) -> UserWorld {
    let seat = |seat: &Seat| SeatWorld { role: seat.role, accepted: seat.accepted };
    let seats: BTreeMap<String, SeatWorld> = user.seats.iter().map(|(org, of)| (org.clone(), seat(of))).collect();
    UserWorld {
        id: user.id.clone(),
        email: user.email.clone(),
        first_name: user.first_name.clone(),
        last_name: user.last_name.clone(),
        seats: Some(seats),
    }
}

fn held_by(state: &State, membership: &Membership) -> MembershipWorld {
    let row = |row: &super::state::Row| RoleRow {
        id: row.id.clone(),
        role: state.slug_of(&membership.project, &row.role),
        temporary: row.window.clone(),
    };
    MembershipWorld {
        project: membership.project.clone(),
        subject: membership.subject.clone(),
        roles: membership.rows.iter().map(row).collect(),
    }
}
