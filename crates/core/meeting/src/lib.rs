//! Who is here: both ends of the signalling conversation.
