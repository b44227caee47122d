//! Sheds load before the kernel ends the process for its memory: near the limit no new grant begins, and what ends is
//! ended as always. A process that is ended does not release the Lease, and the next leader would meet the same limit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::Context;

/// The part of the limit, in percent, from which no new grant begins.
const SHED: u64 = 80;
/// The part of the limit, in percent, below which grants begin again.
const RESUME: u64 = 75;
/// How often the memory is compared with the limit.
const CHECK: Duration = Duration::from_secs(1);

/// Compares the memory of this process with `limit`, in bytes. Never ends.
pub async fn watch(ctx: Arc<Context>, limit: Option<u64>) {
    let Some(limit) = limit else { return std::future::pending().await };
    ctx.metrics.memory_limit(limit);
    let mut is_shedding = false;
    loop {
        if let Some(resident) = resident() {
            let sheds = sheds(is_shedding, resident, limit);
            if sheds != is_shedding {
                report(sheds, resident, limit);
                ctx.metrics.sheds(sheds);
            }
            is_shedding = sheds;
        }
        if is_shedding {
            // Until the check after the next one: a late check opens no gap.
            ctx.grant_slots.pause(CHECK * 2);
        }
        ctx.sheds.store(is_shedding, Ordering::Release);
        tokio::time::sleep(CHECK).await;
    }
}

fn sheds(is_shedding: bool, resident: u64, limit: u64) -> bool {
    let percent = u128::from(resident) * 100;
    percent >= u128::from(limit) * u128::from(if is_shedding { RESUME } else { SHED })
}

fn report(sheds: bool, resident: u64, limit: u64) {
    if sheds {
        tracing::warn!(
            resident,
            limit,
            "the memory is above {SHED} % of the limit: no new grant begins until it is below {RESUME} %; ends and revocations continue. Raise the memory limit of the Pod"
        );
    } else {
        tracing::info!(resident, limit, "the memory is below {RESUME} % of the limit again: grants begin again");
    }
}

/// The resident memory of this process in bytes, by the kernel; `None`: the kernel does not tell.
fn resident() -> Option<u64> {
    of_status(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_wait_from_80_percent_of_the_limit_until_it_is_below_75() {
        let mut is_shedding = false;
        for (resident, expected) in
            [(0, false), (79, false), (80, true), (79, true), (75, true), (74, false), (79, false)]
        {
            is_shedding = sheds(is_shedding, resident * 1024, 100 * 1024);
            assert_eq!(is_shedding, expected, "{resident} %");
        }
        assert!(sheds(false, u64::MAX, 1) && !sheds(false, 1, u64::MAX));
    }

    #[test]
    fn the_resident_memory_is_read_from_the_kernels_report() {
        assert_eq!(
            of_status("Name:\toperator\nVmHWM:\t  30000 kB\nVmRSS:\t   20480 kB\nThreads:\t4\n"),
            Some(20_971_520)
        );
        assert_eq!(of_status("Name:\toperator\n"), None);
        assert!(resident().is_none_or(|resident| resident > 1024 * 1024));
    }
}
