//! Threads: the runtime of a program, and how its threads share the processors with others.

use std::{io, thread::available_parallelism, time::Duration};

use tokio::runtime::{Builder, Runtime};

/// How long a program waits at its end for what still runs: tasks between two awaits, and blocking calls.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a program on its runtime to the end. Calls that can't be cancelled, such as a DNS lookup, do not hold up that end:
/// a runtime that is dropped would wait for them for as long as they take.
pub fn run<T>(runtime: Runtime, program: impl Future<Output = T>) -> T {
    let ended = runtime.block_on(program);
    runtime.shutdown_timeout(END_TIMEOUT);
    ended
}

/// The runtime of a program that hands most of its work to other threads: those of its connections, its store, its HTTP
/// server or its jobs. So it has a thread for every second processor, but `min` at least. With more of them each message
/// would wake two, one that has something to do and one that looks whether there is more. With one of them all waits while a
/// very long message is read.
///
/// # Errors
/// If the operating system refuses the threads.
pub fn runtime(min: usize) -> io::Result<Runtime> {
    let threads = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
    Builder::new_multi_thread()
        .worker_threads(threads.max(min))
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

/// Lets the calling thread, and those that it starts, interrupt no other one: when it is woken and all processors are in
/// use, it waits until one is free or the turn of another thread is over, a few milliseconds at most. What is handed to it
/// meanwhile it does at once, so that a crowded machine switches less often between threads and does more. On an idle
/// processor it starts at once, as usual.
///
/// This is the policy `SCHED_BATCH` of Linux; see sched(7). Where it can't be set, nothing changes.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::schedule_in_batches() {
        tracing::debug!("a thread can't be scheduled in batches: {error}");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::error::Error;

    use rustix::process::getpriority_process;
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id, thread_schedule_policy,
    };

    /// Sets the policy of the calling thread. The library sets its niceness, too: to what that is already.
    pub(super) fn schedule_in_batches() -> Result<(), Box<dyn Error>> {
        let usual = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
        if thread_schedule_policy()? != usual {
            // Whoever has started the program wants another one.
            return Ok(());
        }
        let priority = priority(getpriority_process(None)?)?;
        let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
        set_thread_priority_and_policy(thread_native_id(), priority, policy)?;
        Ok(())
    }

    /// The library's name for a niceness: it counts from 0 for 19 to 99 for -20, and rounds towards the higher priority.
    fn priority(nice: i32) -> Result<ThreadPriority, Box<dyn Error>> {
        let value = u8::try_from(((19 - nice) * 99 - 1) / 39)?;
        Ok(ThreadPriority::Crossplatform(ThreadPriorityValue::try_from(value)?))
    }

    #[cfg(test)]
    mod tests {
        use std::thread;

        use rustix::process::nice;

        use super::*;

        #[test]
        fn each_niceness_has_a_name() {
            let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
            for nice in -20..20 {
                assert_eq!(priority(nice).unwrap().to_posix(policy).unwrap(), nice);
            }
        }

        #[test]
        fn a_thread_that_gives_way_keeps_its_niceness_and_hands_the_policy_on() {
            let policy = || (thread_schedule_policy().unwrap(), getpriority_process(None).unwrap());
            let thread = thread::spawn(move || {
                let niceness = nice(2).unwrap();
                schedule_in_batches().unwrap();
                let batch = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Batch);
                assert_eq!(policy(), (batch, niceness));
                assert_eq!(thread::spawn(policy).join().unwrap(), (batch, niceness));
            });
            thread.join().unwrap();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_blocking_call_that_hangs_does_not_hold_up_the_end_of_a_program() {
        let (hang, hanging) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        run(runtime(1).unwrap(), async {
            tokio::task::spawn_blocking(move || {
                begun.send(()).unwrap();
                let _never = hanging.recv();
            });
            has_begun.recv().unwrap();
        });
        drop(hang);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod policy_tests {
    use thread_priority::{
        NormalThreadSchedulePolicy::Batch, ThreadSchedulePolicy, thread_schedule_policy,
    };

    use super::*;

    #[test]
    fn the_threads_of_the_runtime_give_way_and_the_main_thread_stays_as_it_is() {
        let runtime = runtime(1).unwrap();
        let policy = || thread_schedule_policy().unwrap();
        let before = policy();
        let of_task = runtime.block_on(async { tokio::spawn(async move { policy() }).await });
        assert_eq!(of_task.unwrap(), ThreadSchedulePolicy::Normal(Batch));
        assert_eq!(policy(), before);
    }
}
