//! Free ports of 127.0.0.1.
//!
//! A port is chosen below the range from which the system takes the ports of outgoing connections, so that a node
//! that is stopped for a while finds its own port free when it comes back. A lock file per port, held as long as this
//! process lives, keeps several test processes from choosing the same one.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail};

use rustix::process::geteuid;

const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

struct Taken {
    next: u16,
    locks: Vec<File>,
}

static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);

/// One free port, never the same twice in one process.
pub fn free() -> Result<u16> {
    free_range(1)
}

/// This port if it is free, else another one that is.
pub fn free_or_other(port: Option<u16>) -> Result<u16> {
    let Some(port) = port else { return free() };
    let Some(lock) = claim(port)? else { return free() };
    with_taken(|taken| taken.locks.push(lock));
    Ok(port)
}

/// The first of `len` free ports that follow each other.
pub fn free_range(len: u16) -> Result<u16> {
    with_taken(|taken| {
        for _ in 0..COUNT {
            let first = FIRST + taken.next;
            if taken.next + len >= COUNT {
                taken.next = 0;
                continue;
            }
            taken.next += len;
            if let Some(locks) =
                (first..first + len).map(claim).collect::<Result<Option<Vec<_>>>>()?
            {
                taken.locks.extend(locks);
                return Ok(first);
            }
        }
        bail!("no free port between {FIRST} and {} on 127.0.0.1", FIRST + COUNT)
    })
}

fn with_taken<T>(work: impl FnOnce(&mut Taken) -> T) -> T {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    work(taken.get_or_insert_with(|| Taken { next: random_start(), locks: Vec::new() }))
}

fn random_start() -> u16 {
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    u16::try_from(random % u64::from(COUNT - 100)).unwrap_or_default()
}

/// Takes the port's lock and looks whether it can be listened on.
fn claim(port: u16) -> Result<Option<File>> {
    // Other checkouts take ports of the same machine.
    let user = geteuid().as_raw();
    let dir = std::env::temp_dir().join(format!("slowlane-ports-{user}"));
    std::fs::create_dir_all(&dir).context("cannot make the folder of port locks")?;
    let lock = File::create(dir.join(port.to_string())).context("cannot make a port lock")?;
    let free = lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    Ok(free.then_some(lock))
}
