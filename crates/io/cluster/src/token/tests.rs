use std::sync::Arc;
use std::time::Duration;

use darktower_store::{MemoryState, Node, Service, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::NodeId;

use super::*;

const NOW: u64 = 1_800_000_000;
const WHO: ParticipantId = ParticipantId([1; 16]);
const WHERE: MeetingId = MeetingId([2; 16]);

fn pair() -> (Signer, Verifier) {
    let signer = Signer::new(SigningKey::generate().unwrap());
    let keys = vec![signer.key().jwk().clone()];
    (signer, Verifier::of_keys(&Jwks { keys }))
}

fn claims() -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        aud: Audience::Meeting,
        sub: WHO,
        meeting: WHERE,
        role: Role::Host,
        jti: "once".to_owned(),
        iat: NOW,
        nbf: NOW,
        exp: NOW + LIFETIME_S,
    }
}

#[test]
fn what_is_issued_is_verified() {
    let (signer, verifier) = pair();
    let token = signer.issue(Audience::Media, WHO, WHERE, Role::Guest, NOW);
    let token = token.unwrap();
    let said = verifier.verify(&token, Audience::Media, NOW + 299).unwrap();
    assert_eq!(
        (said.sub, said.meeting, said.role),
        (WHO, WHERE, Role::Guest)
    );
    let again = signer.issue(Audience::Media, WHO, WHERE, Role::Guest, NOW);
    let again = verifier.verify(&again.unwrap(), Audience::Media, NOW);
    assert_ne!(said.jti, again.unwrap().jti);
}

#[test]
fn each_lie_has_its_refusal() {
    let (signer, verifier) = pair();
    let refused = |change: fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        let token = signer.sign(&claims).unwrap();
        verifier.verify(&token, Audience::Meeting, NOW).err()
    };
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|c| c.exp = NOW), Some(TokenError::Expired));
    assert_eq!(
        refused(|c| c.aud = Audience::Api),
        Some(TokenError::WrongAudience)
    );
    assert_eq!(
        refused(|c| c.iss = "else".to_owned()),
        Some(TokenError::WrongIssuer)
    );
    assert_eq!(
        refused(|c| c.nbf = NOW + LEEWAY_S + 1),
        Some(TokenError::Early(LEEWAY_S + 1))
    );
    assert_eq!(
        refused(|c| c.iat = NOW + LEEWAY_S + 1),
        Some(TokenError::Early(LEEWAY_S + 1))
    );
    assert_eq!(refused(|c| c.exp += 1), Some(TokenError::TooLong));
    assert_eq!(refused(|c| c.exp = u64::MAX), Some(TokenError::TooLong));
}

#[test]
fn clocks_minutes_apart_are_told_with_what_to_do() {
    let (signer, verifier) = pair();
    let token = signer.sign(&claims()).unwrap();
    let refused = verifier
        .verify(&token, Audience::Meeting, NOW - 180)
        .unwrap_err();
    assert_eq!(refused, TokenError::Early(180));
    assert_eq!(refused.code(), Code::TokenInvalid);
    let told = refused.to_string();
    assert!(
        told.contains("180 s") && told.contains("follow a time server"),
        "{told}"
    );
}

#[test]
fn what_was_not_signed_by_us_is_refused() {
    let (signer, verifier) = pair();
    let token = signer.sign(&claims()).unwrap();
    let verify = |token: &str| verifier.verify(token, Audience::Meeting, NOW).err();
    let parts: Vec<&str> = token.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);

    let (stranger, _) = pair();
    let theirs = stranger.sign(&claims()).unwrap();
    assert_eq!(verify(&theirs), Some(TokenError::UnknownKey));
    let swapped = format!("{header}.{body}.{}", theirs.rsplit('.').next().unwrap());
    assert_eq!(verify(&swapped), Some(TokenError::BadSignature));

    let host = serde_json::to_string(&claims())
        .unwrap()
        .replace("host", "guest");
    let forged = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(host));
    assert_eq!(verify(&forged), Some(TokenError::BadSignature));

    let kid = signer.key().kid();
    for alg in ["none", "HS256", "ES384"] {
        let header = format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#);
        let header = URL_SAFE_NO_PAD.encode(header);
        assert_eq!(
            verify(&format!("{header}.{body}.{signature}")),
            Some(TokenError::Malformed)
        );
    }
    let no_kid = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
    assert_eq!(
        verify(&format!("{no_kid}.{body}.{signature}")),
        Some(TokenError::Malformed)
    );
    assert_eq!(verify(""), Some(TokenError::Missing));
    for garbage in [
        "x",
        "a.b.c",
        "..",
        &token[..token.len() - 2],
        &"x".repeat(5000),
    ] {
        assert!(verify(garbage).is_some(), "{garbage}");
    }
}

#[test]
fn every_claim_is_required() {
    let (signer, verifier) = pair();
    let whole = serde_json::to_value(claims()).unwrap();
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(signer.key().kid().to_owned());
    let key = EncodingKey::from_ec_der(signer.key().pkcs8());
    for claim in [
        "iss", "aud", "sub", "meeting", "role", "jti", "iat", "nbf", "exp",
    ] {
        let mut lacking = whole.clone();
        lacking.as_object_mut().unwrap().remove(claim).unwrap();
        let token = jsonwebtoken::encode(&header, &lacking, &key).unwrap();
        let refused = verifier.verify(&token, Audience::Meeting, NOW);
        assert_eq!(refused, Err(TokenError::Malformed), "{claim}");
    }
}

#[test]
fn a_token_is_used_once_and_the_cache_is_bounded() {
    let cache = ReplayCache::new(2);
    let with = |jti: &str, exp| Claims {
        jti: jti.to_owned(),
        exp,
        ..claims()
    };
    assert_eq!(cache.first_use(&with("a", NOW + 10), NOW), Ok(()));
    assert_eq!(
        cache.first_use(&with("a", NOW + 10), NOW),
        Err(TokenError::Replayed)
    );
    assert_eq!(cache.first_use(&with("b", NOW + 20), NOW), Ok(()));
    assert_eq!(
        cache.first_use(&with("c", NOW + 20), NOW),
        Err(TokenError::Full)
    );
    assert_eq!(cache.first_use(&with("c", NOW + 20), NOW + 10), Ok(()));
    assert_eq!(
        cache.first_use(&with("b", NOW + 20), NOW + 10),
        Err(TokenError::Replayed)
    );
}

#[test]
fn keys_stay_on_disk_and_rotate() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys");
    let mut files = KeyFiles::open(&path, NOW).unwrap();
    let first = files.signer().unwrap().key().kid().to_owned();
    let again = KeyFiles::open(&path, NOW + 1).unwrap();
    assert_eq!(again.signer().unwrap().key().kid(), first);

    #[cfg(unix)]
    for entry in std::fs::read_dir(&path).unwrap() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    let token = files.signer().unwrap().sign(&claims()).unwrap();
    files.rotate(NOW + 5).unwrap();
    assert_ne!(files.signer().unwrap().key().kid(), first);
    let both = Verifier::of_keys(&KeyFiles::open(&path, NOW + 6).unwrap().jwks());
    assert!(both.verify(&token, Audience::Meeting, NOW).is_ok());
    // The first key goes when the tokens it signed have expired.
    files.rotate(NOW + 5 + 2 * LIFETIME_S).unwrap();
    assert_eq!(files.jwks().keys.len(), 2);
    assert!(files.jwks().keys.iter().all(|key| key.kid != first));

    std::fs::write(path.join("9999999999-x.pk8"), "no key").unwrap();
    assert!(matches!(
        KeyFiles::open(&path, NOW),
        Err(KeyFilesError::Bad(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn keys_are_learnt_from_the_registry() {
    let registry = Arc::new(MemoryState::new());
    let verifier = Verifier::of_registry(registry.clone());
    let (signer, _) = pair();
    let token = signer.sign(&claims()).unwrap();
    let (garbled, media) = (NodeId([1; 16]), NodeId([2; 16]));
    let global = |id, jwks: String| Node {
        jwks,
        ..Node::new(id, Service::Global, String::new(), String::new())
    };
    let ttl = Duration::from_secs(60);
    registry
        .put_node(global(garbled, "{".to_owned()), ttl)
        .await
        .unwrap();
    let keys = vec![signer.key().jwk().clone()];
    // Only global controllers are believed.
    let impostor = Node {
        service: Service::Media,
        ..global(media, Jwks { keys: keys.clone() }.to_json())
    };
    registry.put_node(impostor, ttl).await.unwrap();
    let refused = verifier
        .verify_learning(&token, Audience::Meeting, NOW)
        .await;
    assert_eq!(refused, Err(TokenError::UnknownKey));
    registry
        .put_node(global(NodeId([3; 16]), Jwks { keys }.to_json()), ttl)
        .await
        .unwrap();
    // Looking again is limited in rate.
    let now = verifier
        .verify_learning(&token, Audience::Meeting, NOW)
        .await;
    assert_eq!(now, Err(TokenError::UnknownKey));
    tokio::time::advance(verifier::REFRESH_EVERY).await;
    verifier
        .verify_learning(&token, Audience::Meeting, NOW)
        .await
        .unwrap();
}

/// A key that cannot be asked for is no lie: whoever shows the token may try again.
#[tokio::test]
async fn while_the_registry_is_away_an_unknown_key_is_no_refusal() {
    let nobody = crate::RemoteState::new("grpc://127.0.0.1:1").unwrap();
    let verifier = Verifier::of_registry(Arc::new(nobody));
    let token = pair().0.sign(&claims()).unwrap();
    for _ in 0..2 {
        let asked = verifier
            .verify_learning(&token, Audience::Meeting, NOW)
            .await;
        assert_eq!(asked, Err(TokenError::KeysUnavailable));
        assert!(TokenError::KeysUnavailable.code().is_retryable());
    }
}
