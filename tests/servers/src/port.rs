//! A TCP port that no other test takes meanwhile.

use std::fs::{File, TryLockError, create_dir_all};
use std::net::{Ipv4Addr, TcpListener};
use std::process::id;

/// Below what the kernel gives to those who ask for any port (32768 and up), so that neither a client's end of a
/// connection nor a test that listens on port 0 is given one that a server is about to take, or to take again.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback, held by a locked file for as long as this lives: also while the server on it is down.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// One that nobody holds or listens on.
    pub fn take() -> Self {
        let directory = std::env::temp_dir().join("darktower-ports");
        create_dir_all(&directory).expect("a directory for locks");
        // Processes begin at different places, so that they seldom ask for the same.
        let start = (id() as u16).wrapping_mul(61) % COUNT;
        for step in 0..COUNT {
            let number = FIRST + (start + step) % COUNT;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(directory.join(number.to_string()))
                .expect("a file to lock");
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => panic!("a lock: {error}"),
            }
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no port is free between {FIRST} and {}", FIRST + COUNT);
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
