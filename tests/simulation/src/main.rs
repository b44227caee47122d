//! Runs seeds: `simulation` (see `make simulate`).
fn main() {
    let seed = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let outcome = simulation::run(seed);
    for line in &outcome.trace {
        println!("{line}");
    }
    println!("{:?}", outcome.failure);
}
