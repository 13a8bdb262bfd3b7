//! Interruption: how urgently a run is to end, as a pure state machine, and the flag that everything long-running looks
//! at. Signals and times that are up come in here; what is done at each stage is done by whoever looks.

use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use model::exit_code;
use tokio::sync::watch;

/// What interrupted the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT, Ctrl-C.
    Sigint,
    /// SIGTERM.
    Sigterm,
}

impl Interrupt {
    /// The exit code of a run that was interrupted so.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Sigint => exit_code::SIGINT,
            Self::Sigterm => exit_code::SIGTERM,
        }
    }
}

/// How urgently a run is to end. Stages only ever rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    #[default]
    Running,
    /// No new cases; agents are told to stop, failures' own `stop` is called, everything is undone and certified, clusters
    /// are torn down.
    Stopping,
    /// The same without the failures: what the journal says is undone by the host alone, within [`HOST_ONLY`].
    Abandoning,
    /// The process ends at once; `recover` does the rest.
    Leaving,
}

/// How long a run may take to end in good order after the first interrupt. Then failures are abandoned.
pub const IN_ORDER: Duration = Duration::from_secs(60);
/// How long one case may take to be put back once failures were abandoned.
pub const HOST_ONLY: Duration = Duration::from_secs(30);

impl Stage {
    /// The stage after one more interrupt.
    pub fn next(self) -> Self {
        match self {
            Self::Running => Self::Stopping,
            Self::Stopping => Self::Abandoning,
            Self::Abandoning | Self::Leaving => Self::Leaving,
        }
    }

    /// How long it may last before it becomes the next by itself. A run that is not interrupted has all the time; what
    /// is done once failures are abandoned is bounded case by case.
    pub fn patience(self) -> Option<Duration> {
        (self == Self::Stopping).then_some(IN_ORDER)
    }
}

/// What is known of an interruption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    stage: Stage,
    /// The first signal: it decides the exit code.
    by: Option<Interrupt>,
}

impl State {
    fn signal(self, by: Interrupt) -> Self {
        Self { stage: self.stage.next(), by: self.by.or(Some(by)) }
    }

    /// The patience of a stage is over. Means nothing when another has begun meanwhile.
    fn time_up(self, of: Stage) -> Self {
        if self.stage == of && of.patience().is_some() { Self { stage: of.next(), ..self } } else { self }
    }
}

/// Raises the flag.
#[derive(Debug)]
pub struct Canceller(watch::Sender<State>);

impl Canceller {
    /// One more interrupt. What comes back is the stage that begins with it.
    pub fn interrupt(&self, by: Interrupt) -> Stage {
        self.change(|state| state.signal(by))
    }

    /// The time of a stage is over, see [`Stage::patience`].
    pub fn time_up(&self, of: Stage) -> Stage {
        self.change(|state| state.time_up(of))
    }

    /// What the process exits with when it leaves now, see [`Interrupt::exit_code`]; 0 when nobody interrupted.
    pub fn exit_code(&self) -> u8 {
        self.0.borrow().by.map_or(exit_code::OK, Interrupt::exit_code)
    }

    fn change(&self, change: impl FnOnce(State) -> State) -> Stage {
        let mut stage = Stage::Running;
        self.0.send_if_modified(|state| {
            let after = change(*state);
            stage = after.stage;
            std::mem::replace(state, after) != after
        });
        stage
    }
}

/// Sees the flag.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Receiver<State>);

impl Cancel {
    /// A flag and the hand that raises it.
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(State::default());
        (Canceller(sender), Self(receiver))
    }

    /// What interrupted first, if anything did.
    pub fn interrupted(&self) -> Option<Interrupt> {
        self.0.borrow().by
    }

    /// How urgent it is.
    pub fn stage(&self) -> Stage {
        self.0.borrow().stage
    }

    /// A future of its own that resolves once the run is to end in any way; never when nobody can interrupt any more.
    pub fn raised(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Stage::Stopping)
    }

    /// The same for failures: resolves once they are abandoned.
    pub fn abandoned(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Stage::Abandoning)
    }

    fn reached(&self, stage: Stage) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.0.clone();
        async move {
            if state.wait_for(|state| state.stage >= stage).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Runs `work` unless interrupted; none when it was, and `work` is dropped then.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        unless(work, self.raised()).await
    }

    /// Runs `work` unless failures are abandoned; none when they were, and `work` is dropped then.
    pub async fn unless_abandoned<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        unless(work, self.abandoned()).await
    }
}

async fn unless<T>(work: impl Future<Output = T>, ended: impl Future<Output = ()>) -> Option<T> {
    match select(pin!(work), pin!(ended)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_interrupt_is_more_urgent_and_the_first_decides_the_exit_code() {
        for first in [Interrupt::Sigint, Interrupt::Sigterm] {
            for second in [Interrupt::Sigint, Interrupt::Sigterm] {
                for third in [Interrupt::Sigint, Interrupt::Sigterm] {
                    let (canceller, cancel) = Cancel::new();
                    assert_eq!((cancel.stage(), cancel.interrupted()), (Stage::Running, None));
                    assert_eq!(canceller.interrupt(first), Stage::Stopping);
                    assert_eq!(canceller.interrupt(second), Stage::Abandoning);
                    assert_eq!(canceller.interrupt(third), Stage::Leaving);
                    assert_eq!(canceller.interrupt(third), Stage::Leaving, "there is nothing more urgent");
                    assert_eq!(cancel.interrupted(), Some(first));
                }
            }
        }
    }

    #[test]
    fn only_the_orderly_end_has_a_time_that_can_be_up() {
        let (canceller, cancel) = Cancel::new();
        assert_eq!(canceller.time_up(Stage::Stopping), Stage::Running, "nobody interrupted");
        canceller.interrupt(Interrupt::Sigterm);
        assert_eq!(canceller.time_up(Stage::Stopping), Stage::Abandoning);
        assert_eq!(canceller.time_up(Stage::Stopping), Stage::Abandoning, "a late clock changes nothing");
        assert_eq!(canceller.time_up(Stage::Abandoning), Stage::Abandoning);
        assert_eq!(cancel.interrupted(), Some(Interrupt::Sigterm));
    }

    #[test]
    fn what_looks_at_a_stage_hears_of_it_and_of_all_beyond() {
        let (canceller, cancel) = Cancel::new();
        let (raised, abandoned) = (cancel.raised().shared(), cancel.abandoned().shared());
        let heard = || (raised.clone().now_or_never().is_some(), abandoned.clone().now_or_never().is_some());
        assert_eq!(heard(), (false, false));
        canceller.interrupt(Interrupt::Sigint);
        assert_eq!(heard(), (true, false));
        canceller.interrupt(Interrupt::Sigint);
        assert_eq!(heard(), (true, true));
        assert!(cancel.raised().now_or_never().is_some(), "also who asks late");
    }

    #[test]
    fn nobody_is_cancelled_when_the_hand_is_gone() {
        let (canceller, cancel) = Cancel::new();
        drop(canceller);
        assert_eq!(cancel.raised().now_or_never(), None);
        assert_eq!(cancel.unless(std::future::ready(1)).now_or_never(), Some(Some(1)));
    }

    proptest! {
        /// Whatever happens in whatever order: stages never fall, and the first signal is kept.
        #[test]
        fn stages_only_rise(steps in proptest::collection::vec(0_u8..4, 0..12)) {
            let (canceller, cancel) = Cancel::new();
            let (mut stage, mut first) = (Stage::Running, None);
            for step in steps {
                let now = match step {
                    0 => canceller.interrupt(Interrupt::Sigint),
                    1 => canceller.interrupt(Interrupt::Sigterm),
                    2 => canceller.time_up(Stage::Stopping),
                    _ => canceller.time_up(Stage::Abandoning),
                };
                first = first.or(match step { 0 => Some(Interrupt::Sigint), 1 => Some(Interrupt::Sigterm), _ => None });
                prop_assert!(now >= stage);
                prop_assert_eq!(now, cancel.stage());
                prop_assert_eq!(first, cancel.interrupted());
                prop_assert_eq!(first.is_some(), now > Stage::Running);
                stage = now;
            }
        }
    }
}
