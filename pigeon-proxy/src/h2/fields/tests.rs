//! Lists against a plain vector of pairs.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Fields, Indexing};

#[test]
fn a_list_gives_back_what_was_pushed() {
    let mut fields = Fields::new();
    assert!(fields.is_empty() && fields.get(b"a").is_none() && fields.list_size() == 0);
    fields.push(b"a", b"first", Indexing::Indexed);
    fields.push(b"", b"", Indexing::Never);
    fields.push(b"a", b"second", Indexing::Plain);
    let all: Vec<_> = fields.iter().collect();
    let wanted: [(&[u8], &[u8], Indexing); 3] = [
        (b"a", b"first", Indexing::Indexed),
        (b"", b"", Indexing::Never),
        (b"a", b"second", Indexing::Plain),
    ];
    assert_eq!(all, wanted);
    assert_eq!(fields.get(b"a"), Some(&b"first"[..]));
    assert_eq!((fields.len(), fields.list_size()), (3, 6 + 7 + 3 * 32));
    fields.clear();
    assert_eq!(fields, Fields::new());
}

#[test]
fn an_open_field_can_be_closed_or_dropped() {
    let mut fields = Fields::new();
    fields.text().extend(b"dropped");
    fields.drop_open();
    fields.text().extend(b"namevalue");
    fields.close(4, Indexing::Incremental);
    fields.text().extend(b"dropped");
    fields.drop_open();
    let mut same = Fields::new();
    same.push(b"name", b"value", Indexing::Incremental);
    assert_eq!(fields, same);
}

proptest! {
    #[test]
    fn what_is_retained_is_a_list_of_its_own(
        given in vec((vec(any::<u8>(), 0..4), vec(any::<u8>(), 0..4), any::<bool>()), 0..12),
    ) {
        let (mut fields, mut wanted) = (Fields::new(), Fields::new());
        for (name, value, kept) in &given {
            fields.push(name, value, Indexing::Plain);
            if *kept {
                wanted.push(name, value, Indexing::Plain);
            }
        }
        let mut asked = given.iter();
        fields.retain(|name, value| {
            let (wanted_name, wanted_value, kept) = asked.next().unwrap();
            assert_eq!((name, value), (&wanted_name[..], &wanted_value[..]));
            *kept
        });
        prop_assert_eq!(&fields, &wanted);
        fields.push(b"after", b"it", Indexing::Never);
        prop_assert_eq!(fields.get(b"after"), Some(&b"it"[..]));
    }
}
