//! The results as a page of text.

use crate::Results;
use crate::bullmq::Beside;
use crate::measure::{Grows, Idle, Rate, Submit};

pub fn print(results: &Results) {
    println!("{} on {} processors, which the clients share", results.server, results.processors);
    if !results.rates.is_empty() {
        rates(&results.rates);
    }
    if !results.submits.is_empty() {
        submits(&results.submits);
    }
    if !results.grows.is_empty() {
        grows(&results.grows);
    }
    if let Some(measured) = &results.idle {
        idle(measured);
    }
    if let Some(measured) = &results.beside {
        beside(measured);
    }
}

fn rates(rates: &[Rate]) {
    println!();
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
    for rate in rates {
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
}

fn submits(submits: &[Submit]) {
    println!();
    for submit in submits {
        println!(
            "a submit of {} tasks: {:.1} ms, {} bytes while it waits",
            submit.tasks, submit.milliseconds, submit.bytes
        );
    }
}

fn grows(grows: &[Grows]) {
    println!();
    for grows in grows {
        println!(
            "beside {} waiting tasks and {} jobs that are over: {:.1} µs of script a task",
            grows.tasks, grows.history, grows.script_us_per_task
        );
    }
}

fn idle(idle: &Idle) {
    println!(
        "\n{} idle workers: {:.1} commands/s; one task comes: {} leases asked for, taken after {:.1} ms",
        idle.workers, idle.commands_per_second, idle.leases_for_one_task, idle.taken_after_ms
    );
}

fn beside(beside: &Beside) {
    println!("\n{:>18} {:>9} {:>12} {:>15}", "", "tasks/s", "of BullMQ's", "server µs/task");
    println!("{:>18} {:>9.0}", "BullMQ", beside.bullmq_per_second);
    for ours in &beside.ours {
        println!(
            "{:>18} {:>9.0} {:>12.1} {:>15.1}",
            format!("vqfarm, leases of {}", ours.most),
            ours.tasks_per_second,
            ours.ratio,
            ours.server_us_per_task,
        );
    }
}
