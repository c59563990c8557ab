//! A file that is written to again and again, without a pause long enough to call it saved: which of the contents
//! seen of it is whole.
//!
//! Who writes a file in place empties it first, so that what is seen is at times the beginning of what is
//! meant. A beginning is shorter than its whole: of several looks the longest counts, if it was seen twice. And
//! if that could still be the beginning of what serves, it is not taken before the file rests.

/// What was seen of a file that goes on changing.
#[derive(Debug, Default)]
pub(super) struct Looks {
    longest: Vec<u8>,
    /// How often there was something of that length.
    times: u32,
}

impl Looks {
    /// One more look.
    pub(super) fn note(&mut self, content: Vec<u8>) {
        if content.len() > self.longest.len() {
            self.times = 0;
        }
        if content.len() >= self.longest.len() {
            self.longest = content;
            self.times += 1;
        }
    }

    /// What can be taken for whole.
    pub(super) fn whole(self) -> Option<Vec<u8>> {
        (self.times > 1).then_some(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn whole(looks: impl IntoIterator<Item = Vec<u8>>) -> Option<Vec<u8>> {
        let mut seen = Looks::default();
        looks.into_iter().for_each(|content| seen.note(content));
        seen.whole()
    }

    #[test]
    fn nothing_is_whole_by_one_look_and_a_file_that_grows_never_is() {
        assert_eq!(whole([]), None);
        assert_eq!(whole([b"a: 1".to_vec()]), None);
        assert_eq!(whole((0..9).map(|n| vec![b'a'; n])), None);
        assert_eq!(whole([b"a: 1".to_vec(), vec![], b"a: 2".to_vec()]), Some(b"a: 2".to_vec()));
    }

    proptest! {
        /// However the looks fall, of a text that is written over and over what is taken is all of it, or nothing
        /// as long as it was not seen twice.
        #[test]
        fn a_part_is_never_taken_for_the_whole(
            text in "[a-z:\\n]{2,60}",
            ends in vec(any::<prop::sample::Index>(), 0..20),
            wholes in 1..4_usize,
            order in any::<u64>(),
        ) {
            let mut looks: Vec<Vec<u8>> =
                ends.iter().map(|end| text.as_bytes()[..end.index(text.len())].to_vec()).collect();
            looks.extend(std::iter::repeat_n(text.clone().into_bytes(), wholes));
            fastrand::Rng::with_seed(order).shuffle(&mut looks);
            let found = whole(looks);
            prop_assert_eq!(found, (wholes > 1).then(|| text.into_bytes()));
        }
    }
}
