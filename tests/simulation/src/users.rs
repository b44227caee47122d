//! What people do: they declare, edit and delete, change things by hand at the providers, and break the machines.

use jiff::Timestamp;
use serde_json::{Value, json};
use simulator::worlds;

use crate::apiserver::ApiServer;
use crate::book::{Book, MEMBERSHIPS, NAMESPACE, seconds_after, target_of};
use crate::providers::{Providers, TARGETS, TargetKey, UNMANAGED, roles_of};
use crate::rng::Rng;
use crate::scheduler::{Scheduler, Server};

/// Those who change things.
pub struct Users {
    pub api: ApiServer,
    pub providers: Providers,
    /// Who looks on.
    pub book: Book,
    /// What is written down.
    pub scheduler: Scheduler,
    /// What decides.
    pub rng: Rng,
    /// Whom objects speak of.
    pub targets: Vec<TargetKey>,
    /// What objects are called.
    pub names: Vec<String>,
}

impl Users {
    /// The Secrets and the provider objects.
    pub fn set_up(&self) {
        let secret = |name: &str, data: Value| {
            let object = json!({"metadata": {"name": name}, "data": data});
            drop(self.api.create("secrets", NAMESPACE, &object));
        };
        // In base64: demo-client-secret and the like.
        let base64 = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
        secret(
            "infisical",
            json!({"client-id": base64(worlds::INFISICAL_CLIENT_ID), "client-secret": base64(worlds::INFISICAL_CLIENT_SECRET)}),
        );
        secret("zitadel", json!({"token": base64(worlds::ZITADEL_TOKEN)}));
        let provider = |name: &str, mut spec: Value| {
            spec["resyncInterval"] = "1m".into();
            let object = json!({"metadata": {"name": name}, "spec": spec});
            drop(self.api.create("membershipproviders", NAMESPACE, &object));
        };
        provider(
            "infisical",
            json!({"infisical": {"url": self.providers.simulator.infisical().url(), "auth": {"universalAuth": {
                "clientIdSecretRef": {"name": "infisical", "key": "client-id"},
                "clientSecretSecretRef": {"name": "infisical", "key": "client-secret"},
            }}}}),
        );
        provider(
            "zitadel",
            json!({"zitadel": {"url": self.providers.simulator.zitadel().url(), "organizationId": worlds::ZITADEL_PROJECT_ORG,
                "auth": {"personalAccessTokenSecretRef": {"name": "zitadel", "key": "token"}}}}),
        );
    }

    /// Something is done.
    pub fn act(&mut self, now: Timestamp) {
        match self.rng.weighted(&[30, 20, 12, 8, 8, 6, 6]) {
            0 => self.declare(now),
            1 => self.edit_roles(now),
            2 => self.delete(),
            3 => self.edit_policies(),
            4 => self.give_by_hand(),
            5 => self.take_by_hand(),
            _ => self.ask(now),
        }
    }

    fn name(&mut self) -> String {
        self.rng.one_of(&self.names).clone()
    }

    fn spec_of(&self, name: &str) -> Option<Value> {
        self.api.get(MEMBERSHIPS, (NAMESPACE, name)).map(|object| object["spec"].clone())
    }

    /// Creates an object, or changes its roles where it is there.
    pub fn declare(&mut self, now: Timestamp) {
        let name = self.name();
        if self.api.get(MEMBERSHIPS, (NAMESPACE, &name)).is_some() {
            return self.edit_roles(now);
        }
        let target = *self.rng.one_of(&self.targets);
        let (provider, project) = match target.server {
            Server::Infisical => ("infisical", worlds::INFISICAL_PROJECT),
            _ => ("zitadel", worlds::ZITADEL_PROJECT),
        };
        let kind = if target.server == Server::Infisical { "Identity" } else { "User" };
        let rng = &mut self.rng;
        let mut spec = json!({
            "providerRef": {"name": provider},
            "project": {"id": project},
            "subject": {"kind": kind, "id": target.subject},
            "roleManagement": if rng.chance(450) { "Exclusive" } else { "Additive" },
        });
        if rng.chance(80) {
            spec["managementPolicy"] = "Observe".into();
        }
        if rng.chance(80) {
            spec["deletionPolicy"] = "Orphan".into();
        }
        if rng.chance(60) {
            spec["adoptionPolicy"] = "Refuse".into();
        }
        spec["roles"] = self.roles(target, now);
        self.book.declares(&spec);
        self.scheduler.write(format!("USER creates {name}: {spec}"));
        drop(self.api.create(MEMBERSHIPS, NAMESPACE, &json!({"metadata": {"name": name}, "spec": spec})));
    }

    fn roles(&mut self, target: TargetKey, now: Timestamp) -> Value {
        let mut roles: Vec<Value> = Vec::new();
        for role in roles_of(target.server).iter().take(3) {
            if self.rng.chance(450) {
                roles.push(self.role(role, now));
            }
        }
        if roles.is_empty() {
            roles.push(self.role(roles_of(target.server)[0], now));
        }
        roles.into()
    }

    /// A role for good, or for a while that is either over within minutes or goes on for days.
    fn role(&mut self, role: &str, now: Timestamp) -> Value {
        let rng = &mut self.rng;
        let soon = |rng: &mut Rng| seconds_after(now, i64::try_from(rng.between(5, 240)).unwrap_or(60));
        match rng.weighted(&[9, 4, 3, 2, 1, 1]) {
            0 => json!({"role": role}),
            1 => json!({"role": role, "temporary": {"duration": rng.one_of(&["10s", "45s", "90s", "3m", "2d"])}}),
            2 => json!({"role": role, "temporary": {"expirationTime": soon(rng)}}),
            3 => {
                let start = soon(rng);
                json!({"role": role, "temporary": {"startTime": start, "duration": rng.one_of(&["20s", "2m", "2d"])}})
            }
            4 => json!({"role": role, "temporary": {"duration": "2d", "expirationTime": soon(rng)}}),
            _ => json!({"role": role, "temporary": {"startTime": seconds_after(now, 100_000), "duration": "1h"}}),
        }
    }

    fn edit_roles(&mut self, now: Timestamp) {
        let name = self.name();
        let Some(spec) = self.spec_of(&name) else { return };
        let Some(target) = target_of(&spec) else { return };
        let roles = self.roles(target, now);
        self.patch(&name, &spec, json!({"roles": roles}));
    }

    fn edit_policies(&mut self) {
        let name = self.name();
        let Some(spec) = self.spec_of(&name) else { return };
        let patch = match self.rng.weighted(&[4, 3, 3, 2]) {
            0 => json!({"suspend": spec["suspend"] != true}),
            1 => json!({"roleManagement": if spec["roleManagement"] == "Additive" { "Exclusive" } else { "Additive" }}),
            2 => json!({"managementPolicy": if spec["managementPolicy"] == "Observe" { "Enforce" } else { "Observe" }}),
            _ => json!({"deletionPolicy": if spec["deletionPolicy"] == "Orphan" { "Delete" } else { "Orphan" }}),
        };
        self.patch(&name, &spec, patch);
    }

    fn patch(&mut self, name: &str, spec: &Value, patch: Value) {
        let mut new = spec.clone();
        if let (Some(new), Some(patch)) = (new.as_object_mut(), patch.as_object()) {
            new.extend(patch.clone());
        }
        self.book.declares(&new);
        // One that is being deleted may still become an orphan: then what it holds may stay.
        if new["deletionPolicy"] == "Orphan" && spec["deletionPolicy"] != "Orphan" {
            self.book.is_deleted(&new);
        }
        self.scheduler.write(format!("USER changes {name}: {patch}"));
        drop(self.api.patch(MEMBERSHIPS, (NAMESPACE, name), &json!({"spec": patch})));
    }

    fn delete(&mut self) {
        let name = self.name();
        let Some(spec) = self.spec_of(&name) else { return };
        self.book.is_deleted(&spec);
        self.scheduler.write(format!("USER deletes {name}"));
        drop(self.api.delete(MEMBERSHIPS, (NAMESPACE, &name)));
    }

    fn ask(&mut self, now: Timestamp) {
        let name = self.name();
        self.scheduler.write(format!("USER asks for a look at {name}"));
        let patch = json!({"metadata": {"annotations": {"membership.dev/reconcile-at": now}}});
        drop(self.api.patch(MEMBERSHIPS, (NAMESPACE, &name), &patch));
    }

    fn give_by_hand(&mut self) {
        let target = *self.rng.one_of(&self.targets);
        let role = *self.rng.one_of(roles_of(target.server));
        let there = self.providers.roles(target);
        if there.contains_key(role) {
            return;
        }
        self.book.by_hand(target, role, true);
        self.scheduler.write(format!("HAND gives {role} to {target:?}"));
        let of = &self.providers.simulator;
        match target.server {
            Server::Infisical => {
                let row = simulator::RoleRow::permanent(role);
                of.infisical().add_role(worlds::INFISICAL_PROJECT, target.subject, row);
            }
            _ => of.zitadel().add_role(worlds::ZITADEL_PROJECT, target.subject, role),
        }
    }

    fn take_by_hand(&mut self) {
        let mut of = self.targets.clone();
        of.extend(UNMANAGED.iter().filter(|unmanaged| TARGETS.iter().any(|t| t.server == unmanaged.server)));
        let target = *self.rng.one_of(&of);
        let there: Vec<String> = self.providers.roles(target).into_keys().collect();
        if there.is_empty() {
            return;
        }
        let role = self.rng.one_of(&there).clone();
        self.book.by_hand(target, &role, false);
        self.scheduler.write(format!("HAND takes {role} from {target:?}"));
        let of = &self.providers.simulator;
        match target.server {
            Server::Infisical => of.infisical().remove_role(worlds::INFISICAL_PROJECT, target.subject, &role),
            _ => of.zitadel().remove_role(worlds::ZITADEL_PROJECT, target.subject, &role),
        };
    }
}
