//! The service account tokens used to sign in, and the claims of a token.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

/// The most bytes of a token's file; a service-account token has about a thousand.
const LONGEST_TOKEN: u64 = 1 << 16;
/// The most files that are read in a directory of tokens.
const MOST_FILES: usize = 256;

/// The source from which a token is read for each sign-in: the kubelet replaces a projected one before its end.
#[derive(Clone)]
pub struct TokenSource(Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>);

impl TokenSource {
    /// Calls `read`, whose error states what is wrong and what to do, and never shows the token.
    pub fn new(read: impl Fn() -> Result<SecretString, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The content of a file, as a projected service-account token.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(move || {
            read(&path).map_err(|why| {
                format!("the token in {} can't be read ({why}): check the volume that projects it", path.display())
            })
        })
    }

    /// The token in a directory that is for this audience and no other. A token for several audiences would also be
    /// valid elsewhere, and the provider could use it there.
    pub fn with_audience(folder: &Path, audience: &str) -> Self {
        let (folder, audience) = (folder.to_owned(), audience.to_owned());
        Self::new(move || find(&folder, &audience))
    }

    /// The token as it is now.
    pub(crate) fn token(&self) -> Result<SecretString, String> {
        (self.0)()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

fn read(path: &Path) -> Result<SecretString, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    // The error of a file that isn't text quotes nothing of it.
    file.take(LONGEST_TOKEN).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        token => Ok(token.to_owned().into()),
    }
}

fn find(folder: &Path, audience: &str) -> Result<SecretString, String> {
    let none = |why: &str| {
        format!(
            "there is no token with the audience {audience:?} and no other in {} ({why}): project one into the \
             operator's Pod, with a volume of the source serviceAccountToken",
            folder.display()
        )
    };
    let entries = std::fs::read_dir(folder).map_err(|error| none(&error.to_string()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    let tokens: Vec<SecretString> = files.iter().take(MOST_FILES).flat_map(|path| read(path)).collect();
    let seen = format!("{} tokens are there", tokens.len());
    tokens.into_iter().find(|token| is_for_only(token, audience)).ok_or_else(|| none(&seen))
}

fn is_for_only(token: &SecretString, audience: &str) -> bool {
    claims(token).is_some_and(|claims| claims["aud"] == audience || claims["aud"] == json!([audience]))
}

/// The machine identity that an access token of Infisical's is for: its claim `identityId` (Infisical's source,
/// `TIdentityAccessTokenJwtPayload`: every way to sign in issues it, and so do static tokens). `None`: it isn't such a
/// token.
pub(crate) fn identity(token: &SecretString) -> Option<String> {
    claims(token)?["identityId"].as_str().map(str::to_ascii_lowercase)
}

/// The claims of a JWT, unverified: the server decides whether it is genuine.
fn claims(token: &SecretString) -> Option<Value> {
    let payload = token.expose_secret().split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.signed", URL_SAFE_NO_PAD.encode(claims))
    }

    fn found(folder: &Path, audience: &str) -> Result<String, String> {
        TokenSource::with_audience(folder, audience).token().map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn a_token_is_found_by_its_audience_and_read_again_each_time() {
        let folder = std::env::temp_dir().join(format!("tokens-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (one, other, both) =
            (jwt(r#"{"aud":["infisical"]}"#), jwt(r#"{"aud":"elsewhere"}"#), jwt(r#"{"aud":["third","infisical"]}"#));
        for (file, content) in [("a", &both), ("b", &other), ("c", &one), ("d", &"no token".to_owned())] {
            std::fs::write(folder.join(file), format!("{content}\n")).unwrap();
        }
        assert_eq!(found(&folder, "infisical"), Ok(one.clone()));
        assert_eq!(found(&folder, "elsewhere"), Ok(other));
        // A token that is also valid elsewhere isn't returned.
        let error = found(&folder, "third").unwrap_err();
        assert!(error.contains(r#"no token with the audience "third""#) && !error.contains(&both), "{error}");
        let source = TokenSource::with_audience(&folder, "infisical");
        let rotated = jwt(r#"{"aud":["infisical"],"jti":"2"}"#);
        std::fs::write(folder.join("c"), &rotated).unwrap();
        assert_eq!(source.token().unwrap().expose_secret(), rotated);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(source.token().unwrap_err().contains("project one into the operator's Pod"));
    }

    #[test]
    fn an_access_token_says_whose_it_is() {
        let identity = |text: &str| identity(&text.to_owned().into());
        assert_eq!(
            identity(&jwt(r#"{"identityId":"24160FBF-24bd","authTokenType":"identityAccessToken"}"#)).unwrap(),
            "24160fbf-24bd"
        );
        for other in ["", "no-jwt", "a.b.c", &jwt("{}"), &jwt("[]")] {
            assert_eq!(identity(other), None, "{other}");
        }
    }
}
