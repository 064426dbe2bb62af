//! What is under way: events in order of time, and of sending where times are
//! equal, so that nothing that was said first arrives later.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

/// Events under way.
#[derive(Debug)]
pub struct Queue<E> {
    order: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    events: Vec<Option<E>>,
    free: VecDeque<usize>,
    sent: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            order: BinaryHeap::new(),
            events: Vec::new(),
            free: VecDeque::new(),
            sent: 0,
        }
    }
}

impl<E> Queue<E> {
    /// `event` happens at `at`.
    pub fn send(&mut self, at: Duration, event: E) {
        let place = match self.free.pop_front() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.order.push(Reverse((at, self.sent, place)));
        self.sent += 1;
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next event, if it happens no later than `now`.
    pub fn take(&mut self, now: Duration) -> Option<E> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse((_, _, place)) = self.order.pop()?;
        self.free.push_back(place);
        self.events[place].take()
    }
}
