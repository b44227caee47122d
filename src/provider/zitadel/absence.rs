//! Why a member that the server took isn't listed.

use super::api::Api;
use super::client::Calls;
use super::errors::messages::{self, RequestContext};
use super::errors::{Meaning, ServerRefusal};
use super::wire;
use crate::core::member::Target;
use crate::provider::Error;
use crate::provider::http::{Request, Response};

const USER: &str = "/management/v1/users/{user}";

/// Answers for users of any organization, without the header (name-resolution.json, "user, v2: get").
const USER_V2: &str = "/v2/users/{user}";

/// Looks at the user: it may be gone (trap 1) or have no login name (trap 5). Where the credential may not read users,
/// nothing speaks against it. A project or a grant that is gone is told by its list, which is empty then.
pub(crate) async fn explain(calls: &Calls<'_>, api: Api, target: &Target) -> Result<(), Error> {
    let asked = RequestContext::of_project(calls.endpoint(), &target.project).user(&target.subject_id);
    if api == Api::ManagementV1 {
        let answer = calls.send(Request::get(USER).id(&target.subject_id)).await?;
        if ServerRefusal::read(&answer).meaning() != Meaning::UserElsewhere {
            return judge(&answer, target, &asked);
        }
        // It is there: v2 shows it to those who may read users of its organization, and proves nothing to others.
        let answer = calls.send_about_none(Request::get(USER_V2).id(&target.subject_id)).await?;
        return if answer.is_success() { judge(&answer, target, &asked) } else { Ok(()) };
    }
    let answer = calls.send_about_none(Request::get(USER_V2).id(&target.subject_id)).await?;
    judge(&answer, target, &asked)
}

fn judge(answer: &Response, target: &Target, asked: &RequestContext<'_>) -> Result<(), Error> {
    if !answer.is_success() {
        let refusal = ServerRefusal::read(answer);
        return match refusal.meaning() {
            Meaning::NoUser => Err(asked.no_user()),
            Meaning::NoMembership | Meaning::NoPermission { .. } | Meaning::NotHere | Meaning::Other => Ok(()),
            _ => Err(messages::error(asked, answer, &refusal)),
        };
    }
    let user = answer.json::<wire::UserById>()?.user;
    if user.id != target.subject_id {
        return Err(answer.nonsense("another user than was asked for"));
    }
    if !user.login_names.is_empty() {
        return Ok(());
    }
    Err(Error::MemberNotListed {
        message: format!(
            "user {} has no login name at ZITADEL at {}, and member search leaves such a user out for ever (known of users \
             created several at a time): give it another user name, or create it anew, and look whether the console then \
             shows a login name",
            target.subject_id, answer.context.endpoint
        ),
    })
}
