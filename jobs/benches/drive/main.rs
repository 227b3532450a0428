//! Drives the release binary as a user would, and prints what it measured beside a peer or the bare minimum measured in
//! the same run. `jobs/dev/bench.sh` starts the servers that it needs; `jobs/benches/README.md` says what the lines mean.

mod bullmq;
mod counts;
mod environment;
mod footprint;
mod gateway;
mod latency;
mod live;
mod one_row;
mod pull;
mod reads;
mod stand_in;
mod stats;
mod tap;
mod throughput;

/// Whatever went wrong, in words: a bench has nobody to tell but its reader.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    // reqwest wants one even where everything is plain HTTP on loopback.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Cargo adds `--bench`.
    let name = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let bench = async {
        match name.as_deref() {
            Some("latency") => latency::run().await,
            Some("pull") => pull::run().await,
            Some("throughput") => throughput::run().await,
            Some("footprint") => footprint::run().await,
            Some("live") => live::run().await,
            // The bare minimum that `live` compares with, in a process of its own.
            Some("floor") => {
                let topics = std::env::args().nth(2).ok_or("how many topics?")?;
                live::floor::serve(topics.parse()?).await
            }
            Some("reads") => reads::run().await,
            // What it starts to compare with.
            Some("bare") => reads::bare::serve().await,
            // `cargo test --all-targets` and `cargo bench` without a name: these need servers.
            _ => {
                println!(
                    "use make bench-latency, bench-pull, bench-throughput, bench-footprint, bench-live or bench-reads"
                );
                Ok(())
            }
        }
    };
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(bench)
}
