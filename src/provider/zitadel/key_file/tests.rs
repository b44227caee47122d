use proptest::prelude::*;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use super::*;

const KEY: &str = include_str!("../../../../tests/keys/rsa-pkcs1.pem");

fn file() -> Value {
    json!({
        "type": "serviceaccount",
        "keyId": "400624056296016934",
        "key": KEY,
        "expirationDate": "2036-01-01T00:00:00Z",
        "userId": "400624046615563302",
    })
}

fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
    KeyFile::parse(&SecretString::from(text.to_owned()))
}

#[test]
fn the_assertion_is_what_the_server_takes() {
    let now: Timestamp = "2026-11-21T18:42:25.9Z".parse().unwrap();
    let key = parse(&format!("{}\n", file())).unwrap();
    let assertion = key.assertion("http://localhost:28080", now).unwrap();
    let parts: Vec<&str> = assertion.expose_secret().split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    let read = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(read(header), json!({"alg": "RS256", "typ": "JWT", "kid": "400624056296016934"}));
    let (iat, exp) = (now.as_second() - 60, now.as_second() + 300);
    let user = "400624046615563302";
    assert_eq!(
        read(claims),
        json!({"iss": user, "sub": user, "aud": "http://localhost:28080", "iat": iat, "exp": exp})
    );
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.key.public().as_ref());
    let signed = format!("{header}.{claims}");
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    assert!(public.verify(signed.replace('e', "f").as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).is_err());
}

#[test]
fn what_is_no_key_file_is_named_with_what_to_write_and_never_repeated() {
    let with = |field: &str, value: Value| {
        let mut file = file();
        file[field] = value;
        file.to_string()
    };
    let secret_part = KEY.lines().nth(3).unwrap();
    let public = rcgen::KeyPair::generate().unwrap();
    for (text, expected) in [
        (String::new(), "it isn't JSON"),
        ("hunter2hunter2".to_owned(), "it isn't JSON"),
        (KEY.to_owned(), "the key alone"),
        (base64::engine::general_purpose::STANDARD.encode(file().to_string()), "in base64"),
        (file().to_string()[..900].to_owned(), "it isn't JSON of this form (line 1, column 900)"),
        (with("key", json!({"hunter2": KEY})), "it isn't JSON of this form"),
        (with("type", json!("application")), "an application"),
        (with("type", Value::Null), "it isn't JSON of this form"),
        (with("type", json!("")), "its \"type\""),
        (with("keyId", json!("")), "its \"keyId\""),
        (with("userId", json!("hunter2 hunter2")), "its \"userId\""),
        (with("expirationDate", json!("hunter2")), "its \"expirationDate\""),
        (with("key", json!("hunter2")), "not a complete private key in PEM"),
        (with("key", json!(KEY[..800])), "not a complete private key in PEM"),
        (with("key", json!(KEY.replace(secret_part, ""))), "not an RSA key of 2048 to 4096 bits"),
        (with("key", json!(public.serialize_pem())), "not an RSA key of 2048 to 4096 bits"),
        (with("keyId", json!("1".repeat(LONGEST))), "longer than any key file"),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(error.contains("the JSON file that ZITADEL shows once"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains(secret_part), "{error}");
    }
}

#[test]
fn neither_debug_nor_the_name_shows_the_key_and_the_name_says_when_it_ended() {
    let key = parse(&file().to_string()).unwrap();
    assert_eq!(format!("{key:?}"), r#"KeyFile { user_id: "400624046615563302", key_id: "400624056296016934", .. }"#);
    let name = "key 400624056296016934 of user 400624046615563302";
    let at = |text: &str| key.named(text.parse().unwrap());
    assert_eq!(at("2035-12-31T23:59:59Z"), name);
    assert_eq!(at("2036-01-01T00:00:00Z"), format!("{name}, which ended at 2036-01-01T00:00:00Z"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_text_stops_the_reader_or_makes_it_talk(
        bytes in "(.|\n){0,300}",
        start in 0..3000_usize,
        length in 0..200_usize,
        put in "[ -~]{0,30}",
    ) {
        let mut broken = file().to_string();
        let end = (start + length).min(broken.len());
        broken.replace_range(start.min(end)..end, &put);
        for text in [bytes, broken] {
            if let Err(error) = parse(&text) {
                prop_assert!(error.to_string().len() < 400, "{error}");
                prop_assert!(put.len() < 12 || !error.to_string().contains(&put), "{error}");
            }
        }
    }
}
