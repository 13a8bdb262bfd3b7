//! Sends a write until it is known what became of it. Pins and nonces make that safe: what took effect once cannot take
//! effect again, and shows in the object.

use http::{Response, StatusCode};
use serde_json::Value;

use crate::Gate;
use crate::forward::Outgoing;
use crate::patience::{Answer, Patience, asked_to_wait, is_doubtful};
use crate::subject::{Effect, Subject};
use crate::trace::Trace;
use crate::write::is_refused_as;

/// How often a write is sent that the server answers with an error of its own.
const ANSWERED: u32 = 5;

/// A write that is in the journal.
pub(crate) struct Sending<'a> {
    pub(crate) outgoing: Outgoing<'a>,
    pub(crate) subject: &'a Subject,
    /// What was there; none: it makes its object.
    pub(crate) before: Option<&'a Value>,
    pub(crate) nonce: Option<&'a str>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// The server's answer, good or bad.
    Answered(Answer),
    /// There was no answer, but it took effect: the object now; none: it is gone.
    Found(Option<Value>),
    /// There was no answer, and reading did not tell.
    Unknown,
}

impl Sending<'_> {
    /// Neither tied to a version nor harmless when done twice: parts of objects that only their own controllers know.
    fn is_once_only(&self) -> bool {
        let known = matches!(self.outgoing.attributes.verb.as_str(), "update" | "patch" | "delete");
        match self.subject.effect {
            Effect::Change => {
                self.outgoing.body.is_none()
                    || !known && !matches!(self.subject.subresource.as_str(), "binding" | "token")
            }
            Effect::Create | Effect::Delete => false,
        }
    }
}

impl Gate {
    /// Sends it. It may have been sent, even if the future is dropped.
    pub(crate) async fn deliver(&self, sending: &Sending<'_>) -> Delivered {
        let mut patience = Patience::new(self.config.limits.patience);
        // Whether an earlier try may have taken effect.
        let mut doubtful = false;
        loop {
            let result = self.ask_once(&sending.outgoing, self.config.limits.body).await;
            if let Ok(answer) = &result {
                let pause = asked_to_wait(answer).filter(|_| sending.subject.subresource != "eviction");
                if let Some(pause) = pause {
                    doubtful |= answer.status() != StatusCode::TOO_MANY_REQUESTS;
                    if patience.wait(pause).await {
                        continue;
                    }
                }
                // Not about the object, which is not there yet: a quota has moved, and the server has given up over it.
                let quota =
                    sending.subject.effect == Effect::Create && is_refused_as(answer, StatusCode::CONFLICT, "Conflict");
                if quota && patience.tries < ANSWERED && patience.pause().await {
                    continue;
                }
                if !is_doubtful(answer.status()) {
                    break self.believe(sending, result, doubtful).await;
                }
            }
            doubtful = true;
            let trace = self.trace(sending).await;
            if let Trace::Effect(now) = trace {
                break Delivered::Found(now);
            }
            if !sending.is_once_only() && again(&mut patience, &result).await {
                continue;
            }
            self.health.note(result.as_ref().ok().map(Response::status));
            break match (result, trace) {
                // The server is done with it, and it left no trace.
                (Ok(answer), Trace::Nothing) if answer.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                    Delivered::Answered(answer)
                }
                _ => Delivered::Unknown,
            };
        }
    }

    /// A refusal after a lost answer may be no more than the echo of one's own success.
    async fn believe(
        &self,
        sending: &Sending<'_>,
        result: Result<Answer, crate::status::Refusal>,
        doubtful: bool,
    ) -> Delivered {
        let Ok(answer) = result else { return Delivered::Unknown };
        self.health.note(Some(answer.status()));
        if !doubtful || answer.status().is_success() {
            return Delivered::Answered(answer);
        }
        match self.trace(sending).await {
            Trace::Effect(now) => Delivered::Found(now),
            Trace::Nothing => Delivered::Answered(answer),
            Trace::Unreadable => Delivered::Unknown,
        }
    }
}

async fn again<E>(patience: &mut Patience, result: &Result<Answer, E>) -> bool {
    let answered = result.as_ref().is_ok_and(|a| a.status() == StatusCode::INTERNAL_SERVER_ERROR);
    (!answered || patience.tries < ANSWERED) && patience.pause().await
}
