//! What the agents of a run have cost, known as soon as an attempt has ended, and whether that is all that they may cost.

use std::sync::{Mutex, PoisonError};

/// US dollars.
#[derive(Debug)]
pub(crate) struct Spending {
    most: Option<f64>,
    spent: Mutex<f64>,
}

impl Spending {
    /// `most` is `max_cost_usd` of the matrix.
    pub(crate) fn of(most: Option<f64>) -> Self {
        Self { most, spent: Mutex::new(0.0) }
    }

    /// An attempt has ended.
    pub(crate) fn add(&self, cost: Option<f64>) {
        let cost = cost.filter(|cost| cost.is_finite()).unwrap_or(0.0);
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += cost;
    }

    /// Nothing that costs may begin any more.
    pub(crate) fn is_over(&self) -> bool {
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        self.most.is_some_and(|most| spent >= most)
    }
}
