//! Kubernetes bodies: JSON, YAML and protobuf to one form and back.
