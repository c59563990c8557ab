//! The static table (RFC 7541 appendix A) and how to find a field in it.

use super::index::hash;
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
/// Where a field lies in [`TEXT`].
#[derive(Clone, Copy)]
struct Place {
    start: u16,
    name_end: u16,
    end: u16,
    /// How many fields have this name, this one and later ones.
    alike: u16,
}
/// All names and values without gaps, so that a field is one copy.
static TEXT: [u8; PLACES[LEN - 1].end as usize] = text();
const PLACES: [Place; LEN] = places();
/// About a fifth is taken, so that a name which is not in the table mostly meets a free slot.
const SLOTS: usize = 256;
/// The first index of each name, by hash with linear probing; 0 is a free slot.
static NAMES: [u8; SLOTS] = names();
/// Name and value of the field of an index from 1 to [`LEN`] as one text, and where in it the value
/// begins.
#[inline]
pub(super) fn get(index: usize) -> Option<(&'static [u8], usize)> {
    let place = PLACES.get(index.wrapping_sub(1))?;
    let text = &TEXT[usize::from(place.start)..usize::from(place.end)];
    Some((text, usize::from(place.name_end - place.start)))
}
/// The first index of `name`, whose [`hash`] is given.
#[inline]
pub(super) fn find_name(name_hash: u64, name: &[u8]) -> Option<usize> {
    let mut slot = name_hash as usize % SLOTS;
    loop {
        let index = usize::from(NAMES[slot]);
        let (text, name_len) = get(index)?;
        if text[..name_len] == *name {
            return Some(index);
        }
        slot = (slot + 1) % SLOTS;
    }
}
/// The index of the field with this value, among those whose name has the index `first`.
#[inline]
pub(super) fn find_value(first: usize, value: &[u8]) -> Option<usize> {
    let alike = usize::from(PLACES.get(first.wrapping_sub(1))?.alike);
    (first..first + alike)
        .find(|&index| get(index).is_some_and(|(text, name_len)| text[name_len..] == *value))
}
const fn places() -> [Place; LEN] {
    let mut places = [Place { start: 0, name_end: 0, end: 0, alike: 1 }; LEN];
    let (mut n, mut end) = (0, 0);
    while n < LEN {
        let (name, value) = FIELDS[n];
        let name_end = end + name.len() as u16;
        places[n].start = end;
        places[n].name_end = name_end;
        end = name_end + value.len() as u16;
        places[n].end = end;
        n += 1;
    }
    while n > 1 {
        n -= 1;
        if same(FIELDS[n - 1].0, FIELDS[n].0) {
            places[n - 1].alike = places[n].alike + 1;
        }
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
const fn names() -> [u8; SLOTS] {
    let mut names = [0; SLOTS];
    let mut n = 0;
    while n < LEN {
        if n == 0 || !same(FIELDS[n - 1].0, FIELDS[n].0) {
            let mut slot = hash(0, FIELDS[n].0.as_bytes()) as usize % SLOTS;
            while names[slot] != 0 {
                slot = (slot + 1) % SLOTS;
            }
            names[slot] = n as u8 + 1;
        }
        n += 1;
    }
    names
}
const fn same(one: &str, other: &str) -> bool {
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
