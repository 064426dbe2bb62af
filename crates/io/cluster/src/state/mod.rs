//! The state store of one process, offered to the others by gRPC.

mod convert;
mod remote;
mod service;

pub use remote::RemoteState;
pub use service::StateService;
