//! Streams that we send on, and what waits for them.

use std::collections::VecDeque;

use bytes::Bytes;
use quinn_proto::{Connection, FinishError, StreamId as QuicStream, WriteError};

/// One stream of ours, or our side of one of the peer's.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// `None` while the peer lets us open no more.
    pub(super) quic: Option<QuicStream>,
    priority: i32,
    /// What the connection has not taken yet.
    queue: VecDeque<Bytes>,
    /// Bytes at the front of the queue that the service did not give.
    front: usize,
    finish: bool,
}

/// The peer wants no more of a stream.
#[derive(Debug)]
pub(super) struct Stopped;

impl Outgoing {
    pub(super) fn new(priority: i32) -> Self {
        Self {
            quic: None,
            priority,
            queue: VecDeque::new(),
            front: 0,
            finish: false,
        }
    }

    /// The peer's stream: open, and without a front.
    pub(super) fn answering(stream: QuicStream) -> Self {
        Self {
            quic: Some(stream),
            ..Self::new(0)
        }
    }

    /// The connection has given it a number. Returns how many bytes of the service's it took.
    pub(super) fn opened(
        &mut self,
        conn: &mut Connection,
        stream: QuicStream,
        front: &Bytes,
    ) -> usize {
        self.quic = Some(stream);
        self.front = front.len();
        self.queue.push_front(front.clone());
        self.set_priority(conn, self.priority);
        // A stream that has just been opened cannot have been stopped.
        self.flush(conn).unwrap_or_default()
    }

    pub(super) fn set_priority(&mut self, conn: &mut Connection, priority: i32) {
        self.priority = priority;
        if let Some(stream) = self.quic {
            // An error says that the stream is over: priority has no meaning then.
            let _ = conn.send_stream(stream).set_priority(priority);
        }
    }

    /// Writes behind what waits. Returns how many bytes the connection took at once.
    pub(super) fn write(&mut self, conn: &mut Connection, bytes: Bytes) -> Result<usize, Stopped> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let (Some(stream), true) = (self.quic, self.queue.is_empty()) else {
            self.queue.push_back(bytes);
            return Ok(0);
        };
        let mut one = [bytes];
        let taken = match conn.send_stream(stream).write_chunks(&mut one) {
            Ok(written) => written.bytes,
            Err(WriteError::Blocked) => 0,
            Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Err(Stopped),
        };
        let [rest] = one;
        if rest.is_empty() {
            return Ok(taken);
        }
        self.queue.push_back(rest);
        // Only a write of which nothing is taken makes the connection tell when it takes more.
        Ok(taken + self.flush(conn)?)
    }

    /// Gives the connection what it takes now. Returns how many bytes of the service's that were.
    pub(super) fn flush(&mut self, conn: &mut Connection) -> Result<usize, Stopped> {
        let Some(stream) = self.quic else {
            return Ok(0);
        };
        let mut taken = 0;
        while !self.queue.is_empty() {
            let waiting = self.queue.make_contiguous();
            match conn.send_stream(stream).write_chunks(waiting) {
                Ok(written) => {
                    self.queue.drain(..written.chunks);
                    taken += written.bytes;
                }
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Err(Stopped),
            }
        }
        let front = self.front.min(taken);
        self.front -= front;
        if self.finish && self.queue.is_empty() {
            self.end(conn, stream)?;
        }
        Ok(taken - front)
    }

    /// Ends the stream behind what waits.
    pub(super) fn finish(&mut self, conn: &mut Connection) -> Result<(), Stopped> {
        self.finish = true;
        match self.quic {
            Some(stream) if self.queue.is_empty() => self.end(conn, stream),
            _ => Ok(()),
        }
    }

    fn end(&mut self, conn: &mut Connection, stream: QuicStream) -> Result<(), Stopped> {
        self.finish = false;
        match conn.send_stream(stream).finish() {
            Ok(()) => Ok(()),
            Err(FinishError::Stopped(_) | FinishError::ClosedStream) => Err(Stopped),
        }
    }
}
