use darktower_e2ee::{Group, Identity};
use darktower_wire::ids::{Epoch, MeetingId};
use darktower_wire::signal::{
    ClientMessage, Done, Joined, KeyCommit, KeyCommitted, KeyOutcome, KeyRefused, KeyState,
    KeyWanted, Lobby, Refused, ServerMessage, client_message, server_message,
};

use super::*;
use crate::access::{Door, KeyFacts, MeetingFacts};
use crate::command::TrackSource;
use crate::output::Event;
use darktower_wire::Code;

mod codecs;

const MEETING: MeetingId = MeetingId([7; 16]);
const WALL: u64 = 1_790_000_000_000;
const NOW: Duration = Duration::from_secs(3);

/// The other members of a meeting, and the controller's words about them.
struct Elsewhere(Group);

impl Elsewhere {
    fn new() -> Self {
        let founder = Identity::new(ParticipantId([1; 16])).unwrap();
        Self(Group::found(founder, MEETING, None, WALL).unwrap())
    }

    fn key(&self) -> KeyState {
        KeyState {
            founded: true,
            epoch: self.0.epoch().0,
            group_info: self.0.group_info().unwrap(),
        }
    }

    fn access(&self) -> Access {
        let door = Door {
            url: "https://127.0.0.1/v1".into(),
            certificate_sha256: Vec::new(),
            token: "token".into(),
        };
        let KeyState {
            epoch, group_info, ..
        } = self.key();
        Access {
            meeting: MeetingFacts {
                id: MEETING,
                code: "abcd-efgh-ijk".into(),
                title: String::new(),
                max_participants: 100,
                key_in_link: false,
                participants: 1,
            },
            participant_id: ParticipantId([2; 16]),
            role: darktower_wire::token::Role::Guest,
            signal: door.clone(),
            media: door,
            key: KeyFacts {
                founded: true,
                epoch,
                group_info: group_info.to_vec(),
            },
        }
    }

    fn enter(&self) -> Attendance {
        Attendance::enter(NOW, WALL, self.access(), None, String::new()).unwrap()
    }
}

fn outputs(attendance: &mut Attendance) -> Vec<Output> {
    std::iter::from_fn(|| attendance.poll()).collect()
}

/// What was said on the signalling stream.
fn said(attendance: &mut Attendance) -> Vec<ClientMessage> {
    signalled(outputs(attendance))
}

fn signalled(outputs: impl IntoIterator<Item = Output>) -> Vec<ClientMessage> {
    let mut decoder = Decoder::new(MAX_SIGNAL);
    for output in outputs {
        if let Output::Write {
            link: Link::Signal,
            bytes,
            ..
        } = output
        {
            decoder.push(&bytes);
        }
    }
    std::iter::from_fn(|| decoder.next_message().unwrap()).collect()
}

fn told(attendance: &mut Attendance, reply_to: u64, body: server_message::Body) {
    told_at(attendance, NOW, reply_to, body);
}

fn told_at(attendance: &mut Attendance, at: Duration, reply_to: u64, body: server_message::Body) {
    let message = ServerMessage {
        reply_to,
        body: Some(body),
        ..ServerMessage::default()
    };
    let input = Input::StreamData {
        link: Link::Signal,
        stream: SIGNAL_STREAM,
        bytes: darktower_wire::framing::encode(&message),
        fin: false,
    };
    attendance.handle(at, WALL, input);
}

fn link_up(attendance: &mut Attendance) {
    let input = Input::LinkUp {
        link: Link::Signal,
        max_datagram: 1200,
    };
    attendance.handle(NOW, WALL, input);
}

fn click(attendance: &mut Attendance) {
    let join = Command::Join {
        name: "Newcomer".into(),
        tracks: Vec::new(),
        traceparent: String::new(),
    };
    attendance.handle(NOW, WALL, Input::Command(join));
}

/// The join that was said, and its request number.
fn join(attendance: &mut Attendance) -> (u64, KeyCommit) {
    let mut joins = said(attendance)
        .into_iter()
        .filter_map(|message| match message.body {
            Some(client_message::Body::Join(join)) => Some((message.request, join.key.unwrap())),
            _ => None,
        });
    let join = joins.next().expect("a join is said");
    assert!(joins.next().is_none(), "it is said once");
    join
}

/// The answer to a join whose commit was taken.
fn accepted() -> Joined {
    Joined {
        participant_id: vec![2; 16].into(),
        seat_ttl_s: 300,
        key: Some(KeyOutcome {
            accepted: true,
            ..KeyOutcome::default()
        }),
        ..Joined::default()
    }
}

#[test]
fn the_links_are_asked_for_before_anything_is_computed() {
    let elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    let links: Vec<_> = outputs(&mut attendance)
        .into_iter()
        .filter_map(|output| match output {
            Output::Connect { link, .. } => Some(link),
            _ => None,
        })
        .collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(attendance.keys.lobby().made_ahead().is_none());
    // The commit follows at once, while they are being opened.
    assert_eq!(attendance.deadline(), Some(NOW));
    attendance.handle(NOW, WALL, Input::Tick);
    let ahead = attendance.keys.lobby().made_ahead().unwrap();
    click(&mut attendance);
    link_up(&mut attendance);
    assert_eq!(join(&mut attendance).1, ahead);
}

#[test]
fn the_click_in_the_lobby_sends_what_was_made_ahead() {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    attendance.handle(NOW, WALL, Input::Tick);
    let ahead = attendance.keys.lobby().made_ahead().unwrap();
    link_up(&mut attendance);
    let request = said(&mut attendance)[0].request;
    let lobby = Lobby {
        key: Some(elsewhere.key()),
        ..Lobby::default()
    };
    told(&mut attendance, request, server_message::Body::Lobby(lobby));
    click(&mut attendance);
    let (request, commit) = join(&mut attendance);
    assert_eq!(commit, ahead);

    elsewhere.0.process(&commit.commit, WALL).unwrap();
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(accepted()),
    );
    let shown = attendance.state().e2ee;
    let code = elsewhere.0.verification_code().unwrap().to_string();
    assert_eq!((shown.ready, shown.code), (true, code));
    assert_eq!(Epoch(shown.epoch), elsewhere.0.epoch());
}

/// A camera opened while the join is under way.
#[test]
fn what_is_published_while_joining_is_said_once_one_is_in() {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    click(&mut attendance);
    link_up(&mut attendance);
    let (request, commit) = join(&mut attendance);
    let track = TrackOffer {
        handle: 5,
        source: TrackSource::Camera,
        codec: "vp8".into(),
        muted: false,
        label: String::new(),
        layers: Vec::new(),
        replaces: None,
        sample_rate: 0,
        channels: 0,
    };
    let publish = Command::Publish { track };
    attendance.handle(NOW, WALL, Input::Command(publish));
    let mute = Command::Mute {
        handle: 5,
        muted: true,
    };
    attendance.handle(NOW, WALL, Input::Command(mute));
    assert_eq!(said(&mut attendance), []);

    elsewhere.0.process(&commit.commit, WALL).unwrap();
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(accepted()),
    );
    let published: Vec<_> = said(&mut attendance)
        .into_iter()
        .filter_map(|message| match message.body {
            Some(client_message::Body::Publish(publish)) => Some((publish.handle, publish.muted)),
            _ => None,
        })
        .collect();
    assert_eq!(published, [(5, true)]);
}

#[test]
fn a_refused_join_goes_out_again_with_another_commit() {
    let elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    link_up(&mut attendance);
    let request = said(&mut attendance)[0].request;
    let lobby = Lobby {
        key: Some(elsewhere.key()),
        ..Lobby::default()
    };
    told(&mut attendance, request, server_message::Body::Lobby(lobby));
    click(&mut attendance);
    let (request, first) = join(&mut attendance);
    let refused = Refused {
        code: Code::MeetingFull.number(),
        ..Refused::default()
    };
    told(
        &mut attendance,
        request,
        server_message::Body::Refused(refused),
    );
    attendance.handle(NOW, WALL, Input::Tick);
    let ahead = attendance.keys.lobby().made_ahead().unwrap();
    click(&mut attendance);
    let (_, second) = join(&mut attendance);
    assert_eq!(second, ahead);
    assert_ne!(second, first);
}

/// The commit that was said, and its request number.
fn commit(attendance: &mut Attendance) -> Option<(u64, KeyCommit)> {
    let mut commits = said(attendance).into_iter();
    commits.find_map(|message| match message.body {
        Some(client_message::Body::KeyCommit(commit)) => Some((message.request, commit)),
        _ => None,
    })
}

/// A former owner of the meeting had wanted it: in the true group it would have shut out somebody who is there.
#[test]
fn who_joins_the_group_again_removes_nobody_for_a_former_wish() {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    click(&mut attendance);
    link_up(&mut attendance);
    let (request, key) = join(&mut attendance);
    elsewhere.0.process(&key.commit, WALL).unwrap();
    let joined = server_message::Body::Joined(accepted());
    told(&mut attendance, request, joined);
    let wanted = KeyWanted {
        remove: vec![vec![1; 16].into()],
        group_info: false,
    };
    told(&mut attendance, 0, server_message::Body::KeyWanted(wanted));
    let (request, removal) = commit(&mut attendance).expect("it was wanted");
    assert!(!removal.commit.is_empty());

    let refused = KeyRefused {
        code: Code::CommitRefused.number(),
        state: Some(elsewhere.key()),
        resync: true,
    };
    told(
        &mut attendance,
        request,
        server_message::Body::KeyRefused(refused),
    );
    let (request, entry) = commit(&mut attendance).expect("it joins again");
    elsewhere.0.process(&entry.commit, WALL).unwrap();
    told(
        &mut attendance,
        request,
        server_message::Body::Done(Done {}),
    );

    let refresh = elsewhere.0.refresh(WALL).unwrap();
    elsewhere.0.accept_own(refresh.epoch).unwrap();
    let committed = KeyCommitted {
        epoch: refresh.epoch.0,
        commit: refresh.message,
        participant_id: vec![1; 16].into(),
    };
    told(
        &mut attendance,
        0,
        server_message::Body::KeyCommitted(committed),
    );
    assert_eq!(commit(&mut attendance), None);
    assert_eq!(Epoch(attendance.state().e2ee.epoch), elsewhere.0.epoch());
}

/// Says that the signalling link is gone, and where the next attempt goes, once it is due.
fn next_attempt(attendance: &mut Attendance, now: &mut Duration) -> (bool, String) {
    let input = Input::LinkDown {
        link: Link::Signal,
        code: Code::ConnectionLost,
    };
    attendance.handle(*now, WALL, input);
    let is_asked = outputs(attendance).contains(&Output::Event(Event::LookUp));
    for _ in 0..20 {
        *now += Duration::from_millis(500);
        attendance.handle(*now, WALL, Input::Tick);
        for output in outputs(attendance) {
            if let Output::Connect {
                link: Link::Signal,
                url,
                ..
            } = output
            {
                return (is_asked, url.0);
            }
        }
    }
    panic!("it does not connect");
}

#[test]
fn a_seat_is_taken_again_at_the_controller_that_another_lookup_names() {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    click(&mut attendance);
    link_up(&mut attendance);
    let (request, commit) = join(&mut attendance);
    elsewhere.0.process(&commit.commit, WALL).unwrap();
    let joined = Joined {
        resume_token: vec![9; 64].into(),
        ..accepted()
    };
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(joined),
    );
    let mut now = NOW;
    let (asked, _) = next_attempt(&mut attendance, &mut now);
    assert!(!asked, "only the connection is lost");
    let (asked, url) = next_attempt(&mut attendance, &mut now);
    assert!(asked);
    assert!(url.starts_with("https://127.0.0.1/v1?resume="));

    let mut access = elsewhere.access();
    access.participant_id = ParticipantId([3; 16]);
    access.signal.url = "https://127.0.0.2/v1".into();
    let access = Box::new(access);
    let found = Input::Command(Command::Found { access });
    attendance.handle(now, WALL, found);
    let (_, url) = next_attempt(&mut attendance, &mut now);
    assert!(url.starts_with("https://127.0.0.2/v1?resume="));
    assert_eq!(
        attendance.state().me.unwrap().id,
        ParticipantId([2; 16]).to_string()
    );
}

#[test]
fn who_left_the_lobby_computes_nothing_more() {
    let elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    attendance.handle(NOW, WALL, Input::Command(Command::Leave));
    attendance.handle(NOW, WALL, Input::Tick);
    assert!(attendance.keys.lobby().made_ahead().is_none());
    assert_eq!(attendance.deadline(), None);
}

/// The token was used by a connection of which nothing was heard.
#[test]
fn whose_token_is_spent_joins_as_whom_the_api_names_then() {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    click(&mut attendance);
    link_up(&mut attendance);
    let (_, former) = join(&mut attendance);
    let replayed = Input::LinkDown {
        link: Link::Signal,
        code: Code::TokenReplayed,
    };
    attendance.handle(NOW, WALL, replayed);
    assert!(outputs(&mut attendance).contains(&Output::Event(Event::LookUp)));
    assert_eq!(attendance.state().phase, crate::Phase::Joining);

    let mut access = elsewhere.access();
    access.participant_id = ParticipantId([3; 16]);
    access.signal.token = "another".into();
    access.media.token = "a third".into();
    let found = |access: &Access| {
        let access = Box::new(access.clone());
        Input::Command(Command::Found { access })
    };
    let mut hosts = access.clone();
    hosts.role = darktower_wire::token::Role::Host;
    attendance.handle(NOW, WALL, found(&hosts));
    assert_eq!(outputs(&mut attendance), [], "it came as a guest");
    attendance.handle(NOW, WALL, found(&access));
    let connects = outputs(&mut attendance).into_iter();
    let urls: Vec<_> = connects
        .filter_map(|output| match output {
            Output::Connect { link, url, .. } => Some((link, url.0)),
            _ => None,
        })
        .collect();
    let url = |token| format!("https://127.0.0.1/v1?token={token}");
    let both = [
        (Link::Signal, url("another")),
        (Link::Media, url("a third")),
    ];
    assert_eq!(urls, both);
    link_up(&mut attendance);
    let (request, commit) = join(&mut attendance);
    assert_ne!(commit, former, "it is another member's");
    elsewhere.0.process(&commit.commit, WALL).unwrap();
    assert!(elsewhere.0.leaf_of(ParticipantId([3; 16])).is_some());
    let joined = Joined {
        participant_id: vec![3; 16].into(),
        ..accepted()
    };
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(joined),
    );
    assert_eq!(
        attendance.state().me.unwrap().id,
        ParticipantId([3; 16]).to_string()
    );
    assert!(attendance.state().e2ee.ready);
}

/// In the meeting, with both links, from `NOW` on.
fn in_meeting(elsewhere: &Elsewhere) -> Attendance {
    let mut attendance = elsewhere.enter();
    attendance.handle(NOW, WALL, Input::Tick);
    link_up(&mut attendance);
    click(&mut attendance);
    let (request, _) = join(&mut attendance);
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(accepted()),
    );
    let up = Input::LinkUp {
        link: Link::Media,
        max_datagram: 1200,
    };
    attendance.handle(NOW, WALL, up);
    attendance
}

/// When it says that it hears nothing of its handler, of which nothing comes; the controller answers pings outside of
/// `outage`.
fn says_silent(outage: std::ops::Range<Duration>, until: Duration) -> Vec<Duration> {
    let elsewhere = Elsewhere::new();
    let mut attendance = in_meeting(&elsewhere);
    let (mut now, mut says) = (NOW, Vec::new());
    while let Some(at) = attendance.deadline().filter(|at| *at <= until) {
        now = now.max(at);
        attendance.handle(now, WALL, Input::Tick);
        for message in said(&mut attendance) {
            match message.body {
                Some(client_message::Body::MediaSilent(_)) => says.push(now),
                Some(client_message::Body::Ping(ping)) if !outage.contains(&now) => {
                    let pong = signal::Pong {
                        sent_us: ping.sent_us,
                    };
                    told_at(&mut attendance, now, 0, server_message::Body::Pong(pong));
                    let answered = said(&mut attendance).into_iter();
                    let silent = answered.filter(|message| {
                        matches!(message.body, Some(client_message::Body::MediaSilent(_)))
                    });
                    says.extend(silent.map(|_| now));
                }
                _ => {}
            }
        }
    }
    says
}

#[test]
fn a_handler_that_is_silent_while_the_controller_answers_is_told_of_soon_and_once() {
    let never = Duration::ZERO..Duration::ZERO;
    let says = says_silent(never, NOW + Duration::from_secs(8));
    let [at] = says[..] else { panic!("{says:?}") };
    assert!(at - NOW < Duration::from_millis(1800), "{:?}", at - NOW);
}

#[test]
fn a_handler_that_is_as_silent_as_the_controller_is_not_told_of() {
    let until = NOW + Duration::from_secs(5);
    assert_eq!(says_silent(NOW..until, until), []);
    // It has a moment more when the controller is back.
    let says = says_silent(NOW..until, until + Duration::from_secs(2));
    let [at] = says[..] else { panic!("{says:?}") };
    assert!(at >= until + Duration::from_millis(700), "{:?}", at - until);
}

#[test]
fn a_long_outage_is_waited_for_and_not_asked_about_all_the_time() {
    let elsewhere = Elsewhere::new();
    let mut attendance = in_meeting(&elsewhere);
    let (mut now, mut ticks) = (NOW, 0);
    while let Some(at) = attendance
        .deadline()
        .filter(|at| *at <= NOW + Duration::from_secs(20))
    {
        now = now.max(at);
        attendance.handle(now, WALL, Input::Tick);
        outputs(&mut attendance);
        ticks += 1;
        assert!(ticks < 1000, "due again and again at {at:?}");
    }
}
