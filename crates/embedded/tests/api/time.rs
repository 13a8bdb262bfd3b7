//! Cluster time: where it starts, when it hurries and when it must not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clock::{Clock, run_until};
use embedded::{Cluster, Options};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulation::{Change, Controller, World, resources};
use tokio::sync::mpsc;

use crate::client::{Events, create, get, namespace, send, still};

fn behind_wall(clock: &dyn Clock) -> i64 {
    clock.now().duration_until(Timestamp::now()).as_secs()
}

fn later(clock: &dyn Clock, seconds: i64) -> Timestamp {
    clock.now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// Writes a config map each so many seconds of cluster time.
#[derive(Debug)]
struct Ticker {
    every: i64,
    ticks: u32,
}

impl Controller for Ticker {
    fn name(&self) -> &'static str {
        "ticker"
    }

    fn start(&mut self, world: &mut dyn World) {
        world.wake_at("ticker", "tick".into(), world.now());
    }

    fn observe(&mut self, _: &mut dyn World, _: &Change) {}

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        self.ticks += 1;
        let map = json!({"metadata": {"name": format!("tick-{:04}", self.ticks), "namespace": "default"}});
        world.create(&resources::CONFIG_MAPS, map, "ticker").unwrap();
        world.wake_at("ticker", key.into(), world.now().checked_add(SignedDuration::from_secs(self.every)).unwrap());
    }
}

fn ticking_every(seconds: i64) -> Cluster {
    Cluster::with_controllers(1, vec![Box::new(Ticker { every: seconds, ticks: 0 })])
}

fn ticking() -> Cluster {
    ticking_every(1)
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

/// The names of a ticking cluster's config maps as they are made, by way of a task that has its turn late: as on a machine
/// under load. Nothing of what is on its way is the cluster's any more, and whoever waits for it was not woken.
async fn ticks_that_come_late(cluster: &Cluster, late: Duration) -> mpsc::Receiver<String> {
    let (sender, mut taken) = mpsc::channel::<String>(16);
    let (passed_on, receiver) = mpsc::channel(16);
    let mut events =
        Events::new(send(cluster, "GET", "/api/v1/namespaces/default/configmaps?watch=true", &[], "").await);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
            if name.starts_with("tick-") && sender.send(name).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(name) = taken.recv().await {
            std::thread::sleep(late);
            if passed_on.send(name).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Each of so many ticks is the last that has happened when it is heard of. They are minutes apart, so that no machine is so
/// slow that time comes to the next at the pace of the wall.
async fn assert_not_run_past(cluster: &Cluster, ticks: u32, late: Duration) {
    let clock = cluster.clock();
    let mut names = ticks_that_come_late(cluster, late).await;
    let mut number = 0;
    while number < ticks {
        let name = run_until(&clock, Duration::from_secs(3600), names.recv()).await.unwrap().unwrap();
        number = name["tick-".len()..].parse().unwrap();
        let next = format!("/api/v1/namespaces/default/configmaps/tick-{:04}", number + 1);
        assert_eq!(get(cluster, &next).await.0, 404, "time ran past {name}, which was on its way");
    }
}

#[tokio::test]
async fn time_does_not_run_past_work_that_has_not_had_its_turn_yet() {
    assert_not_run_past(&ticking_every(300), 15, Duration::from_millis(30)).await;
}

/// A case on a thread and a runtime of its own, as the engine runs it.
fn case<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| {
        clock::tell_of_rest();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().on_thread_park(clock::come_to_rest).build().unwrap();
        runtime.block_on(async { tokio::spawn(work).await.unwrap() })
    })
}

#[test]
fn time_does_not_run_past_such_work_in_a_case_either() {
    case(async { assert_not_run_past(&ticking_every(300), 15, Duration::from_millis(30)).await }).join().unwrap();
}

#[test]
fn a_case_waits_for_what_comes_from_another_thread_and_an_event_that_is_not_taken_holds_it_up_for_a_while() {
    let passed = case(async {
        let cluster = ticking();
        let clock = cluster.clock();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            sender.send(7)
        });
        // Nothing here knows of that thread: time hurries, and the answer is taken when it is there.
        assert_eq!(run_until(&clock, Duration::from_secs(1_000_000), receiver).await.unwrap(), Ok(7));
        // Polled once so that it is known, then left alone.
        let mut events =
            Events::new(send(&cluster, "GET", "/api/v1/namespaces/default/configmaps?watch=true", &[], "").await);
        events.next().await.unwrap();
        let (before, begin) = (clock.now(), Instant::now());
        let ended = run_until(&clock, Duration::from_secs(3600), std::future::pending::<()>()).await;
        assert!(ended.is_err() && before.duration_until(clock.now()) >= SignedDuration::from_secs(3600));
        begin.elapsed()
    });
    let took = passed.join().unwrap();
    assert!((Duration::from_secs(1)..Duration::from_secs(60)).contains(&took), "it was held up for {took:?}");
}

/// Asks without an end, and computes in between: what an agent, its parsers and other cases' plugins do to a runtime.
async fn never_idle(cluster: Cluster, stop: Arc<AtomicBool>) -> u64 {
    let mut requests = 0;
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(get(&cluster, "/api/v1/namespaces/default").await.0, 200);
        requests += 1;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(300) {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }
    requests
}

#[test]
fn a_cluster_hurries_beside_one_that_is_busy_at_wall_time() {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let busy = case(async move {
        let cluster = ticking();
        let clock = cluster.clock();
        let _wall = clock.keep_wall_time().await;
        let requests = never_idle(cluster, ended).await;
        (behind_wall(&*clock), requests)
    });
    let hurrying = case(async {
        let (cluster, begin) = (ticking_every(300), Instant::now());
        let before = cluster.clock().now();
        assert_not_run_past(&cluster, 120, Duration::from_millis(1)).await;
        (before.duration_until(cluster.clock().now()), begin.elapsed())
    });
    let hurried = hurrying.join();
    stop.store(true, Ordering::Relaxed);
    let (behind, requests) = busy.join().unwrap();
    let (passed, took) = hurried.unwrap();
    assert!(passed >= SignedDuration::from_hours(9), "{passed:?}");
    assert!(took < Duration::from_secs(60), "{passed:?} of cluster time took {took:?}");
    assert!(behind.abs() <= 1 && requests > 0, "the other is {behind} s behind the wall after {requests} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_runtime_that_is_never_idle_time_goes_on_with_the_wall() {
    let stop = Arc::new(AtomicBool::new(false));
    let busy = tokio::spawn(never_idle(still(), Arc::clone(&stop)));
    let (cluster, begin) = (ticking(), Instant::now());
    let mut names = ticks_that_come_late(&cluster, Duration::from_millis(1)).await;
    let clock = cluster.clock();
    for number in 1..=3 {
        let name = run_until(&clock, Duration::from_secs(60), names.recv()).await;
        assert_eq!(name.unwrap().unwrap(), format!("tick-{number:04}"));
    }
    let ended = run_until(&clock, Duration::from_secs(1), std::future::pending::<()>()).await;
    assert!(ended.is_err() && begin.elapsed() < Duration::from_secs(30), "it took {:?}", begin.elapsed());
    stop.store(true, Ordering::Relaxed);
    busy.await.unwrap();
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
