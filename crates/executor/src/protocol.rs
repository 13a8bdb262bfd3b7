//! What harness, supervisor and entry stage tell each other: JSON documents, each after its length, over a socket that is
//! their standard input. Nothing of it stands in a command line or an environment.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::sandbox::Sandbox;

/// The longest message: an order with its environment, or the input of a process.
const LONGEST: u32 = 256 * 1024 * 1024;

/// What the supervisor is to run. The bytes of the process's input follow as a message of their own.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) sandbox: Option<Sandbox>,
    /// Folders of the process's own: measured, and removed when the harness has died.
    pub(crate) places: Vec<PathBuf>,
}

/// What the harness asks later; the end of its messages means that all is to end at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// End everything: SIGTERM, then SIGKILL after this time.
    End(Duration),
}

/// What the supervisor says, in this order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// The process that becomes the program is there, the leader of a session.
    Started { leader: i32 },
    /// The program runs.
    Entered { landlock: bool },
    /// Everything has ended; the last word.
    Ended(Report),
}

/// What the supervisor saw.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) ending: Ended,
    /// Processes outside the leader's group that had to be killed.
    pub(crate) strays: usize,
    /// Nobody was left.
    pub(crate) all_gone: bool,
    /// The kernel enforced the sandbox.
    pub(crate) landlock: bool,
}

/// How the leader ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ended {
    Code(i32),
    Signal(i32),
    Capped(String),
    NotStarted(String),
}

/// What the entry stage says before it becomes the program; silence after that means that it did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// About to become the program.
    Ready { landlock: bool },
    /// It cannot.
    Failed(String),
}

/// Writes one message.
pub(crate) fn say<T: Serialize>(to: &mut impl Write, message: &T) -> io::Result<()> {
    say_bytes(to, &serde_json::to_vec(message)?)
}

/// Writes one message that is no JSON.
pub(crate) fn say_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&length(bytes)?)?;
    to.write_all(bytes)?;
    to.flush()
}

/// What stands before a message.
pub(crate) fn length(bytes: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= LONGEST);
    length.map(u32::to_le_bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too long a message"))
}

/// Reads one message; none at the end.
pub(crate) fn hear<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    match hear_bytes(from)? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

/// Reads one message that is no JSON; none at the end.
pub(crate) fn hear_bytes(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = bounded(length)?;
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == u64::from(length) { Ok(Some(bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The first message of a buffer, if it is all there, with its length in the buffer.
pub(crate) fn whole<T: DeserializeOwned>(buffer: &[u8]) -> io::Result<Option<(T, usize)>> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = bounded(*length)? as usize;
    match rest.get(..length) {
        Some(message) => Ok(Some((serde_json::from_slice(message)?, length + 4))),
        None => Ok(None),
    }
}

fn bounded(length: [u8; 4]) -> io::Result<u32> {
    let length = u32::from_le_bytes(length);
    if length <= LONGEST { Ok(length) } else { Err(io::Error::new(io::ErrorKind::InvalidData, "too long a message")) }
}
