//! Paths with places for values: `/api/v1/projects/{project}/memberships`.

use std::collections::BTreeMap;

/// A method and a path with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    method: String,
    segments: Vec<String>,
}

impl Pattern {
    /// Reads `GET /api/{project}`. `*` as the method is any; `**` at the end is whatever follows.
    ///
    /// # Errors
    /// What it isn't.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (method, path) = text.split_once(' ').ok_or_else(|| format!("{text:?} is no method and path"))?;
        Ok(Self { method: method.to_owned(), segments: split(path) })
    }

    /// The values of a request's places, where it fits. The query is left aside.
    pub fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        if self.method != "*" && self.method != method {
            return None;
        }
        let parts = split(path.split('?').next().unwrap_or_default());
        let mut values = BTreeMap::new();
        for (at, segment) in self.segments.iter().enumerate() {
            if segment == "**" {
                return Some(values);
            }
            let part = parts.get(at)?;
            match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    values.insert(name.to_owned(), part.clone());
                }
                None if segment == part => {}
                None => return None,
            }
        }
        (parts.len() == self.segments.len()).then_some(values)
    }

    /// The path with values in its places.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> String {
        let filled = self.segments.iter().map(|segment| {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            name.and_then(|name| values.get(name)).unwrap_or(segment).clone()
        });
        format!("/{}", filled.collect::<Vec<_>>().join("/"))
    }

    pub fn method(&self) -> &str {
        &self.method
    }
}

/// The segments; a slash at the end counts for nothing, as to the servers' routers.
fn split(path: &str) -> Vec<String> {
    path.trim_matches('/').split('/').map(str::to_owned).collect()
}

/// A parameter of a path's query, decoded.
pub fn parameter(path: &str, name: &str) -> Option<String> {
    let (_, query) = path.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then(|| decoded(value))
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_finds_its_values() {
        let pattern = Pattern::parse("GET /api/{project}/members/{id}").unwrap();
        let values = pattern.matches("GET", "/api/1/members/2?limit=3").unwrap();
        assert_eq!((values["project"].as_str(), values["id"].as_str()), ("1", "2"));
        assert_eq!(pattern.fill(&values), "/api/1/members/2");
        for (method, path) in [("PUT", "/api/1/members/2"), ("GET", "/api/1/members"), ("GET", "/api/1/members/2/3")] {
            assert_eq!(pattern.matches(method, path), None, "{method} {path}");
        }
        let all = Pattern::parse("* /api/v1/auth/**").unwrap();
        assert!(all.matches("POST", "/api/v1/auth/x/y").is_some() && all.matches("POST", "/api/v2/auth").is_none());
    }

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(parameter("/x?search=%20m%2D1+2&limit=3", "search").as_deref(), Some(" m-1 2"));
        assert_eq!(parameter("/x?limit=3", "search"), None);
    }
}
