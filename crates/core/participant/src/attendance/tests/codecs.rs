//! What is said of what is decoded, and what is made of what others say.

use darktower_wire::signal::{self, ParticipantChanged, ParticipantJoined, TrackDescription};

use super::*;
use crate::Participant;

fn list(codecs: &[&str]) -> Vec<String> {
    codecs.iter().map(|&codec| codec.to_owned()).collect()
}

fn camera() -> TrackOffer {
    TrackOffer {
        handle: 5,
        source: TrackSource::Camera,
        codec: "vp8".into(),
        muted: false,
        label: String::new(),
        layers: Vec::new(),
        replaces: None,
        sample_rate: 0,
        channels: 0,
    }
}

/// A browser may answer before the API does.
#[test]
fn what_is_known_before_there_is_a_meeting_goes_with_the_join() {
    let mut participant = Participant::new();
    let decodes = list(&["vp8", "vp09.00.31.08"]);
    let codecs = decodes.clone();
    let enter = Command::Enter {
        access: Box::new(Elsewhere::new().access()),
        link_secret: None,
        traceparent: String::new(),
    };
    let join = Command::Join {
        name: "Newcomer".into(),
        tracks: vec![camera()],
        traceparent: String::new(),
    };
    for command in [Command::Decodes { codecs }, enter, join] {
        participant.handle(NOW, WALL, Input::Command(command));
    }
    let up = Input::LinkUp {
        link: Link::Signal,
        max_datagram: 1200,
    };
    participant.handle(NOW, WALL, up);
    let said = signalled(std::iter::from_fn(|| participant.poll()));
    let joins = said.into_iter().filter_map(|message| match message.body {
        Some(client_message::Body::Join(join)) => Some(join),
        _ => None,
    });
    let [join] = &joins.collect::<Vec<_>>()[..] else {
        panic!("a join is said, once");
    };
    assert_eq!(join.decodes, decodes);
    // Ends of a former release look at tracks.
    let description = TrackDescription::decode(&join.publish[0].description[..]).unwrap();
    assert_eq!(description.decodes, decodes);
}

/// Somebody on the roster, without a track.
fn seated(n: u8, decodes: &[&str]) -> signal::Participant {
    signal::Participant {
        id: vec![n; 16].into(),
        decodes: list(decodes),
        ..signal::Participant::default()
    }
}

/// One whose end is of a former release, which says it with its tracks only.
fn seated_with_track(n: u8, decodes: &[&str]) -> signal::Participant {
    let description = TrackDescription {
        kind: signal::Kind::Audio.into(),
        codec: "opus".into(),
        decodes: list(decodes),
        ..TrackDescription::default()
    };
    let track = signal::Track {
        id: n.into(),
        description: description.encode_to_vec().into(),
        muted: false,
    };
    signal::Participant {
        tracks: vec![track],
        ..seated(n, &[])
    }
}

/// In the meeting with these.
fn joined_with(others: Vec<signal::Participant>) -> Attendance {
    let mut elsewhere = Elsewhere::new();
    let mut attendance = elsewhere.enter();
    click(&mut attendance);
    link_up(&mut attendance);
    let (request, commit) = join(&mut attendance);
    elsewhere.0.process(&commit.commit, WALL).unwrap();
    let joined = Joined {
        participants: others,
        ..accepted()
    };
    told(
        &mut attendance,
        request,
        server_message::Body::Joined(joined),
    );
    outputs(&mut attendance);
    attendance
}

fn decodable(attendance: &Attendance) -> Option<Vec<String>> {
    attendance.state().decodable
}

#[test]
fn all_others_count_whatever_their_release_and_oneself_does_not() {
    let all = ["vp8", "vp09.00.31.08", "av01.0.08M.08"];
    let some = &all[..2];
    let attendance = joined_with(vec![
        seated(1, &all),
        // It is this end, which has said more and less before.
        seated(2, &["vp8"]),
        seated_with_track(3, some),
    ]);
    assert_eq!(decodable(&attendance), Some(list(&["vp09", "vp8"])));
}

#[test]
fn a_newcomer_who_knows_it_late_is_heeded_when_it_tells_it_and_missed_when_it_does_not() {
    let able = ["vp8", "vp09.00.31.08"];
    let (all, least) = (list(&["vp09", "vp8"]), list(&["vp8"]));
    let mut attendance = joined_with(vec![seated(1, &able)]);
    assert_eq!(decodable(&attendance), Some(all.clone()));
    let newcomer = ParticipantJoined {
        participant: Some(seated(3, &[])),
    };
    let body = server_message::Body::ParticipantJoined(newcomer);
    told(&mut attendance, 0, body);
    assert_eq!(decodable(&attendance), Some(all.clone()));

    let patience = NOW + Duration::from_secs(3);
    let wake = |attendance: &Attendance| attendance.deadline().is_some_and(|at| at <= patience);
    assert!(wake(&attendance));
    outputs(&mut attendance);
    attendance.handle(patience, WALL, Input::Tick);
    assert_eq!(decodable(&attendance), Some(least.clone()));
    assert!(outputs(&mut attendance).contains(&Output::Changed));

    let changed = ParticipantChanged {
        participant_id: vec![3; 16].into(),
        away: false,
        decodes: list(&able),
    };
    let body = server_message::Body::ParticipantChanged(changed);
    told_at(&mut attendance, patience, 0, body);
    assert_eq!(decodable(&attendance), Some(least));
    attendance.handle(patience + Duration::from_secs(5), WALL, Input::Tick);
    assert_eq!(decodable(&attendance), Some(all));
}
