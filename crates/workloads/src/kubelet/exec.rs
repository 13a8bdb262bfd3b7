//! Commands from outside (`kubectl exec`) in the containers of this node: they run beside the container's own process and
//! end with it.

use simulation::{Exec, World};

use super::sync::since_epoch;
use super::worker::Worker;
use super::{Context, Kubelet, NAME};

impl Kubelet {
    /// Begins it, if the pod is on one of these nodes.
    pub(super) fn begin_exec(&mut self, world: &mut dyn World, exec: &Exec) -> Option<Result<(), String>> {
        let worker = self.workers.get_mut(&exec.pod_uid)?;
        if let Some(node) = self.shared.nodes.get(worker.node())
            && node.back_at(world.now()).is_some()
        {
            let address = &node.address;
            return Some(Err(format!("error dialing backend: dial tcp {address}:10250: connect: connection refused")));
        }
        let begun = worker.begin_exec(&mut Context { world: &mut *world, shared: &mut self.shared }, exec);
        self.look_again(world, &exec.pod_uid);
        Some(begun)
    }

    /// Ends it.
    pub(super) fn end_exec(&mut self, world: &mut dyn World, exec: &Exec) {
        if let Some(worker) = self.workers.get_mut(&exec.pod_uid) {
            worker.end_exec(&mut Context { world: &mut *world, shared: &mut self.shared }, exec);
            self.look_again(world, &exec.pod_uid);
        }
    }

    fn look_again(&mut self, world: &mut dyn World, uid: &str) {
        if let Some(at) = self.workers.get(uid).and_then(Worker::next_due) {
            world.wake_at(NAME, uid.to_owned(), at);
        }
        self.log_access(world);
    }
}

impl Worker {
    fn begin_exec(&mut self, context: &mut Context<'_>, exec: &Exec) -> Result<(), String> {
        let now = context.now();
        let not_there = || format!("unable to upgrade connection: container not found ({:?})", exec.container);
        let index = self.units.iter().position(|unit| unit.name == exec.container).ok_or_else(not_there)?;
        let run = self.units[index].run.as_mut().filter(|run| run.is_running()).ok_or_else(not_there)?;
        let process = run.process.as_mut().filter(|process| process.ended().is_none()).ok_or_else(not_there)?;
        let id: String = (0..4).map(|_| format!("{:016x}", context.world.random())).collect();
        process.can_exec(&exec.command).map_err(|why| {
            let why = why.replace("failed to start exec:", &format!("failed to start exec {id:?}:"));
            format!("Internal error occurred: error executing command in container: {why}")
        })?;
        let begun = process.attach(&exec.command, exec.input.clone(), since_epoch(now)).ok_or_else(|| {
            "Internal error occurred: error executing command in container: failed to exec in container: failed to start \
             exec: can't fork: Resource temporarily unavailable"
                .to_owned()
        })?;
        run.execs.push((begun, exec.id));
        run.step_at = Some(now);
        self.step_process(context, index, now);
        Ok(())
    }

    fn end_exec(&mut self, context: &mut Context<'_>, exec: &Exec) {
        let now = context.now();
        let Some(index) = self.units.iter().position(|unit| unit.name == exec.container) else { return };
        let Some(run) = self.units[index].run.as_mut() else { return };
        let Some(at) = run.execs.iter().position(|(_, id)| *id == exec.id) else { return };
        let (own, _) = run.execs.swap_remove(at);
        if let Some(process) = run.process.as_mut() {
            process.cancel_exec(own);
            run.step_at = Some(now);
            self.step_process(context, index, now);
        }
    }

    /// The container has ended, and with it whatever else ran in it.
    pub(super) fn lose_execs(&mut self, world: &mut dyn World, index: usize) {
        let execs = self.units[index].run.as_mut().map(|run| std::mem::take(&mut run.execs)).unwrap_or_default();
        for (_, exec) in execs {
            world.exec_ended(exec, 137);
        }
    }
}
