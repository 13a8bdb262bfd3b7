//! Lists of everything in pages: a list shows one revision, whatever is written while its pages are asked for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fill::Name;
use crate::requests::Requests;

/// Between two lists of somebody who lists while another writes.
const PAUSE: Duration = Duration::from_millis(200);

/// How long lists took.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) lists: Vec<Duration>,
    pub(crate) pages: Vec<Duration>,
    /// Of the last list.
    pub(crate) revision: u64,
    /// Lists that had to begin again.
    pub(crate) expired: usize,
}

/// Lists until the writer is done, at least once.
pub(crate) async fn list_while(
    requests: Requests,
    page: usize,
    stays: BTreeSet<Name>,
    writing: Arc<AtomicBool>,
) -> Result<Listed, String> {
    let mut listed = Listed::default();
    loop {
        list(&requests, page, &stays, &mut listed).await?;
        if !writing.load(Ordering::Acquire) {
            return Ok(listed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The pods of one list. Each is on one page alone and not newer than the list; `stays` are all among them.
pub(crate) async fn list(
    requests: &Requests,
    page: usize,
    stays: &BTreeSet<Name>,
    listed: &mut Listed,
) -> Result<BTreeSet<Name>, String> {
    loop {
        let begin = Instant::now();
        match once(requests, page, listed).await {
            Ok(shown) => {
                listed.lists.push(begin.elapsed());
                return match stays.iter().find(|name| !shown.contains(*name)) {
                    None => Ok(shown),
                    Some((namespace, name)) => Err(format!("a list leaves {namespace}/{name} out")),
                };
            }
            Err(error) if error.contains("continue parameter is too old") => listed.expired += 1,
            Err(error) => return Err(error),
        }
    }
}

async fn once(requests: &Requests, page: usize, listed: &mut Listed) -> Result<BTreeSet<Name>, String> {
    let mut shown = BTreeSet::new();
    let (mut revision, mut next) = (None, String::new());
    loop {
        let begin = Instant::now();
        let answer = requests.send("GET", &format!("/api/v1/pods?limit={page}{next}"), None).await?;
        listed.pages.push(begin.elapsed());
        let metadata = &answer["metadata"];
        let of_page = number(&metadata["resourceVersion"]).ok_or("a page without a revision")?;
        let first = *revision.get_or_insert(of_page);
        if of_page != first {
            return Err(format!("a list of revision {first} has a page of revision {of_page}"));
        }
        let items = answer["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        if items.len() > page {
            return Err(format!("{} pods on a page of {page}", items.len()));
        }
        for item in items {
            let metadata = &item["metadata"];
            let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
            let name = (text("namespace"), text("name"));
            if number(&metadata["resourceVersion"]).is_none_or(|own| own > first) {
                return Err(format!("a list of revision {first} shows {name:?} of a later one"));
            }
            if let Some(twice) = shown.replace(name) {
                return Err(format!("a list shows {twice:?} twice"));
            }
        }
        match metadata["continue"].as_str().filter(|token| !token.is_empty()) {
            Some(token) => next = format!("&continue={token}"),
            None => {
                listed.revision = first;
                return Ok(shown);
            }
        }
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// Nothing but what should be there is.
pub(crate) fn is_whole(shown: &BTreeSet<Name>, expected: &BTreeSet<Name>) -> Result<(), String> {
    match shown.symmetric_difference(expected).next() {
        None => Ok(()),
        Some((namespace, name)) => Err(format!("{namespace}/{name} is shown or there, and not both")),
    }
}
