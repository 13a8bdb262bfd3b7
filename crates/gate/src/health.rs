//! Whether the API server answers, as every request through the gate finds it.

use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use jiff::Timestamp;

/// Since when the API server has been lost.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<Timestamp>>);

impl Health {
    /// An exchange is over, all tries counted; none: there was no answer.
    pub(crate) fn note(&self, status: Option<StatusCode>) {
        let lost = match status {
            None => true,
            Some(code) => {
                matches!(code, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
            }
        };
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if lost { since.or_else(|| Some(Timestamp::now())) } else { None };
    }

    pub(crate) fn lost_since(&self) -> Option<Timestamp> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
