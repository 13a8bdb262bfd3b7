//! Serves an embedded cluster until interrupted: `cargo run -p harness-embedded --example serve -- /tmp/kubeconfig`.

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("say where to write the kubeconfig")?;
    let cluster = embedded::Cluster::start(embedded::Options::default());
    let server = cluster.serve("127.0.0.1:0".parse()?).await?;
    std::fs::write(&path, server.kubeconfig())?;
    println!("KUBECONFIG={path}");
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
