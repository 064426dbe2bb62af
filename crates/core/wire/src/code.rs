//! The one table of everything that can go wrong. WebTransport close codes,
//! stream resets, HTTP problems and gRPC status are all made from it, and
//! `docs/protocol/errors.md` is checked against it.

/// Who has to change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nobody.
    None,
    /// The one who asked.
    Caller,
    /// This system.
    Service,
}

macro_rules! codes {
    ($($number:literal $name:ident $text:literal $retry:ident $fault:ident $http:literal $grpc:literal $doc:literal;)*) => {
        /// A code of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Code {
            $(#[doc = $doc] $name = $number,)*
        }

        impl Code {
            /// The whole table, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in logs, metrics and problems.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// One sentence in plain English.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => $doc,)* }
            }

            /// Whether the same thing may succeed when tried again later.
            pub fn is_retryable(self) -> bool {
                match self { $(Self::$name => codes!(@retry $retry),)* }
            }

            /// Whose fault it is.
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }

            /// The HTTP status it is answered with.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }

            /// The gRPC status it is answered with.
            pub fn grpc_status(self) -> i32 {
                match self { $(Self::$name => $grpc,)* }
            }

            /// The code with this number.
            pub fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
    (@retry retry) => { true };
    (@retry final) => { false };
}

// number, name, text, retryable?, fault, HTTP, gRPC, description
codes! {
    0 Left "left" final None 200 0 "The participant left, or the session ended in order.";

    100 Internal "internal" retry Service 500 13 "Something is broken on our side.";
    101 Unavailable "unavailable" retry Service 503 14 "A part of the system cannot be reached right now.";
    102 Overloaded "overloaded" retry Service 503 8 "The service has as much work as it can take.";
    103 TimedOut "timed_out" retry Service 504 4 "An answer took too long.";
    104 Draining "draining" retry Service 503 14 "This instance is going away; another takes over.";

    200 Malformed "malformed" final Caller 400 3 "The request could not be understood.";
    201 TooLarge "too_large" final Caller 413 3 "The message is larger than allowed.";
    202 Unsupported "unsupported" final Caller 400 12 "The message must be understood and uses something unknown here.";
    203 OutOfOrder "out_of_order" final Caller 409 9 "The message is not allowed at this point of the conversation.";
    204 RateLimited "rate_limited" retry Caller 429 8 "Too many requests in too short a time.";
    205 NotFound "not_found" final Caller 404 5 "There is nothing at this address.";
    206 MethodNotAllowed "method_not_allowed" final Caller 405 12 "This address does not answer that method.";

    300 Unauthenticated "unauthenticated" final Caller 401 16 "A token is needed and none was given.";
    301 TokenExpired "token_expired" final Caller 401 16 "The token's five minutes are over; get a new one.";
    302 TokenInvalid "token_invalid" final Caller 401 16 "The token was not signed by this system or lacks a claim.";
    303 WrongAudience "wrong_audience" final Caller 401 16 "The token is for another service.";
    304 TokenReplayed "token_replayed" final Caller 401 16 "The token has been used before.";
    305 OriginNotAllowed "origin_not_allowed" final Caller 403 7 "Pages of this origin may not connect.";
    306 Forbidden "forbidden" final Caller 403 7 "The token does not permit this.";
    307 AuthenticationTimeout "authentication_timeout" final Caller 401 16 "The connection did not authenticate in time.";
    308 ResumeUnknown "resume_unknown" final Caller 401 16 "No seat is held for this resume token.";
    309 TicketUnknown "ticket_unknown" final Caller 401 16 "No seat is known for this media ticket.";

    400 MeetingUnknown "meeting_unknown" final Caller 404 5 "There is no meeting with this code.";
    401 MeetingEnded "meeting_ended" final Caller 410 9 "The meeting has ended.";
    402 MeetingFull "meeting_full" retry Caller 409 8 "The meeting has as many participants as it may have.";
    403 CodeMalformed "code_malformed" final Caller 400 3 "This is not a meeting code; one looks like abc-defg-hij.";
    404 ParticipantUnknown "participant_unknown" final Caller 404 5 "There is no such participant in this meeting.";
    405 Removed "removed" final Caller 403 7 "A host removed the participant from the meeting.";
    406 SeatTaken "seat_taken" final Caller 409 6 "Another session has taken this seat.";
    407 SeatExpired "seat_expired" final Caller 410 9 "The seat was given up after the participant had been away too long.";
    408 NotJoined "not_joined" final Caller 409 9 "This is only for participants in the meeting.";
    409 AlreadyJoined "already_joined" final Caller 409 6 "The participant is in the meeting already.";
    410 NameInvalid "name_invalid" final Caller 400 3 "A name has 1 to 64 characters and no control characters.";

    500 TrackUnknown "track_unknown" final Caller 404 5 "There is no such track in this meeting.";
    501 NotYourTrack "not_your_track" final Caller 403 7 "The track belongs to another participant.";
    502 TooManyTracks "too_many_tracks" final Caller 409 8 "The participant publishes as many tracks as allowed.";
    503 BadFrameHeader "bad_frame_header" final Caller 400 3 "A media frame's header is malformed or lies.";
    504 StaleGroup "stale_group" final None 409 10 "The group is older than what has been sent since.";
    505 TooManyStreams "too_many_streams" final Caller 429 8 "More streams are open than allowed.";
    506 SlowReader "slow_reader" retry Caller 408 8 "The receiver does not take what it subscribed to.";
    507 BadDescription "bad_description" final Caller 400 3 "The track description is malformed.";
    508 OwnTrack "own_track" final Caller 400 3 "A participant is not subscribed to its own tracks.";

    600 EpochStale "epoch_stale" retry None 409 10 "Another commit was first; build on the newer epoch.";
    601 CommitRefused "commit_refused" retry Caller 409 10 "The other members refused the commit.";
    602 KeyMalformed "key_malformed" final Caller 400 3 "The key agreement message is malformed.";
    603 LinkSecretNeeded "link_secret_needed" final Caller 403 7 "The meeting's keys need the secret in its full invitation link.";
    604 NotAMember "not_a_member" final Caller 409 9 "This end is not in the key group.";

    700 NotOwner "not_owner" retry Service 503 14 "Another controller owns the meeting.";
    701 FenceStale "fence_stale" final Service 409 9 "A newer owner has spoken.";
    702 NoController "no_controller" retry Service 503 14 "No meeting controller is available.";
    703 NoHandler "no_handler" retry Service 503 14 "No media handler is available.";

    800 ConnectFailed "connect_failed" retry Service 503 14 "The connection could not be opened.";
    801 ConnectionLost "connection_lost" retry None 503 14 "The connection broke.";
}

impl Code {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}
