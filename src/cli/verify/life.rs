//! The life cycle of one membership, step by step.

use jiff::Timestamp;

use super::ServerCheck;
use super::driver::Converged;
use super::membership::{InMemoryMembership, expect, held, permanent, temporary, wanted};
use super::report::{MeasuredRequest, StopReason, UnexpectedResult};
use super::subjects::OriginalMembership;
use crate::api::RoleManagement;
use crate::api::membership::{DriftKind, RoleGrant};
use crate::core::member::Member;

/// The membership of one subject.
pub struct MembershipLife<'a> {
    pub check: &'a mut ServerCheck,
    /// What the subject held before.
    pub before: &'a OriginalMembership,
    pub membership: InMemoryMembership,
    /// The subject stays a member throughout, because adding it again would send an e-mail.
    pub stays: bool,
}

impl MembershipLife<'_> {
    /// The life cycle without its end. The former state is not restored here, whether or not a failure ends it early.
    pub async fn live(&mut self, clocks_agree: bool) -> Result<(), StopReason> {
        let (role, other) = (self.check.config.role.clone(), self.check.config.other_role.clone());
        let length = self.check.config.temporary.clone();
        if self.stays {
            let writes = !self.before.roles().iter().eq([&role]);
            self.declare("a first role replaces what the subject holds", vec![permanent(&role)], writes).await?;
        } else {
            if self.before.member.is_some() {
                self.delete("what the subject holds is revoked", self.before.roles()).await?;
            }
            self.declare("a first role is granted", vec![permanent(&role)], true).await?;
        }
        self.converge("the same declaration again", "no write", false).await?;
        self.declare("a second role is added", vec![permanent(&role), permanent(&other)], true).await?;
        if !clocks_agree {
            self.check.report.skipped("a temporary role", "the clocks differ, so that the operator starts none");
            self.declare("one role is removed", vec![permanent(&other)], true).await?;
        } else if self.stays {
            let roles = vec![temporary(&role, &length), permanent(&other)];
            self.declare("one of the roles becomes temporary", roles, true).await?;
            self.end().await?;
        } else {
            self.declare("a temporary role replaces both", vec![temporary(&role, &length)], true).await?;
            self.end().await?;
            self.declare("a role is granted again", vec![permanent(&other)], true).await?;
        }
        self.drift(&role, &other).await
    }

    /// The end of the life cycle.
    pub async fn die(&mut self) -> Result<(), StopReason> {
        self.delete("revoked", []).await?;
        let absent = self.check.driver.expect(&self.membership.target, "no membership").await;
        self.check.report.step("absent in a new list", "no membership", absent)?;
        self.delete("revoked again", [self.check.config.role.clone()]).await
    }

    async fn declare(&mut self, what: &str, roles: Vec<RoleGrant>, writes: bool) -> Result<(), StopReason> {
        let expected = wanted(&roles);
        self.membership.declare(roles);
        self.converge(what, &expected, writes).await
    }

    async fn delete(&mut self, what: &str, holds: impl IntoIterator<Item = String>) -> Result<(), StopReason> {
        self.membership.delete(holds);
        self.converge(what, "no membership", true).await
    }

    async fn converge(&mut self, what: &str, expected: &str, writes: bool) -> Result<(), StopReason> {
        let converged = self.check.driver.converge(&mut self.membership, false).await;
        self.judge(what, expected, converged, writes)
    }

    /// Reports whether the subject holds what is declared now, and whether there were writes.
    fn judge(
        &mut self,
        what: &str,
        expected: &str,
        converged: Result<Converged, UnexpectedResult>,
        writes: bool,
    ) -> Result<(), StopReason> {
        let result = converged.and_then(|Converged { shown, writes: made, .. }| {
            let made_text = match made {
                0 => "no write".to_owned(),
                1 => "1 write".to_owned(),
                more => format!("{more} writes"),
            };
            let text = format!("{} ({made_text})", held(shown.as_ref()));
            UnexpectedResult::unless(text, self.is_what_is_declared(shown.as_ref()) && writes == (made > 0))
        });
        self.check.report.step(what, expected, result).map(drop)
    }

    /// Whether a row has exactly the roles that are declared and in effect. The base that a provider requires beside
    /// temporary roles is ignored, because it gives no access.
    fn is_what_is_declared(&self, shown: Option<&Member>) -> bool {
        let ended = self.membership.ends().is_none_or(|end| end <= self.check.driver.now());
        let declared = self.membership.declared().iter().filter(|role| role.temporary.is_none() || !ended);
        let mut declared: Vec<&str> = declared.map(|role| role.role.as_str()).collect();
        let Some(member) = shown else { return declared.is_empty() };
        let base = self.check.driver.provider.capabilities(self.membership.target.subject_kind).permanent_base;
        let base = base.filter(|base| !declared.is_empty() && !declared.contains(base));
        let roles = member.entries.iter().map(|entry| entry.role.as_str());
        let mut roles: Vec<&str> = roles.filter(|role| Some(*role) != base).collect();
        roles.sort_unstable();
        declared.sort_unstable();
        roles == declared && member.memberships == 1
    }

    /// Waits for the end of the temporary role.
    async fn end(&mut self) -> Result<(), StopReason> {
        let Some(end) = self.membership.ends() else { return Ok(()) };
        // A timer may fire a moment early by the wall clock.
        while let Ok(left) = std::time::Duration::try_from(end.duration_since(self.check.driver.now()))
            && !left.is_zero()
        {
            self.check.report.sleep(left).await?;
        }
        let roles = self.membership.declared().iter().filter(|role| role.temporary.is_none()).cloned();
        let enforced = self.check.driver.provider.capabilities(self.membership.target.subject_kind).enforces_expiry;
        let by_whom = if enforced { ", which the server enforces" } else { "" };
        let expected = format!("{} soon after {end}{by_whom}", wanted(&roles.collect::<Vec<_>>()));
        let converged = self.check.driver.converge(&mut self.membership, false).await;
        let confirmed: Option<Timestamp> = converged.as_ref().ok().and_then(|converged| converged.confirmed);
        if let Some(late) = confirmed.and_then(|confirmed| confirmed.duration_since(end).try_into().ok()) {
            self.check.driver.note(MeasuredRequest::End, late);
        }
        self.judge("the temporary role is gone at its end", &expected, converged, true)
    }

    /// Another writer adds a role.
    async fn drift(&mut self, role: &str, other: &str) -> Result<(), StopReason> {
        let mut template = self.check.config.template.clone();
        template.role_management = RoleManagement::Additive;
        let mut writer = InMemoryMembership::new(&template, &self.membership.target);
        writer.declare(vec![permanent(role)]);
        let added = self.check.driver.converge(&mut writer, false).await;
        let expected = wanted(&[permanent(role), permanent(other)]);
        let added = added.and_then(|converged| expect(converged.shown.as_ref(), &expected));
        if !self.check.report.step("another writer adds a role", &expected, added)? {
            return Ok(());
        }
        let converged = self.check.driver.converge(&mut self.membership, false).await;
        let drift = converged.as_ref().map(|converged| converged.drift.as_slice()).unwrap_or_default();
        let is_detected = drift.iter().any(|drift| drift.role == role && drift.kind == DriftKind::Unexpected);
        let drift: Vec<String> = drift.iter().map(|drift| format!("{:?} {}", drift.kind, drift.role)).collect();
        let drift = if drift.is_empty() { "no drift".to_owned() } else { drift.join(" and ") };
        let detected = UnexpectedResult::unless(drift, is_detected);
        self.check.report.step("it is detected as drift", &format!("Unexpected {role}"), detected)?;
        self.judge("the drift is repaired", other, converged, true)
    }
}
