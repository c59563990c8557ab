//! What is refused, and in which words.

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The head is longer than it may be.
    TooLong,
    /// It is not whole in time. Not found here: whoever has a clock says so.
    TooSlow,
    /// CR or LF alone, or NUL, or another control byte.
    Control,
    /// The request line.
    Line,
    /// The method.
    Method,
    /// CONNECT.
    Connect,
    /// The target.
    Target,
    /// The version.
    Version,
    /// A field that goes on in the next line.
    Folded,
    /// The name of a field.
    Name,
    /// No host, or several.
    Hosts,
    /// What is in the host.
    Host,
    /// The target names another host.
    OtherHost,
    /// A length that is not a number.
    Length,
    /// Several lengths.
    Lengths,
    /// A length and chunks.
    LengthAndChunks,
    /// Another coding than chunks, or chunks twice.
    Coding,
    /// Chunks in HTTP/1.0.
    CodingInOld,
    /// How the chunks are written.
    Chunk,
    /// The fields after the last chunk.
    Trailers,
}

const ALL: [Fault; 20] = [
    Fault::TooLong,
    Fault::TooSlow,
    Fault::Control,
    Fault::Line,
    Fault::Method,
    Fault::Connect,
    Fault::Target,
    Fault::Version,
    Fault::Folded,
    Fault::Name,
    Fault::Hosts,
    Fault::Host,
    Fault::OtherHost,
    Fault::Length,
    Fault::Lengths,
    Fault::LengthAndChunks,
    Fault::Coding,
    Fault::CodingInOld,
    Fault::Chunk,
    Fault::Trailers,
];

impl Fault {
    /// As a number; [`Fault::numbered`] is the way back.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The fault with this number.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        ALL.get(usize::from(number)).copied()
    }

    /// What the caller is told.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::TooLong => "the head of the request is too long",
            Self::TooSlow => "the head of the request did not come in time",
            Self::Control => {
                "the head has a control byte in it, or CR or LF alone (lines end with CRLF)"
            }
            Self::Line => {
                "the request line is not method, target and version with one space between"
            }
            Self::Method => "the method is malformed",
            Self::Connect => "CONNECT is not supported",
            Self::Target => "the target is not a path, an http URL, or * with OPTIONS",
            Self::Version => "the version is neither HTTP/1.1 nor HTTP/1.0",
            Self::Folded => "a header goes on in the next line",
            Self::Name => "the name of a header is malformed, or a space is before its colon",
            Self::Hosts => "there is no Host header, or more than one Host header",
            Self::Host => "the host is malformed",
            Self::OtherHost => "the target and the Host header name different hosts",
            Self::Length => "content-length is not a number",
            Self::Lengths => "there is more than one content-length",
            Self::LengthAndChunks => "there are both content-length and transfer-encoding",
            Self::Coding => "transfer-encoding is not chunked, once",
            Self::CodingInOld => "there is transfer-encoding in HTTP/1.0",
            Self::Chunk => "a chunk of the body is malformed",
            Self::Trailers => "the trailers are malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_number() {
        for (number, fault) in ALL.into_iter().enumerate() {
            assert_eq!(usize::from(fault.number()), number);
            assert_eq!(Fault::numbered(fault.number()), Some(fault));
        }
        assert_eq!(Fault::numbered(20), None);
    }
}
