//! Putting back what a harness that was killed has left: by hand, and before each run.

use cluster::{Cluster, LeaseState, ProvisionRequest, Source, Swept};
use engine::{Done, RecoverRequest, Recovered, Recovery};
use model::exit_code;
use serde::Serialize;
use store::Store;

use crate::run::{reports, stored};
use crate::{ApiError, Harness};

/// What to recover.
#[derive(Clone, Debug, Default)]
pub struct RecoverInput {
    /// Only this run: an id, a unique prefix of one, or `latest`.
    pub run: Option<String>,
    /// What to do about what carries the label of a run that no journal here knows.
    pub orphans: Orphans,
    /// Where the clusters of the grants file are found; none: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<String>,
}

/// What to do about orphans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// Do not look for them.
    #[default]
    Ignore,
    /// List them.
    List,
    /// Remove them, where the Lease of their run has expired or is gone.
    Remove,
}

/// What a run, of this machine or another, has left on a cluster.
#[derive(Debug, Serialize)]
pub struct OrphanReport {
    /// The API server.
    pub cluster: String,
    /// The value of the label, which is the name of the run's Lease.
    pub label: String,
    /// `held` (its run is alive), `expired`, `absent`.
    pub lease: &'static str,
    /// Everything that carries the label.
    pub objects: Vec<String>,
    /// What was removed.
    pub removed: Vec<String>,
    /// What could not be removed, with the reason.
    pub left: Vec<String>,
}

/// A cluster that a process of this user made and left when it was killed.
#[derive(Debug, Serialize)]
pub struct LeftCluster {
    /// Its name, as `kind get clusters` prints it.
    pub name: String,
    /// `removed`, `failed` (tried again by the next recovery), `unclaimed` (it has a name of ours, and nobody here has
    /// made it; it is not touched).
    pub result: &'static str,
    /// Why it failed.
    pub why: Option<String>,
}

/// What a recovery found and did.
#[derive(Debug, Serialize)]
pub struct RecoverReport {
    /// Every case that was left.
    pub cases: Vec<RecoveredCase>,
    /// Runs that had no end and have one now.
    pub runs: Vec<String>,
    /// Clusters that were made and left.
    pub clusters: Vec<LeftCluster>,
    /// What runs have left on the clusters of the grants file that no journal here knows.
    pub orphans: Vec<OrphanReport>,
    /// 0 when nothing is left, 12 when something is.
    pub exit_code: u8,
    /// What could not be written afterwards.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// One case that was left.
#[derive(Debug, Serialize)]
pub struct RecoveredCase {
    /// The run.
    pub run: String,
    /// The case.
    pub case: String,
    /// The API server.
    pub cluster: String,
    /// `put_back`, `leaked`, `failed` (tried again by the next recovery), `live` (its run is still at work).
    pub result: &'static str,
    /// What is left, or why it failed.
    pub left: Vec<String>,
}

impl From<&Recovered> for RecoveredCase {
    fn from(one: &Recovered) -> Self {
        let (result, left) = match &one.how {
            Recovery::PutBack => ("put_back", Vec::new()),
            Recovery::Leaked(leaks) => {
                let line = |leak: &model::Leak| format!("{} is {}", leak.object, leak.what);
                ("leaked", leaks.iter().map(line).collect())
            }
            Recovery::Failed(why) => ("failed", vec![why.clone()]),
            Recovery::Live => ("live", Vec::new()),
        };
        Self { run: one.run.clone(), case: one.case.clone(), cluster: one.cluster.clone(), result, left }
    }
}

impl From<Swept> for LeftCluster {
    fn from(swept: Swept) -> Self {
        let why = swept.removed.err().map(|error| error.to_string());
        Self { name: swept.name, result: if why.is_some() { "failed" } else { "removed" }, why }
    }
}

impl LeftCluster {
    fn unclaimed(name: String) -> Self {
        Self { name, result: "unclaimed", why: None }
    }
}

impl Harness {
    /// Puts back what runs that were killed have left on clusters that outlived them, ends those runs, and removes the
    /// clusters that they had made. Doing it again
    /// does no harm. `tell` hears of each case as it is done.
    ///
    /// # Errors
    /// The journal or the results cannot be read or written, or there is no such run.
    pub async fn recover(
        &self,
        input: RecoverInput,
        mut tell: impl FnMut(&RecoveredCase) + Send,
    ) -> Result<RecoverReport, ApiError> {
        let mut report = RecoverReport {
            cases: Vec::new(),
            runs: Vec::new(),
            clusters: Vec::new(),
            orphans: Vec::new(),
            exit_code: exit_code::OK,
            warnings: Vec::new(),
        };
        if let Some(store) = Store::open_existing(&self.config.results_dir)? {
            self.recover_runs(&store, input.run.as_deref(), &mut tell, &mut report).await?;
        }
        report.clusters = cluster::sweep().await.into_iter().map(LeftCluster::from).collect();
        if input.orphans != Orphans::Ignore {
            self.orphans(&input, &mut report).await?;
            match cluster::unclaimed().await {
                Ok(names) => report.clusters.extend(names.into_iter().map(LeftCluster::unclaimed)),
                Err(error) => report.warnings.push(error.to_string()),
            }
        }
        let dirty = report.cases.iter().any(|one| matches!(one.result, "leaked" | "failed"))
            || report.clusters.iter().any(|one| one.result == "failed");
        if dirty || report.orphans.iter().any(|orphan| !orphan.left.is_empty()) {
            report.exit_code = exit_code::LEAK;
        }
        Ok(report)
    }

    async fn recover_runs(
        &self,
        store: &Store,
        run: Option<&str>,
        tell: &mut (impl FnMut(&RecoveredCase) + Send),
        report: &mut RecoverReport,
    ) -> Result<(), ApiError> {
        // Killed runs may have a directory and no row yet.
        store.abandoned()?;
        let run = run.map(|run| store.resolve(run).map(|run| run.to_string())).transpose()?;
        let request = RecoverRequest { setting: self.setting()?, store: store.clone(), run };
        let Done { cases, runs } = engine::recover(request, |one| tell(&one.into())).await?;
        for run in &runs {
            report.warnings.extend(reports(&stored(store, run)?, None));
        }
        report.cases = cases.iter().map(RecoveredCase::from).collect();
        report.runs = runs.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// Looks at every cluster that the grants file names; one that does not answer is a warning.
    async fn orphans(&self, input: &RecoverInput, report: &mut RecoverReport) -> Result<(), ApiError> {
        for named in &self.grants()?.clusters {
            let source = Source {
                provisioner: "stub",
                template: None,
                kubeconfig: input.kubeconfig.as_deref(),
                context: Some(&named.context),
            };
            let found = async {
                let provisioner = cluster::provisioner(&source).map_err(|error| error.to_string())?;
                let asked = ProvisionRequest { name: named.context.clone(), seed: 0 };
                let cluster = provisioner.provision(asked).await.map_err(|error| error.to_string())?;
                one_cluster(&cluster, input.orphans).await
            };
            match found.await {
                Ok(orphans) => report.orphans.extend(orphans),
                Err(why) => report.warnings.push(format!("context `{}`: {why}", named.context)),
            }
        }
        Ok(())
    }
}

async fn one_cluster(cluster: &Cluster, wanted: Orphans) -> Result<Vec<OrphanReport>, String> {
    let client = cluster.client();
    let server = cluster.reference.as_ref().map(|reference| reference.server.clone()).unwrap_or_default();
    let mut reports = Vec::new();
    for orphan in cluster::orphans(&client).await.map_err(|error| error.to_string())? {
        let (lease, dead) = match orphan.lease {
            LeaseState::Held { .. } => ("held", false),
            LeaseState::Expired => ("expired", true),
            LeaseState::Absent => ("absent", true),
        };
        let mut report = OrphanReport {
            cluster: server.clone(),
            lease,
            objects: orphan.objects.iter().map(ToString::to_string).collect(),
            removed: Vec::new(),
            left: Vec::new(),
            label: orphan.label,
        };
        if wanted == Orphans::Remove && dead {
            let removed = cluster::remove_orphans(&client, &report.label).await.map_err(|error| error.to_string())?;
            report.removed = removed.removed.iter().map(ToString::to_string).collect();
            report.left = removed.left.iter().map(|(key, why)| format!("{key}: {why}")).collect();
        }
        reports.push(report);
    }
    Ok(reports)
}
