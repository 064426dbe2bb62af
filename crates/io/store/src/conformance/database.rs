//! The checks of a [`Database`].

use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use darktower_wire::token::Role;

use crate::Error;
use crate::database::{Account, AuditEntry, Database, Meeting, Participation};

fn meeting(n: u8) -> Meeting {
    Meeting {
        id: MeetingId([n; 16]),
        code: MeetingCode::from_letters([n; 10]),
        title: "Standup".to_owned(),
        max_participants: 25,
        key_in_link: true,
        host_key_sha256: [n; 32],
        created_ms: 1_700_000_000_000,
        ended_ms: None,
    }
}

/// What was created is found again by either name, and nothing else is.
pub async fn meeting_is_found_by_id_and_code(store: &impl Database) {
    store.ping().await.unwrap();
    let (first, second) = (meeting(1), meeting(2));
    store.create_meeting(&first).await.unwrap();
    store.create_meeting(&second).await.unwrap();
    let by_id = store.meeting(first.id).await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&first));
    let by_code = store.meeting_by_code(second.code).await.unwrap();
    assert_eq!(by_code.as_ref(), Some(&second));
    assert_eq!(store.meeting(MeetingId([9; 16])).await.unwrap(), None);
    let unknown = MeetingCode::from_letters([9; 10]);
    assert_eq!(store.meeting_by_code(unknown).await.unwrap(), None);
}

/// An id or code in use is refused and the first meeting stays.
pub async fn id_and_code_are_unique(store: &impl Database) {
    store.create_meeting(&meeting(1)).await.unwrap();
    let same_id = Meeting {
        code: MeetingCode::from_letters([3; 10]),
        ..meeting(1)
    };
    let same_code = Meeting {
        id: MeetingId([3; 16]),
        ..meeting(1)
    };
    for other in [same_id, same_code] {
        let refused = store.create_meeting(&other).await;
        assert!(matches!(refused, Err(Error::Taken(_))), "{refused:?}");
    }
    assert_eq!(
        store.meeting(meeting(1).id).await.unwrap(),
        Some(meeting(1))
    );
}

/// Ending is said once; the first time stands.
pub async fn meeting_ends_once(store: &impl Database) {
    store.create_meeting(&meeting(1)).await.unwrap();
    assert!(
        store
            .end_meeting(meeting(1).id, 1_800_000_000_000)
            .await
            .unwrap()
    );
    assert!(
        !store
            .end_meeting(meeting(1).id, 1_900_000_000_000)
            .await
            .unwrap()
    );
    assert!(!store.end_meeting(MeetingId([9; 16]), 1).await.unwrap());
    let ended = store.meeting(meeting(1).id).await.unwrap().unwrap();
    assert_eq!(ended.ended_ms, Some(1_800_000_000_000));
}

/// Of many who want a code at once, one gets it.
pub async fn creation_race_has_one_winner(store: &impl Database) {
    let meetings: Vec<_> = (1..=4)
        .map(|n| Meeting {
            id: MeetingId([n; 16]),
            ..meeting(1)
        })
        .collect();
    let create = |n: usize| store.create_meeting(&meetings[n]);
    let outcomes = tokio::join!(create(0), create(1), create(2), create(3));
    let outcomes = [outcomes.0, outcomes.1, outcomes.2, outcomes.3];
    let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let refused = |outcome: &&Result<(), Error>| matches!(outcome, Err(Error::Taken(_)));
    assert_eq!((winners, outcomes.iter().filter(refused).count()), (1, 3));
}

/// A name has one account.
pub async fn accounts_are_unique_by_name(store: &impl Database) {
    let account = Account {
        id: [1; 16],
        name: "ada".to_owned(),
        password_hash: Some("$argon2id$…".to_owned()),
        created_ms: 5,
    };
    store.create_account(&account).await.unwrap();
    let other = Account {
        id: [2; 16],
        ..account.clone()
    };
    let refused = store.create_account(&other).await;
    assert!(matches!(refused, Err(Error::Taken(_))), "{refused:?}");
    let found = store.account_by_name("ada").await.unwrap();
    assert_eq!(found, Some(account));
    assert_eq!(store.account_by_name("Ada").await.unwrap(), None);
}

/// Attendances are noted once, in order, with their end.
pub async fn participations_are_kept(store: &impl Database) {
    store.create_meeting(&meeting(1)).await.unwrap();
    let attendance = |n: u8, role| Participation {
        participant: ParticipantId([n; 16]),
        meeting: meeting(1).id,
        role,
        account: None,
        admitted_ms: 100 - u64::from(n),
        left_ms: None,
    };
    let (host, guest) = (attendance(2, Role::Host), attendance(1, Role::Guest));
    for participation in [&guest, &host, &host] {
        store.admit(participation).await.unwrap();
    }
    let left = |attendance: &Participation, at_ms| Participation {
        left_ms: Some(at_ms),
        ..attendance.clone()
    };
    for at_ms in [150, 200, 170] {
        // Who reports it knows neither the account nor when the tokens were given out.
        let late = Participation {
            admitted_ms: 100,
            ..left(&guest, at_ms)
        };
        store.leave(&late).await.unwrap();
    }
    let kept = store.participations(meeting(1).id, 10).await.unwrap();
    assert_eq!(kept, [host.clone(), left(&guest, 200)]);
    assert_eq!(
        store.participations(meeting(1).id, 1).await.unwrap(),
        [host]
    );
    let nowhere = Participation {
        meeting: MeetingId([9; 16]),
        ..attendance(3, Role::Member)
    };
    for refused in [store.admit(&nowhere).await, store.leave(&nowhere).await] {
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
    }
}

/// Who left before the admission was noted is there with both, whatever comes later.
pub async fn an_end_may_be_noted_first(store: &impl Database) {
    store.create_meeting(&meeting(1)).await.unwrap();
    let over = Participation {
        participant: ParticipantId([1; 16]),
        meeting: meeting(1).id,
        role: Role::Guest,
        account: None,
        admitted_ms: 100,
        left_ms: Some(200),
    };
    store.leave(&over).await.unwrap();
    let admitted = Participation {
        admitted_ms: 90,
        left_ms: None,
        ..over.clone()
    };
    store.admit(&admitted).await.unwrap();
    let kept = store.participations(meeting(1).id, 10).await.unwrap();
    assert_eq!(kept, [over]);
}

/// What was done is told in the order it was written, by meeting.
pub async fn audit_log_is_kept_in_order(store: &impl Database) {
    let entry = |action: &str, n: u8| AuditEntry {
        at_ms: 9,
        action: action.to_owned(),
        meeting: Some(MeetingId([n; 16])),
        actor: Some(ParticipantId([4; 16])),
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
    };
    let nobody = AuditEntry {
        actor: None,
        trace_id: String::new(),
        ..entry("meeting.ended", 1)
    };
    for entry in [
        &entry("meeting.created", 1),
        &entry("meeting.created", 2),
        &nobody,
    ] {
        store.audit(entry).await.unwrap();
    }
    let log = store.audit_log(MeetingId([1; 16]), 10).await.unwrap();
    assert_eq!(log, [entry("meeting.created", 1), nobody]);
    assert_eq!(
        store.audit_log(MeetingId([1; 16]), 1).await.unwrap().len(),
        1
    );
}

/// Text is data: quotes, other scripts and long ones come back as they were.
pub async fn strange_text_comes_back(store: &impl Database) {
    let strange = format!(
        "'; DROP TABLE meetings; -- \" 日本語 \u{1F600} {}",
        "x".repeat(5000)
    );
    let titled = Meeting {
        title: strange,
        ..meeting(1)
    };
    store.create_meeting(&titled).await.unwrap();
    assert_eq!(store.meeting(titled.id).await.unwrap(), Some(titled));
}
