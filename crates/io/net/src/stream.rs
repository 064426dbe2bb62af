//! Streams of a session.

use std::sync::Arc;

use bytes::Bytes;
use web_transport_quinn as wt;

use crate::error::{CloseReason, ReadError, WriteError};
use crate::session::Shared;

/// The code of a stream that was dropped unfinished by its sender, or unread by its receiver.
pub const CANCELLED: u32 = 0;

/// The sending side of a stream. Dropped before [`SendStream::finish`], it is reset with [`CANCELLED`].
#[derive(Debug)]
pub struct SendStream {
    inner: wt::SendStream,
    session: Arc<Shared>,
    over: bool,
}

impl SendStream {
    pub(crate) fn new(inner: wt::SendStream, session: Arc<Shared>) -> Self {
        Self {
            inner,
            session,
            over: false,
        }
    }

    /// Writes all of `data`, waiting while the peer or the path is slow. Not cancel-safe: after a dropped call it is
    /// unknown how much went out, so [`SendStream::reset`] it.
    pub async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        if self.over {
            return Err(WriteError::Finished);
        }
        let written = self.inner.write_chunk(data).await;
        written.map_err(|e| self.error(e))
    }

    /// Ends the stream after what was written. Returns at once; the data is delivered unless the session closes first.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        if self.over {
            return Err(WriteError::Finished);
        }
        self.over = true;
        match self.inner.finish() {
            Ok(()) => Ok(()),
            Err(wt::ClosedStream) => Err(WriteError::Stopped(None)),
        }
    }

    /// Gives the stream up: nothing more is sent or repeated, and the peer reads `code`. After [`SendStream::finish`]
    /// it still stops repeats of what is not yet acknowledged.
    pub fn reset(&mut self, code: u32) {
        self.over = true;
        // An error says that the peer stopped it or has it all: nothing is left to give up.
        let _ = self.inner.reset(code);
    }

    /// Among streams with something to send, higher goes first; equal ones take turns. 0 at the start.
    pub fn set_priority(&self, priority: i32) {
        // An error says that the stream is over: priority has no meaning then.
        let _ = self.inner.set_priority(priority);
    }

    /// Waits until the peer has acknowledged everything up to the end, or has stopped the stream.
    pub async fn delivered(&self) -> Result<(), WriteError> {
        match self.inner.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(WriteError::Stopped(Some(code))),
            Err(error) => Err(self.session.reason(error).into()),
        }
    }

    fn error(&self, error: wt::WriteError) -> WriteError {
        match error {
            wt::WriteError::Stopped(code) => WriteError::Stopped(Some(code)),
            wt::WriteError::InvalidStopped(_) => WriteError::Stopped(None),
            wt::WriteError::ClosedStream => WriteError::Finished,
            wt::WriteError::SessionError(e) => CloseReason::into(self.session.reason(e)),
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        if !self.over {
            self.reset(CANCELLED);
        }
    }
}

/// The receiving side of a stream, read in order. Dropped before its end, it is stopped with [`CANCELLED`].
#[derive(Debug)]
pub struct RecvStream {
    inner: wt::RecvStream,
    session: Arc<Shared>,
    over: bool,
}

impl RecvStream {
    pub(crate) fn new(inner: wt::RecvStream, session: Arc<Shared>) -> Self {
        Self {
            inner,
            session,
            over: false,
        }
    }

    /// The next bytes in order, as they arrived; `None` at the end. Cancel-safe.
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.over {
            return Err(ReadError::Finished);
        }
        // Ordered always: mixing in unordered reads loses the end of a stream when packets are repeated.
        match self.inner.read_chunk(usize::MAX, true).await {
            Ok(Some(chunk)) => Ok(Some(chunk.bytes)),
            Ok(None) => {
                self.over = true;
                Ok(None)
            }
            Err(error) => {
                self.over = true;
                Err(match error {
                    wt::ReadError::Reset(code) => ReadError::Reset(Some(code)),
                    wt::ReadError::InvalidReset(_) => ReadError::Reset(None),
                    wt::ReadError::SessionError(e) => self.session.reason(e).into(),
                    wt::ReadError::ClosedStream | wt::ReadError::IllegalOrderedRead => {
                        ReadError::Finished
                    }
                })
            }
        }
    }

    /// Tells the peer to send no more; it reads `code`. What has arrived is discarded.
    pub fn stop(&mut self, code: u32) {
        self.over = true;
        // An error says that the stream is over already.
        let _ = self.inner.stop(code);
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        if !self.over {
            self.stop(CANCELLED);
        }
    }
}
