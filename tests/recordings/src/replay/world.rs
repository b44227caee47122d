//! The form of a world file: what a recording presupposes, beside it in `worlds/`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use simulator::worlds::infisical::{ClusterWorld, IdentityWorld, MembershipWorld};
use simulator::worlds::zitadel::MemberWorld;
use simulator::{KubernetesLogin, Limits, OidcLogin, Order, OrgRole};

use super::zitadel::{ByHand, SignIn};
use crate::recording::{Recording, Sent};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorldFile {
    /// What the server's clock says when the recording begins.
    pub clock: Timestamp,
    /// Whose token an `authorization` of the recording means; null is no token.
    pub callers: BTreeMap<String, Option<Caller>>,
    /// The `Host` of the requests that name none.
    pub host: Option<String>,
    /// What the server holds before the first exchange.
    pub world: Value,
    /// Runs of exchanges that are not replayed: other areas of the API.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// Endpoints that are not replayed.
    #[serde(default)]
    pub other_endpoints: Vec<OtherEndpoint>,
    /// What is special about single exchanges.
    pub exchanges: Vec<Special>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherEndpoint {
    pub method: String,
    /// Without the query; `*` for one segment.
    pub path: String,
    pub reason: String,
}

impl OtherEndpoint {
    /// Whether this exchange is of it.
    pub fn is_of(&self, sent: &Sent) -> bool {
        let path = sent.path.split('?').next().unwrap_or_default();
        let (own, other): (Vec<&str>, Vec<&str>) = (self.path.split('/').collect(), path.split('/').collect());
        let same = |(own, other): (&&str, &&str)| *own == "*" || own == other;
        sent.method == self.method && own.len() == other.len() && own.iter().zip(&other).all(same)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub from: usize,
    /// The last one of them.
    pub to: usize,
    pub reason: String,
}

#[derive(Deserialize, Clone)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Caller {
    Token(String),
    /// The token of the last login of this client.
    Login {
        login_of: String,
    },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Special {
    pub exchange: usize,
    /// As in the recording, so that a recording which changes is noticed.
    pub name: String,
    /// Not replayed, for this reason.
    pub skip: Option<String>,
    /// Of an endpoint that the operator never calls: the changes are made by hand instead.
    pub step: Option<String>,
    /// What happened at the server before.
    #[serde(default)]
    pub before: Vec<Change>,
    /// How a sign-in at ZITADEL is made, since assertions and secrets are redacted.
    #[serde(default)]
    pub sign_in: SignIn,
    /// The recording has only some of the fields of the answer.
    #[serde(default)]
    pub shortened: bool,
    /// Another token than the authorization says; also one that was kept from a sign-in.
    pub caller: Option<String>,
    /// What stands in place of a redacted client secret.
    pub client_secret: Option<String>,
    /// The recording is cut: so many rows came.
    pub cut: Option<usize>,
    /// The token that stands in place of a redacted one.
    pub jwt: Option<SentJwt>,
    /// The text of the error is not compared: it tells of the recorder's cluster.
    #[serde(default)]
    pub any_text: bool,
}

/// A token of a service account, good for an hour unless it says otherwise.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SentJwt {
    /// `namespace/name`.
    pub account: String,
    pub audiences: Vec<String>,
    /// Claims that differ, null being none; `exp` and `nbf` in seconds from now.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
    /// Whether it names another key than the cluster's, or none.
    #[serde(default)]
    pub key: Key,
    /// A signature that isn't the cluster's; empty for `alg: none`.
    pub signature: Option<String>,
}

#[derive(Deserialize, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub enum Key {
    #[default]
    Own,
    Unknown,
    Unnamed,
}

/// Something that happened at the server and is no exchange of the replay.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[serde(rename_all_fields = "camelCase")]
pub enum Change {
    /// So many seconds pass.
    Advance(i64),
    AddIdentity(IdentityWorld),
    DeleteIdentity(String),
    AddSecret {
        client: String,
        secret: String,
        identity: String,
        uses: Option<u32>,
        seconds: Option<i64>,
    },
    RevokeSecret {
        client: String,
        secret: String,
    },
    /// The roles of a subject, whose membership is made if it has none.
    SetSubjectRoles(MembershipWorld),
    RemoveSubject {
        project: String,
        subject: String,
    },
    /// The recorded id of a subject's membership that was made by hand: paths have it in them.
    MembershipId {
        project: String,
        subject: String,
        id: String,
    },
    DeleteGroup(String),
    SetOrgRole {
        subject: String,
        role: OrgRole,
    },
    SetKubernetesLogin(KubernetesLogin),
    SetOidcLogin(OidcLogin),
    SetCluster(ClusterWorld),
    RemoveClusterLogin(String),
    /// The access token that came last.
    RevokeLastToken,
    /// So many identities, named by a prefix and a number (none if it has no digits), each with this role.
    AddIdentityMembers {
        project: String,
        prefix: String,
        count: usize,
        digits: usize,
        role: String,
    },
    /// So many machine users with this role, named by a prefix, a number and a suffix; some without a login name.
    AddMembers {
        project: String,
        org: String,
        prefix: String,
        suffix: String,
        count: usize,
        digits: usize,
        role: String,
        without_login_name: Vec<usize>,
    },
    SetLimits(Limits),
    Order(Order),
    /// Requests that were not recorded, by the first caller of the world file; their answers are not looked at.
    Call {
        times: usize,
        method: String,
        path: String,
        body: Option<Value>,
    },
    Zitadel(ByHand),
    SetRoles(MemberWorld),
    DeactivateUser(String),
    DeactivateProject(String),
    DeleteUser(String),
    DeleteProject(String),
    DeleteOrg(String),
}

impl WorldFile {
    /// The world file of a recording, if it has one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(recording: &Recording) -> Result<Option<Self>, String> {
        let path = recording.folder.join("worlds").join(&recording.file);
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| format!("{}: {error}", path.display()))
    }
}
