//! The static table (RFC 7541 appendix A) and how to find a field in it.

use super::index::{hash, join, same};
/// Index 1 is the first. Fields of the same name stand together.
const FIELDS: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
/// How many fields there are; the first index of the dynamic table is one more.
pub(super) const LEN: usize = FIELDS.len();
/// Where a field starts in [`TEXT`], where its value starts, and where it ends.
#[derive(Clone, Copy)]
struct Place {
    start: u16,
    name_end: u16,
    end: u16,
}

/// All names and values without gaps, so that a field is one copy.
static TEXT: [u8; PLACES[LEN - 1].end as usize] = text();
const PLACES: [Place; LEN] = places();

/// About an eighth is taken, so that what is not in the table mostly meets a free slot.
const SLOTS: usize = 512;
/// The first index of each name by its hash, with linear probing; 0 is a free slot.
static NAMES: [u8; SLOTS] = slots(false);
/// The index of each field by its hash, in the same way.
static WHOLE: [u8; SLOTS] = slots(true);

/// Name and value of the field of an index from 1 to [`LEN`] as one text, and where in it the value
/// begins.
#[inline]
pub(super) fn get(index: usize) -> Option<(&'static [u8], usize)> {
    let place = PLACES.get(index.wrapping_sub(1))?;
    let text = &TEXT[usize::from(place.start)..usize::from(place.end)];
    Some((text, usize::from(place.name_end - place.start)))
}

/// The index of a whole field; `field_hash` is the [`join`] of their hashes.
#[inline]
pub(super) fn find(field_hash: u64, name: &[u8], value: &[u8]) -> Option<usize> {
    probe(&WHOLE, field_hash, |text, name_len| {
        same(&text[..name_len], name) && same(&text[name_len..], value)
    })
}

/// The first index of `name`, whose [`hash`] is given.
#[inline]
pub(super) fn find_name(name_hash: u64, name: &[u8]) -> Option<usize> {
    probe(&NAMES, name_hash, |text, name_len| same(&text[..name_len], name))
}

#[inline]
fn probe(slots: &[u8; SLOTS], hash: u64, is_it: impl Fn(&[u8], usize) -> bool) -> Option<usize> {
    let mut slot = hash as usize % SLOTS;
    loop {
        let index = usize::from(slots[slot]);
        let (text, name_len) = get(index)?;
        if is_it(text, name_len) {
            return Some(index);
        }
        slot = (slot + 1) % SLOTS;
    }
}

const fn places() -> [Place; LEN] {
    let mut places = [Place { start: 0, name_end: 0, end: 0 }; LEN];
    let (mut n, mut end) = (0, 0);
    while n < LEN {
        let (name, value) = FIELDS[n];
        let name_end = end + name.len() as u16;
        places[n] = Place { start: end, name_end, end: name_end + value.len() as u16 };
        end = places[n].end;
        n += 1;
    }
    places
}

const fn text() -> [u8; PLACES[LEN - 1].end as usize] {
    let mut text = [0; PLACES[LEN - 1].end as usize];
    let mut n = 0;
    while n < LEN {
        let place = PLACES[n];
        copy(FIELDS[n].0, &mut text, place.start as usize);
        copy(FIELDS[n].1, &mut text, place.name_end as usize);
        n += 1;
    }
    text
}
/// Every field by name and value if `whole`, else the first of each name by its name.
const fn slots(whole: bool) -> [u8; SLOTS] {
    let mut slots = [0; SLOTS];
    let mut n = 0;
    while n < LEN {
        let (name, value) = FIELDS[n];
        if whole || n == 0 || !same_text(FIELDS[n - 1].0, name) {
            let name_hash = hash(name.as_bytes());
            let key = if whole { join(name_hash, hash(value.as_bytes())) } else { name_hash };
            let mut slot = key as usize % SLOTS;
            while slots[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = n as u8 + 1;
        }
        n += 1;
    }
    slots
}

const fn same_text(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut n = 0;
    while n < one.len() && one[n] == other[n] {
        n += 1;
    }
    n == one.len()
}
const fn copy(from: &str, to: &mut [u8], at: usize) {
    let from = from.as_bytes();
    let mut n = 0;
    while n < from.len() {
        to[at + n] = from[n];
        n += 1;
    }
}
