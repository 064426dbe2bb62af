//! What each end decided is carried out: it becomes events at the others.

use darktower_meeting::meeting;
use darktower_participant::{Input, Link, Output};
use darktower_wire::framing;

use super::events::Event;
use super::{World, index};

impl World {
    pub(super) fn input(&mut self, end: usize, input: Input) {
        let (now, wall) = (self.now, self.wall());
        self.ends[end].participant.handle(now, wall, input);
        self.drain_end(end);
    }

    pub(super) fn drain_end(&mut self, at: usize) {
        while let Some(output) = self.ends[at].participant.poll() {
            self.perform(at, output);
        }
    }

    fn perform(&mut self, at: usize, output: Output) {
        let now = self.now;
        let half = self.ends[at].round_trip / 2;
        match output {
            // Nothing is silent in this world for so long that it would be answered.
            Output::Connect { beside: true, .. } | Output::Keep { .. } | Output::Replace { .. } => {
            }
            Output::Connect { link, url, .. } => {
                self.hang_up(at, link);
                let connection = self.ends[at].connection[index(link)];
                // Two round trips to `ready`; the server knows half of one before.
                let opened = now + half * 3;
                match link {
                    Link::Signal => {
                        let credential = self.credential(&url);
                        let opening = Event::SignalOpened {
                            end: at,
                            connection,
                            credential,
                        };
                        self.queue.send(opened, opening);
                    }
                    Link::Media => {
                        self.queue.send(
                            opened,
                            Event::MediaOpened {
                                end: at,
                                connection,
                                url: url.0,
                            },
                        );
                    }
                }
                self.queue.send(
                    now + half * 4,
                    Event::Up {
                        end: at,
                        link,
                        connection,
                    },
                );
            }
            Output::Close { link, .. } => self.hang_up(at, link),
            Output::Write {
                link: Link::Signal,
                bytes,
                ..
            } => {
                if let Some(session) = self.ends[at].signal {
                    self.queue
                        .send(now + half, Event::ToController { session, bytes });
                }
            }
            Output::Write {
                link: Link::Media,
                stream,
                bytes,
                fin,
            } => {
                if let Some(session) = self.ends[at].media {
                    let event = Event::ToHandler {
                        session,
                        stream,
                        bytes,
                        fin,
                    };
                    self.queue.send(now + half, event);
                }
            }
            Output::Datagram(bytes) => {
                if let Some(session) = self.ends[at].media {
                    self.queue
                        .send(now + half, Event::DatagramToHandler { session, bytes });
                }
            }
            Output::Video { track, .. } => {
                let end = &mut self.ends[at];
                *end.pictures.entry(track.0).or_default() += 1;
                if end.first_picture.is_none() {
                    end.first_picture = Some(now);
                    self.changed = true;
                }
            }
            Output::Audio { track, .. } => {
                *self.ends[at].packets.entry(track.0).or_default() += 1;
            }
            Output::KeyFrame { .. } => self.ends[at].key_wanted = true,
            // The pictures of this world cost the same whatever their size.
            Output::Encode { .. } => {}
            Output::OpenUni { .. }
            | Output::OpenBi { .. }
            | Output::Reset { .. }
            | Output::Stop { .. }
            | Output::Event(_) => {}
            Output::Changed => self.changed = true,
        }
    }

    /// This end's connection is over; the server hears of it half a round trip
    /// later.
    pub(super) fn hang_up(&mut self, at: usize, link: Link) {
        let end = &mut self.ends[at];
        end.connection[index(link)] += 1;
        let later = self.now + end.round_trip / 2;
        let (signal, media) = match link {
            Link::Signal => (end.signal.take(), None),
            Link::Media => (None, end.media.take()),
        };
        if let Some(session) = signal {
            self.queue.send(later, Event::SignalGone { session });
        }
        if let Some(session) = media {
            self.queue.send(later, Event::MediaGone { session });
        }
    }

    pub(super) fn drain_meeting(&mut self) {
        while let Some(output) = self.meeting.poll() {
            match output {
                meeting::Output::Send { session, message } => {
                    let end = self.signals.get(&session).copied();
                    if let Some(end) = end.filter(|end| !self.is_kept_from(*end)) {
                        let connection = self.ends[end].connection[0];
                        let bytes = framing::encode(&message);
                        let at = self.now + self.ends[end].round_trip / 2;
                        self.queue.send(
                            at,
                            Event::Signalled {
                                end,
                                connection,
                                bytes,
                            },
                        );
                    }
                }
                meeting::Output::Close { session, code } => {
                    let end = self.signals.remove(&session);
                    if let Some(end) = end.filter(|end| !self.is_kept_from(*end)) {
                        let connection = self.ends[end].connection[0];
                        let at = self.now + self.ends[end].round_trip / 2;
                        let link = Link::Signal;
                        self.queue.send(
                            at,
                            Event::Down {
                                end,
                                link,
                                connection,
                                code,
                            },
                        );
                    }
                }
                meeting::Output::Media { order, .. } => {
                    self.handler.order(self.now, order);
                    self.drain_handler();
                }
                meeting::Output::Persist(_)
                | meeting::Output::Sync { .. }
                | meeting::Output::Unheard { .. }
                | meeting::Output::Over { .. } => {}
            }
        }
    }

    pub(super) fn drain_handler(&mut self) {
        self.handler.forwarded.clear();
        for (session, what) in std::mem::take(&mut self.handler.out) {
            let Some(&end) = self.medias.get(&session) else {
                continue;
            };
            self.leak(end, &what);
            if self.is_kept_from(end) {
                continue;
            }
            let connection = self.ends[end].connection[1];
            let at = self.now + self.ends[end].round_trip / 2;
            self.queue.send(
                at,
                Event::Media {
                    end,
                    connection,
                    what,
                },
            );
        }
    }
}
