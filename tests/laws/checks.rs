//! What must hold for every step, for every report, and for the state in which nothing is left to do.

use jiff::{SignedDuration, Timestamp};
use membership_operator::api::membership::{RoleGrant, RoleState};
use membership_operator::api::{AdoptionPolicy, DeletionPolicy, ManagementPolicy, Reason, RoleManagement};
use membership_operator::core::clocks::Agreement;
use membership_operator::core::member::{Change, Entry, Term};
use membership_operator::core::record::Record;
use membership_operator::core::report::Report;
use membership_operator::core::snapshot::Snapshot;
use membership_operator::core::step::{PassEnd, PassOutcome};
use membership_operator::core::write::{PlannedWrite, WritePurpose};

use crate::model::{access, no_longer};
use crate::objects::{Object, allowed, is_startless};
use crate::world::World;

/// Roles that no object ever declares.
pub const UNMANAGED: [&str; 2] = ["auditor", "unmanaged"];

/// When access ends; `None`: never.
type End = Option<Timestamp>;

fn latest(a: Option<End>, b: End) -> Option<End> {
    Some(match a {
        Some(a) if no_longer(b, a) => a,
        _ => b,
    })
}

fn rounded(end: End) -> End {
    end.map(|end| Timestamp::from_millisecond(end.as_millisecond()).unwrap())
}

impl World {
    /// Whether an object may grant, by its spec and its provider object.
    fn counts(&self, object: &Object) -> bool {
        let spec = &object.seen.spec;
        let is_allowed = || spec.roles.iter().all(|grant| allowed(object.namespace()).contains(&grant.role.as_str()));
        !object.is_leaving()
            && !spec.suspend
            && spec.management_policy == ManagementPolicy::Enforce
            && self.view.unready.is_none()
            && !self.shadowed
            && (self.view.cluster.is_none() || is_allowed())
    }

    fn is_exclusive(&self) -> bool {
        let exclusive = |object: &&Object| object.seen.spec.role_management == RoleManagement::Exclusive;
        self.objects.iter().filter(exclusive).any(|object| self.counts(object))
    }

    /// The end of the grant of a declared role that is in effect.
    fn declared_until(&self, object: &Object, grant: &RoleGrant, now: Timestamp) -> Option<End> {
        let Some(temporary) = &grant.temporary else {
            return Some(None);
        };
        let read = |time: &Option<membership_operator::api::Time>| time.as_ref().map(|time| time.timestamp().unwrap());
        let known = object.starts.get(&grant.role).copied();
        let start = read(&temporary.start_time).or(known).unwrap_or(now);
        let seconds = temporary.duration.as_ref().map(|duration| duration.seconds().unwrap());
        let by_length = seconds.map(|seconds| start + SignedDuration::from_secs(i64::try_from(seconds).unwrap()));
        let end = by_length.into_iter().chain(read(&temporary.expiration_time)).min()?;
        (start <= now && now < end).then_some(Some(end))
    }

    /// Until when a role may be held on behalf of the objects; `None`: it may not be.
    fn allowed_until(&self, role: &str, now: Timestamp) -> Option<End> {
        let mut until = None;
        for object in self.objects.iter().filter(|object| !object.is_leaving()) {
            let spec = &object.seen.spec;
            if self.counts(object) {
                for grant in spec.roles.iter().filter(|grant| grant.role == role) {
                    if let Some(end) = self.declared_until(object, grant, now) {
                        until = latest(until, end);
                    }
                }
            }
            // It may be refused because of what the provider shows. Then it holds what it has recorded.
            let exclusive = spec.role_management == RoleManagement::Exclusive;
            let may_be_refused =
                spec.adoption_policy == AdoptionPolicy::Refuse || (exclusive && self.view.cluster.is_some());
            let may_hold = !self.counts(object) || may_be_refused;
            for recorded in object.record().iter().filter(|recorded| may_hold && recorded.role == role) {
                if recorded.expiration_time.is_none_or(|end| end > now) {
                    until = latest(until, recorded.expiration_time);
                }
            }
        }
        until
    }

    /// Whether an object declares a role that does not exist: it is requested again at each resync.
    pub fn declares_unknown(&self) -> bool {
        let mut roles = self.objects.iter().flat_map(|object| &object.seen.spec.roles);
        roles.any(|grant| self.provider.unknown.contains(grant.role.as_str()))
    }

    pub fn is_recorded(&self, role: &str) -> bool {
        self.objects.iter().any(|object| object.record().iter().any(|recorded| recorded.role == role))
    }

    fn is_base(&self, role: &str) -> bool {
        self.view.capabilities.empty_role == Some(role)
    }

    /// A write that is about to be sent.
    pub fn check_write(&mut self, snapshot: &Snapshot, apply: &PlannedWrite) -> Result<(), String> {
        let now = snapshot.now;
        let entries = apply.before.as_ref().map_or(&[][..], |member| &member.entries);
        let before = access(entries);
        for entry in apply.change.outcome() {
            let role = entry.role.as_str();
            let end = rounded(entry.term.end());
            if before.get(role).is_some_and(|known| no_longer(end, rounded(*known))) || self.is_base(role) {
                continue;
            }
            let carried = self.objects.iter().flat_map(|object| object.seen.status.iter());
            if carried.flat_map(|status| &status.carried_roles).any(|carried| carried.role == role) {
                continue;
            }
            if entry.term.ended(now) {
                return Err(format!("{entry:?} has ended, by {apply:?}"));
            }
            // A provider without ends is sent none.
            let shows_ends = self.view.capabilities.enforces_expiry;
            let shows = |until: &End| !shows_ends || no_longer(end, rounded(*until));
            if !self.allowed_until(role, now).is_some_and(|until| shows(&until)) {
                return Err(format!("no declaration may grant {entry:?} at {now}: {apply:?}"));
            }
            // What ends is removed although the API server refuses the finalizer of what was recorded by a status.
            let is_refused = self.memory.attempt.unrecorded;
            let recorded = |object: &Object| {
                let mut record = object.record().iter();
                (object.is_finalized() || is_refused)
                    && record.any(|known| known.role == role && shows(&known.expiration_time))
            };
            if !self.objects.iter().any(recorded) {
                return Err(format!("{entry:?} is not recorded before it is granted: {apply:?}"));
            }
        }
        if apply.purpose == WritePurpose::EndUnlisted && !apply.gained.is_empty() {
            return Err(format!("without a list it grants: {apply:?}"));
        }
        // An end does not wait for a list that fails.
        self.may_lose |= matches!(apply.purpose, WritePurpose::Fallback { .. } | WritePurpose::EndUnlisted);
        // Without a rule that allows to restore them, unmanaged roles are not recorded before memberships are merged.
        self.may_lose |= self.view.cluster.is_some() && matches!(apply.change, Change::Recreate(_));
        self.check_unmanaged(snapshot, apply, entries)
    }

    /// Unmanaged roles are removed only by an Exclusive object.
    fn check_unmanaged(&self, snapshot: &Snapshot, apply: &PlannedWrite, before: &[Entry]) -> Result<(), String> {
        let sacrifices = matches!(apply.purpose, WritePurpose::Fallback { .. });
        let may_go = |role: &str| {
            let forged = self.objects.iter().any(|object| object.forged.contains(role));
            forged || (self.view.cluster.is_none() && (self.is_exclusive() || sacrifices))
        };
        let is_unmanaged = |entry: &&Entry| UNMANAGED.contains(&entry.role.as_str()) && !entry.term.ended(snapshot.now);
        let sent = |entry: &Entry| {
            let mut outcome = apply.change.outcome().iter();
            outcome.any(|sent| sent.role == entry.role && rounded(sent.term.end()) == rounded(entry.term.end()))
        };
        let shown = access(before);
        let lasts = |entry: &Entry| shown.get(entry.role.as_str()) == Some(&entry.term.end());
        for entry in before.iter().filter(is_unmanaged).filter(|entry| lasts(entry)) {
            if !sent(entry) && !may_go(&entry.role) {
                return Err(format!("the unmanaged {entry:?} is removed by {apply:?}"));
            }
        }
        // Roles that are older than a list may be are carried over as well.
        let is_old = self.hand_at.max(self.late_at).is_none_or(|at| at + std::time::Duration::from_secs(6) < self.at);
        let is_planned = matches!(apply.purpose, WritePurpose::Plan { .. } | WritePurpose::Fallback { .. });
        let would_be_refused = matches!(apply.change, Change::Create(_));
        let there = self.provider.member.iter().flat_map(|member| &member.entries).filter(is_unmanaged);
        for entry in there.filter(|_| is_old && is_planned && !would_be_refused) {
            if !apply.change.outcome().iter().any(|sent| sent.role == entry.role) && !may_go(&entry.role) {
                return Err(format!("the unmanaged {entry:?}, which was there, is removed by {apply:?}"));
            }
        }
        Ok(())
    }

    /// A record that is about to be written.
    pub fn check_record(&mut self, snapshot: &Snapshot, record: &Record) -> Result<(), String> {
        let Some(object) = self.objects.iter().find(|object| object.uid() == record.uid) else {
            return Err(format!("no object for {record:?}"));
        };
        let new = |role: &str| object.record().iter().all(|known| known.role != role);
        for role in record.roles.iter().filter(|role| new(&role.role)) {
            if self.is_base(&role.role) {
                continue;
            }
            if !self.counts(object) && !object.is_leaving() {
                return Err(format!("an object that does not count records {role:?}"));
            }
            let entries = self.provider.member.iter().flat_map(|member| &member.entries);
            let there = entries.filter(|entry| entry.role == role.role && !entry.term.ended(snapshot.now)).count() > 0;
            let before = self.hands.get(role.role.as_str()).is_some_and(|at| *at < object.since);
            let refuses = object.seen.spec.adoption_policy == AdoptionPolicy::Refuse;
            if refuses && there && before && !self.is_recorded(&role.role) {
                return Err(format!("an object that refuses to adopt records {role:?}, which was there before it"));
            }
        }
        // A forged role is recorded again, and is still unmanaged.
        let ours = record.new.iter().filter(|new| !UNMANAGED.contains(&new.role.as_str()));
        self.ours.extend(ours.map(|new| new.role.clone()));
        Ok(())
    }

    /// A recorded start never moves later.
    pub fn check_starts(&mut self) -> Result<(), String> {
        let now = self.now();
        for object in &mut self.objects {
            let seen = object.seen.clone();
            let Some(status) = &seen.status else { continue };
            let startless = |role: &str| seen.spec.roles.iter().any(|grant| grant.role == role && is_startless(grant));
            let managed =
                status.managed_roles.iter().map(|known| (&known.role, known.start_time, known.expiration_time));
            // What is recorded replaces what was reported before.
            let is_managed = |role: &str| status.managed_roles.iter().any(|known| known.role == role);
            let roles = status.roles.iter().filter(|known| !is_managed(&known.role));
            let roles = roles.map(|known| (&known.role, known.start_time, known.expiration_time));
            for (role, start, end) in managed.chain(roles) {
                let Some(start) = start.filter(|_| startless(role)) else { continue };
                let known = object.starts.entry(role.clone()).or_insert(start);
                if !object.sent.contains(role) {
                    // The start of a grant that the provider has only ever refused does not count.
                    *known = start;
                }
                if start > *known && end.is_some_and(|end| end > now) {
                    return Err(format!(
                        "the start of {role} of {} moves from {known} to {start}",
                        seen.metadata.uid.as_deref().unwrap_or_default()
                    ));
                }
                *known = (*known).min(start);
            }
        }
        Ok(())
    }

    /// What is about to be reported.
    pub fn check_reports(&self, snapshot: &Snapshot, outcome: &PassOutcome, reports: &[Report]) -> Result<(), String> {
        let member = outcome.observation.as_ref().and_then(|observation| observation.member.as_ref());
        let entries = member.map_or(&[][..], |member| &member.entries);
        let shown = access(entries);
        // A role that is to be handed over to a grant that cannot begin without a clock stays.
        // So does one that a refusal without a name concerns.
        let is_unnamed = !outcome.refused.is_empty() && !self.provider.names_roles;
        let clocks_agree = snapshot.clocks == Agreement::Agree && !is_unnamed;
        let is_planned = outcome.kind == PassEnd::Settled && outcome.plan.change().is_none() && clocks_agree;
        for (role, end) in shown.iter().filter(|(role, _)| is_planned && self.is_recorded(role) && !self.is_base(role))
        {
            if end.is_some_and(|end| end <= snapshot.now) {
                continue;
            }
            let is_orphan =
                |object: &Object| object.is_leaving() && object.seen.spec.deletion_policy == DeletionPolicy::Orphan;
            if self.objects.iter().any(|object| object.forged.contains(*role) || is_orphan(object)) {
                continue;
            }
            let until = self.allowed_until(role, snapshot.now);
            let shows_ends = self.view.capabilities.enforces_expiry;
            if !until.is_some_and(|until| !shows_ends || no_longer(rounded(*end), rounded(until))) {
                return Err(format!("{role} until {end:?} is left as it is, allowed until {until:?}"));
            }
        }
        for (object, report) in self.objects.iter().zip(reports) {
            if report.ready_condition.reason != Reason::Converged || object.is_leaving() {
                continue;
            }
            if !self.counts(object) {
                return Err(format!("{} is reported as Converged and does not count", object.uid()));
            }
            if outcome.kind != PassEnd::Settled {
                // The failed change concerns other declarations.
                continue;
            }
            for role in &report.status.roles {
                let is_active = matches!(role.state, RoleState::Active | RoleState::Shared);
                if is_active && !shown.contains_key(role.role.as_str()) {
                    return Err(format!("{role:?} is reported and not shown"));
                }
            }
            for grant in object.seen.spec.roles.iter().filter(|grant| grant.temporary.is_none()) {
                if !shown.contains_key(grant.role.as_str()) {
                    return Err(format!("{} is Converged without {grant:?}", object.uid()));
                }
            }
        }
        Ok(())
    }

    /// An object is about to be released.
    pub fn check_release(&mut self, uid: &str) -> Result<(), String> {
        let now = self.now();
        let Some(object) = self.objects.iter().find(|object| object.uid() == uid) else {
            return Err(format!("no object {uid}"));
        };
        if !object.is_leaving() {
            return Err(format!("{uid} is released and not being deleted"));
        }
        let orphans = object.seen.spec.deletion_policy == DeletionPolicy::Orphan;
        let changed_since = self.hand_at.is_some_and(|at| self.roster.began().is_none_or(|began| at >= began));
        let entries = self.provider.member.as_ref().map_or(&[][..], |member| &member.entries);
        for recorded in object.record().iter().filter(|recorded| !self.is_base(&recorded.role)) {
            let role = &recorded.role;
            if orphans && (recorded.expiration_time.is_none() || self.view.capabilities.enforces_expiry) {
                continue;
            }
            let there = entries.iter().any(|entry| entry.role == *role && !entry.term.ended(now));
            let others = self.objects.iter().filter(|other| other.uid() != uid);
            let is_taken_over = others.flat_map(|other| other.record()).any(|known| known.role == *role);
            if there && !is_taken_over && !changed_since && !object.forged.contains(role) {
                return Err(format!("{uid} is released, and {role} is still there: {entries:?}"));
            }
        }
        // The base stays beside unmanaged temporary roles.
        let has_base = object.record().iter().any(|recorded| self.is_base(&recorded.role));
        self.brought_base |= has_base && entries.iter().any(|entry| self.is_base(&entry.role));
        // What another writer changes after the last list is no longer the operator's.
        if orphans || changed_since {
            let recorded = object.record().iter().map(|recorded| recorded.role.clone());
            let left: Vec<String> = recorded.collect();
            let is_recorded = |role: &String| self.objects.iter().any(|o| o.record().iter().any(|r| r.role == *role));
            // An earlier report may have dropped the roles that are left in place.
            self.ours.retain(|role| !left.contains(role) && (!orphans || is_recorded(role)));
            self.brought_base |= orphans;
        }
        Ok(())
    }

    /// The provider holds exactly the union.
    pub fn check_rest(&self) -> Result<(), String> {
        // The last pass began a few milliseconds ago.
        let now = self.now() - SignedDuration::from_millis(50);
        let entries = self.provider.member.as_ref().map_or(&[][..], |member| &member.entries);
        let unended: Vec<Entry> = entries.iter().filter(|entry| !entry.term.ended(now)).cloned().collect();
        let there = access(&unended);
        let shows_ends = self.view.capabilities.enforces_expiry;
        if let Some(object) = self.objects.iter().find(|object| object.is_leaving()) {
            return Err(format!("{} stays for ever", object.uid()));
        }
        let is_known = |role: &str| !self.provider.unknown.contains(role);
        let is_unnamed = self.declares_unknown() && !self.provider.names_roles;
        for object in self.objects.iter().filter(|object| self.counts(object)) {
            let conditions = object.seen.status.iter().flat_map(|status| &status.conditions);
            let ready =
                conditions.filter(|condition| condition.type_ == "Ready").map(|ready| ready.reason.as_str()).next();
            if !matches!(ready, Some("Converged" | "RoleNotFound")) {
                // A role that it refuses to adopt or may not revoke prevents it.
                let declares = |role: &str| object.seen.spec.roles.iter().any(|grant| grant.role == role);
                let in_the_way = match ready {
                    Some("AlreadyExists") => unended.iter().any(|entry| declares(&entry.role)),
                    Some("NotAllowed") => unended.iter().any(|entry| !declares(&entry.role)),
                    _ => false,
                };
                if in_the_way {
                    continue;
                }
                return Err(format!("{} is {ready:?} at rest", object.uid()));
            }
            for grant in object.seen.spec.roles.iter().filter(|grant| is_known(&grant.role)) {
                let ended = object.is_expired(&grant.role);
                let Some(until) = self.declared_until(object, grant, now).filter(|_| !ended) else { continue };
                let enough = |end: &End| !shows_ends || no_longer(rounded(until), rounded(*end));
                // A refusal that names no role concerns all roles that are new.
                if !is_unnamed && !there.get(grant.role.as_str()).is_some_and(enough) {
                    return Err(format!("{grant:?} of {} is not there at rest, but {unended:?}", object.uid()));
                }
            }
        }
        let all_known = |object: &&Object| object.seen.spec.roles.iter().all(|grant| is_known(&grant.role));
        let exclusive = |object: &&Object| object.seen.spec.role_management == RoleManagement::Exclusive;
        let is_settled = |object: &&Object| self.counts(object) && self.view.cluster.is_none();
        let removes = |object: &&Object| object.seen.spec.adoption_policy == AdoptionPolicy::Adopt;
        let mut exclusive = self.objects.iter().filter(is_settled).filter(exclusive).filter(all_known).filter(removes);
        // What another writer adds while an unknown role is requested again is left to the next pass.
        let is_exclusive = exclusive.next().is_some() && !self.declares_unknown();
        for entry in self.brought.values().filter(|entry| !entry.term.ended(now) && !self.may_lose) {
            if !there.contains_key(entry.role.as_str()) {
                return Err(format!("another writer's entry was removed: {entry:?}"));
            }
        }
        for (role, end) in &there {
            if self.is_base(role) {
                continue;
            }
            let until = self.allowed_until(role, self.now()).or(self.allowed_until(role, now));
            let in_bounds = until.is_some_and(|until| !shows_ends || no_longer(rounded(*end), rounded(until)));
            let is_recorded = self.ours.contains(*role) || self.is_recorded(role);
            let is_ours = !UNMANAGED.contains(role) && !is_unnamed && is_recorded;
            if !in_bounds && (is_ours || is_exclusive) {
                return Err(format!("{role} until {end:?} is there at rest, allowed until {until:?}"));
            }
        }
        let temporary = |entry: &Entry| entry.term != Term::Permanent;
        let only_base = !unended.is_empty() && unended.iter().all(|entry| self.is_base(&entry.role));
        let needs_base = entries.iter().any(temporary);
        let base_stays = self.brought_base || self.provider.keeps_members || needs_base;
        if only_base && !base_stays && self.objects.is_empty() {
            return Err(format!("the permanent base is left: {entries:?}"));
        }
        Ok(())
    }
}
