//! The component host against components that do as they are told and against those that do not. No cluster: a function stands
//! in for the API server.

mod cluster;
mod guests;
mod kubernetes;
mod limits;
mod loading;
