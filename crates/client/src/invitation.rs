//! What people send one another: a link, or the code in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};

/// A meeting's code and, where its keys need one, the secret of the link.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// `abc-defg-hij`, or the meeting's id.
    pub code: String,
    /// base64url; never sent to any server.
    pub secret: Option<String>,
    /// `http://host:port` of a full link.
    pub server: Option<String>,
}

/// The text is no invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no invitation: it looks like abc-defg-hij, or https://host/m/abc-defg-hij#k=SECRET")]
pub struct InvitationError;

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invitation")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Invitation {
    /// An invitation into `code` with a fresh secret of 128 bits; `None` where the system has no randomness.
    pub fn with_new_secret(code: &str) -> Option<Self> {
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret).ok()?;
        Some(Self {
            code: code.to_owned(),
            secret: Some(URL_SAFE_NO_PAD.encode(secret)),
            server: None,
        })
    }

    /// `code`, `code#k=secret`, or a link that ends in either.
    pub fn parse(text: &str) -> Result<Self, InvitationError> {
        let (place, fragment) = text.trim().split_once('#').unwrap_or((text.trim(), ""));
        let secret = fragment
            .split('&')
            .find_map(|part| part.strip_prefix("k="))
            .map(str::to_owned);
        let place = place.split('?').next().unwrap_or_default();
        let (server, code) = match place.split_once("://") {
            None => (None, place),
            Some((scheme @ ("http" | "https"), rest)) => {
                let (host, path) = rest.split_once('/').ok_or(InvitationError)?;
                let code = path.trim_end_matches('/').rsplit('/').next();
                (Some(format!("{scheme}://{host}")), code.unwrap_or_default())
            }
            Some(_) => return Err(InvitationError),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if code.is_empty() || code.len() > 64 || !code.chars().all(plain) {
            return Err(InvitationError);
        }
        Ok(Self {
            code: code.to_owned(),
            secret,
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_codes_and_links() {
        let plain = Invitation::parse("abc-defg-hij").unwrap();
        assert_eq!((plain.code.as_str(), plain.secret), ("abc-defg-hij", None));
        let secret = Invitation::parse("abc-defg-hij#k=AAAA").unwrap();
        assert_eq!(secret.secret.as_deref(), Some("AAAA"));
        let link = Invitation::parse("http://127.0.0.1:8080/m/abc-defg-hij?x=1#k=AA-_ ").unwrap();
        assert_eq!(link.server.as_deref(), Some("http://127.0.0.1:8080"));
        assert_eq!(link.code, "abc-defg-hij");
        assert_eq!(link.secret.as_deref(), Some("AA-_"));
        for bad in ["", "#k=a", "ftp://x/abc", "http://host", "a b", "../x"] {
            assert_eq!(Invitation::parse(bad), Err(InvitationError), "{bad}");
        }
    }

    #[test]
    fn a_new_secret_has_16_bytes_and_is_not_printed() {
        let it = Invitation::with_new_secret("abc-defg-hij").unwrap();
        let secret = it.secret.clone().unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(&secret).unwrap().len(), 16);
        assert!(!format!("{it:?}").contains(&secret));
    }
}
