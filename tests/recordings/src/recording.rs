//! The form of a recording.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// One file of exchanges.
#[derive(Deserialize, Debug)]
pub struct Recording {
    /// `infisical` or `zitadel`: the folder, or what the file says of its server.
    #[serde(skip)]
    pub provider: String,
    /// The file's name with its ending.
    #[serde(skip)]
    pub file: String,
    /// The folder that it is in.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The folder's name where it begins with the provider's, as `infisical-june-2025`; else the provider's.
    #[serde(skip)]
    pub collection: String,
    /// Which server was recorded.
    #[serde(default)]
    pub server: String,
    /// In the order in which they were made.
    pub exchanges: Vec<Exchange>,
}

impl Recording {
    /// Its collection and its name, as `infisical/errors.json`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.collection, self.file)
    }
}

/// A request and its answer.
#[derive(Deserialize, Debug, Clone)]
pub struct Exchange {
    /// What it shows; not unique.
    pub name: String,
    /// What was sent; nothing of it where the recorder kept only the answer.
    #[serde(default)]
    pub request: Sent,
    /// What came back.
    pub response: Received,
    /// What surprised.
    pub note: Option<String>,
}

/// A recorded request.
#[derive(Deserialize, Debug, Clone, Default)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Who called.
    pub authorization: Option<String>,
    /// Headers that matter.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// The body as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// The body where it wasn't JSON.
    #[serde(default)]
    pub raw_body: Option<String>,
    /// The body where it was a form.
    #[serde(default)]
    pub form: Option<BTreeMap<String, String>>,
}

/// A recorded answer.
#[derive(Deserialize, Debug, Clone)]
pub struct Received {
    pub status: u16,
    /// Headers that matter.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: JSON, or a text where it was none; null where there was none.
    #[serde(default)]
    pub body: Value,
}

impl Exchange {
    /// A field of the request's body as text; empty where there is none.
    pub fn sent(&self, field: &str) -> &str {
        self.request.body.as_ref().and_then(|body| body.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    /// The rows that the recorder left out, where it put a note in their place: `… 99 more rows`.
    pub fn without_ellipsis(mut self) -> Self {
        for list in ["result", "administrators"] {
            if let Some(rows) = self.response.body.get_mut(list).and_then(Value::as_array_mut) {
                rows.retain(|row| !row.as_str().is_some_and(|text| text.starts_with('…')));
            }
        }
        self
    }
}

/// Where the project's own recordings are.
pub fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../contracts")
}

/// All recordings below a folder: in a folder of the provider's name or, in another order, with a `server` that names it.
///
/// # Errors
/// What can't be read, and which file.
pub fn below(folder: &Path) -> Result<Vec<Recording>, String> {
    let mut found = Vec::new();
    for path in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        if !name.ends_with(".json") || parent == "worlds" {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut recording: Recording =
            serde_json::from_str(&text).map_err(|error| format!("{}: no recording: {error}", path.display()))?;
        let is = |provider: &str| parent.starts_with(provider) || recording.server.to_lowercase().contains(provider);
        recording.provider = match (is("infisical"), is("zitadel")) {
            (true, false) => "infisical".to_owned(),
            (false, true) => "zitadel".to_owned(),
            _ => by_paths(&recording.exchanges)
                .ok_or_else(|| {
                    format!("{}: neither its folder, `server` nor its paths say whose it is", path.display())
                })?
                .to_owned(),
        };
        let named_so = parent.starts_with(&recording.provider);
        recording.collection = if named_so { parent } else { recording.provider.clone() };
        recording.file = name;
        recording.folder = path.parent().unwrap_or(folder).to_owned();
        found.push(recording);
    }
    Ok(found)
}

/// Whose paths these are: all of Infisical's begin with `/api/`, and none of ZITADEL's.
fn by_paths(exchanges: &[Exchange]) -> Option<&'static str> {
    let infisical = exchanges.iter().filter(|exchange| exchange.request.path.starts_with("/api/")).count();
    match infisical {
        0 if exchanges.is_empty() => None,
        0 => Some("zitadel"),
        all if all == exchanges.len() => Some("infisical"),
        _ => None,
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}
