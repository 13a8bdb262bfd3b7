//! How often and how long a request is sent again, and requests that can be: those that only read. Writes know more, and
//! are sent again by `deliver`.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Method, Response, StatusCode};
use kube::client::Body;
use serde_json::Value;
use tokio::time::Instant;

use crate::forward::{self, Outgoing};
use crate::gate::Gate;
use crate::status::Refusal;
use crate::{Attributes, ObjectKey};

/// A whole answer.
pub(crate) type Answer = Response<Bytes>;

/// How often a request that only reads is sent before its failure is passed on.
const READS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What is believed of a `Retry-After`.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What is left of the time and the tries for one request.
pub(crate) struct Patience {
    end: Instant,
    pause: Duration,
    pub(crate) tries: u32,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { end: Instant::now() + limit, pause: FIRST_PAUSE, tries: 1 }
    }

    /// Waits before the next try, longer each time; false at once when there is to be none.
    pub(crate) async fn pause(&mut self) -> bool {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        self.wait(pause).await
    }

    /// Waits for as long as the server asks.
    pub(crate) async fn wait(&mut self, pause: Duration) -> bool {
        let pause = pause.min(LONGEST_WAIT);
        if Instant::now() + pause > self.end {
            return false;
        }
        self.tries += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// For how long the server asks to stay away (RFC 9110, section 10.2.3, in seconds as Kubernetes writes it). A 429
/// without it, as a disruption budget gives, is the answer itself.
pub(crate) fn asked_to_wait<B>(response: &Response<B>) -> Option<Duration> {
    if !matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Whether the answer leaves open what became of the request.
pub(crate) fn is_doubtful(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

impl Gate {
    /// Sends a request that only reads, more than once if need be. What has been answered is streamed.
    pub(crate) async fn read_patiently(
        &self,
        outgoing: &Outgoing<'_>,
        timeout: Option<Duration>,
    ) -> Result<Response<Body>, Refusal> {
        let mut patience = Patience::new(self.config.limits.patience);
        loop {
            let result = outgoing.send(&self.config.upstream, timeout).await;
            let next = Next::after(&result);
            if !worth_another(&mut patience, next).await {
                self.health.note(result.as_ref().ok().map(Response::status));
                return result;
            }
        }
    }

    /// The same, and the whole answer.
    pub(crate) async fn ask(&self, outgoing: &Outgoing<'_>, limit: usize) -> Result<Answer, Refusal> {
        let mut patience = Patience::new(self.config.limits.patience);
        loop {
            let result = self.ask_once(outgoing, limit).await;
            let next = Next::after(&result);
            if !worth_another(&mut patience, next).await {
                self.health.note(result.as_ref().ok().map(Response::status));
                return result;
            }
        }
    }

    /// One try.
    pub(crate) async fn ask_once(&self, outgoing: &Outgoing<'_>, limit: usize) -> Result<Answer, Refusal> {
        let answer = outgoing.send(&self.config.upstream, Some(self.config.limits.answer)).await?;
        let (parts, bytes) = forward::collect(answer, limit).await?;
        Ok(Response::from_parts(parts, bytes))
    }

    /// An object as it is now; none: it is not there.
    pub(crate) async fn look(&self, key: &ObjectKey) -> Result<Option<Value>, Unread> {
        match self.find(key).await? {
            Found::Object(object) => Ok(Some(object)),
            Found::Absent(_) => Ok(None),
        }
    }

    /// The same, with the server's own words when it is not there.
    pub(crate) async fn find(&self, key: &ObjectKey) -> Result<Found, Unread> {
        let answer = self.get(key.path()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Found::Absent(Box::new(answer)));
        }
        if !answer.status().is_success() {
            return Err(Unread::Answered(Box::new(answer)));
        }
        let unread = || Unread::Refused(Refusal::unreachable("the API server's answer could not be read"));
        serde_json::from_slice(answer.body()).map(Found::Object).map_err(|_| unread())
    }

    /// What is at a path now.
    pub(crate) async fn get(&self, path: String) -> Result<Answer, Refusal> {
        let attributes = Attributes { path, ..Attributes::default() };
        let outgoing =
            Outgoing { method: Method::GET, attributes: &attributes, headers: &forward::plain_json(), body: None };
        self.ask(&outgoing, self.config.limits.body).await
    }
}

/// What is to be done after a try.
enum Next {
    Answer,
    Again,
    After(Duration),
}

impl Next {
    fn after<B>(result: &Result<Response<B>, Refusal>) -> Self {
        let Ok(response) = result else { return Self::Again };
        match asked_to_wait(response) {
            Some(pause) => Self::After(pause),
            None if is_doubtful(response.status()) => Self::Again,
            None => Self::Answer,
        }
    }
}

async fn worth_another(patience: &mut Patience, next: Next) -> bool {
    match next {
        Next::Answer => false,
        Next::Again => patience.tries < READS && patience.pause().await,
        Next::After(pause) => patience.wait(pause).await,
    }
}

/// What is found where an object is looked for.
#[derive(Debug)]
pub(crate) enum Found {
    Object(Value),
    Absent(Box<Answer>),
}

/// Why an object could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The server said something else.
    Answered(Box<Answer>),
    /// The server said nothing.
    Refused(Refusal),
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
