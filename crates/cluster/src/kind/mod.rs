//! Kubernetes in Docker, by the program `kind`. Its clusters outlive this process, so each is claimed on disk before it is
//! made; one that was left is found by its claim and deleted by its name. The kubeconfig is read once and removed: the way
//! in stays in this process, like that into an embedded cluster.

mod host;
mod program;
mod said;
mod template;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::WallClock;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use model::{ClusterKind, Endpoints};

use crate::claim::{Claim, Made};
use crate::{Address, Cluster, NAME_PREFIX, ProvisionError, ProvisionRequest, Provisioner, Swept, connect, kubeconfig};
use program::{Ended, PROGRAM, Unended, run};
use said::{create_failed, delete_failed};
use template::Template;

pub use host::{KindHost, KindTimes};

/// Between two looks at a cluster that is not ready yet.
const AGAIN: Duration = Duration::from_millis(500);
/// How often, and how far apart, a claim that is held is tried.
const ROUNDS: u32 = 5;
const A_MOMENT: Duration = Duration::from_millis(50);
/// The longest name with which the names of its nodes are host names still (`clusterNameMax` in kind's create.go).
const LONGEST: usize = 50;

/// Makes kind clusters.
#[derive(Clone, Debug)]
pub struct KindProvisioner {
    template: Template,
    host: KindHost,
}

impl KindProvisioner {
    /// A provisioner of this template: a node image `kindest/node:v…`, the name of a configuration in
    /// [`KindHost::templates`], or what `kind` makes without being told. Does not look for the program.
    ///
    /// # Errors
    /// [`ProvisionError::Template`].
    pub fn for_template(template: Option<&str>, host: KindHost) -> Result<Self, ProvisionError> {
        let template = Template::named(template, host.templates.as_deref())?;
        Ok(Self { template, host })
    }

    /// Makes it and checks that it works. Whatever error comes back, something may be there.
    async fn make(&self, claim: &Claim) -> Result<Cluster, ProvisionError> {
        let name = claim.name();
        let times = &self.host.times;
        let wait = format!("{}s", times.wait.as_secs());
        let mut args: Vec<OsString> = ["create", "cluster", "--name", name, "--wait", &wait].map(Into::into).into();
        args.extend(["--kubeconfig".into(), claim.kubeconfig().into()]);
        args.extend(self.template.args());
        let note = |id| {
            if let Err(error) = claim.made_by(id) {
                tracing::warn!(%error, "who makes a cluster could not be written down");
            }
        };
        match run(&self.host, &args, times.create, note).await {
            Ok(ended) if ended.status.success() => {}
            Ok(ended) => return Err(create_failed(name, &ended)),
            Err(Unended::NotStarted(error)) => return Err(error),
            Err(Unended::TimedOut(said)) => {
                return Err(ProvisionError::CreateHung { name: name.to_owned(), after: times.create, said });
            }
        }
        let connected = self.connect(claim).await;
        claim.remove_kubeconfig();
        connected.map_err(|error| ProvisionError::NotReady { name: name.to_owned(), why: Box::new(error) })
    }

    /// kind ends well although the cluster was not ready in the time that it waited (`waitforready.go`).
    async fn connect(&self, claim: &Claim) -> Result<Cluster, ProvisionError> {
        let (_, reference) = kubeconfig::read(&claim.kubeconfig(), None)?;
        let client = connect::client(&reference).await?;
        let address = Address { server: reference.server, context: reference.context };
        let end = Instant::now() + self.host.times.ready;
        while let Err(error) = connect::ready(&client, &address).await {
            if Instant::now() + AGAIN > end {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        }
        Ok(Cluster {
            kind: ClusterKind::Kind,
            upstream: gate::upstream(client),
            clock: Arc::new(WallClock),
            endpoints: Endpoints::default(),
            name: claim.name().to_owned(),
            reference: None,
            disposable: true,
            freeze: None,
            address,
            _owned: None,
        })
    }

    /// Removes what there may be after an error, and says so where that does not work.
    async fn cleaned(&self, claim: &Claim, error: ProvisionError) -> ProvisionError {
        let removed = match &error {
            // These come before anything is made; and a cluster that was there before is not ours.
            ProvisionError::Missing { .. }
            | ProvisionError::NotStarted { .. }
            | ProvisionError::Engine { .. }
            | ProvisionError::Image { .. }
            | ProvisionError::NameTaken { .. } => claim.forget(),
            _ => delete(&self.host, claim).await,
        };
        match removed {
            Ok(()) => error,
            Err(left) => ProvisionError::Left { error: Box::new(error), left: Box::new(left) },
        }
    }
}

impl Provisioner for KindProvisioner {
    fn kind(&self) -> ClusterKind {
        ClusterKind::Kind
    }

    fn reusable(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        let times = &self.host.times;
        times.create + times.ready + times.delete + connect::PATIENCE
    }

    fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
        async move {
            let claims = self.host.claims()?;
            let name = checked(&request.name, claims)?;
            let made = Made { by: PROGRAM.to_owned(), env: self.host.engine() };
            let claim = Claim::take(claims, name, &made)?;
            match self.make(&claim).await {
                Ok(cluster) => Ok(Cluster { _owned: Some(Box::new(claim)), ..cluster }),
                Err(error) => Err(self.cleaned(&claim, error).await),
            }
        }
        .boxed()
    }

    fn teardown(&self, cluster: Cluster) -> BoxFuture<'_, Result<(), ProvisionError>> {
        async move {
            // Its claim is held until it is gone.
            let claim = Claim::of(self.host.claims()?, &cluster.name);
            delete(&self.host, &claim).await
        }
        .boxed()
    }

    fn abandon<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ProvisionError>> {
        async move {
            let claims = self.host.claims()?;
            let name = checked(name, claims)?;
            // What has no claim was never begun.
            if !Claim::names(claims).is_ok_and(|names| names.iter().any(|claimed| claimed == name)) {
                return Ok(());
            }
            let held = Claim::take_over(claims, name).ok().flatten();
            let claim = held.unwrap_or_else(|| Claim::of(claims, name));
            claim.end_maker();
            delete(&self.host, &claim).await
        }
        .boxed()
    }
}

impl KindHost {
    /// Deletes every cluster that was claimed here and whose owner is gone, side by side. See [`crate::sweep`].
    pub async fn sweep(&self) -> Vec<Swept> {
        let Some(claims) = self.claims.as_deref() else { return Vec::new() };
        let names = Claim::names(claims).unwrap_or_else(|error| {
            tracing::warn!(%error, "what earlier runs have left cannot be read");
            Vec::new()
        });
        let left = left(claims, names).await;
        let swept = left.into_iter().map(|claim| async move {
            claim.end_maker();
            // It is deleted where it was made, wherever this process would make one.
            let there = claim.made().map_or_else(|| self.clone(), |made| self.with_engine(made.env));
            Swept { name: claim.name().to_owned(), removed: delete(&there, &claim).await }
        });
        join_all(swept).await
    }

    /// See [`crate::unclaimed`].
    ///
    /// # Errors
    /// As there.
    pub async fn unclaimed(&self) -> Result<Vec<String>, ProvisionError> {
        let command = || "kind get clusters".to_owned();
        let time = self.times.list;
        let ended = match run(self, &["get", "clusters"], time, |_| {}).await {
            Ok(ended) => ended,
            Err(Unended::NotStarted(ProvisionError::Missing { .. })) => return Ok(Vec::new()),
            Err(Unended::NotStarted(error)) => return Err(error),
            Err(Unended::TimedOut(said)) => {
                return Err(ProvisionError::Silent { command: command(), after: time, said });
            }
        };
        let Ended { status, stdout, said } = ended;
        if !status.success() {
            return Err(ProvisionError::Refused { command: command(), said });
        }
        // Read after they were listed: whoever makes one meanwhile has claimed it before.
        let claimed = Claim::names(self.claims()?).unwrap_or_default();
        let ours = stdout.lines().map(str::trim).filter(|name| name.starts_with(NAME_PREFIX));
        Ok(ours.filter(|name| !claimed.iter().any(|claim| claim == name)).map(str::to_owned).collect())
    }
}

/// Takes over what nobody holds. A lock may be held for a moment by nobody who counts: a child of its owner that has not
/// become its program yet.
async fn left(claims: &Path, mut names: Vec<String>) -> Vec<Claim> {
    let mut left = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 && !names.is_empty() {
            tokio::time::sleep(A_MOMENT).await;
        }
        names.retain(|name| match Claim::take_over(claims, name) {
            Ok(Some(claim)) => {
                left.push(claim);
                false
            }
            Ok(None) => true,
            Err(error) => {
                tracing::warn!(%error, name, "what is noted of a cluster cannot be read");
                false
            }
        });
    }
    left
}

/// `kind delete cluster`, which is content where there is none. The claim goes with it.
async fn delete(host: &KindHost, claim: &Claim) -> Result<(), ProvisionError> {
    let (name, time) = (claim.name().to_owned(), host.times.delete);
    claim.remove_kubeconfig();
    let mut args: Vec<OsString> = ["delete", "cluster", "--name", &name].map(Into::into).into();
    args.extend(["--kubeconfig".into(), claim.kubeconfig().into()]);
    match run(host, &args, time, |_| {}).await {
        Ok(ended) if ended.status.success() => claim.forget(),
        Ok(ended) => Err(delete_failed(&name, &ended)),
        Err(Unended::NotStarted(error)) => Err(ProvisionError::DeleteFailed { name, said: error.to_string() }),
        Err(Unended::TimedOut(said)) => Err(ProvisionError::DeleteHung { name, after: time, said }),
    }
}

/// A name is part of a path and of a command.
fn checked<'a>(name: &'a str, claims: &Path) -> Result<&'a str, ProvisionError> {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label =
        (1..=LONGEST).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('-') && !name.ends_with('-');
    if is_label {
        return Ok(name);
    }
    let why = format!("`{name}` is no DNS label of at most {LONGEST} characters");
    Err(ProvisionError::Claim { path: claims.to_owned(), why })
}
