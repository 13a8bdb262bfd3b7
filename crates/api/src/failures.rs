//! Failures: what there is, what they say of themselves, trying one out, writing and building them.

use std::collections::BTreeMap;
use std::time::Duration;

use catalog::{Failure, Origin, Problem};
use engine::{Cancel, Held, SingleRequest};
use gate::Site;
use model::{Outcome, exit_code};
use serde::Serialize;
use serde_json::Value;

use crate::blast::{BlastRadius, NotGranted, not_granted};
use crate::cluster::write_private;
use crate::harness::shown;
use crate::{ApiError, Harness};

/// What stands for a cluster that a provisioner makes.
const MADE: &str = "a cluster made for the run";

/// A failure in a list.
#[derive(Clone, Debug, Serialize)]
pub struct FailureEntry {
    /// The name that matrices use.
    pub id: String,
    /// Of its metadata.
    pub version: String,
    /// One line for people.
    pub name: String,
    /// How bad it would be in the field.
    pub severity: String,
    /// Words for filters.
    pub tags: Vec<String>,
    /// `component`, `steps` or `script`.
    pub kind: String,
    /// `built in`, or the folder or file that it comes from.
    pub origin: String,
    /// `sha256:…` over the package.
    pub digest: String,
}

/// The failures that are there, and the folders that should hold one and do not.
#[derive(Clone, Debug, Default)]
pub struct FailureList {
    /// By id.
    pub failures: Vec<FailureEntry>,
    /// What is wrong with the others.
    pub problems: Vec<Problem>,
}

/// Everything about a failure.
#[derive(Clone, Debug, Serialize)]
pub struct FailureDetails {
    /// The name that matrices use.
    pub id: String,
    /// `component`, `steps` or `script`.
    pub kind: String,
    /// `built in`, or the folder or file that it comes from.
    pub origin: String,
    /// `sha256:…` over the package.
    pub digest: String,
    /// Its files besides the metadata.
    pub files: Vec<String>,
    /// Its metadata, whole.
    pub metadata: Value,
    /// The most that it can touch.
    pub blast_radius: BlastRadius,
    /// What it declares and nobody has granted: on a cluster that is made for the run, and on each that the grants file
    /// names.
    pub not_granted: Vec<NotGranted>,
}

/// One failure to be held on an embedded cluster, or an existing one.
#[derive(Clone, Debug, Default)]
pub struct FailureRun {
    /// Which.
    pub id: String,
    /// `K=V`, the value as JSON, or as text where it is no JSON.
    pub params: Vec<String>,
    /// How long; none: it is put back at once, and no kubeconfig is told.
    pub hold: Option<Duration>,
    /// On the existing cluster that this file leads to.
    pub kubeconfig: Option<String>,
    /// On the existing cluster of this context.
    pub context: Option<String>,
}

impl FailureRun {
    /// An embedded cluster, unless an existing one is named in any way.
    fn source(&self) -> cluster::Source<'_> {
        let existing = self.kubeconfig.is_some() || self.context.is_some();
        cluster::Source {
            provisioner: if existing { "stub" } else { "embedded" },
            template: None,
            kubeconfig: self.kubeconfig.as_deref(),
            context: self.context.as_deref(),
        }
    }
}

impl Harness {
    /// Every failure that can be used, by id.
    pub fn failures_list(&self) -> FailureList {
        let library = self.library();
        FailureList { failures: library.iter().map(entry).collect(), problems: library.problems().to_vec() }
    }

    /// One failure.
    ///
    /// # Errors
    /// There is none of this id, or its folder has errors.
    pub fn failures_show(&self, id: &str) -> Result<FailureDetails, ApiError> {
        let failure = self.failure(id)?;
        let grants = self.grants()?;
        let existing = grants.clusters.iter().map(|cluster| Site::existing(&cluster.context, &cluster.server));
        let sites = std::iter::once(Site::made(MADE)).chain(existing);
        let not_granted = sites.filter_map(|site| not_granted(&grants, failure, site)).collect();
        Ok(FailureDetails {
            id: failure.id().to_string(),
            kind: failure.implementation.as_str().to_owned(),
            origin: origin(&failure.origin),
            digest: failure.digest.clone(),
            files: failure.files.keys().cloned().collect(),
            metadata: failure.metadata.to_json(),
            blast_radius: BlastRadius::of(failure, &BTreeMap::new()),
            not_granted,
        })
    }

    /// Breaks a cluster with one failure, holds it broken, puts it back. `Held::Ready` tells the path of a
    /// kubeconfig, which is removed afterwards. What comes back is the exit code: 0, 11 when it did not take hold, 12
    /// when something was left, or that of the interruption.
    ///
    /// # Errors
    /// Unknown failure, wrong parameters, or a file that cannot be written.
    pub async fn failures_run(
        &self,
        run: FailureRun,
        mut tell: impl FnMut(Held) + Send,
        cancel: Cancel,
    ) -> Result<u8, ApiError> {
        let failure = self.failure(&run.id)?.clone();
        let params = params(&run.params)?;
        failure.resolve(&params, "c-check").map_err(|error| ApiError::input(format!("{}: {error}", run.id)))?;
        let provisioner = cluster::provisioner(&run.source()).map_err(|e| ApiError::input(e.to_string()))?;
        let site = cluster::site(provisioner.existing(), "local");
        self.grants()?.cluster(site).map_err(|error| ApiError::input(error.to_string()))?;
        let name = "local".parse().map_err(|error: model::IdError| ApiError::input(error.to_string()))?;
        let request = SingleRequest {
            setting: self.setting()?,
            failure,
            params,
            provisioner,
            cluster: name,
            namespace: None,
            seed: seed(),
            cancel: cancel.clone(),
        };
        let folder = tempfile::Builder::new().prefix("harness-").tempdir();
        let folder = folder.map_err(|error| ApiError::io("create a folder in", &std::env::temp_dir(), error))?;
        let path = folder.path().join("kubeconfig");
        let mut leaked = false;
        let mut unwritten = None;
        let hold = run.hold;
        let held = engine::hold(
            request,
            |held| match held {
                Held::Ready(_) if hold.is_none() => {}
                Held::Ready(kubeconfig) => match write_private(&path, &kubeconfig) {
                    Ok(()) => tell(Held::Ready(shown(&path))),
                    Err(error) => unwritten = Some(error),
                },
                Held::PutBack(leaks) => {
                    leaked = !leaks.is_empty();
                    tell(Held::PutBack(leaks));
                }
                other => tell(other),
            },
            async move { tokio::time::sleep(hold.unwrap_or_default()).await },
        )
        .await;
        match (held, unwritten, cancel.interrupted()) {
            _ if leaked => Ok(exit_code::LEAK),
            (_, _, Some(by)) => Ok(by.exit_code()),
            (_, Some(error), None) => Err(error),
            (Err(error), None, None) if error.outcome == Outcome::Skipped => {
                Err(ApiError::Unjudged(format!("skipped: {error}")))
            }
            (Err(error), None, None) => Err(ApiError::Unjudged(error.to_string())),
            (Ok(()), None, None) => Ok(exit_code::OK),
        }
    }

    /// A failure of the library; for one that has errors, these.
    pub(crate) fn failure(&self, id: &str) -> Result<&Failure, ApiError> {
        let library = self.library();
        if let Some(failure) = library.get(id) {
            return Ok(failure);
        }
        match library.problem(id) {
            Some(problem) => Err(ApiError::Invalid(problem.diagnostics.clone())),
            None => Err(ApiError::unknown("failure", id, &library.ids())),
        }
    }
}

fn entry(failure: &Failure) -> FailureEntry {
    let metadata = &failure.metadata;
    FailureEntry {
        id: failure.id().to_string(),
        version: metadata.version.to_string(),
        name: metadata.name.clone(),
        severity: metadata.severity.to_string(),
        tags: metadata.tags.clone(),
        kind: failure.implementation.as_str().to_owned(),
        origin: origin(&failure.origin),
        digest: failure.digest.clone(),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Builtin => "built in".to_owned(),
        Origin::Folder(path) | Origin::Wasm(path) => shown(path),
    }
}

/// `K=V` each.
fn params(written: &[String]) -> Result<BTreeMap<String, Value>, ApiError> {
    let mut params = BTreeMap::new();
    for text in written {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(ApiError::Usage(format!("`{text}` is no parameter: write NAME=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        if params.insert(name.to_owned(), value).is_some() {
            return Err(ApiError::Usage(format!("parameter `{name}` is given twice")));
        }
    }
    Ok(params)
}

/// A seed that differs from run to run.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_json_or_text() {
        let written = ["memory=40Mi", "replicas=3", "flag=true", "quoted=\"3\"", "empty=", "eq=a=b"];
        let params = params(&written.map(str::to_owned)).expect("parameters");
        assert_eq!(params["memory"], "40Mi");
        assert_eq!(params["replicas"], 3);
        assert_eq!(params["flag"], true);
        assert_eq!(params["quoted"], "3");
        assert_eq!(params["empty"], "");
        assert_eq!(params["eq"], "a=b");
        for wrong in [&["novalue"][..], &["=x"], &["a=1", "a=2"]] {
            let wrong: Vec<String> = wrong.iter().map(|text| (*text).to_owned()).collect();
            let error = super::params(&wrong).expect_err("refused");
            assert_eq!(error.exit_code(), model::exit_code::USAGE, "{wrong:?}");
        }
    }
}
