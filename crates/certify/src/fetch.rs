//! Reads from the API server, tried again while it is only busy or away for a moment.

use std::time::Duration;

use http::header::{ACCEPT, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;

/// Wall time for one answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How often a read is tried.
const TRIES: u32 = 7;
/// Wall time before the second try; each later one waits twice as long.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause of our own.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The longest that a server may have us wait, whatever it says.
const LONGEST_WISH: Duration = Duration::from_secs(10);

/// What the server said instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The HTTP status; 0 when there was no answer.
    pub(crate) code: u16,
    pub(crate) message: String,
}

impl Failure {
    fn lost(message: impl ToString) -> Self {
        Self { code: 0, message: message.to_string() }
    }

    fn is_passing(&self) -> bool {
        matches!(self.code, 0 | 408 | 429 | 500 | 502 | 503 | 504)
    }
}

/// GETs a path as a document.
pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str, accept: &str) -> Result<T, Failure> {
    let mut pause = PAUSE;
    let mut tries = 1;
    loop {
        let (failure, wanted) = match tokio::time::timeout(ANSWER, once(client, path, accept)).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(failed)) => failed,
            // A server that lets a minute pass will not do better at once.
            Err(_) => return Err(Failure::lost(format!("no answer within {} s", ANSWER.as_secs()))),
        };
        if tries == TRIES || !failure.is_passing() {
            return Err(failure);
        }
        tracing::debug!(path, %failure, tries, "a read is tried again");
        tokio::time::sleep(wanted.map_or(pause, |wish| wish.min(LONGEST_WISH))).await;
        (tries, pause) = (tries + 1, (pause * 2).min(LONGEST_PAUSE));
    }
}

async fn once<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    accept: &str,
) -> Result<T, (Failure, Option<Duration>)> {
    let lost = |error: &dyn std::fmt::Display| (Failure::lost(error), None);
    let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).map_err(|error| lost(&error))?;
    let response = client.send(request).await.map_err(|error| lost(&error))?;
    let (status, wait) = (response.status(), retry_after(response.headers()));
    let bytes = response.into_body().collect_bytes().await.map_err(|error| lost(&error))?;
    if !status.is_success() {
        return Err((refused(status, &bytes), wait));
    }
    serde_json::from_slice(&bytes).map_err(|error| lost(&format!("the answer could not be read: {error}")))
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(|said| said["message"].as_str()).filter(|message| !message.is_empty());
    let message = message.map_or_else(|| status.to_string(), |message| format!("{message} ({})", status.as_u16()));
    Failure { code: status.as_u16(), message }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
