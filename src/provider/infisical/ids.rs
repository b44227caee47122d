//! Checks ids for Infisical's form before they are used in a URL.

use uuid::Uuid;

use super::errors::terms;
use crate::api::SubjectKind;
use crate::core::member::Project;
use crate::provider::Error;

/// An id as [`Target`](crate::core::member::Target) has it.
pub(crate) fn normal(id: &str) -> String {
    id.to_ascii_lowercase()
}

/// A project's id in lower case. The response to anything but a UUID is 500 (errors.json), so it isn't sent.
pub(crate) fn project_id(project: &Project) -> Result<String, Error> {
    uuid(&project.id).ok_or_else(|| Error::ProjectNotFound {
        gone: false,
        message: format!(
            "{:?} is no id of an Infisical project, which is a UUID: copy it from Project Settings → Overview",
            project.id
        ),
    })
}

/// A subject's id in lower case.
pub(crate) fn subject_id(kind: SubjectKind, id: &str) -> Result<String, Error> {
    uuid(id).ok_or_else(|| Error::SubjectNotFound {
        message: format!(
            "{id:?} is no id of an Infisical {}, which is a UUID: copy it from Organization → Access Control, or write \
             subject.name",
            terms(kind).noun
        ),
    })
}

fn uuid(text: &str) -> Option<String> {
    // Other spellings (braces, no hyphens) are UUIDs as well, but not to Infisical.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().map(|id| id.to_string())
}
