//! Search texts, and their comparison (name-resolution.json, 6 to 17 and 32 to 35).

use serde_json::Value;

pub(crate) struct Text {
    wanted: String,
    method: String,
}

impl Text {
    /// Reads a query such as `{"name": …, "method": "TEXT_QUERY_METHOD_EQUALS"}`. A field that is missing is empty,
    /// and a method that is missing or unknown means equality.
    pub(crate) fn read(query: &Value, field: &str) -> Self {
        let string = |name: &str| query.get(name).and_then(Value::as_str).unwrap_or_default();
        let method = string("method");
        let method = method.strip_prefix("TEXT_QUERY_METHOD_").or(method.strip_prefix("TEXT_FILTER_METHOD_"));
        Self { wanted: string(field).to_owned(), method: method.unwrap_or_default().to_owned() }
    }

    /// The same text, compared for equality, regardless of the method.
    pub(crate) fn exactly(query: &Value, field: &str) -> Self {
        Self { method: String::new(), ..Self::read(query, field) }
    }

    /// An empty text matches every user with "contains" and none with equality. Nothing in it is a wildcard.
    pub(crate) fn fits(&self, value: &str) -> bool {
        let (value_lower, wanted_lower) = (value.to_lowercase(), self.wanted.to_lowercase());
        match self.method.as_str() {
            "EQUALS_IGNORE_CASE" => value_lower == wanted_lower,
            "STARTS_WITH" => value.starts_with(&self.wanted),
            "STARTS_WITH_IGNORE_CASE" => value_lower.starts_with(&wanted_lower),
            "CONTAINS" => value.contains(&self.wanted),
            "CONTAINS_IGNORE_CASE" => value_lower.contains(&wanted_lower),
            "ENDS_WITH" => value.ends_with(&self.wanted),
            "ENDS_WITH_IGNORE_CASE" => value_lower.ends_with(&wanted_lower),
            _ => value == self.wanted,
        }
    }
}
