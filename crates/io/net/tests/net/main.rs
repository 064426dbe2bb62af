//! Both ends over loopback.
