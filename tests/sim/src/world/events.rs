//! What happens at one end because of what was done at another, half a round
//! trip before.

use bytes::Bytes;
use darktower_media::forwarder::SessionId as MediaSession;
use darktower_meeting::meeting::{self, Credential, Entropy, SessionId};
use darktower_participant::{Input, Link};
use darktower_wire::Code;
use darktower_wire::framing::{Decoder, MAX_SIGNAL};
use darktower_wire::signal::ClientMessage;

use super::{World, index};
use crate::handler::ToParticipant;

pub(super) enum Event {
    SignalOpened {
        end: usize,
        connection: u64,
        credential: Credential,
    },
    MediaOpened {
        end: usize,
        connection: u64,
        url: String,
    },
    Up {
        end: usize,
        link: Link,
        connection: u64,
    },
    Down {
        end: usize,
        link: Link,
        connection: u64,
        code: Code,
    },
    ToController {
        session: SessionId,
        bytes: Bytes,
    },
    ToHandler {
        session: MediaSession,
        stream: u64,
        bytes: Bytes,
        fin: bool,
    },
    DatagramToHandler {
        session: MediaSession,
        bytes: Bytes,
    },
    SignalGone {
        session: SessionId,
    },
    MediaGone {
        session: MediaSession,
    },
    Signalled {
        end: usize,
        connection: u64,
        bytes: Bytes,
    },
    Media {
        end: usize,
        connection: u64,
        what: ToParticipant,
    },
}

impl World {
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::SignalOpened {
                end,
                connection,
                credential,
            } => {
                if self.ends[end].connection[0] != connection {
                    return;
                }
                let session = SessionId(self.next_session);
                self.next_session += 1;
                self.decoders.insert(session, Decoder::new(MAX_SIGNAL));
                self.signals.insert(session, end);
                self.ends[end].signal = Some(session);
                let (resume, ticket) = (self.random_bytes(), self.random_bytes());
                let entropy = Entropy { resume, ticket };
                let opened = meeting::Input::Opened {
                    session,
                    credential,
                    entropy,
                };
                self.meeting.handle(self.now, opened);
                self.drain_meeting();
            }
            Event::MediaOpened {
                end,
                connection,
                url,
            } => {
                if self.ends[end].connection[1] != connection {
                    return;
                }
                let session = MediaSession(self.next_session);
                self.next_session += 1;
                match self.media_seat(&url) {
                    Some(seat) => {
                        self.medias.insert(session, end);
                        self.ends[end].media = Some(session);
                        self.handler.opened(self.now, session, seat, false);
                        self.drain_handler();
                    }
                    None => {
                        let (link, code) = (Link::Media, Code::TicketUnknown);
                        self.queue.send(
                            self.now,
                            Event::Down {
                                end,
                                link,
                                connection,
                                code,
                            },
                        );
                    }
                }
            }
            Event::Up {
                end,
                link,
                connection,
            } => {
                if self.ends[end].connection[index(link)] == connection {
                    self.input(
                        end,
                        Input::LinkUp {
                            link,
                            max_datagram: 1200,
                        },
                    );
                }
            }
            Event::Down {
                end,
                link,
                connection,
                code,
            } => {
                if self.ends[end].connection[index(link)] == connection {
                    self.input(end, Input::LinkDown { link, code });
                }
            }
            Event::ToController { session, bytes } => self.signalled(session, &bytes),
            Event::ToHandler {
                session,
                stream: 0,
                bytes,
                ..
            } => {
                self.handler.control(self.now, session, &bytes);
                self.drain_handler();
            }
            Event::ToHandler {
                session,
                stream,
                bytes,
                fin,
            } => {
                self.handler.stream(self.now, session, stream, &bytes, fin);
                self.drain_handler();
            }
            Event::DatagramToHandler { session, bytes } => {
                self.handler.datagram(self.now, session, bytes);
                self.drain_handler();
            }
            Event::SignalGone { session } => {
                if self.signals.remove(&session).is_some() {
                    self.decoders.remove(&session);
                    self.meeting
                        .handle(self.now, meeting::Input::Closed { session });
                    self.drain_meeting();
                }
            }
            Event::MediaGone { session } => {
                self.medias.remove(&session);
                self.handler.closed(self.now, session);
                self.drain_handler();
            }
            Event::Signalled {
                end,
                connection,
                bytes,
            } => {
                if self.ends[end].connection[0] == connection {
                    let (link, stream) = (Link::Signal, 0);
                    self.input(
                        end,
                        Input::StreamData {
                            link,
                            stream,
                            bytes,
                            fin: false,
                        },
                    );
                }
            }
            Event::Media {
                end,
                connection,
                what,
            } => {
                if self.ends[end].connection[1] == connection {
                    self.media_came(end, what);
                }
            }
        }
    }

    fn media_came(&mut self, end: usize, what: ToParticipant) {
        let link = Link::Media;
        let input = match what {
            ToParticipant::Control(bytes) => Input::StreamData {
                link,
                stream: 0,
                bytes,
                fin: false,
            },
            ToParticipant::Stream { stream, bytes, fin } => {
                let bytes = self.tampered(bytes);
                Input::StreamData {
                    link,
                    stream,
                    bytes,
                    fin,
                }
            }
            ToParticipant::Reset { stream } => Input::StreamReset { link, stream },
            ToParticipant::Datagram(bytes) => Input::Datagram(self.tampered(bytes)),
            ToParticipant::Closed(code) => Input::LinkDown { link, code },
        };
        self.input(end, input);
    }

    fn tampered(&mut self, bytes: Bytes) -> Bytes {
        let hit = self
            .tamper_one_in
            .is_some_and(|one_in| self.random.next_u64().is_multiple_of(one_in));
        if !hit || bytes.len() < 40 {
            return bytes;
        }
        let mut bytes = bytes.to_vec();
        // In the payload: what the seal is for.
        let at = bytes.len() - 1 - (self.random.next_u64() % 16) as usize;
        bytes[at] ^= 1;
        bytes.into()
    }

    fn signalled(&mut self, session: SessionId, bytes: &[u8]) {
        let Some(decoder) = self.decoders.get_mut(&session) else {
            return;
        };
        decoder.push(bytes);
        let mut messages = Vec::new();
        while let Ok(Some(message)) = decoder.next_message::<ClientMessage>() {
            messages.push(message);
        }
        for message in messages {
            self.meeting
                .handle(self.now, meeting::Input::Message { session, message });
            self.drain_meeting();
        }
    }
}
