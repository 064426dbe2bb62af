//! Ends that speak MLS correctly and keep none of this group's own rules.

use mls_rs::identity::SigningIdentity;
use mls_rs::identity::basic::{BasicCredential, BasicIdentityProvider};
use mls_rs::mls_rules::{CommitOptions, DefaultMlsRules};

use super::*;

const WALL: u64 = 1_795_000_000_000;

type CheatConfig = WithMlsRules<
    DefaultMlsRules,
    WithIdentityProvider<BasicIdentityProvider, WithCryptoProvider<RustCryptoProvider, BaseConfig>>,
>;

fn cheat(id: &[u8], link: &LinkSecret) -> Client<CheatConfig> {
    let mut identity = Identity::new(ParticipantId([0; 16])).unwrap();
    let credential = BasicCredential::new(id.to_vec()).into_credential();
    identity.signing = SigningIdentity::new(credential, identity.signing.signature_key);
    let options = CommitOptions::new()
        .with_path_required(true)
        .with_allow_external_commit(true);
    Client::builder()
        .crypto_provider(RustCryptoProvider::with_enabled_cipher_suites(vec![SUITE]))
        .identity_provider(BasicIdentityProvider)
        .mls_rules(DefaultMlsRules::new().with_commit_options(options))
        .signing_identity(identity.signing, identity.signer, SUITE)
        .psk(LinkSecret::psk_id(), link.psk())
        .build()
}

/// What the honest members say to the commit of a newcomer `id` that also removes the leaf `removes`.
fn answers(id: &[u8], removes: Option<u32>) -> [Result<EpochChange, Error>; 2] {
    let link = LinkSecret::generate().unwrap();
    let identity = |n| Identity::new(ParticipantId([n; 16])).unwrap();
    let mut one = Group::found(identity(1), MeetingId([7; 16]), Some(&link), WALL).unwrap();
    let (mut two, commit) =
        Group::join(identity(2), &one.group_info().unwrap(), Some(&link), WALL).unwrap();
    one.process(&commit.message, WALL).unwrap();

    let mut builder = cheat(id, &link)
        .external_commit_builder()
        .unwrap()
        .commit_time(MlsTime::from(WALL / 1000))
        .with_external_psk(LinkSecret::psk_id());
    if let Some(leaf) = removes {
        builder = builder.with_removal(leaf);
    }
    let info = MlsMessage::from_bytes(&commit.group_info).unwrap();
    match builder.build(info) {
        Ok((_, message)) => {
            let message = message.to_bytes().unwrap();
            let answers = [one.process(&message, WALL), two.process(&message, WALL)];
            if answers[0].is_err() {
                assert_eq!(one.verification_code(), two.verification_code());
                assert_eq!(
                    one.epoch(),
                    commit.epoch,
                    "a refused commit changes nothing"
                );
            }
            answers
        }
        // The library does not even build it.
        Err(error) => [Err(error.into()), Err(Error::NotAllowed)],
    }
}

#[test]
fn a_stranger_that_keeps_the_rules_gets_in() {
    let [one, two] = answers(&[9; 16], None);
    assert_eq!(one, two);
    assert_eq!(one.unwrap().added[0].participant, ParticipantId([9; 16]));
}

#[test]
fn nobody_comes_in_under_anothers_id() {
    let [one, two] = answers(&[2; 16], None);
    assert!(matches!(one, Err(Error::Duplicate(_))), "{one:?}");
    assert!(two.is_err());
}

#[test]
fn a_newcomer_removes_nobody_else() {
    let [one, two] = answers(&[9; 16], Some(1));
    assert_eq!(one, Err(Error::RemovesAnother));
    assert!(two.is_err());
}

#[test]
fn an_id_has_sixteen_bytes() {
    for id in [&b""[..], b"bob", &[9; 17]] {
        let [one, two] = answers(id, None);
        assert_eq!(one, Err(Error::BadIdentity));
        assert_eq!(two, Err(Error::BadIdentity));
    }
}

#[test]
fn a_member_changes_nothing_but_who_is_in() {
    let link = LinkSecret::generate().unwrap();
    let founder = Identity::new(ParticipantId([1; 16])).unwrap();
    let mut one = Group::found(founder, MeetingId([7; 16]), Some(&link), WALL).unwrap();
    let info = MlsMessage::from_bytes(&one.group_info().unwrap()).unwrap();
    let (mut cheat, message) = cheat(&[9; 16], &link)
        .external_commit_builder()
        .unwrap()
        .commit_time(MlsTime::from(WALL / 1000))
        .with_external_psk(LinkSecret::psk_id())
        .build(info)
        .unwrap();
    one.process(&message.to_bytes().unwrap(), WALL).unwrap();

    let with_psk = cheat
        .commit_builder()
        .add_external_psk(LinkSecret::psk_id())
        .unwrap()
        .build()
        .unwrap();
    let with_psk = with_psk.commit_message.to_bytes().unwrap();
    cheat.clear_pending_commit();
    let context = cheat
        .commit_builder()
        .set_group_context_ext(ExtensionList::new())
        .unwrap()
        .build()
        .unwrap();
    let context = context.commit_message.to_bytes().unwrap();
    for commit in [with_psk, context] {
        assert_eq!(one.process(&commit, WALL), Err(Error::NotAllowed));
    }
    assert_eq!(one.verification_code().unwrap().to_string().len(), 35);
}
