//! The load of `load` on the whole program, `harness-cli cluster up`, in a process of its own, so that its memory is the
//! server's alone. `HARNESS_BENCH_LOAD` divides it: 10 makes a tenth.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use load::{Loaded, Plan};
use tokio::runtime::Runtime;

use crate::cases::kilobytes;
use crate::measure::{Measured, text};
use crate::processes::beside_us;

const WHOLE: Plan = Plan { namespaces: 2_000, pods: 10_000, watchers: 100, writes: 10_000, page: 500 };

/// The server, ended with this.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already where this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// All of it.
pub(crate) fn measure(runtime: &Runtime) -> Result<Vec<Measured>, String> {
    let divide: usize = std::env::var("HARNESS_BENCH_LOAD").ok().and_then(|number| number.parse().ok()).unwrap_or(1);
    let part = |whole: usize| whole / divide.max(1);
    let plan = Plan {
        namespaces: part(WHOLE.namespaces),
        pods: part(WHOLE.pods),
        watchers: part(WHOLE.watchers),
        writes: part(WHOLE.writes),
        page: WHOLE.page,
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("kubeconfig");
    let mut command = Command::new(beside_us("harness-cli")?);
    command.current_dir(folder.path()).args(["cluster", "up", "--kubeconfig"]).arg(&path).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Serving(command.spawn().map_err(|error| format!("harness-cli: {error}"))?);
    let stdout = server.0.stdout.take().ok_or("stdout is piped")?;
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready).map_err(|error| error.to_string())?;
    let kubeconfig = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let megabytes = |name: &str| kilobytes(server.0.id(), name).unwrap_or_default() / 1024;
    let empty = megabytes("VmRSS:");
    let mut filled = 0;
    let loaded = runtime.block_on(load::run(&kubeconfig, plan, || filled = megabytes("VmRSS:")))?;
    let memory = Measured::of(
        "load, resident memory of the server at most",
        format!("{} MB", megabytes("VmHWM:")),
        format!("{empty} MB empty, {filled} MB filled, {} MB at the end", megabytes("VmRSS:")),
    );
    let mut lines = lines(plan, loaded);
    lines.push(memory);
    Ok(lines)
}

fn lines(plan: Plan, loaded: Loaded) -> Vec<Measured> {
    let Plan { namespaces, pods, watchers, writes, page } = plan;
    let rate = |count: usize, took: Duration| format!("{:.0}", count as f64 / took.as_secs_f64());
    let [quiet, busy] = loaded.lists;
    vec![
        Measured::of(
            "load, made a second",
            rate(namespaces + pods, loaded.filling),
            format!("{namespaces} namespaces and {pods} pods in {}", text(loaded.filling)),
        ),
        Measured::of(
            "load, writes a second, one after the other",
            rate(writes, loaded.writing),
            format!("{writes} with {watchers} watchers, who had all {} after the last", text(loaded.draining)),
        ),
        Measured::many("load, write", loaded.writes),
        Measured::many("load, from write to watcher", loaded.deliveries),
        Measured::times(format!("load, list of {pods} pods, pages of {page}"), quiet),
        Measured::times(format!("load, the same while one writes ({} expired)", loaded.expired), busy),
        Measured::many("load, one page", loaded.pages),
    ]
}
