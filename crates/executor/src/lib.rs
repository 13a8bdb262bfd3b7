//! Runs agents: processes, workspaces, answers, usage.
