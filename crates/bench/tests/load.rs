//! A tenth of the load of `cargo xtask bench load`, held to its laws.

use std::net::{Ipv4Addr, SocketAddr};

use embedded::{Cluster, Options};
use load::Plan;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_miss_and_repeat_nothing_and_pages_hold_each_pod_once() {
    let cluster = Cluster::start(Options { seed: 3, ..Options::default() });
    let server = cluster.serve(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a server");
    let plan = Plan { namespaces: 200, pods: 1_000, watchers: 15, writes: 1_000, page: 50 };
    let mut filled = false;
    let loaded = load::run(&server.kubeconfig(), plan, || filled = true).await.unwrap_or_else(|law| panic!("{law}"));
    assert!(filled, "the load began with everything there");
    assert_eq!(loaded.writes.len(), plan.writes);
    // Each of the three kinds of watchers of everything saw all writes but the deletions, the others some.
    assert!(loaded.deliveries.len() > 5 * plan.writes, "{} deliveries", loaded.deliveries.len());
    assert!(loaded.lists.iter().all(|lists| !lists.is_empty()) && loaded.pages.len() >= 4 * plan.pods / plan.page);
}
