//! One look at a cluster: every kind that can be listed, some at a time, page by page.

use futures::stream::StreamExt as _;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use crate::CertifyError;
use crate::baseline::{Baseline, Filler, Kind, Table, Unreachable};
use crate::discovery;
use crate::fetch::{self, Failure};
use crate::rules::{Rules, qualified};

/// Requests that are under way at once.
pub(crate) const AT_ONCE: usize = 6;
/// Objects of one page.
const PAGE: usize = 500;
/// How often a list is begun anew when its pages have become too old.
const RESTARTS: usize = 3;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

/// Looks at everything. What has not changed since `known` is taken over from there.
pub(crate) async fn look(client: &Client, rules: &Rules, known: Option<&Baseline>) -> Result<Baseline, CertifyError> {
    let found = discovery::discover(client, rules).await.map_err(|why| CertifyError::Away(why.to_string()))?;
    let mut unreachable = found.unreachable;
    let mut tables = Vec::new();
    let mut lists = futures::stream::iter(found.kinds)
        .map(|kind| {
            let known = known.and_then(|known| known.table(&kind.group, &kind.resource));
            async move { (kind.clone(), list_as(client, kind, rules, known).await) }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((kind, listed)) = lists.next().await {
        match listed {
            Ok(Some(table)) => tables.push(table),
            Ok(None) => {}
            Err(why) => {
                unreachable.push(Unreachable { kind: qualified(&kind.group, &kind.resource), why: why.to_string() })
            }
        }
    }
    drop(lists);
    Ok(Baseline::new(rules, tables, unreachable))
}

/// In the version in which it was listed before, while there is one: in another the same object looks different.
async fn list_as(client: &Client, kind: Kind, rules: &Rules, known: Option<&Table>) -> Result<Option<Table>, Failure> {
    if let Some(known) = known.filter(|known| known.kind != kind)
        && let Some(table) = list(client, known.kind.clone(), rules, Some(known)).await?
    {
        return Ok(Some(table));
    }
    list(client, kind, rules, known).await
}

/// All objects of a kind; none when the kind has gone since it was discovered.
async fn list(client: &Client, kind: Kind, rules: &Rules, known: Option<&Table>) -> Result<Option<Table>, Failure> {
    let path = kind.path();
    let mut filler = Filler::new(kind, rules, known);
    let mut restarts = 0;
    let mut next: Option<String> = None;
    loop {
        // A server whose pages get old faster than they are read is asked for all at once.
        let limit = if restarts < RESTARTS { format!("?limit={PAGE}") } else { String::new() };
        let target = match &next {
            None => format!("{path}{limit}"),
            Some(next) => format!("{path}?limit={PAGE}&continue={}", encoded(next)),
        };
        let page: Page = match fetch::get(client, &target, "application/json").await {
            Ok(page) => page,
            Err(failure) if failure.code == 404 => return Ok(None),
            Err(failure) if failure.code == 410 && restarts < RESTARTS => {
                (restarts, next) = (restarts + 1, None);
                filler.restart();
                continue;
            }
            Err(failure) => return Err(failure),
        };
        page.items.unwrap_or_default().into_iter().for_each(|object| filler.add(object));
        next = page.metadata.next.filter(|next| !next.is_empty());
        if next.is_none() {
            return Ok(Some(filler.finish()));
        }
    }
}

/// A continue token as a value of a query: such tokens are base64, also of the padded and of the standard sort.
fn encoded(token: &str) -> String {
    token.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").replace('&', "%26").replace('#', "%23")
}
