//! What another process must know to put a case back: who it was, which cluster, which failure by which right. It lies in
//! the journal beside the entries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use catalog::{Failure, Implementation, Metadata, Origin};
use cluster::ClusterRef;
use gate::{Hazard, Policy, Power, Rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::Identity;

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Dossier {
    /// Who; none for a failure that was held by hand.
    pub(crate) identity: Option<Identity>,
    pub(crate) cluster: ClusterRef,
    pub(crate) params: BTreeMap<String, Value>,
    /// What the failure might, as it was when the case began.
    rules: Vec<Rule>,
    hazards: BTreeSet<Hazard>,
    subject: String,
    pub(crate) seed: u64,
}

impl Dossier {
    pub(crate) fn new(
        identity: Option<Identity>,
        cluster: ClusterRef,
        params: BTreeMap<String, Value>,
        policy: &Policy,
        seed: u64,
    ) -> Self {
        let (rules, hazards) = (policy.rules().to_vec(), policy.hazards().clone());
        Self { identity, cluster, params, rules, hazards, subject: policy.subject().to_owned(), seed }
    }

    /// What the failure may.
    pub(crate) fn policy(&self) -> Policy {
        let power = Power { rules: self.rules.clone(), hazards: self.hazards.clone() };
        Policy::from_power(power).with_subject(self.subject.clone())
    }
}

/// A failure as it is saved.
#[derive(Serialize, Deserialize)]
struct Package {
    metadata: Value,
    kind: String,
    component: Option<String>,
    files: BTreeMap<String, String>,
    digest: String,
}

/// A copy of the failure, whole.
pub(crate) fn pack(failure: &Failure) -> Vec<u8> {
    let component = match &failure.implementation {
        Implementation::Component(bytes) => Some(STANDARD.encode(bytes)),
        Implementation::Steps | Implementation::Script => None,
    };
    let package = Package {
        metadata: failure.metadata.to_json(),
        kind: failure.implementation.as_str().to_owned(),
        component,
        files: failure.files.iter().map(|(path, bytes)| (path.clone(), STANDARD.encode(bytes))).collect(),
        digest: failure.digest.clone(),
    };
    // Strings and a JSON value cannot fail to become JSON.
    serde_json::to_vec(&package).unwrap_or_default()
}

/// The failure of such a copy.
pub(crate) fn unpack(bytes: &[u8]) -> Result<Failure, String> {
    let package: Package = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let decode = |text: &String| STANDARD.decode(text).map(Arc::<[u8]>::from).map_err(|error| error.to_string());
    let metadata = Metadata::from_json("the saved metadata", &package.metadata).map_err(|error| error.to_string())?;
    let implementation = match (package.kind.as_str(), &package.component) {
        ("component", Some(bytes)) => Implementation::Component(decode(bytes)?),
        ("steps", None) => Implementation::Steps,
        ("script", None) => Implementation::Script,
        (kind, _) => return Err(format!("a failure of kind `{kind}` cannot be read")),
    };
    let files = package.files.iter().map(|(path, text)| Ok((path.clone(), decode(text)?)));
    let files = files.collect::<Result<BTreeMap<_, _>, String>>()?;
    let mut failure = Failure::new(metadata, implementation, files, Origin::Folder(PathBuf::new()));
    failure.digest = package.digest;
    Ok(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_failure_is_the_failure() {
        let library = catalog::Library::load(&[], builtin::failures());
        for failure in library.iter() {
            let back = unpack(&pack(failure)).expect("unpacks");
            assert_eq!(back.metadata, failure.metadata, "{}", failure.id());
            assert_eq!(back.implementation, failure.implementation);
            assert_eq!((back.files, back.digest), (failure.files.clone(), failure.digest.clone()));
        }
    }
}
