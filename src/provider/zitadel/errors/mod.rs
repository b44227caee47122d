//! What a refusal means. It is determined by its id, never by its text, which may be in any language
//! (docs/reference/zitadel.md, Management v1, "Grant members differ" and v2; recorded in project-members.json,
//! project-grant-members.json, internal-permissions-v2.json, organization-header.json, permissions.json, auth.json and
//! concurrency.json).

pub(crate) mod messages;

use super::wire;
use crate::provider::Error;
use crate::provider::http::Response;
use messages::RequestContext;

/// Why a request has no result: a refusal of the server, or no response at all.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) meaning: Meaning,
    /// The id of the server's error, filtered; empty if there is none.
    pub(crate) id: String,
    /// The error of a caller that has no use for the refusal.
    pub(crate) error: Error,
}

impl Refusal {
    /// Interprets a response that isn't 2xx.
    pub(crate) fn read(answer: &Response, asked: &RequestContext<'_>) -> Self {
        let refusal = ServerRefusal::read(answer, asked.is_adding());
        let (meaning, id) = (refusal.meaning(), answer.filtered(&refusal.id));
        let error = messages::error(asked, answer, meaning, &id);
        Self { meaning, id, error }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { meaning: Meaning::NoResponse, id: String::new(), error }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        refusal.error
    }
}

/// A refusal of the server, without its text.
struct ServerRefusal {
    /// The HTTP status.
    status: u16,
    /// The gRPC code; 0 if there is none, as in v2, whose codes are strings.
    code: i64,
    /// The id of the error; empty if there is none: validation, a missing header, an unknown instance, and every
    /// response of another server or a proxy.
    id: String,
    /// It reports a collision between writers, by the name of the constraint, which is the same in all languages.
    collision: bool,
    /// A member was to be added: the members of grants have one id for "there is one" and "there is none", and the id
    /// for "there is none" of the members of projects means here that the grant is missing.
    adding: bool,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The user isn't a member. The only meaning for which the user is added, and on a change only.
    NotAMember,
    /// The user is a member already.
    AMember,
    /// The list equals the current one (v3 and before; later versions respond with 200).
    Unchanged,
    /// No such user.
    NoUser,
    /// The user belongs to another organization.
    UserElsewhere,
    /// No project to add a member to: it is missing, or belongs to another organization.
    NoProjectHere,
    /// No grant of the project to add a member to.
    NoGrantHere,
    /// No such project in any organization.
    NoProject,
    /// The project belongs to another organization.
    ProjectElsewhere,
    /// No such grant in any organization.
    NoGrant,
    /// The organization neither created nor received the grant.
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
        /// The server itself reports it; otherwise perhaps a proxy in front of it.
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
    /// No response, or one that can't be understood.
    NoResponse,
    /// Nothing is served at this host and path: no instance, no such API, or no ZITADEL.
    NotHere,
    /// Anything else.
    Other,
}

impl ServerRefusal {
    fn read(answer: &Response, adding: bool) -> Self {
        let body: wire::ErrorBody = serde_json::from_slice(&answer.body).unwrap_or_default();
        Self {
            status: answer.status,
            code: body.code,
            collision: body.mentions("events2_pkey"),
            id: body.id().unwrap_or_default().to_owned(),
            adding,
        }
    }

    fn meaning(&self) -> Meaning {
        match (self.status, self.id.as_str()) {
            (401, _) => Meaning::BadToken,
            (429, _) => Meaning::TooMany,
            (500.., _) if self.collision => Meaning::Collision,
            // Unimplemented: the service is no longer served.
            (501, _) => Meaning::NotHere,
            (500.. | 408, _) => Meaning::Failed,
            (404, "PROJECT-D8JxR") if self.adding => Meaning::NoGrantHere,
            (404, "PROJECT-37fug") if self.adding => Meaning::AMember,
            (404, "PROJECT-D8JxR" | "PROJECT-37fug") => Meaning::NotAMember,
            (409, "PROJECT-PtXi1" | "V3-DKcYh") => Meaning::AMember,
            // The first is the id of "empty" as well: the code distinguishes them. The second is used for members of
            // grants (ZITADEL's source before v4, internal/command/project_grant_member.go).
            (400, "PROJECT-LiaZi" | "PROJECT-2n8vx") if self.code == 9 => Meaning::Unchanged,
            (400, "PROJECT-LiaZi" | "PROJECT-W8m4l" | "PROJECT-8fi7G" | "PROJECT-109fs") => Meaning::NoRoles,
            (400, "PROJECT-3m9d" | "PROJECT-3m9ds" | "PROJECT-m9gKK" | "PROJECT-m0sDf") => Meaning::NoRole,
            (400, "COMMAND-uXHNj") | (404, "QUERY-Dfbg2") => Meaning::NoUser,
            (404, "MANAG-fpo4B") => Meaning::UserElsewhere,
            (400, "COMMAND-EbFMN" | "COMMA-VCnwD") => Meaning::NoProjectHere,
            (404, "QUERY-fk2fs") => Meaning::NoProject,
            (404, "MANAG-SFf2a") => Meaning::ProjectElsewhere,
            // ZITADEL's source, internal/query/project_grant.go: for a grant that no organization has.
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
    /// Whether the server responds with it to a caller with too few permissions, and also to one whose permissions were
    /// removed together with a project, a grant or an organization (permissions.json; organization-header.json,
    /// "deleted organization").
    pub(crate) fn is_for_lack_of_rights(self) -> bool {
        matches!(self, Self::NoMembership | Self::NoOrganization | Self::NoPermission { by_server: true })
    }

    /// Whether the caller may not know: neither that something exists nor that it doesn't.
    pub(crate) fn is_no_answer(self) -> bool {
        matches!(self, Self::NoMembership | Self::NoPermission { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Meaning = Meaning::NoPermission { by_server: true };

    /// Written manually from docs/reference/zitadel.md, "Answers" and the sections below it.
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
            // Not ZITADEL's own: a proxy, a gateway, a future version.
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
            // An id with another status doesn't have the same meaning.
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
