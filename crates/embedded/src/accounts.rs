//! Tokens of service accounts: made, and known again. They name the account and end with it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use simulation::resources;

use crate::Identity;
use crate::object;
use crate::state::State;

/// Whom a token is for, and for how long.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) end: jiff::Timestamp,
}

fn sign(key: &[u8; 32], text: &str) -> String {
    // The inner digest keeps what is signed from being continued.
    let inner = Sha256::new().chain_update(key).chain_update(text).finalize();
    URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(key).chain_update(inner).finalize())
}

impl State {
    /// A token for an account that is there.
    pub(crate) fn token_for(&self, account: &Value, seconds: i64, audiences: &Value) -> Token {
        let now = self.now();
        let end = now.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
        let (namespace, name) = (object::namespace(account), object::name(account));
        let claims = json!({
            "aud": audiences, "exp": end.as_second(), "iat": now.as_second(), "nbf": now.as_second(),
            "iss": "https://kubernetes.default.svc.cluster.local", "jti": object::uid(account),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": object::uid(account)}},
            "sub": format!("system:serviceaccount:{namespace}:{name}"),
        });
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = format!("{}.{}", encode(&json!({"alg": "HS256", "typ": "JWT"})), encode(&claims));
        let text = format!("{head}.{}", sign(&self.token_key, &head));
        Token { text, end }
    }

    /// Whose token it is; none when it is no token of this cluster, or its time is over, or its account has gone.
    pub(crate) fn identity_of(&self, token: &str) -> Option<Identity> {
        let (head, signature) = token.rsplit_once('.')?;
        if sign(&self.token_key, head) != signature {
            return None;
        }
        let claims = URL_SAFE_NO_PAD.decode(head.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        if claims["exp"].as_i64()? < self.now().as_second() {
            return None;
        }
        let bound = &claims["kubernetes.io"];
        let namespace = object::text(bound, &["namespace"]);
        let name = object::text(bound, &["serviceaccount", "name"]);
        let account = self.store.get(&resources::SERVICE_ACCOUNTS, namespace, name)?;
        let same = object::uid(account) == object::text(bound, &["serviceaccount", "uid"]);
        same.then(|| Identity::of_account(namespace, name))
    }
}
