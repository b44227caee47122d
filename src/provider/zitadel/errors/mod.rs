//! What a refusal means. It is told by its id, never by its text, which may be in any language
//! (docs/reference/zitadel.md, Management v1, "Grant members differ" and v2; recorded in project-members.json,
//! project-grant-members.json, internal-permissions-v2.json, organization-header.json, permissions.json, auth.json and
//! concurrency.json).

pub(crate) mod messages;

use super::wire;
use crate::provider::http::Response;

/// A refusal as the server worded it, without its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerRefusal {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The gRPC code; 0 where there is none, as in v2, whose codes are words.
    pub(crate) code: i64,
    /// The id of what went wrong; empty where there is none: validation, a missing header, an unknown instance, and
    /// whatever another server or a proxy says.
    pub(crate) id: String,
    /// It speaks of a collision between writers, by the name of the constraint, which no language changes.
    pub(crate) collision: bool,
    /// A member was to be added: the members of grants have one id for "there is one" and "there is none", and the
    /// members of projects say "there is none" with the id that here means that the grant is missing.
    pub(crate) adding: bool,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The user isn't a member. The only one that means "add it", and on a change only.
    NotAMember,
    /// The user is a member already.
    AMember,
    /// The list is the one that stands (v3 and before; later versions answer 200).
    Unchanged,
    /// No such user.
    NoUser,
    /// The user is another organization's.
    UserElsewhere,
    /// No project to add a member to: it is missing, or another organization's.
    NoProjectHere,
    /// No grant of the project to add a member to.
    NoGrantHere,
    /// No such project, whatever the organization.
    NoProject,
    /// The project is another organization's.
    ProjectElsewhere,
    /// No such grant, whatever the organization.
    NoGrant,
    /// The organization neither made the grant nor was given it.
    GrantElsewhere,
    /// No such organization.
    NoOrganization,
    /// A role that no member can have.
    NoRole,
    /// A list without roles.
    NoRoles,
    /// The caller has no role in the organization.
    NoMembership,
    /// The caller's roles don't allow it.
    NoPermission {
        /// The server says so itself; otherwise perhaps something before it.
        by_server: bool,
    },
    /// The credential is refused.
    BadToken,
    /// Too many requests.
    TooMany,
    /// The server gave up after collisions with other writers. Nothing was written.
    Collision,
    /// The server failed, or a gateway before it gave up.
    Failed,
    /// Nothing answers at this host and path: no instance, no such API, or no ZITADEL.
    NotHere,
    /// Anything else.
    Other,
}

impl ServerRefusal {
    /// Reads an answer that isn't 2xx.
    pub(crate) fn read(answer: &Response) -> Self {
        let said: wire::ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self {
            status: answer.status,
            code: said.code,
            collision: said.speaks_of("events2_pkey"),
            id: said.id().unwrap_or_default().to_owned(),
            adding: false,
        }
    }

    /// Reads an answer to the attempt to add a member that isn't 2xx.
    pub(crate) fn of_adding(answer: &Response) -> Self {
        Self { adding: true, ..Self::read(answer) }
    }

    /// What it means.
    pub(crate) fn meaning(&self) -> Meaning {
        match (self.status, self.id.as_str()) {
            (401, _) => Meaning::BadToken,
            (429, _) => Meaning::TooMany,
            (500.., _) if self.collision => Meaning::Collision,
            // Unimplemented: the service isn't served any more.
            (501, _) => Meaning::NotHere,
            (500.. | 408, _) => Meaning::Failed,
            (404, "PROJECT-D8JxR") if self.adding => Meaning::NoGrantHere,
            (404, "PROJECT-37fug") if self.adding => Meaning::AMember,
            (404, "PROJECT-D8JxR" | "PROJECT-37fug") => Meaning::NotAMember,
            (409, "PROJECT-PtXi1" | "V3-DKcYh") => Meaning::AMember,
            // The first is the id of "empty" as well: the code tells them apart. The second is said of members of grants
            // (ZITADEL's source before v4, internal/command/project_grant_member.go).
            (400, "PROJECT-LiaZi" | "PROJECT-2n8vx") if self.code == 9 => Meaning::Unchanged,
            (400, "PROJECT-LiaZi" | "PROJECT-W8m4l" | "PROJECT-8fi7G" | "PROJECT-109fs") => Meaning::NoRoles,
            (400, "PROJECT-3m9d" | "PROJECT-3m9ds" | "PROJECT-m9gKK" | "PROJECT-m0sDf") => Meaning::NoRole,
            (400, "COMMAND-uXHNj") | (404, "QUERY-Dfbg2") => Meaning::NoUser,
            (404, "MANAG-fpo4B") => Meaning::UserElsewhere,
            (400, "COMMAND-EbFMN" | "COMMA-VCnwD") => Meaning::NoProjectHere,
            (404, "QUERY-fk2fs") => Meaning::NoProject,
            (404, "MANAG-SFf2a") => Meaning::ProjectElsewhere,
            // ZITADEL's source, internal/query/project_grant.go: of a grant that no organization has.
            (404, "QUERY-n98GGs") => Meaning::NoGrant,
            (404, "MANAG-d3g31" | "MANAG-drt2a") => Meaning::GrantElsewhere,
            (403, "AUTH-Bs7Ds") => Meaning::NoOrganization,
            (404, "AUTHZ-cdgFk") => Meaning::NoMembership,
            (403, id) => Meaning::NoPermission { by_server: !id.is_empty() },
            (404, "") => Meaning::NotHere,
            _ => Meaning::Other,
        }
    }
}

impl Meaning {
    /// Whether the server answers so to a caller with too few rights, and also to one whose rights went with a project, a
    /// grant or an organization that was deleted (permissions.json; organization-header.json, "deleted organization").
    pub(crate) fn is_for_lack_of_rights(self) -> bool {
        matches!(self, Self::NoMembership | Self::NoOrganization | Self::NoPermission { by_server: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Meaning = Meaning::NoPermission { by_server: true };

    /// Written by hand from docs/reference/zitadel.md, "Answers" and the sections below it.
    #[test]
    fn every_id_of_the_reference_has_its_meaning() {
        for (status, code, id, meaning) in [
            (404, 5, "PROJECT-D8JxR", Meaning::NotAMember),
            (404, 5, "PROJECT-37fug", Meaning::NotAMember),
            (400, 9, "COMMAND-uXHNj", Meaning::NoUser),
            (400, 9, "COMMAND-EbFMN", Meaning::NoProjectHere),
            (400, 9, "COMMA-VCnwD", Meaning::NoProjectHere),
            (409, 6, "PROJECT-PtXi1", Meaning::AMember),
            (409, 6, "V3-DKcYh", Meaning::AMember),
            (400, 3, "PROJECT-LiaZi", Meaning::NoRoles),
            (400, 3, "PROJECT-W8m4l", Meaning::NoRoles),
            (400, 3, "PROJECT-3m9d", Meaning::NoRole),
            (400, 3, "PROJECT-3m9ds", Meaning::NoRole),
            (400, 9, "PROJECT-LiaZi", Meaning::Unchanged),
            (400, 3, "PROJECT-8fi7G", Meaning::NoRoles),
            (400, 3, "PROJECT-109fs", Meaning::NoRoles),
            (400, 3, "PROJECT-m9gKK", Meaning::NoRole),
            (400, 3, "PROJECT-m0sDf", Meaning::NoRole),
            (400, 9, "PROJECT-2n8vx", Meaning::Unchanged),
            (403, 7, "AUTH-Bs7Ds", Meaning::NoOrganization),
            (404, 5, "AUTHZ-cdgFk", Meaning::NoMembership),
            (403, 7, "AUTH-5mWD2", SERVER),
            (403, 7, "AUTH-3jknH", SERVER),
            (403, 7, "AUTH-AWfge", SERVER),
            (403, 7, "AUTH-Swrgg2", SERVER),
            (401, 16, "AUTH-7fs1e", Meaning::BadToken),
            (401, 16, "AUTH-toLo1", Meaning::BadToken),
            (401, 16, "", Meaning::BadToken),
            (404, 5, "", Meaning::NotHere),
            (404, 5, "MANAG-SFf2a", Meaning::ProjectElsewhere),
            (404, 5, "QUERY-fk2fs", Meaning::NoProject),
            (404, 5, "MANAG-d3g31", Meaning::GrantElsewhere),
            (404, 5, "MANAG-drt2a", Meaning::GrantElsewhere),
            (404, 5, "QUERY-n98GGs", Meaning::NoGrant),
            (404, 5, "QUERY-Dfbg2", Meaning::NoUser),
            (404, 5, "MANAG-fpo4B", Meaning::UserElsewhere),
            (429, 8, "QUOTA-vjAy8", Meaning::TooMany),
            (429, 8, "LIMITS-molsj", Meaning::TooMany),
            // Not ZITADEL's own: a proxy, a gateway, a version to come.
            (403, 0, "", Meaning::NoPermission { by_server: false }),
            (429, 0, "", Meaning::TooMany),
            (502, 0, "", Meaning::Failed),
            (503, 14, "", Meaning::Failed),
            (501, 12, "", Meaning::NotHere),
            (408, 0, "", Meaning::Failed),
            (404, 5, "QUERY-new00", Meaning::Other),
            (400, 3, "", Meaning::Other),
            (405, 12, "", Meaning::Other),
            (409, 6, "PROJECT-new00", Meaning::Other),
            // An id under another status isn't what it was.
            (400, 5, "PROJECT-D8JxR", Meaning::Other),
            (500, 13, "PROJECT-D8JxR", Meaning::Failed),
        ] {
            let refusal = ServerRefusal { status, code, id: id.to_owned(), collision: false, adding: false };
            assert_eq!(refusal.meaning(), meaning, "{status}/{code} {id}");
        }
        let collision = ServerRefusal { status: 500, code: 2, id: String::new(), collision: true, adding: false };
        assert_eq!(collision.meaning(), Meaning::Collision);
    }

    /// Grant members: 404 PROJECT-37fug is "NotFound" to a PUT and "AlreadyExists" to a POST.
    #[test]
    fn already_exists_as_404_is_identified_by_the_request() {
        let refusal =
            |id: &str, adding| ServerRefusal { status: 404, code: 5, id: id.to_owned(), collision: false, adding };
        assert_eq!(refusal("PROJECT-37fug", true).meaning(), Meaning::AMember);
        assert_eq!(refusal("PROJECT-37fug", false).meaning(), Meaning::NotAMember);
        assert_eq!(refusal("PROJECT-D8JxR", true).meaning(), Meaning::NoGrantHere);
        assert_eq!(refusal("PROJECT-D8JxR", false).meaning(), Meaning::NotAMember);
    }
}
