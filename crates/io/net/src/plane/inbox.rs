//! What other threads tell a shard, and how they wake it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::wt::Received;

/// Messages that may wait for a shard. Siblings send one for each turn of theirs, with everything in it, so this is
/// many milliseconds; then they keep what they have or drop it.
const CAPACITY: usize = 256;

/// What comes to a shard.
pub(super) enum Letter<M> {
    Message(M),
    /// A packet that the kernel brought to a sibling.
    Packet(Received),
}

/// The shard is gone.
#[derive(Debug, thiserror::Error)]
#[error("the shard is gone")]
pub struct Refused;

/// Wakes a shard that sleeps, and only then.
struct Bell {
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl Bell {
    fn ring(&self) {
        // Between what was sent and the look whether anybody sleeps, so that one of the two sides sees the other.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only when the count is full, and then the shard is awake already.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// The way to a shard for the async side. Clones share it.
pub struct Inlet<M> {
    sender: mpsc::Sender<Letter<M>>,
    bell: Arc<Bell>,
}

impl<M> Clone for Inlet<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<M> Inlet<M> {
    /// Tells the shard something, waiting while it is busy.
    pub async fn send(&self, message: M) -> Result<(), Refused> {
        let sent = self.sender.send(Letter::Message(message)).await;
        self.bell.ring();
        sent.map_err(|_| Refused)
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    pub(super) fn outlet(&self) -> Outlet<M> {
        Outlet(self.clone())
    }
}

/// The way to a shard for its siblings, who never wait.
pub(super) struct Outlet<M>(Inlet<M>);

impl<M> Outlet<M> {
    pub(super) fn inlet(&self) -> Inlet<M> {
        self.0.clone()
    }

    pub(super) fn offer(&self, message: M) -> Result<(), M> {
        match self.send(Letter::Message(message)) {
            Err(Letter::Message(message)) => Err(message),
            _ => Ok(()),
        }
    }

    /// Hands a packet over. Where the inbox is full it is lost, as packets are.
    pub(super) fn hand(&self, packet: Received) {
        if self.send(Letter::Packet(packet)).is_err() {
            tracing::debug!("a packet for a busy sibling is lost");
        }
    }

    fn send(&self, letter: Letter<M>) -> Result<(), Letter<M>> {
        match self.0.sender.try_send(letter) {
            Ok(()) => {
                self.0.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(letter) | TrySendError::Closed(letter)) => Err(letter),
        }
    }
}

/// The shard's end.
pub(super) struct Inbox<M> {
    receiver: mpsc::Receiver<Letter<M>>,
    bell: Arc<Bell>,
}

impl<M> Inbox<M> {
    pub(super) fn next(&mut self) -> Option<Letter<M>> {
        self.receiver.try_recv().ok()
    }

    /// Says that the shard is about to sleep. False: something has come, it must not.
    pub(super) fn doze(&self) -> bool {
        self.bell.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        match self.receiver.is_empty() {
            true => true,
            false => {
                self.bell.asleep.store(false, Ordering::SeqCst);
                false
            }
        }
    }

    /// The shard is awake, `rung` if by the bell.
    pub(super) fn wake(&self, rung: bool) {
        self.bell.asleep.store(false, Ordering::SeqCst);
        if rung {
            // It fails only when nobody rang.
            let _ = rustix::io::read(&self.bell.bell, &mut [0_u8; 8]);
        }
    }

    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.bell.as_fd()
    }
}

pub(super) fn pair<M>() -> io::Result<(Inlet<M>, Inbox<M>)> {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let bell = Arc::new(Bell {
        asleep: AtomicBool::new(false),
        bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
    });
    let inlet = Inlet {
        sender,
        bell: bell.clone(),
    };
    Ok((inlet, Inbox { receiver, bell }))
}
