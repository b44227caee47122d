//! The messages of refusals: what is wrong, where, and what to do.

use super::{Meaning, Refusal};
use crate::core::member::Project;
use crate::provider::Error;
use crate::provider::error::Effect;
use crate::provider::http::{Response, text, url_hint};
use crate::provider::zitadel::write::MemberWrite;

/// What was requested, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestContext<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) project: Option<&'a Project>,
    /// The user that it is about; empty: none.
    pub(crate) user: &'a str,
    /// To write the user's membership.
    pub(crate) write: Option<MemberWrite<'a>>,
}

impl<'a> RequestContext<'a> {
    /// A request about the instance.
    pub(crate) fn of_instance(endpoint: &'a str) -> Self {
        Self { endpoint, project: None, user: "", write: None }
    }

    /// Whether a member is to be added.
    pub(crate) fn is_adding(&self) -> bool {
        matches!(self.write, Some(MemberWrite::Add(_)))
    }

    /// `project 1 of organization 2 at https://…`, `grant 3 of project 1 (organization 2) at https://…`
    pub(crate) fn place(&self) -> String {
        let Some(Project { id, organization_id, grant_id }) = self.project else {
            return format!("ZITADEL at {}", self.endpoint);
        };
        let organization = organization_id
            .as_ref()
            .map_or_else(|| "the credential's own organization".to_owned(), |id| format!("organization {id}"));
        match grant_id {
            None => format!("project {id} of {organization} at {}", self.endpoint),
            // It may be the organization that created the grant or the one that received it.
            Some(grant) => format!("grant {grant} of project {id} ({organization}) at {}", self.endpoint),
        }
    }

    /// What the credential's user needs.
    fn remedy(&self) -> &'static str {
        match self.project.map(|project| &project.grant_id) {
            // Permission is checked in the organization that the project is granted to (docs/reference/zitadel.md,
            // "Grant members differ").
            Some(Some(_)) => {
                "make its user PROJECT_GRANT_OWNER of the grant, or ORG_OWNER of the organization that the project is \
                 granted to"
            }
            Some(None) | None => "make its user PROJECT_OWNER of the project",
        }
    }

    /// The permissions are insufficient: the list has rows that aren't shown.
    pub(crate) fn hidden(&self) -> Error {
        let message = format!(
            "the credential may not read the members of {}: ZITADEL counts some and shows none; {}",
            self.place(),
            self.remedy()
        );
        Error::Forbidden { message }
    }

    /// A refusal that the server also returns for something that was deleted. `whose`: the organization in which a role
    /// would distinguish the two.
    pub(crate) fn perhaps_gone(&self, refused: Refusal, whose: &str) -> Refusal {
        let Error::Forbidden { message } = &refused.error else {
            return refused;
        };
        let what = match self.project.map(|project| &project.grant_id) {
            Some(Some(_)) => "the grant, its project or one of their organizations",
            Some(None) | None => "the project or its organization",
        };
        let message = format!(
            "{message}. ZITADEL answers the same if {what} was deleted: to let the operator find out, make the user \
             ORG_OWNER_VIEWER of {whose}"
        );
        Refusal { error: Error::Forbidden { message }, ..refused }
    }

    /// The grant isn't one of the requested organization, which neither created nor received it.
    pub(crate) fn grant_elsewhere(&self) -> Error {
        let message = format!(
            "{} isn't there for this organization: set organizationId to the organization that owns the project or to the \
             one that it is granted to, and check project.grantId",
            self.place()
        );
        Error::ProjectNotFound { gone: false, message }
    }

    /// The organization received the project by another grant than the requested one.
    pub(crate) fn another_grant(&self, found: &str) -> Error {
        let found = text::bounded(&text::filtered(found, &[]), 40);
        let message = format!("{} is another one, {found}: check project.grantId", self.place());
        Error::ProjectNotFound { gone: false, message }
    }

    /// The grant belongs to another project.
    pub(crate) fn of_another_project(&self, found: &str) -> Error {
        let found = text::bounded(&text::filtered(found, &[]), 40);
        let message = format!(
            "{} isn't one of this project but of project {found}: check project.grantId and project.id",
            self.place()
        );
        Error::ProjectNotFound { gone: false, message }
    }

    /// None of the grants that the project has is known to be this one.
    pub(crate) fn unknown_grant(&self) -> Error {
        let message = format!(
            "{} can't be distinguished from the project's other grants: ZITADEL's v2 names a grant by the organization that the \
             project is granted to; set organizationId to that one",
            self.place()
        );
        Error::ProjectNotFound { gone: false, message }
    }

    /// There is no such grant in any organization.
    pub(crate) fn no_grant(&self) -> Error {
        let message = format!(
            "there is no {}: it was removed, its project or the organization that it was made to was deleted, or \
             project.grantId isn't its id",
            self.place()
        );
        Error::ProjectNotFound { gone: true, message }
    }

    /// The project belongs to another organization than the requested one.
    pub(crate) fn elsewhere(&self) -> Error {
        let project = self.project.map_or("", |project| &project.id);
        let (whose, remedy) = match self.project.and_then(|project| project.organization_id.as_deref()) {
            Some(organization) => (
                format!("organization {organization}"),
                "set organizationId to the organization that owns it (if it does, this version of ZITADEL ignores the \
                 header x-zitadel-orgid, as v4.15.1 reportedly does: issue #12482)",
            ),
            None => (
                "the organization of the credential".to_owned(),
                "set the project's organizationId, or the provider's, to the organization that owns it",
            ),
        };
        let message = format!("project {project} at {} doesn't belong to {whose}: {remedy}", self.endpoint);
        Error::ProjectNotFound { gone: false, message }
    }

    /// The subject doesn't exist.
    pub(crate) fn no_user(&self) -> Error {
        let message = format!(
            "user {} doesn't exist at ZITADEL at {}: it was deleted, or subject.id isn't its id",
            self.user, self.endpoint
        );
        Error::SubjectNotFound { message }
    }

    fn unknown_role(&self) -> Error {
        let of_grant = self.project.is_some_and(|project| project.grant_id.is_some());
        let (prefix, known) =
            if of_grant { ("PROJECT_GRANT", &GRANT_ROLES[..]) } else { ("PROJECT", &PROJECT_ROLES[..]) };
        // The server doesn't report which. One that lacks the prefix can't be right (docs/reference/zitadel.md,
        // "Roles"): of several such the first is named, and the others later. Otherwise it is one that not every
        // instance has.
        let standard = |role: &&String| PROJECT_ROLES.contains(&role.as_str()) || GRANT_ROLES.contains(&role.as_str());
        let roles = self.write.and_then(MemberWrite::roles).unwrap_or_default();
        let mut others = roles.iter().filter(|role| !standard(role));
        let role = match (roles, roles.iter().find(|role| !role.starts_with(prefix))) {
            ([only], _) | (_, Some(only)) => Some(only),
            (_, None) => others.next().filter(|_| others.next().is_none()),
        };
        let which = match role {
            Some(role) => format!("{role:?} is no role"),
            None => format!("{roles:?} has a role that is none"),
        };
        let which = text::bounded(&text::filtered(&which, &[]), 200);
        let message = format!(
            "{which} that a member of {} can have: roles of members are {} and what the instance configures besides (a \
             role that the member already has may have been removed from that configuration: then remove it from the \
             member); a project's own application roles are given by user grants (authorizations), which members aren't",
            self.place(),
            known.join(", ")
        );
        Error::RoleNotFound { role: role.cloned(), message }
    }
}

/// The roles of projects' members that every instance has (docs/reference/zitadel.md, Roles). Those of grants are
/// accepted as well.
const PROJECT_ROLES: [&str; 4] =
    ["PROJECT_OWNER", "PROJECT_OWNER_VIEWER", "PROJECT_OWNER_GLOBAL", "PROJECT_OWNER_VIEWER_GLOBAL"];

/// The same for grants' members.
const GRANT_ROLES: [&str; 2] = ["PROJECT_GRANT_OWNER", "PROJECT_GRANT_OWNER_VIEWER"];

/// The error for a refusal. `id`: that of the server's error, filtered.
pub(super) fn error(asked: &RequestContext<'_>, answer: &Response, meaning: Meaning, id: &str) -> Error {
    let place = asked.place();
    let RequestContext { endpoint, user, .. } = asked;
    let organization = asked.project.and_then(|project| project.organization_id.as_deref()).unwrap_or_default();
    let without_id = id.is_empty();
    let id = if without_id { format!("status {}", answer.status) } else { id.to_owned() };
    match meaning {
        Meaning::NotAMember => Error::Changed { message: format!("user {user} is no member of {place} any more") },
        Meaning::AMember => Error::Changed { message: format!("user {user} is a member of {place} by now") },
        Meaning::Unchanged => Error::Changed { message: format!("user {user} has these roles in {place} already") },
        Meaning::NoUser => asked.no_user(),
        Meaning::UserElsewhere => Error::Rejected {
            message: format!(
                "user {user} belongs to another organization than the {place}, and can't be read from there"
            ),
        },
        Meaning::NoProjectHere => Error::ProjectNotFound {
            gone: false,
            message: format!(
                "there is no {place}: check project.id, and organizationId for the organization that owns it"
            ),
        },
        Meaning::NoProject => Error::ProjectNotFound {
            gone: true,
            message: format!("there is no {place}: it was deleted, or project.id isn't its id"),
        },
        Meaning::NoGrantHere => Error::ProjectNotFound {
            gone: false,
            message: format!("there is no {place}: check project.grantId, project.id and organizationId"),
        },
        Meaning::ProjectElsewhere => asked.elsewhere(),
        Meaning::NoGrant => asked.no_grant(),
        Meaning::GrantElsewhere => asked.grant_elsewhere(),
        Meaning::NoOrganization => Error::ProjectNotFound {
            gone: false,
            message: format!(
                "there is no organization {organization} at {endpoint} ({id}): set organizationId to the organization \
                 that owns the project"
            ),
        },
        Meaning::NoRole => asked.unknown_role(),
        Meaning::NoRoles => {
            Error::Rejected { message: format!("user {user} was to be a member of {place} without roles") }
        }
        Meaning::NoMembership => Error::Forbidden {
            message: format!(
                "the credential has no role in or for {place} ({id}): {}, or set organizationId to the organization that \
                 it has one in",
                asked.remedy()
            ),
        },
        Meaning::NoPermission { by_server: true } => Error::Forbidden {
            message: format!("the credential's permissions are insufficient for {place} ({id}): {}", asked.remedy()),
        },
        Meaning::NoPermission { by_server: false } => Error::Forbidden {
            message: format!(
                "{place} was refused by something that isn't ZITADEL itself ({id}): check the proxy or firewall in front of it"
            ),
        },
        Meaning::BadToken => Error::Unauthorized {
            message: format!(
                "ZITADEL at {endpoint} refuses the access token ({id}): it is wrong, has expired or was removed, or its \
                 user is deactivated; create a new one and put it into the Secret"
            ),
        },
        Meaning::TooMany => Error::RateLimited {
            message: format!(
                "ZITADEL at {endpoint} accepts no more requests at the moment ({id}): lower the provider's limits, or raise the \
                 instance's quota"
            ),
            after: answer.retry_after,
        },
        Meaning::Collision => {
            answer.context.unreachable("gave up after collisions with other writers; nothing was written", Effect::None)
        }
        Meaning::Failed | Meaning::NoResponse => {
            let what = format!("failed with {} {}", answer.status, answer.error_text());
            answer.context.unreachable(what.trim_end(), answer.context.effect_unknown())
        }
        Meaning::NotHere => {
            let check = url_hint(endpoint).unwrap_or_else(|| {
                "check the URL (where its host is none of the instance's domains, name one of them in instanceHost) and \
                 any proxy in front of it"
                    .to_owned()
            });
            let what = format!("has no instance for this host, or no such API there: {check}");
            answer.context.unreachable(&what, Effect::None)
        }
        Meaning::Other => {
            // Without an id the response may be from another server.
            let hint = url_hint(endpoint).filter(|_| without_id);
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            Error::Rejected {
                message: format!(
                    "{place}: ZITADEL refused {} ({id}): {}{hint}",
                    answer.context.method,
                    answer.error_text()
                ),
            }
        }
    }
}
