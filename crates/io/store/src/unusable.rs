//! Why a store that others run cannot be used at all.

/// Found when a store is opened: what an operator has to look at. The text never holds a password.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The URL says nothing, or too much.
    #[error("the URL is not understood: {0}")]
    Url(String),
    /// The server wants a user or password that was not shown.
    #[error("the server refuses the user or password: {0}")]
    Password(String),
    /// There is no understanding on TLS: no trust in the certificate, or one end does not speak it.
    #[error("no TLS with the server: {0}")]
    Tls(String),
    /// Nobody is there.
    #[error("nobody answers: {0}")]
    Unreachable(String),
    /// Somebody is there and says nothing.
    #[error("the server took the connection and did not answer in time")]
    Silent,
    /// It is another server than is needed.
    #[error("the server cannot be used: {0}")]
    Unfit(String),
    /// Somebody else is at the same work.
    #[error("{0}")]
    Busy(String),
    /// What was begun did not come to its end, and nothing is half done.
    #[error("it was interrupted: {0}")]
    Interrupted(String),
    /// Its schema is older than this program, or newer.
    #[error("the schema of the database is not the one this program needs: {0}")]
    Schema(String),
}
