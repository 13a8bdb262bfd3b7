//! Leases and orphans on an embedded cluster, by a clock that the test drives.

use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt};

use super::*;
use crate::manual_clock::ManualClock;
use crate::{Cluster, EmbeddedProvisioner, ProvisionRequest, Provisioner};

struct There {
    cluster: Cluster,
    client: kube::Client,
    clock: Arc<ManualClock>,
    /// While set, the cluster answers nobody.
    gone: Arc<AtomicBool>,
}

impl There {
    async fn start() -> Self {
        let cluster =
            EmbeddedProvisioner.provision(ProvisionRequest { name: "c".into(), seed: 1 }).await.expect("a cluster");
        let gone = Arc::new(AtomicBool::new(false));
        let (upstream, away) = (cluster.upstream.clone(), Arc::clone(&gone));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let (upstream, away) = (upstream.clone(), Arc::clone(&away));
            async move {
                if away.load(Ordering::SeqCst) {
                    return Err(BoxError::from("the cluster is away"));
                }
                upstream.oneshot(request).await
            }
        });
        let client = kube::Client::new(service, "default");
        Self { cluster: cluster, client, clock: Arc::new(ManualClock::new()), gone }
    }

    fn leases(&self) -> Leases {
        Leases::new(self.client.clone(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    fn reaper(&self) -> Reaper {
        Reaper::new(self.client.clone(), Arc::clone(&self.clock) as Arc<dyn Clock>)
    }

    async fn hold(&self, name: &str) -> Result<RunLease, LeaseError> {
        RunLease::hold_by(self.leases(), name, "me").await
    }

    async fn state(&self, name: &str) -> LeaseState {
        self.leases().state(name).await.expect("a state")
    }

    /// Until a renewal has arrived; it is on a task of its own.
    async fn until_held_for(&self, name: &str, seconds: i64) {
        let waits = async {
            loop {
                match self.state(name).await {
                    LeaseState::Held { until, .. } if (until - self.clock.now()).get_seconds() == seconds => return,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("a renewal");
    }

    async fn post(&self, path: &str, object: Value) {
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(object.to_string().into_bytes()).expect("a request");
        self.client.request::<Value>(request).await.expect(path);
    }

    async fn is_there(&self, path: &str) -> bool {
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        self.client.request::<Value>(request).await.is_ok()
    }

    /// Something of a run in every place where there can be something.
    async fn leave(&self, label: &str) {
        let labels = json!({LABEL: label});
        let namespace = format!("c-{label}");
        self.post("/api/v1/namespaces", json!({"metadata": {"name": namespace, "labels": labels}})).await;
        let inside = json!({"metadata": {"name": "settings", "labels": labels}, "data": {"a": "b"}});
        self.post(&format!("/api/v1/namespaces/{namespace}/configmaps"), inside).await;
        let outside = json!({"metadata": {"name": format!("settings-{label}"), "labels": labels}});
        self.post("/api/v1/namespaces/default/configmaps", outside.clone()).await;
        self.post("/apis/scheduling.k8s.io/v1/priorityclasses", {
            let mut class = outside;
            class["value"] = json!(5);
            class
        })
        .await;
    }

    /// Drives the clock while something waits for it; the cluster's own hurries meanwhile.
    async fn driven<T>(&self, work: impl Future<Output = T>) -> T {
        let _hurry = self.cluster.clock.hurry();
        let drive = async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.clock.advance(Duration::from_secs(1));
            }
        };
        tokio::select! {
            done = work => done,
            () = drive => unreachable!("it drives for ever"),
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_until_it_is_released() {
    let there = There::start().await;
    assert_eq!(there.state("run-1").await, LeaseState::Absent);
    let lease = there.hold("run-1").await.expect("held");
    let until = there.clock.now() + MINUTE;
    assert_eq!(there.state("run-1").await, LeaseState::Held { holder: "me".into(), until });
    for _ in 0..5 {
        there.clock.advance(RENEW);
        there.until_held_for("run-1", 60).await;
    }
    let stored: Lease = Api::namespaced(there.client.clone(), NAMESPACE).get("run-1").await.expect("there");
    assert_eq!(stored.metadata.labels.expect("labels")[LABEL], "run-1");
    assert_eq!(stored.spec.expect("a spec").lease_duration_seconds, Some(60));
    assert_eq!(lease.name(), "run-1");
    lease.release().await.expect("released");
    assert_eq!(there.state("run-1").await, LeaseState::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_holds_it_and_another_takes_it_when_it_has_expired() {
    let there = There::start().await;
    let first = there.hold("run-1").await.expect("held");
    let error = there.hold("run-1").await.expect_err("held by another");
    assert!(matches!(&error, LeaseError::Held { holder, .. } if holder == "me"), "{error}");
    drop(first);
    // Dropping is no release: the process may have been killed as well.
    there.clock.advance(MINUTE - Duration::from_secs(1));
    assert!(there.hold("run-1").await.is_err());
    there.clock.advance(Duration::from_secs(1));
    assert_eq!(there.state("run-1").await, LeaseState::Expired);
    let both = futures::future::join(there.hold("run-1"), there.hold("run-1")).await;
    assert_eq!([both.0.is_ok(), both.1.is_ok()].iter().filter(|taken| **taken).count(), 1, "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_acluster_that_is_away_and_a_hand_that_deletes_it() {
    let there = There::start().await;
    let lease = there.hold("run-1").await.expect("held");
    there.gone.store(true, Ordering::SeqCst);
    there.driven(tokio::time::sleep(Duration::from_millis(100))).await;
    there.gone.store(false, Ordering::SeqCst);
    there.driven(there.until_renewed("run-1")).await;
    let api: Api<Lease> = Api::namespaced(there.client.clone(), NAMESPACE);
    api.delete("run-1", &DeleteParams::default()).await.expect("deleted");
    there.driven(there.until_renewed("run-1")).await;
    lease.release().await.expect("released");
}

impl There {
    async fn until_renewed(&self, name: &str) {
        let before = self.clock.now();
        let waits = async {
            loop {
                match self.state(name).await {
                    LeaseState::Held { until, .. } if until > before + MINUTE => return,
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waits).await.expect("a renewal");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_listed_by_run_with_the_state_of_its_lease() {
    let there = There::start().await;
    assert_eq!(there.reaper().list().await.expect("listed"), []);
    there.leave("dead").await;
    there.leave("alive").await;
    let _alive = there.hold("alive").await.expect("held");
    let orphans = there.reaper().list().await.expect("listed");
    let [alive, dead] = orphans.as_slice() else { panic!("{orphans:?}") };
    assert_eq!((alive.label.as_str(), dead.label.as_str()), ("alive", "dead"));
    assert!(matches!(alive.lease, LeaseState::Held { .. }));
    assert_eq!(dead.lease, LeaseState::Absent);
    let shown: Vec<String> = dead.objects.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "configmaps c-dead/settings",
            "configmaps default/settings-dead",
            "namespaces c-dead",
            "priorityclasses.scheduling.k8s.io settings-dead"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_dead_is_removed_and_all_of_it() {
    let there = There::start().await;
    there.leave("dead").await;
    there.leave("alive").await;
    let _alive = there.hold("alive").await.expect("held");
    let dead = there.hold("dead").await.expect("held");
    let refused = there.reaper().remove("alive").await.expect_err("it is alive");
    assert!(matches!(refused, OrphanError::Lease(LeaseError::Held { .. })), "{refused}");
    assert!(there.reaper().remove("dead").await.is_err(), "not yet");
    drop(dead);
    there.clock.advance(MINUTE);
    there.until_held_for("alive", 60).await;

    let removed = there.driven(there.reaper().remove("dead")).await.expect("removed");
    assert_eq!(removed.left, []);
    assert_eq!(removed.removed.len(), 4, "{removed:?}");
    for path in ["/api/v1/namespaces/c-dead", "/api/v1/namespaces/default/configmaps/settings-dead"] {
        assert!(!there.is_there(path).await, "{path}");
    }
    for path in [
        "/api/v1/namespaces/c-alive/configmaps/settings",
        "/api/v1/namespaces/default/configmaps/settings-alive",
        "/apis/scheduling.k8s.io/v1/priorityclasses/settings-alive",
    ] {
        assert!(there.is_there(path).await, "{path}");
    }
    assert_eq!(there.state("dead").await, LeaseState::Absent);
    let again = there.reaper().remove("dead").await.expect("nothing to do");
    assert_eq!(again, Removed::default());
}

/// The machine of the run may have a clock that lies an hour behind ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_renewed_while_we_look_is_alive_whatever_the_clocks_say() {
    let there = There::start().await;
    there.leave("slow").await;
    let slow = Arc::new(ManualClock::new());
    let leases = Leases::new(there.client.clone(), Arc::clone(&slow) as Arc<dyn Clock>);
    let _held = RunLease::hold_by(leases, "slow", "behind").await.expect("held");
    there.clock.advance(Duration::from_secs(3600));
    assert_eq!(there.state("slow").await, LeaseState::Expired);
    let both = async {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            slow.advance(Duration::from_secs(1));
        }
    };
    let reaper = there.reaper();
    let refused = tokio::select! {
        refused = there.driven(reaper.remove("slow")) => refused.expect_err("it is alive"),
        () = both => unreachable!("it drives for ever"),
    };
    assert!(refused.to_string().contains("behind"), "{refused}");
    assert!(there.is_there("/api/v1/namespaces/c-slow/configmaps/settings").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_is_told() {
    let there = There::start().await;
    let metadata = json!({"name": "stuck", "labels": {LABEL: "dead"}, "finalizers": ["example.com/never"]});
    there.post("/api/v1/namespaces/default/configmaps", json!({"metadata": metadata})).await;
    let removed = there.driven(there.reaper().remove("dead")).await.expect("tried");
    assert_eq!(removed.removed, []);
    let [(key, why)] = removed.left.as_slice() else { panic!("{removed:?}") };
    assert_eq!((key.name.as_str(), why.as_str()), ("stuck", "still there after 180 s"));
    assert_eq!(there.state("dead").await, LeaseState::Absent, "it can be tried again");
}

/// Cases of one run have labels of their own, which lead to the run's Lease.
#[tokio::test(flavor = "multi_thread")]
async fn what_cases_have_left_is_their_runs() {
    let there = There::start().await;
    for label in ["r-0123456789-aaaaa", "r-0123456789-bbbbb", "r-9876543210-aaaaa"] {
        there.leave(label).await;
    }
    let _alive = there.hold("r-9876543210").await.expect("held");
    let orphans = there.reaper().list().await.expect("listed");
    let [dead, alive] = orphans.as_slice() else { panic!("{orphans:?}") };
    assert_eq!((dead.label.as_str(), dead.objects.len(), &dead.lease), ("r-0123456789", 8, &LeaseState::Absent));
    assert!(matches!(alive.lease, LeaseState::Held { .. }));
    let removed = there.driven(there.reaper().remove("r-0123456789")).await.expect("removed");
    assert_eq!((removed.removed.len(), removed.left.len()), (8, 0), "{removed:?}");
    assert!(there.is_there("/api/v1/namespaces/c-r-9876543210-aaaaa").await);
}
