//! The clusters of a run: made when first needed, looked at before each case, shared by cases or kept apart, replaced
//! when they are no longer fit, given back in the end. What cases do on them is not known here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::{Cluster, ProvisionError, ProvisionRequest, Provisioner};
use futures::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::record::End;

/// So many clusters in a row that could not be made, and no more are tried: each may take minutes.
const TRIES: u32 = 3;
/// Beyond what a provisioner says that it takes: it cleans up after itself by then.
const BEYOND: Duration = Duration::from_secs(30);

/// See the module. Lanes are the clusters of the matrix, by number.
#[derive(Debug)]
pub(crate) struct Pool {
    lanes: Vec<Lane>,
    /// Of the names of what is made.
    prefix: String,
    made: AtomicU32,
    /// What is being made, by name: whoever waited for it may have gone.
    in_the_making: Mutex<BTreeMap<String, Arc<dyn Provisioner>>>,
}

#[derive(Debug)]
struct Lane {
    id: String,
    provisioner: Arc<dyn Provisioner>,
    state: AsyncMutex<State>,
    /// Told when the last user of a cluster that must go has gone.
    unused: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The one that cases share, one after another or at a time.
    shared: Option<Arc<Cluster>>,
    users: u32,
    /// It gets no more cases, and goes when nobody uses it any more.
    condemned: bool,
    /// How many could not be made in a row.
    failed: u32,
    /// Why none is tried any more.
    given_up: Option<String>,
}

/// Why a cluster could not be made.
struct NotMade {
    why: String,
    /// Trying again would come to the same.
    for_good: bool,
}

impl From<ProvisionError> for NotMade {
    fn from(error: ProvisionError) -> Self {
        Self { why: error.to_string(), for_good: error.is_input() }
    }
}

impl Pool {
    /// A pool for the clusters of a matrix, by id. `label` is the run's.
    pub(crate) fn new(label: &str, lanes: impl IntoIterator<Item = (String, Arc<dyn Provisioner>)>) -> Self {
        let lane = |(id, provisioner)| Lane { id, provisioner, state: AsyncMutex::default(), unused: Notify::new() };
        Self {
            lanes: lanes.into_iter().map(lane).collect(),
            prefix: format!("harness-{label}"),
            made: AtomicU32::new(0),
            in_the_making: Mutex::default(),
        }
    }

    /// Whether cases of this lane get one and the same cluster, after each other or at a time.
    pub(crate) fn is_shared(&self, lane: usize) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.provisioner.reusable())
    }

    /// Whether no cluster of this lane is tried any more.
    pub(crate) async fn has_given_up(&self, lane: usize) -> bool {
        match self.lanes.get(lane) {
            Some(lane) => lane.state.lock().await.given_up.is_some(),
            None => true,
        }
    }

    /// A cluster that is fit for a case now. It must be given back. The future may be dropped.
    pub(crate) async fn lease(&self, lane: usize, seed: u64) -> Result<Arc<Cluster>, End> {
        let lane = self.lanes.get(lane).ok_or_else(|| End::infrastructure("there is no such cluster"))?;
        let result =
            if lane.provisioner.reusable() { self.share(lane, seed).await } else { self.own(lane, seed).await };
        result.map_err(End::no_cluster)
    }

    /// One for this case alone.
    async fn own(&self, lane: &Lane, seed: u64) -> Result<Arc<Cluster>, String> {
        if let Some(why) = &lane.state.lock().await.given_up {
            return Err(why.clone());
        }
        let made = self.make(lane, seed).await;
        lane.state.lock().await.count(lane, made).map(Arc::new)
    }

    /// The one that all cases of the lane use. While it is made or looked at, others wait.
    async fn share(&self, lane: &Lane, seed: u64) -> Result<Arc<Cluster>, String> {
        loop {
            let unused = lane.unused.notified();
            let mut state = lane.state.lock().await;
            if let Some(why) = &state.given_up {
                return Err(why.clone());
            }
            if let Some(shared) = state.shared.clone() {
                if !state.condemned {
                    match lane.provisioner.status(&shared).await {
                        Ok(()) => {
                            state.users += 1;
                            return Ok(shared);
                        }
                        Err(error) if !shared.disposable => return Err(error.to_string()),
                        Err(error) => {
                            tracing::warn!(%error, cluster = lane.id, "a cluster is no longer fit and is replaced");
                            state.condemned = true;
                        }
                    }
                }
                drop(shared);
                if state.users > 0 {
                    drop(state);
                    unused.await;
                    continue;
                }
                if let Err(error) = lane.remove(&mut state).await {
                    tracing::warn!(%error, cluster = lane.id, "a cluster that is no longer fit could not be removed");
                }
            }
            let made = self.make(lane, seed).await;
            let cluster = Arc::new(state.count(lane, made)?);
            state.shared = Some(Arc::clone(&cluster));
            state.users = 1;
            return Ok(cluster);
        }
    }

    async fn make(&self, lane: &Lane, seed: u64) -> Result<Cluster, NotMade> {
        let name = format!("{}-{}", self.prefix, self.made.fetch_add(1, Ordering::Relaxed));
        let provisioner = &lane.provisioner;
        self.making().insert(name.clone(), Arc::clone(provisioner));
        let request = ProvisionRequest { name: name.clone(), seed };
        let patience = provisioner.patience() + BEYOND;
        let made = match tokio::time::timeout(patience, provisioner.provision(request)).await {
            Ok(made) => made.map_err(NotMade::from),
            Err(_) => {
                let left = provisioner.abandon(&name).await.err().map(|error| format!("; {error}"));
                let why = format!("no cluster within {} s{}", patience.as_secs(), left.unwrap_or_default());
                Err(NotMade { why, for_good: false })
            }
        };
        self.making().remove(&name);
        made
    }

    fn making(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<dyn Provisioner>>> {
        self.in_the_making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The case has ended and its scene is gone. One that is not `fit` is never used again. What comes back is what could
    /// not be removed.
    pub(crate) async fn give_back(&self, lane: usize, cluster: Arc<Cluster>, fit: bool) -> Result<(), ProvisionError> {
        let Some(lane) = self.lanes.get(lane) else { return Ok(()) };
        if !lane.provisioner.reusable() {
            return lane.end(cluster).await;
        }
        let mut state = lane.state.lock().await;
        state.users = state.users.saturating_sub(1);
        state.condemned |= !fit && cluster.disposable;
        drop(cluster);
        if state.users > 0 {
            return Ok(());
        }
        let removed = if state.condemned { lane.remove(&mut state).await } else { Ok(()) };
        lane.unused.notify_waiters();
        removed
    }

    /// Nothing more happens on this cluster of the matrix.
    pub(crate) async fn retire(&self, lane: usize) -> Result<(), ProvisionError> {
        match self.lanes.get(lane) {
            Some(lane) => lane.remove(&mut *lane.state.lock().await).await,
            None => Ok(()),
        }
    }

    /// Removes everything that is still there, also what nobody waited for. What comes back are the problems.
    pub(crate) async fn close(&self) -> Vec<String> {
        let unwanted = std::mem::take(&mut *self.making());
        let unwanted = unwanted.iter().map(|(name, provisioner)| provisioner.abandon(name));
        let retired = (0..self.lanes.len()).map(|lane| self.retire(lane));
        let (retired, unwanted) = futures::join!(join_all(retired), join_all(unwanted));
        retired.into_iter().chain(unwanted).filter_map(|done| Some(done.err()?.to_string())).collect()
    }
}

impl Lane {
    /// Removes the shared one; nobody uses it.
    async fn remove(&self, state: &mut State) -> Result<(), ProvisionError> {
        state.condemned = false;
        match state.shared.take() {
            Some(cluster) => self.end(cluster).await,
            None => Ok(()),
        }
    }

    async fn end(&self, cluster: Arc<Cluster>) -> Result<(), ProvisionError> {
        match Arc::try_unwrap(cluster) {
            Ok(cluster) => self.provisioner.teardown(cluster).await,
            // Whoever still looks at it does not keep it: its provisioner knows it by name.
            Err(cluster) => self.provisioner.abandon(&cluster.name).await,
        }
    }
}

impl State {
    fn count<T>(&mut self, lane: &Lane, made: Result<T, NotMade>) -> Result<T, String> {
        match made {
            Ok(cluster) => {
                self.failed = 0;
                Ok(cluster)
            }
            Err(NotMade { why, for_good }) => {
                self.failed += 1;
                if self.failed >= TRIES || for_good {
                    let tries =
                        if self.failed == 1 { "once".to_owned() } else { format!("{} times in a row", self.failed) };
                    self.given_up = Some(format!(
                        "cluster `{}` could not be had {tries}, and is not tried any more: {why}",
                        lane.id
                    ));
                }
                Err(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cluster::EmbeddedProvisioner;
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use model::ClusterKind;
    use proptest::prelude::*;

    use super::*;

    /// Makes embedded clusters, or does not, as the script says; each is there until it is removed.
    #[derive(Debug)]
    struct Scripted {
        reusable: bool,
        up: Mutex<BTreeSet<String>>,
        made: Mutex<Vec<bool>>,
        fit: Mutex<Vec<bool>>,
    }

    impl Scripted {
        fn next(script: &Mutex<Vec<bool>>) -> bool {
            script.lock().expect("a script").pop().unwrap_or(true)
        }

        fn up(&self) -> BTreeSet<String> {
            self.up.lock().expect("the clusters").clone()
        }
    }

    fn refused() -> ProvisionError {
        ProvisionError::Refused { command: "as the script says".into(), said: String::new() }
    }

    impl Provisioner for Scripted {
        fn kind(&self) -> ClusterKind {
            ClusterKind::Embedded
        }

        fn reusable(&self) -> bool {
            self.reusable
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(30)
        }

        fn provision(&self, request: ProvisionRequest) -> BoxFuture<'_, Result<Cluster, ProvisionError>> {
            async move {
                if !Self::next(&self.made) {
                    return Err(refused());
                }
                self.up.lock().expect("the clusters").insert(request.name.clone());
                EmbeddedProvisioner.provision(request).await
            }
            .boxed()
        }

        fn status<'a>(&'a self, _: &'a Cluster) -> BoxFuture<'a, Result<(), ProvisionError>> {
            let fit = if Self::next(&self.fit) { Ok(()) } else { Err(refused()) };
            async { fit }.boxed()
        }

        fn teardown(&self, cluster: Cluster) -> BoxFuture<'_, Result<(), ProvisionError>> {
            async move { self.abandon(&cluster.name).await }.boxed()
        }

        fn abandon<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), ProvisionError>> {
            self.up.lock().expect("the clusters").remove(name);
            async { Ok(()) }.boxed()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Lease,
        GiveBack(prop::sample::Index, bool),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let back =
            (any::<prop::sample::Index>(), prop::bool::weighted(0.7)).prop_map(|(at, fit)| Step::GiveBack(at, fit));
        prop::collection::vec(prop_oneof![Just(Step::Lease), back], 0..14)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whoever asks gets a cluster that is there and fit, or is refused, or waits for one that others still use and that
        /// must go; those that are kept apart are never shared; in the end none is left.
        #[test]
        fn a_requirement_is_met_or_refused(
            reusable in any::<bool>(),
            steps in steps(),
            made in prop::collection::vec(prop::bool::weighted(0.7), 0..10),
            fit in prop::collection::vec(prop::bool::weighted(0.7), 0..10),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let provisioner =
                    Arc::new(Scripted { reusable, up: Mutex::default(), made: Mutex::new(made), fit: Mutex::new(fit) });
                let pool = Pool::new("r-1", [("c".to_owned(), Arc::clone(&provisioner) as Arc<dyn Provisioner>)]);
                let mut leased: Vec<Arc<Cluster>> = Vec::new();
                // It must go as soon as nobody uses it; until then nobody gets it.
                let mut condemned = false;
                for step in steps {
                    match step {
                        Step::Lease => {
                            // One that others have already is there at once, or has to go first.
                            let patience = if reusable && !leased.is_empty() { 100 } else { 20_000 };
                            let asked = tokio::time::timeout(Duration::from_millis(patience), pool.lease(0, 1));
                            match asked.await {
                                Ok(Ok(cluster)) => {
                                    assert!(!condemned || leased.is_empty());
                                    condemned = false;
                                    assert!(provisioner.up().contains(&cluster.name));
                                    let same = leased.iter().all(|other| other.name == cluster.name);
                                    assert!(leased.is_empty() || same == reusable, "{leased:?} {cluster:?}");
                                    leased.push(cluster);
                                }
                                Ok(Err(end)) => assert!(!end.message.is_empty()),
                                Err(_) => {
                                    assert!(reusable && !leased.is_empty(), "nobody waits for nothing");
                                    condemned = true;
                                }
                            }
                        }
                        Step::GiveBack(at, fit) if !leased.is_empty() => {
                            let cluster = leased.swap_remove(at.index(leased.len()));
                            condemned = reusable && (condemned || !fit) && !leased.is_empty();
                            pool.give_back(0, cluster, fit).await.expect("removed");
                            assert!(reusable || provisioner.up().len() == leased.len());
                        }
                        Step::GiveBack(..) => {}
                    }
                }
                for cluster in leased {
                    pool.give_back(0, cluster, true).await.expect("removed");
                }
                assert_eq!(pool.close().await, Vec::<String>::new());
                assert_eq!(provisioner.up(), BTreeSet::new());
            });
        }
    }
}
