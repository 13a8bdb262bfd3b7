//! Cluster time: where it starts, when it hurries and when it must not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clock::{Clock, run_until};
use embedded::{Cluster, Options};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::{Change, Controller, World, resources};

use crate::client::{Events, create, get, namespace, send, still};

fn behind_wall(clock: &dyn Clock) -> i64 {
    clock.now().duration_until(Timestamp::now()).as_secs()
}

fn later(clock: &dyn Clock, seconds: i64) -> Timestamp {
    clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// Writes a config map each second of cluster time.
#[derive(Debug, Default)]
struct Ticker(u32);

impl Controller for Ticker {
    fn name(&self) -> &'static str {
        "ticker"
    }

    fn start(&mut self, world: &mut dyn World) {
        world.wake_at("ticker", "tick".into(), world.now());
    }

    fn observe(&mut self, _: &mut dyn World, _: &Change) {}

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        self.0 += 1;
        let map = json!({"metadata": {"name": format!("tick-{:04}", self.0), "namespace": "default"}});
        world.create(&resources::CONFIG_MAPS, map, "ticker").unwrap();
        world.wake_at("ticker", key.into(), world.now().checked_add(SignedDuration::from_secs(1)).unwrap());
    }
}

fn ticking() -> Cluster {
    Cluster::with_controllers(1, vec![Box::new(Ticker::default())])
}

#[tokio::test]
async fn a_cluster_starts_ten_minutes_behind_the_wall_and_at_once() {
    let begin = Instant::now();
    let cluster = Cluster::start(Options::default());
    let took = begin.elapsed();
    assert!((599..=601).contains(&behind_wall(&*cluster.clock())), "{}", behind_wall(&*cluster.clock()));
    // Far above what it takes, so that a busy machine does not fail the test; a slip to whole seconds would.
    assert!(took < Duration::from_millis(500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_hurries_and_does_not_hurry_past_what_is_waited_for() {
    let cluster = ticking();
    let clock = cluster.clock();
    let begin = Instant::now();
    let mut events =
        Events::new(send(&cluster, "GET", "/api/v1/namespaces/default/configmaps?watch=true", &[], "").await);
    let seen = run_until(&clock, Duration::from_secs(300), async {
        loop {
            let event = events.next().await.unwrap();
            if event["object"]["metadata"]["name"] == "tick-0060" {
                return event["object"]["metadata"]["creationTimestamp"]
                    .as_str()
                    .unwrap()
                    .parse::<Timestamp>()
                    .unwrap();
            }
        }
    })
    .await
    .unwrap();
    let overshoot = seen.duration_until(clock.now()).as_secs();
    assert!(overshoot <= 2, "the watcher was {overshoot} s of cluster time late");
    assert!(begin.elapsed() < Duration::from_secs(20), "60 s of cluster time took {:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_when_the_cluster_time_is_up() {
    let cluster = still();
    let clock = cluster.clock();
    let (before, begin) = (clock.now(), Instant::now());
    let result = run_until(&clock, Duration::from_secs(120), std::future::pending::<()>()).await;
    assert!(result.is_err());
    assert!((119..=122).contains(&before.duration_until(clock.now()).as_secs()));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_not_taken_holds_up_time() {
    let cluster = ticking();
    let clock = cluster.clock();
    // Polled once so that it is known, then left alone.
    let mut events =
        Events::new(send(&cluster, "GET", "/api/v1/namespaces/default/configmaps?watch=true", &[], "").await);
    events.next().await.unwrap();
    let before = clock.now();
    let guard = clock.hurry();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let passed = before.duration_until(clock.now());
    drop(guard);
    assert!(passed < SignedDuration::from_secs(2), "{passed:?} passed while an event was pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_brought_to_the_wall_and_kept_there() {
    let cluster = ticking();
    let clock = cluster.clock();
    let guard = clock.keep_wall_time().await;
    assert!(behind_wall(&*clock).abs() <= 1);
    // What was due in the ten minutes has happened, each at its time.
    let (_, list) = get(&cluster, "/api/v1/namespaces/default/configmaps").await;
    let ticks: Vec<&Value> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|m| m["metadata"]["name"].as_str().unwrap().starts_with("tick-"))
        .collect();
    assert!(ticks.len() >= 600, "{}", ticks.len());
    let hurry = clock.hurry();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(behind_wall(&*clock).abs() <= 1, "hurrying is suspended");
    drop((guard, hurry));
}

#[tokio::test]
async fn a_sleeper_wakes_at_its_time_and_may_be_dropped() {
    let cluster = still();
    let clock = cluster.clock();
    drop(clock.sleep_until(later(&*clock, 1)));
    let guard = clock.hurry();
    let deadline = later(&*clock, 3600);
    clock.sleep_until(deadline).await;
    assert!(clock.now() >= deadline);
    drop(guard);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_names() {
    let mut names = Vec::new();
    for _ in 0..2 {
        let cluster = still();
        namespace(&cluster, "a").await;
        let pod = json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let pod = create(&cluster, "/api/v1/namespaces/a/pods", pod).await;
        names.push((pod["metadata"]["name"].clone(), pod["metadata"]["uid"].clone(), pod["spec"]["volumes"].clone()));
    }
    assert_eq!(names[0], names[1]);
}

#[tokio::test]
async fn hundreds_live_side_by_side_and_end_when_dropped() {
    let clusters: Vec<Cluster> = (0..200).map(|seed| Cluster::start(Options { seed, ..Options::default() })).collect();
    for cluster in &clusters {
        assert_eq!(get(cluster, "/api/v1/namespaces/default").await.0, 200);
    }
    let alive = Arc::new(());
    #[derive(Debug)]
    struct Tail(#[allow(dead_code, reason = "held to be counted")] Arc<()>);
    impl Controller for Tail {
        fn name(&self) -> &'static str {
            "tail"
        }
        fn observe(&mut self, _: &mut dyn World, _: &Change) {}
        fn wake(&mut self, _: &mut dyn World, _: &str) {}
    }
    let last = Cluster::with_controllers(1, vec![Box::new(Tail(Arc::clone(&alive)))]);
    drop((clusters, last));
    // Drivers run on a thread of their own, which ends them when it comes to it.
    let ended = async {
        while Arc::strong_count(&alive) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    assert!(ended.is_ok(), "the cluster outlived its last handle");
}
