//! Flow-control windows (RFC 9113 section 5.2).
