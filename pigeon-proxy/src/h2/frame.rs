//! Frames (RFC 9113 sections 4 and 6): cut from input and appended to output, without allocation.
