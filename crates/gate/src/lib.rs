//! The only way to a cluster: attributes, policy, audit, loopback proxy.
