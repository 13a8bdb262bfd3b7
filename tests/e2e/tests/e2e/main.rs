//! End to end through the real program; one test binary, so that it is linked once.

mod agents;
mod agreement;
mod any_cluster;
mod authoring;
mod bad_input;
mod containment;
mod fitness;
mod grants;
mod hostile;
mod interrupt;
mod kills;
mod kind;
mod kubectl;
mod kubectl_breadth;
mod kubectl_crash;
mod leak_of_truth;
mod legacy;
mod library;
mod live_test;
mod many;
mod quickstart;
mod random;
mod runner;
mod verdicts;
