//! A provider whose server is a file: projects with their roles and members, in JSON. It is the example of
//! docs/adding-a-provider.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use membership_operator::api::SubjectKind;
use membership_operator::core::member::{Capabilities, Change, Entry, Member, Project, Target};
use membership_operator::provider::error::Effect;
use membership_operator::provider::http::{Client, Endpoint};
use membership_operator::provider::{Backend, Error, Listing, Permit, Provider, Receipt, Verified};
use serde::{Deserialize, Serialize};

/// What a provider object says of it.
pub struct Spec {
    pub file: PathBuf,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
pub struct Directory {
    pub users: BTreeMap<String, String>,
    pub projects: BTreeMap<String, Entity>,
}

/// A project. A member has a set of roles; one without roles is possible too.
#[derive(Serialize, Deserialize)]
pub struct Entity {
    pub name: String,
    pub roles: BTreeSet<String>,
    pub members: BTreeMap<String, BTreeSet<String>>,
}

pub struct FileProvider {
    file: PathBuf,
}

impl FileProvider {
    fn unreachable(&self, error: impl std::fmt::Display, effect: Effect) -> Error {
        let message = format!("the file {} can't be used ({error}): check that it is there", self.file.display());
        Error::Unreachable { message, effect }
    }

    /// A file that can't be read is an error and never an empty list.
    pub fn read(&self) -> Result<Directory, Error> {
        let text = std::fs::read(&self.file).map_err(|error| self.unreachable(error, Effect::None))?;
        serde_json::from_slice(&text).map_err(|error| self.unreachable(error, Effect::None))
    }

    /// From here on an error leaves open whether the file was changed.
    pub fn write(&self, directory: &Directory) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(directory).map_err(|error| self.unreachable(error, Effect::None))?;
        std::fs::write(&self.file, text).map_err(|error| self.unreachable(error, Effect::Unknown))
    }
}

/// That the file has no such project is certain: it has all of them.
fn project_of<'d>(directory: &'d mut Directory, id: &str) -> Result<&'d mut Entity, Error> {
    let message = || format!("there is no project {id}: check spec.project.id");
    directory.projects.get_mut(id).ok_or_else(|| Error::ProjectNotFound { gone: true, message: message() })
}

impl Backend for FileProvider {
    type Spec = Spec;
    type Credentials = ();

    const NAME: &'static str = "File";
    /// A write replaces the whole file.
    const ONE_WRITER: bool = true;

    fn connect(_: &Client, _: Endpoint, spec: &Spec, (): ()) -> Self {
        Self { file: Path::to_path_buf(&spec.file) }
    }
}

#[async_trait]
impl Provider for FileProvider {
    fn capabilities(&self, _: SubjectKind) -> Capabilities {
        Capabilities {
            enforces_expiry: false,
            permanent_base: None,
            empty_role: None,
            lists_are_current: true,
            creation_role: None,
            invites: false,
        }
    }

    async fn verify(&self, _: &Permit) -> Result<Verified, Error> {
        self.read().map(|_| Verified { api: "file/v1" })
    }

    async fn find_project(&self, _: &Permit, name: &str, _: Option<&str>) -> Result<Vec<String>, Error> {
        let projects = self.read()?.projects.into_iter();
        Ok(projects.filter(|(_, project)| project.name == name).map(|(id, _)| id).collect())
    }

    async fn find_subject(&self, _: &Permit, _: &Project, _: SubjectKind, name: &str) -> Result<Vec<String>, Error> {
        Ok(self.read()?.users.into_iter().filter(|(_, known)| known == name).map(|(id, _)| id).collect())
    }

    async fn list(&self, _: &Permit, project: &Project, _: SubjectKind) -> Result<Listing, Error> {
        let mut directory = self.read()?;
        let row = |(user, roles): (&String, &BTreeSet<String>)| Member {
            subject_id: user.clone(),
            entries: roles.iter().map(Entry::permanent).collect(),
            memberships: 1,
            version: None,
        };
        let members = project_of(&mut directory, &project.id)?.members.iter().map(row).collect();
        Ok(Listing { members, partial: false })
    }

    async fn apply(&self, _: &Permit, target: &Target, _: Option<&str>, change: &Change) -> Result<Receipt, Error> {
        let mut directory = self.read()?;
        let (user, is_user) = (&target.subject_id, directory.users.contains_key(&target.subject_id));
        let project = project_of(&mut directory, &target.project.id)?;
        let roles: BTreeSet<String> = change.outcome().iter().map(|entry| entry.role.clone()).collect();
        if let Some(role) = roles.difference(&project.roles).next() {
            let message = format!("project {} has no role {role:?}: check spec.roles", target.project.id);
            return Err(Error::RoleNotFound { role: Some(role.clone()), message });
        }
        match (change, project.members.contains_key(user)) {
            (Change::Remove, _) => drop(project.members.remove(user)),
            (Change::Create(_), true) | (Change::Replace(_) | Change::Recreate(_), false) => {
                return Err(Error::Changed { message: format!("user {user} was added or removed meanwhile") });
            }
            _ if !is_user => return Err(Error::SubjectNotFound { message: format!("there is no user {user}") }),
            _ => drop(project.members.insert(user.clone(), roles)),
        }
        self.write(&directory)?;
        Ok(Receipt::default())
    }
}
