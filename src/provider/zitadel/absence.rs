//! Why a member that the server accepted isn't listed.

use super::api::Api;
use super::client::Calls;
use super::errors::messages::RequestContext;
use super::errors::{Meaning, Refusal};
use super::wire;
use crate::core::member::Target;
use crate::provider::Error;
use crate::provider::http::Request;

const USER: &str = "/management/v1/users/{user}";

/// It returns users of any organization, without the header (name-resolution.json, "user, v2: get").
const USER_V2: &str = "/v2/users/{user}";

/// Reads the user: it may no longer exist (trap 1) or have no login name (trap 5). If the credential may not read
/// users, there is no reason. A project or a grant that no longer exists is detected by its list, which is empty then.
pub(crate) async fn explain(calls: &Calls<'_>, target: &Target) -> Result<(), Error> {
    let asked = RequestContext { user: &target.subject_id, ..calls.about(&target.project) };
    let with_v2 = || calls.send_about_none(&asked, Request::get(USER_V2).id(&target.subject_id));
    let read = match calls.api().await? {
        Api::InternalPermissionV2 => with_v2().await,
        Api::ManagementV1 => match calls.send(&asked, Request::get(USER).id(&target.subject_id)).await {
            Err(Refusal { meaning: Meaning::UserElsewhere, .. }) => match with_v2().await {
                // It exists: v2 shows it to callers who may read users of its organization, and proves nothing to
                // others.
                Err(Refusal { meaning, .. }) if meaning != Meaning::NoResponse => return Ok(()),
                read => read,
            },
            read => read,
        },
    };
    let answer = match read {
        Ok(answer) => answer,
        Err(refused) => match refused.meaning {
            Meaning::NoMembership | Meaning::NoPermission { .. } | Meaning::NotHere | Meaning::Other => return Ok(()),
            _ => return Err(refused.into()),
        },
    };
    let user = answer.json::<wire::UserById>()?.user;
    if user.id != target.subject_id {
        return Err(answer.nonsense("another user than was asked for"));
    }
    if !user.login_names.is_empty() {
        return Ok(());
    }
    Err(Error::MemberNotListed {
        message: format!(
            "user {} has no login name at ZITADEL at {}, and member search never shows such a user (known of users that were \
             created concurrently): give it another user name, or create it again, and check whether the console then shows \
             a login name",
            target.subject_id, answer.context.endpoint
        ),
    })
}
