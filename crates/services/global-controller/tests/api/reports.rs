//! What meeting controllers report.

use darktower_cluster::grpc;
use darktower_cluster::rpc::global_controller_client::GlobalControllerClient;
use darktower_cluster::rpc::{self, Report, ReportRequest, report::What};
use darktower_store::Database as _;
use darktower_store::conformance::eventually;
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::token::Role;
use serde_json::Value;

use crate::house::{House, Says};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const HOST: ParticipantId = ParticipantId([4; 16]);

pub(crate) fn report(meeting: &[u8], what: Option<What>) -> Report {
    Report {
        meeting_id: meeting.to_vec().into(),
        at_ms: 1_800_000_000_000,
        traceparent: format!("00-{TRACE}-b7ad6b7169203331-01"),
        what,
    }
}

/// How many of them are taken.
pub(crate) async fn told(house: &House, reports: Vec<Report>) -> u32 {
    let url = grpc::url(house.running.grpc_addr());
    let mut client = GlobalControllerClient::new(grpc::connect_lazy(&url).unwrap());
    let reply = client.report(ReportRequest { reports }).await.unwrap();
    reply.into_inner().taken
}

pub(crate) fn id(created: &Value) -> MeetingId {
    created["meeting"]["id"].as_str().unwrap().parse().unwrap()
}

fn ended(by: &[u8]) -> Option<What> {
    let by = by.to_vec().into();
    Some(What::Ended(rpc::MeetingEnded { by }))
}

#[tokio::test]
async fn a_meeting_that_ended_inside_takes_nobody_in_and_is_audited_once() {
    let house = House::new().await;
    let meeting = id(&house.create().await);
    for _ in 0..2 {
        let reports = vec![report(&meeting.0, ended(&HOST.0))];
        assert_eq!(told(&house, reports).await, 1);
    }
    let path = format!("/api/v1/meetings/{meeting}");
    house.get(&path).await.is_problem(Code::MeetingEnded);
    let kept = house.database.meeting(meeting).await.unwrap().unwrap();
    assert_eq!(kept.ended_ms, Some(1_800_000_000_000));
    let log = house.database.audit_log(meeting, 10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["meeting.created", "meeting.ended"]);
    assert_eq!(log[1].actor, Some(HOST));
    assert_eq!(log[1].trace_id, TRACE);
    assert_eq!(log[1].at_ms, 1_800_000_000_000);
}

/// One that can never be written does not hold up what follows.
#[tokio::test]
async fn nonsense_is_taken_and_harms_no_other() {
    let house = House::new().await;
    let meeting = id(&house.create().await);
    let reports = vec![
        report(b"short", ended(&HOST.0)),
        report(&[9; 16], ended(&HOST.0)),
        report(&meeting.0, ended(b"nobody")),
        report(&meeting.0, None),
        report(&meeting.0, ended(&[])),
    ];
    assert_eq!(told(&house, reports).await, 5);
    let kept = house.database.meeting(meeting).await.unwrap().unwrap();
    assert!(kept.ended_ms.is_some());
    let log = house.database.audit_log(meeting, 10).await.unwrap();
    assert_eq!(log.last().unwrap().actor, None);
}

#[tokio::test]
async fn without_the_database_nothing_is_taken() {
    let house = House::new().await;
    let meeting = id(&house.create().await);
    house.close_database().await;
    let reports = vec![report(&meeting.0, ended(&[])); 2];
    assert_eq!(told(&house, reports).await, 0);
}

/// The controller that ended it died before it could report so; its log tells the next one.
#[tokio::test]
async fn an_end_that_nobody_reported_is_noted_by_who_hears_of_it() {
    let house = House::new().await;
    let meeting = id(&house.create().await);
    house.peer.say(Says::Refuses(Code::MeetingEnded));
    let path = format!("/api/v1/meetings/{meeting}");
    house.get(&path).await.is_problem(Code::MeetingEnded);
    house.peer.say(Says::Described);
    house.get(&path).await.is_problem(Code::MeetingEnded);
    let log = house.database.audit_log(meeting, 10).await.unwrap();
    assert_eq!(log.len(), 2, "{log:?}");
}

#[tokio::test]
async fn who_left_and_whom_a_host_removed_is_known() {
    let house = House::new().await;
    let created = house.create().await;
    let meeting = id(&created);
    let joined = house.get(&format!("/api/v1/meetings/{meeting}")).await;
    let guest: ParticipantId = joined.json["participant_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let left = |who: ParticipantId, role: rpc::Role| {
        Some(What::Left(rpc::ParticipantLeft {
            participant_id: who.to_vec().into(),
            role: role.into(),
            joined_ms: 1_799_999_999_000,
        }))
    };
    let removed = Some(What::Removed(rpc::ParticipantRemoved {
        participant_id: guest.to_vec().into(),
        by: HOST.to_vec().into(),
    }));
    let reports = vec![
        report(&meeting.0, left(guest, rpc::Role::Guest)),
        report(&meeting.0, removed),
        // Of one whose admission nobody could write.
        report(&meeting.0, left(HOST, rpc::Role::Host)),
        report(&[9; 16], left(guest, rpc::Role::Guest)),
    ];
    assert_eq!(told(&house, reports).await, 4);
    eventually("both are known", async || {
        house
            .database
            .participations(meeting, 10)
            .await
            .unwrap()
            .len()
            == 2
    })
    .await;
    let known = house.database.participations(meeting, 10).await.unwrap();
    let of = |who| known.iter().find(|known| known.participant == who).unwrap();
    for who in [guest, HOST] {
        assert_eq!(of(who).left_ms, Some(1_800_000_000_000));
    }
    assert_eq!(of(HOST).role, Role::Host);
    assert_eq!(of(HOST).admitted_ms, 1_799_999_999_000);
    let log = house.database.audit_log(meeting, 10).await.unwrap();
    let removal = log.last().unwrap();
    assert_eq!(removal.action, format!("participant.removed {guest}"));
    assert_eq!(removal.actor, Some(HOST));
}
