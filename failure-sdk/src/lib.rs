//! Write a failure in Rust: implement [`Failure`] for a type and name it in [`failure!`]. Metadata comes from the `metadata.yaml`
//! beside your `Cargo.toml`, and is checked while you compile.
//!
//! ```ignore
//! use failure_sdk::{Case, Failure, Induced, Result, Target, json};
//!
//! struct BreakImage;
//!
//! impl Failure for BreakImage {
//!     fn induce(case: &Case) -> Result<Induced> {
//!         let app = Target::deployment(case.text("app")?);
//!         case.checkpoint(&app.get()?["spec"]["template"])?;
//!         app.merge(&json!({"spec": {"paused": true}}))?;
//!         Ok(Induced::default())
//!     }
//!
//!     fn stop(case: &Case) -> Result<()> {
//!         let Some(template) = case.state() else { return Ok(()) };
//!         Target::deployment(case.text("app")?).merge(&json!({"spec": {"template": template}}))?;
//!         Ok(())
//!     }
//! }
//!
//! failure_sdk::failure!(BreakImage);
//! ```

#[doc(hidden)]
pub mod bindings {
    #![allow(missing_docs, clippy::all)]
    wit_bindgen::generate!({
        path: "../wit",
        world: "scripted-failure",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "failure_sdk::bindings",
        runtime_path: "::failure_sdk::wit_bindgen::rt",
    });
}

mod case;
mod error;
mod target;

#[doc(hidden)]
pub mod component;

#[doc(hidden)]
pub use failure_sdk_macros::metadata;
#[doc(hidden)]
pub use wit_bindgen;

pub use case::{Case, Induced};
pub use error::{Error, Result};
pub use serde_json::{self, Value, json};
pub use target::{Selection, Target, apply, create};

// The bindings name the SDK by this path, from inside as from outside of it.
extern crate self as failure_sdk;

/// A failure: how to break it, and how to put it back.
pub trait Failure {
    /// Breaks it, and returns when the change is made; the harness waits for the symptoms itself. Save what [`stop`](Self::stop)
    /// needs with [`Case::checkpoint`] *before* the change: this call may be cut off at any point.
    ///
    /// # Errors
    /// Any [`Error`] ends the case: it says nothing about the agent.
    fn induce(case: &Case) -> Result<Induced>;

    /// Puts it back. Runs in a fresh instance that shares no memory with `induce`, with the state saved last ([`Case::state`]) or
    /// none; maybe twice; maybe after an `induce` that did nothing. What is already as it should be is no error.
    ///
    /// # Errors
    /// An [`Error`] is reported; the harness then puts back what it can itself.
    fn stop(case: &Case) -> Result<()>;
}

/// Makes the component of a type that implements [`Failure`]. Once in a crate. Reads `metadata.yaml` beside `Cargo.toml`.
#[macro_export]
macro_rules! failure {
    ($failure:ty) => {
        $crate::failure!($failure, $crate::metadata!());
    };
    // For components that serve any metadata: those say "null" and are told theirs with each call.
    ($failure:ty, $metadata:expr) => {
        const _: () = {
            struct Component;
            impl $crate::bindings::Guest for Component {
                fn metadata() -> ::std::string::String {
                    ::std::string::String::from($metadata)
                }
                fn induce(
                    call: $crate::bindings::Call,
                ) -> ::core::result::Result<$crate::bindings::Induced, $crate::bindings::Error> {
                    $crate::component::induce::<$failure>(call)
                }
                fn stop(
                    call: $crate::bindings::Call,
                    state: ::core::option::Option<::std::string::String>,
                ) -> ::core::result::Result<(), $crate::bindings::Error> {
                    $crate::component::stop::<$failure>(call, state)
                }
            }
    $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };
    };
}

/// Writing to the failure's log, which agents never see.
pub mod log {
    use crate::bindings::harness::failure::log::{Level, log};

    /// For the author of the failure.
    pub fn debug(message: impl AsRef<str>) {
        log(Level::Debug, message.as_ref());
    }

    /// What is being done.
    pub fn info(message: impl AsRef<str>) {
        log(Level::Info, message.as_ref());
    }

    /// Something is not as expected, and the failure goes on.
    pub fn warn(message: impl AsRef<str>) {
        log(Level::Warn, message.as_ref());
    }

    /// Something is wrong.
    pub fn error(message: impl AsRef<str>) {
        log(Level::Error, message.as_ref());
    }
}

/// Cluster time.
pub mod clock {
    use std::time::Duration;

    use crate::Result;
    use crate::bindings::harness::failure::clock;

    /// Since 1970-01-01T00:00:00Z.
    pub fn now() -> Duration {
        Duration::from_millis(clock::now())
    }

    /// Lets cluster time pass.
    ///
    /// # Errors
    /// When the case is cancelled or its time is over.
    pub fn sleep(duration: Duration) -> Result<()> {
        Ok(clock::sleep(crate::target::milliseconds(duration))?)
    }
}

/// Random numbers from the seed of the case.
pub mod random {
    use crate::bindings::harness::failure::random;

    /// The next number.
    pub fn next() -> u64 {
        random::next()
    }

    /// One of these; none when there are none.
    pub fn pick<T>(choices: &[T]) -> Option<&T> {
        let count = u64::try_from(choices.len()).ok().filter(|count| *count > 0)?;
        choices.get(usize::try_from(next() % count).ok()?)
    }
}

/// Running the one script of the failure's folder. Using this makes the component one of the world `scripted-failure`.
pub mod script {
    pub use crate::bindings::harness::failure::script::Output;

    use crate::Result;

    /// Runs the script and waits for its end.
    ///
    /// # Errors
    /// When it could not be run; a script that ran and failed is no error here: look at its code.
    pub fn run(arguments: &[&str]) -> Result<Output> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        Ok(crate::bindings::harness::failure::script::run(&arguments)?)
    }
}
