//! What a container does: an image catalogue and a small shell interpreter, driven by simulated time.
//!
//! Pure and deterministic: nothing here touches the machine, and a process behaves only as its image, command,
//! arguments, environment and mounted files say. The node of the embedded cluster is the only caller.

mod arithmetic;
mod commands;
mod executable;
mod expand;
mod files;
mod image;
mod network;
mod parse;
mod pattern;
mod process;
mod redirect;
mod run;
mod server;
mod syntax;
mod task;
mod words;

pub use files::Files;
pub use image::{Image, ImageError, Reference, resolve};
pub use network::{Network, NoNetwork, Reply, Request, Response};
pub use process::{Effect, Ended, ExecResult, Process, Signal, Start, StartError};
pub use server::{Listener, Service};
