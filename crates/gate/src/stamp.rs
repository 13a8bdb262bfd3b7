//! What the gate writes into the objects that are made through it: a label by which leftovers are known, a nonce by which
//! an object is known when the answer was lost, and a name where the server was to make one up.

use serde_json::{Map, Value, json};

use crate::{LABEL, NONCE};

/// Kubernetes' own: no vowels, no digits that look like letters.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Of a prefix, so that the suffix fits into the 63 characters of a name.
const PREFIX: usize = 58;
const SUFFIX: usize = 5;

/// A name with this prefix, as the API server makes them up (`names.SimpleNameGenerator`).
pub(crate) fn name(prefix: &str) -> String {
    let suffix = rand::random::<[u8; SUFFIX]>().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    prefix.chars().take(PREFIX).chain(suffix).collect()
}

/// A new nonce. It tells nothing but that two of them are the same.
pub(crate) fn nonce() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

/// Marks an object that is to be made.
pub(crate) fn stamp(object: &mut Value, label: &str, nonce: &str) {
    let Some(metadata) = metadata(object) else { return };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    // Labels that are no map are refused by the server, and with them the object.
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(LABEL.to_owned(), json!(label));
        labels.insert(NONCE.to_owned(), json!(nonce));
    }
}

/// The nonce that an object carries.
pub(crate) fn nonce_of(object: &Value) -> Option<&str> {
    object.get("metadata")?.get("labels")?.get(NONCE)?.as_str()
}

/// The metadata of an object, made where there is none; none when it is no map.
pub(crate) fn metadata(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let members = object.as_object_mut()?;
    let metadata = members.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_as_the_server_makes_them() {
        let made = name("web-");
        assert_eq!((made.len(), &made[..4]), (9, "web-"));
        assert!(made[4..].bytes().all(|b| ALPHABET.contains(&b)), "{made}");
        assert_eq!(name(&"x".repeat(80)).len(), 63);
        assert_ne!(name("a"), name("a"));
    }

    #[test]
    fn stamps_keep_what_is_there() {
        let mut object = json!({"metadata": {"labels": {"a": "b"}}});
        stamp(&mut object, "run-1", "n");
        assert_eq!(object["metadata"]["labels"], json!({"a": "b", LABEL: "run-1", NONCE: "n"}));
        assert_eq!(nonce_of(&object), Some("n"));
        let mut none = json!({"metadata": {"labels": null}});
        stamp(&mut none, "run-1", "n");
        assert_eq!(nonce_of(&none), Some("n"));
        let mut odd = json!({"metadata": []});
        stamp(&mut odd, "run-1", "n");
        assert_eq!(odd, json!({"metadata": []}));
    }
}
