//! The schema's bounds, and the messages that a user reads when a value violates one.
//!
//! Every string and list has a bound: the API server estimates the cost of each rule (CEL) by the longest possible
//! value. Patterns are written as rules, so that the message explains what to write instead of showing the pattern.

mod status;

use kube::core::{Rule, validate};
use schemars::{Schema, SchemaGenerator, json_schema};

pub use self::status::{
    STATUS_TEXT, conditions, count, observed_generation, status_roles_text, status_text, status_time,
};
use super::characters;

/// The longest name of a role, in characters.
const ROLE: u32 = 128;
/// The longest id, in characters: a UUID has 36, ZITADEL's numbers have 18 or more.
const ID: u32 = 64;
/// The longest name of an object in Kubernetes.
const NAME: u32 = 253;
/// The longest key of a label in Kubernetes: a domain, a slash and a name.
const LABEL_KEY: u32 = NAME + 1 + 63;
/// The longest name at a provider: ZITADEL accepts 200 characters, Infisical fewer.
const PROVIDER_NAME: u32 = 200;
/// The longest URL.
const URL: u32 = 512;
/// The longest bundle of certificates in an object, in characters: about thirty of them.
const CERTIFICATES: u32 = 65_536;
/// What to write if a text has an invisible character.
const HIDDEN: &str = "this has a character that is invisible or changes the order of others (as bidirectional or zero-width ones): type the text instead of pasting it";
/// The longest justification.
const JUSTIFICATION: u32 = 512;
/// A role: Infisical's slug or ZITADEL's key.
pub fn role(_: &mut SchemaGenerator) -> Schema {
    string(
        ROLE,
        &[
            (
                "self.matches('^[A-Za-z0-9][A-Za-z0-9._:-]*$')",
                "write the role's slug (Infisical, as viewer) or its key (ZITADEL, as PROJECT_OWNER): letters, digits, and - _ . : after the first",
            ),
            (
                "self != 'custom'",
                "\"custom\" is how Infisical marks every custom role, not a role: write the role's own slug, found under Access Control, Roles",
            ),
        ],
    )
}

/// A project's or subject's id.
pub fn id(_: &mut SchemaGenerator) -> Schema {
    pattern(
        ID,
        "^[A-Za-z0-9][A-Za-z0-9_-]*$",
        "write the id as the provider shows it, a UUID at Infisical and digits at ZITADEL: no name, no URL, no spaces",
    )
}

/// A project's name at ZITADEL or slug at Infisical.
pub fn project_name(_: &mut SchemaGenerator) -> Schema {
    name(
        "write the project's slug (Infisical, as web-a1b2) or its name (ZITADEL): 1 to 200 characters on one line, no space at either end",
    )
}

/// A subject's name.
pub fn subject_name(_: &mut SchemaGenerator) -> Schema {
    name(
        "write the identity's name, the user's e-mail or username, or the group's slug: 1 to 200 characters on one line, no space at either end",
    )
}

/// The id of one of ZITADEL's project grants.
pub fn grant_id(_: &mut SchemaGenerator) -> Schema {
    pattern(
        ID,
        "^[0-9]+$",
        "write the project grant's id, which is digits, as \"400625178359247910\" in quotes: not the organization's",
    )
}

/// The id of one of ZITADEL's organizations.
pub fn organization_id(_: &mut SchemaGenerator) -> Schema {
    pattern(
        ID,
        "^[0-9]+$",
        "write the organization's id, which is digits, as \"69629023906488334\" in quotes: not its name or domain",
    )
}

/// The slug of one of Infisical's sub-organizations.
pub fn organization_slug(_: &mut SchemaGenerator) -> Schema {
    pattern(
        ID,
        "^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$",
        "write the sub-organization's slug, as platform-team: lower-case letters, digits and -, not its name or id",
    )
}

/// The name of another object in Kubernetes.
pub fn object_name(_: &mut SchemaGenerator) -> Schema {
    pattern(
        NAME,
        "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        "write the object's name: lower-case letters, digits, - and ., with a letter or digit at both ends",
    )
}

/// The name of a namespace.
pub fn namespace(_: &mut SchemaGenerator) -> Schema {
    pattern(
        63,
        "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "write a namespace's name: lower-case letters, digits and -, with a letter or digit at both ends",
    )
}

/// Names of namespaces.
pub fn namespaces(generator: &mut SchemaGenerator) -> Schema {
    set_of(namespace(generator), 64)
}

/// Projects of an allow rule.
pub fn allowed_projects(_: &mut SchemaGenerator) -> Schema {
    let id = pattern(
        ID,
        "^([A-Za-z0-9][A-Za-z0-9_-]*|[*])$",
        "write the project's id as the provider shows it, or \"*\" for every project: no name, no pattern",
    );
    set_of(id, 64)
}

/// Subjects of an allow rule.
pub fn allowed_subjects(generator: &mut SchemaGenerator) -> Schema {
    set_of(id(generator), 256)
}

/// Roles of an allow rule.
pub fn allowed_roles(_: &mut SchemaGenerator) -> Schema {
    let role = pattern(
        ROLE,
        "^([A-Za-z0-9][A-Za-z0-9._:-]*|[*])$",
        "write the role's slug (Infisical, as viewer) or its key (ZITADEL, as PROJECT_OWNER), or \"*\" for every role: no pattern",
    );
    set_of(role, 64)
}

/// A key of a label.
pub fn label_key(_: &mut SchemaGenerator) -> Schema {
    pattern(
        LABEL_KEY,
        "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
        "write a label's key, as team or example.com/team",
    )
}

/// Values of a label.
pub fn label_values(_: &mut SchemaGenerator) -> Schema {
    set_of(label_value(), 32)
}

/// Labels and their values.
pub fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 16, "additionalProperties": label_value()})
}

fn label_value() -> Schema {
    let mut schema = string(63, &[]);
    // Not a rule: its cost would be estimated for every value of every rule.
    schema.insert("pattern".to_owned(), "^(([A-Za-z0-9][A-Za-z0-9._-]*)?[A-Za-z0-9])?$".into());
    schema
}

/// The audience of a token.
pub fn audience(_: &mut SchemaGenerator) -> Schema {
    pattern(
        NAME,
        "^[!-~]+$",
        "write the token's audience as in the projected volume, as infisical or https://app.infisical.com",
    )
}

/// Why access is needed: a text for people.
pub fn justification(_: &mut SchemaGenerator) -> Schema {
    let disruptive = format!("!self.matches(r'{}')", characters::disruptive());
    string(
        JUSTIFICATION,
        &[(
            &disruptive,
            "this has a control character, or one that changes the order of others (a bidirectional override or isolate): write plain text",
        )],
    )
}

/// A list in which each item occurs once.
fn set_of(item: Schema, at_most: u32) -> Schema {
    json_schema!({
        "type": "array", "minItems": 1, "maxItems": at_most, "items": item, "x-kubernetes-list-type": "set",
    })
}

/// A key in a Secret's data.
pub fn secret_key(_: &mut SchemaGenerator) -> Schema {
    pattern(NAME, "^[A-Za-z0-9._-]+$", "write a key of the Secret's data, as client-secret: letters, digits, and - _ .")
}

/// A key in the data of a ConfigMap or Secret.
pub fn data_key(_: &mut SchemaGenerator) -> Schema {
    pattern(NAME, "^[A-Za-z0-9._-]+$", "write a key of the object's data, as ca.crt: letters, digits, and - _ .")
}

/// Certificates in PEM.
pub fn certificates(_: &mut SchemaGenerator) -> Schema {
    string(
        CERTIFICATES,
        &[
            (
                "self.contains('-----BEGIN CERTIFICATE-----')",
                "write certificates in PEM, with their lines -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----, not base64-encoded again",
            ),
            (
                "!self.contains('PRIVATE KEY-')",
                "this contains a private key, which every reader of this object can see: write only the certificates, and replace that key",
            ),
        ],
    )
}

/// The domain of one of ZITADEL's instances, with its port if it isn't the default.
pub fn instance_host(_: &mut SchemaGenerator) -> Schema {
    pattern(
        NAME + 6,
        "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$",
        "write the instance's domain, as auth.example.com or auth.example.com:8443: lower case, no scheme, no path",
    )
}

/// The URL of a provider's server.
pub fn url(_: &mut SchemaGenerator) -> Schema {
    string(
        URL,
        &[(
            r"self.matches(r'^https?://[A-Za-z0-9._~:\[\]-]+(/[A-Za-z0-9._~%/-]*)?$') && isURL(self)",
            "write the server's address as https://app.example.com: scheme http or https, a host, no user, query or fragment; all in ASCII, another host as xn--…",
        )],
    )
}

/// A duration, as [`crate::api::Duration`] reads it.
pub fn duration(_: &mut SchemaGenerator) -> Schema {
    string(
        32,
        &[
            (
                "self != '' && self.matches('^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$')",
                "write weeks, days, hours, minutes and seconds, whole numbers in this order and each at most once, as 1d, 90m or 1h30m",
            ),
            ("!self.matches('^(0+[wdhms])+$')", "this is a duration of zero: write at least 1s"),
            (
                // Ten digits of any unit are too long, and are checked first, so that int() can't overflow.
                "!self.matches('[1-9][0-9]{9}') && int('0' + self.find('[0-9]+w').replace('w', '')) * 604800 \
                 + int('0' + self.find('[0-9]+d').replace('d', '')) * 86400 \
                 + int('0' + self.find('[0-9]+h').replace('h', '')) * 3600 \
                 + int('0' + self.find('[0-9]+m').replace('m', '')) * 60 \
                 + int('0' + self.find('[0-9]+s').replace('s', '')) <= 315576000",
                "this is longer than ten years: write at most 3652d",
            ),
        ],
    )
}

/// An instant of a spec.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    instant(
        "[0-9]{4}",
        "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",
        "write a year from 2000 to 2999; for a role without an end omit temporary",
    )
}

/// A limit, `at_most` this.
fn limit(at_most: u32) -> Schema {
    let mut schema = json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": at_most});
    rules(&mut schema, &[("self >= 1", "write at least 1, or omit the limit")]);
    schema
}

/// Requests a minute.
pub fn per_minute(_: &mut SchemaGenerator) -> Schema {
    limit(1_000_000)
}

/// Requests at the same time.
pub fn in_flight(_: &mut SchemaGenerator) -> Schema {
    limit(1_000)
}

/// A name at a provider, which people read.
fn name(sentence: &str) -> Schema {
    let hidden = format!("!self.matches(r'{}')", characters::hidden());
    string(
        PROVIDER_NAME,
        &[
            (r"self.matches(r'^[^[:cntrl:][:space:]\p{Z}]([^[:cntrl:]]*[^[:cntrl:][:space:]\p{Z}])?$')", sentence),
            (&hidden, HIDDEN),
        ],
    )
}

/// A text that matches `pattern`; `sentence` is what to write if it doesn't.
fn pattern(at_most: u32, pattern: &str, sentence: &str) -> Schema {
    string(at_most, &[(&format!("self.matches('{pattern}')"), sentence)])
}

fn string(at_most: u32, lines: &[(&str, &str)]) -> Schema {
    let mut schema = json_schema!({"type": "string", "maxLength": at_most});
    rules(&mut schema, lines);
    schema
}

/// An instant of RFC 3339 whose year matches `year`, if `rule` holds for it.
///
/// The API server's own check of `date-time` accepts more than the operator can parse, so that all three are needed:
///
/// - The pattern: the check accepts any character before a fraction, anything after a second `T`, an offset of 60
///   minutes.
/// - The rule: the check accepts a list instead of a string. A rule needs a time.
/// - The check: no pattern can determine which years have a 29 February.
fn instant(year: &str, rule: &str, sentence: &str) -> Schema {
    let date = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?";
    let offset = "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    let mut schema = json_schema!({
        "type": "string",
        "format": "date-time",
        "maxLength": 35,
        "pattern": format!("^{year}-{date}T{time}{offset}$"),
    });
    rules(&mut schema, &[(rule, sentence)]);
    schema
}

/// Adds rules to a schema: an expression that must hold, and what to write if it doesn't.
fn rules(schema: &mut Schema, lines: &[(&str, &str)]) {
    for (expression, sentence) in lines {
        // A rule is two strings: it always has a JSON form.
        let _ = validate(schema, Rule::new(*expression).message(*sentence));
    }
}
