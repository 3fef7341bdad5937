//! The results as a page of text.

use crate::Results;

pub fn print(results: &Results) {
    println!("{} on {} processors, which the clients share\n", results.server, results.processors);
    println!(
        "{:>7} {:>6} {:>9} {:>9} {:>6} {:>17} {:>17} {:>10} {:>10}",
        "workers",
        "lease",
        "tasks/s",
        "bare/s",
        "ratio",
        "lease p50/p99",
        "commit p50/p99",
        "calls/task",
        "script µs"
    );
    for rate in &results.rates {
        println!(
            "{:>7} {:>6} {:>9.0} {:>9.0} {:>6.2} {:>17} {:>17} {:>10.2} {:>10.1}",
            rate.workers,
            rate.most,
            rate.tasks_per_second,
            rate.bare_per_second,
            rate.of_bare,
            format!("{}/{} µs", rate.lease_p50_us, rate.lease_p99_us),
            format!("{}/{} µs", rate.commit_p50_us, rate.commit_p99_us),
            rate.calls_per_task,
            rate.script_us_per_task,
        );
    }
    println!();
    for submit in &results.submits {
        println!(
            "a submit of {} tasks: {:.1} ms, {} bytes while it waits",
            submit.tasks, submit.milliseconds, submit.bytes
        );
    }
    println!();
    for grows in &results.grows {
        println!(
            "beside {} waiting tasks and {} jobs that are over: {:.1} µs of script a task",
            grows.tasks, grows.history, grows.script_us_per_task
        );
    }
    let Some(idle) = &results.idle else { return };
    println!(
        "\n{} idle workers: {:.1} commands/s; one task comes: {} leases asked for, taken after {:.1} ms",
        idle.workers, idle.commands_per_second, idle.leases_for_one_task, idle.taken_after_ms
    );
}
