//! Provisioners and the pool of clusters.
