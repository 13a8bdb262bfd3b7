//! A load on an API server, over HTTP as clients make it: many namespaces and pods, watchers of all kinds, one writer that
//! waits for nothing but its answers, and somebody who lists everything in pages meanwhile. No watcher may miss, repeat or
//! swap an event, and no list may show an object twice or leave one out. `cargo xtask bench load` prints the numbers, a
//! test makes a tenth of it.

mod fill;
mod ledger;
mod pages;
mod requests;
mod watcher;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use tokio::sync::watch;

use ledger::{Expected, Ledger};
use pages::Listed;
use requests::Requests;
use watcher::{Scope, Watcher};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Namespaces.
    pub namespaces: usize,
    /// Pods, spread over the namespaces.
    pub pods: usize,
    /// Watchers: of all pods, of those of a namespace, of those with a label, in turn.
    pub watchers: usize,
    /// Writes, one after the other.
    pub writes: usize,
    /// Pods on a page of a list.
    pub page: usize,
}

/// What was measured. That it is here means that every law held.
#[derive(Debug)]
pub struct Loaded {
    /// For making the namespaces and pods.
    pub filling: Duration,
    /// For all writes together.
    pub writing: Duration,
    /// Each write, from request to answer.
    pub writes: Vec<Duration>,
    /// Each event at each watcher, from the request of its write.
    pub deliveries: Vec<Duration>,
    /// From the last write until every watcher had everything.
    pub draining: Duration,
    /// Whole lists of all pods: while nobody wrote, then while the writer was at work.
    pub lists: [Vec<Duration>; 2],
    /// Each page of them.
    pub pages: Vec<Duration>,
    /// Lists that had to begin again, because their revision was no longer in the server's history.
    pub expired: usize,
}

/// Puts the load on the server of a kubeconfig. `filled` is called when everything is there and nobody writes.
///
/// # Errors
/// The server refused something, or broke a law; which, and the first place where.
pub async fn run(kubeconfig: &str, plan: Plan, filled: impl FnOnce()) -> Result<Loaded, String> {
    let requests = Requests::new(kubeconfig).await?;
    let begin = Instant::now();
    fill::fill(&requests, plan).await?;
    let filling = begin.elapsed();
    let names = fill::names(plan, 0);
    let mut quiet = Listed::default();
    for _ in 0..3 {
        let revision = pages::list(&requests, plan.page, &names, &mut quiet).await?;
        pages::is_whole(&revision, &names)?;
    }
    filled();

    let revision = quiet.revision;
    let ledger = Arc::new(Ledger::new(plan.writes));
    let (done, told) = watch::channel(None);
    let opening = (0..plan.watchers).map(|index| {
        let scope = Scope::of(index, plan.namespaces);
        Watcher::open(&requests, index, scope, revision, Arc::clone(&ledger), told.clone())
    });
    let watchers: Vec<_> = try_join_all(opening).await?.into_iter().map(|one| tokio::spawn(one.watch())).collect();

    let writing = Arc::new(AtomicBool::new(true));
    let stays = fill::names(plan, writer::first_that_stays(plan));
    let lister = tokio::spawn(pages::list_while(requests.clone(), plan.page, stays, Arc::clone(&writing)));
    let begin = Instant::now();
    let wrote = writer::write(&requests, plan, &ledger).await;
    let took = begin.elapsed();
    writing.store(false, Ordering::Release);
    let wrote = wrote?;
    done.send_replace(Some(Arc::new(Expected::new(wrote.log))));
    let busy = lister.await.map_err(|error| error.to_string())??;

    let begin = Instant::now();
    let mut deliveries = Vec::new();
    for watcher in watchers {
        deliveries.extend(watcher.await.map_err(|error| error.to_string())??);
    }
    let draining = begin.elapsed();
    let mut last = Listed::default();
    let shown = pages::list(&requests, plan.page, &wrote.left, &mut last).await?;
    pages::is_whole(&shown, &wrote.left)?;
    let pages = [quiet.pages, busy.pages].concat();
    Ok(Loaded {
        filling,
        writing: took,
        writes: wrote.times,
        deliveries,
        draining,
        lists: [quiet.lists, busy.lists],
        pages,
        expired: busy.expired,
    })
}
